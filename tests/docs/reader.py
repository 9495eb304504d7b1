"""A reader who does what a page says, block by block."""

from __future__ import annotations

import ast
import http.client
import re
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from tests.docs.answers import SHORTENED, Tokens, assert_alike, assert_lines_alike, read
from tests.docs.not_run import NOT_RUN
from tests.docs.pages import ROOT, Block
from tests.docs.prepare import BEFORE
from tests.docs.site import DocumentedSite, Output

if TYPE_CHECKING:
    from sybil import Example

#: Where the pages have the site.
_ADDRESSES: Final = re.compile(r"https?://(127\.0\.0\.1:8000|(auth\.)?example\.com|auth\.example)(?=/)")

#: A command of a terminal, which may go on in further lines, and what it prints.
_COMMAND: Final = re.compile(r"^\$ ((?:.*\\\n)*.*\n)((?:(?!\$ ).*\n)*)", re.MULTILINE)

#: What the code in the pages names without saying where it is from.
_NAMES: Final = """
from django.contrib.auth import get_user_model
user = get_user_model().objects.get(username="alice")
"""


class Reader:
    """Evaluates the blocks of one page in turn, in a site that becomes what the page says."""

    def __init__(self, page: str, new_site: Callable[[], DocumentedSite], first_site: DocumentedSite) -> None:
        """
        :param page: its name.
        :param new_site: makes a site like that of Getting started.
        :param first_site: where the page begins.
        """
        self.page = page
        self.site = first_site
        self.tokens = Tokens()
        #: What stands for a value in the page -> the value.
        self.placeholders: dict[str, str] = {}
        #: What the page's code has at hand, beside ``user``.
        self.names: dict[str, str] = {}
        self.run = 0
        self.left_out: Counter[str] = Counter()
        self._new_site = new_site
        #: What was printed last, and the command that did.
        self._output = Output("")
        self._command = ""
        self._is_shown = True
        #: Files that are to be imported, and whether settings are to be checked.
        self._modules: list[str] = []
        self._is_changed = False

    # What is done before some blocks

    def begin_anew(self) -> None:
        self.check_changes()
        self.site.stop()
        self.site = self._new_site()

    def print(self, text: str) -> None:
        self._keep(Output(text))

    def summary(self) -> str:
        """Return in a line how many blocks were run, how many were not, and why."""
        left_out = "".join(f"; {number} not: {reason}" for reason, number in self.left_out.items())
        return f"{self.page}: {self.run} run{left_out}"

    # Blocks

    def __call__(self, example: Example) -> str | None:
        """Do what a block says, and return what is wrong with it."""
        block: Block = example.parsed
        if block.key in NOT_RUN and block.is_visible:
            self.left_out[NOT_RUN[block.key]] += 1
            return None
        try:
            if block.key in BEFORE and block.is_visible:
                self.check_changes()
                BEFORE[block.key](self)
            self._evaluate(block)
        except Exception as error:
            return f"{block.text}\n{type(error).__name__}: {error}"
        self.run += block.is_visible
        return None

    def _evaluate(self, block: Block) -> None:
        evaluate = getattr(self, f"_evaluate_{block.language}", None)
        assert evaluate, f"nobody knows how to run {block.language!r}: see tests/docs/reader.py"
        # A command may be what the settings wait for.
        if block.language not in ("sh", "console") and not block.title:
            self.check_changes()
        evaluate(block)

    def _evaluate_python(self, block: Block) -> None:
        text = self._localize(block.text)
        if not block.title:
            self._execute(text)
            return
        path = block.title.removesuffix(" of the server")
        path = path if "/" in path else f"mysite/{path}"
        if path.endswith(("/settings.py", "/urls.py")) and (self.site.directory / path).exists():
            self.site.extend(path, text)
        else:
            self.site.write(path, text)
            self._modules.append(path.removesuffix(".py").replace("/", "."))
        self._is_changed = True

    def _execute(self, text: str) -> None:
        """Run code; the comment in its last line, if it is a text, is what the last expression is."""
        expected = re.search(r"^# ('.*')$", text, re.MULTILINE)
        if expected:
            last = ast.parse(text).body[-1]
            expression = ast.get_source_segment(text, last) or ""
            text += f"assert ({expression}) == {expected[1]}\n"
        names = "".join(f"{name} = {value!r}\n" for name, value in self.names.items())
        self.site.python(_NAMES + names + text)

    def _evaluate_js(self, block: Block) -> None:
        """Assert that it is part of an application that ``tests/clients`` runs."""

        def without_indentation(text: str) -> str:
            return "\n".join(map(str.strip, text.splitlines()))

        files = [path.read_text() for path in (ROOT / "tests/clients/pages").glob("*.js")]
        excerpt = without_indentation(block.text)
        assert any(excerpt in without_indentation(text) for text in files), (
            "tests/clients/pages has no such lines"
        )

    def _evaluate_sh(self, block: Block) -> None:
        command = self.tokens.fill_in(self._localize(block.text))
        if "curl" in command:
            self.site.serve()
        self._assert_no_failure_is_hidden()
        self._command = command
        self._keep(self.site.run(command))
        assert all(status < 400 for status in self._output.statuses[:-1]), self._output

    def _evaluate_console(self, block: Block) -> None:
        assert block.text.startswith("$ "), "what is a command, and what is printed? sh has commands alone"
        for command, printed in _COMMAND.findall(block.text):
            assert_lines_alike(printed, self.site.run(self._localize(command)).text)

    def _evaluate_json(self, block: Block) -> None:
        if block.title:
            output = Output((self.site.directory / self._localize(block.title)).read_text())
        else:
            if self._is_shown:
                self._keep(self.site.run(self._command))  # "the same request again"
            self._is_shown = True
            output = self._output
        shown, answered = read(self._localize(block.text)), read(output.text)
        assert len(shown) == len(answered), output.text
        for one, other in zip(shown, answered, strict=True):
            assert_alike(one, other, self.tokens)
        if output.statuses:
            assert (output.statuses[-1] >= 400) is any("error" in value for value in shown), output

    def _evaluate_text(self, block: Block) -> None:
        if block.title == "crontab":
            self.site.run(self._localize(block.text).split(None, 6)[6])
        else:
            assert_lines_alike(block.text, self._output.text)

    def _evaluate_http(self, block: Block) -> None:
        text = self._localize(block.text)
        start, *lines = text.splitlines()
        if start.startswith("HTTP/"):  # what the last command got
            answered = self._output.text.splitlines()
            assert start.split()[1] == answered[0].split()[1], self._output.text
            for line in lines:
                name, _colon, value = line.partition(": ")
                if SHORTENED.fullmatch(value):
                    text = next((other for other in answered if other.startswith(f"{name}: ")), "")
                    self.tokens.assert_named(value, text.partition(": ")[2])
                else:
                    assert line in answered, self._output.text
            self._is_shown = True
            return
        self.site.serve()
        method, target, _version = start.split()
        head, _blank, body = text.partition("\n\n")
        headers = dict(line.split(": ", 1) for line in head.splitlines()[1:])
        connection = http.client.HTTPConnection(self.site.address.removeprefix("http://"), timeout=60)
        connection.request(method, target, body.strip(), headers)
        answer = connection.getresponse()
        assert answer.status == 200, answer.read().decode()
        connection.close()

    def _evaluate_html(self, block: Block) -> None:
        if block.title:
            self.site.extend("mysite/settings.py", 'TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]\n')
            self.site.write(block.title, block.text)
            literals = re.findall(r"%}(.+){%", block.text)
            assert literals, "what of it can be seen?"
            code = f"""
from django.test import Client
browser = Client()
browser.force_login(user)
text = browser.get("/oauth2/devices/", headers={{"host": "localhost"}}).text
assert all(literal in text for literal in {literals!r}), text
"""
        else:
            code = (
                f"from django.template import engines\nengines.all()[0].from_string({block.text!r}).render()"
            )
        self.site.python(_NAMES + code)

    # Helpers

    def finish(self) -> None:
        """Do what is left to be done at the end of the page."""
        self._assert_no_failure_is_hidden()
        self.check_changes()

    def check_changes(self) -> None:
        """Let Django check what has been added to the project, and import it."""
        if not self._is_changed:
            return
        imports = "".join(f"import {module}\n" for module in self._modules)
        self.site.python(
            "from django.core.management import call_command\n"
            f"call_command('check', fail_level='ERROR')\n{imports}"
        )
        self._modules, self._is_changed = [], False

    def _keep(self, output: Output) -> None:
        """Keep what was printed, for the block that shows it."""
        self._output, self._is_shown = output, False

    def _assert_no_failure_is_hidden(self) -> None:
        if not self._is_shown:
            assert all(status < 400 for status in self._output.statuses), self._output

    def _localize(self, text: str) -> str:
        text = _ADDRESSES.sub(self.site.address, text)
        for name, value in {**self._paths(), **self.placeholders}.items():
            text = text.replace(name, value)
        return text

    def _paths(self) -> dict[str, str]:
        return {
            "/etc/mysite/": f"{self.site.directory}/",
            "/srv/mysite/venv/bin/python": "python",
            "/srv/mysite/": f"{self.site.directory}/",
        }
