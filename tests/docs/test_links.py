"""Links within the documentation lead somewhere, and what pages tell to run is there."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

from tests.docs.pages import PAGES, ROOT, anchors, name_of, without_code

_LINK = re.compile(r"\]\(\s*<?([^()\s<>]+)>?\s*\)")
_INLINE = re.compile(r"`([^`]+)`")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    dead = []
    for link in _LINK.findall(without_code(page.read_text())):
        if re.match(r"https?:|mailto:", link):
            continue
        path, _hash, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        is_there = target.is_file() and target.is_relative_to(ROOT)
        if not is_there or (anchor and anchor not in anchors(target)):
            dead.append(link)

    assert dead == []


def test_every_page_is_in_the_navigation_and_in_the_readme() -> None:
    navigation = re.findall(r"^  - .+: (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    readme = (ROOT / "README.md").read_text()

    pages = {page.name for page in PAGES if page.parent.name == "docs"}
    assert set(navigation) == pages
    assert {page for page in pages if f"(docs/{page})" not in readme} == {"checklists.md"}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_the_commands_in_sentences_can_be_run(page: Path) -> None:
    """Their options are read by the parsers of the commands, and the paths are there."""
    commands = [re.sub(r"\s+", " ", text) for text in _INLINE.findall(without_code(page.read_text()))]

    wrong = []
    for command in commands:
        if match := re.match(r"(?:python )?manage\.py (\w+)(.*)", command):
            if match[1] not in get_commands():
                wrong.append(command)
                continue
            # Where a sentence says "DAYS", any number will do; one without options only names the command.
            arguments = re.sub(r"\b[A-Z]{3,}\b", "1", match[2]).split()
            parser = load_command_class(get_commands()[match[1]], match[1]).create_parser(
                "manage.py", match[1]
            )
            parser.exit_on_error = False
            try:
                parser.parse_args(arguments)
            except (SystemExit, Exception) as error:
                if " -" in command or "arguments are required" not in str(error):
                    wrong.append(f"{command}: {error}")
        elif match := re.search(r"\bpython -m (benchmarks[\w.]*)", command):
            if find_spec(match[1]) is None:
                wrong.append(command)
        elif match := re.search(r"\bpytest\b(.*)", command):
            paths = [word for word in match[1].split() if "/" in word]
            wrong += [command for path in paths if not (ROOT / path).exists()]

    assert wrong == []
