"""The pages of the documentation, and the blocks of code in them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from markdown.extensions.toc import slugify
from sybil import Document, Region
from sybil.parsers.markdown.lexers import DirectiveInHTMLCommentLexer, RawFencedCodeBlockLexer
from sybil.typing import Evaluator

ROOT: Final = Path(__file__).resolve().parents[2]
PAGES: Final = [
    ROOT / "README.md",
    *sorted({*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")} - {ROOT / "README.md"}),
]

_FENCES: Final = RawFencedCodeBlockLexer(re.compile(r"(?P<info>[^\n]*)\n"))
# What a reader does by a sentence, such as sending the same with another value; Sybil's own directive for it.
_INVISIBLE: Final = DirectiveInHTMLCommentLexer(r"invisible-code-block", arguments=r"[^\n]+")
_INFO: Final = re.compile(r'(?P<language>\w*)(?: title="(?P<title>[^"]+)")?')
_HEADING: Final = re.compile(r"^(#{1,6}) +(.+?)(?: +#+)?$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of code in a page."""

    page: str
    line: int
    #: The heading above it.
    section: str
    language: str
    #: The file that it is, or is part of; empty where the page does not say.
    title: str
    text: str
    #: Whether readers see it.
    is_visible: bool

    @property
    def key(self) -> tuple[str, str]:
        """What it is called in tables of the tests: the page, and up to 60 characters of its first line."""
        return self.page, self.text.partition("\n")[0][:60]

    def __str__(self) -> str:
        return f"{self.page}:{self.line} ({self.language})"


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def parse(page: Path, evaluator: Evaluator | None = None) -> Document:
    """Return a page as Sybil knows it; each example's ``parsed`` is a ``Block``."""

    def regions(document: Document) -> Iterator[Region]:
        headings = [(match.start(), match[2]) for match in headings_of(document.text)]
        fenced = list(_FENCES(document))
        # An example of an HTML comment within a fence is text.
        hidden = [
            region
            for region in _INVISIBLE(document)
            if not any(fence.start <= region.start < fence.end for fence in fenced)
        ]
        for region in sorted([*fenced, *hidden], key=lambda region: region.start):
            is_visible = "info" in region.lexemes
            info = _INFO.fullmatch(str(region.lexemes["info" if is_visible else "arguments"]).strip())
            line = document.text.count("\n", 0, region.start) + 1
            assert info, f"{document.path}:{line}: what kind of block is it?"
            region.parsed = Block(
                page=name_of(Path(document.path)),
                line=line,
                section=next((text for start, text in reversed(headings) if start < region.start), ""),
                language=info["language"],
                title=info["title"] or "",
                text=str(region.lexemes["source"]).strip("\n") + "\n",
                is_visible=is_visible,
            )
            region.evaluator = evaluator
            yield region

    return Document.parse(str(page), regions)


def blocks(page: Path) -> list[Block]:
    """Return the blocks of a page that readers see."""
    return [example.parsed for example in parse(page) if example.parsed.is_visible]


def headings_of(text: str) -> list[re.Match[str]]:
    """Return the headings of a page; lines of code that begin with # are none."""
    return list(_HEADING.finditer(without_code(text)))


def without_code(text: str) -> str:
    """Return a page with blanks in place of its blocks of code, each character where it was."""
    return re.sub(
        r"^```.*?^```$", lambda match: re.sub(r"[^\n]", " ", match[0]), text, flags=re.MULTILINE | re.DOTALL
    )


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page, by the rules of Python-Markdown."""
    found: set[str] = set()
    for match in headings_of(page.read_text()):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[2]).replace("`", "").replace("*", "")
        anchor = wanted = slugify(plain, "-")
        number = 0
        while anchor in found:
            number += 1
            anchor = f"{wanted}_{number}"
        found.add(anchor)
    return found
