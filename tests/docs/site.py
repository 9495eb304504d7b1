"""A Django project made by ``startproject``, to which the blocks of a page are added as a reader would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import requests

from tests.docs.pages import ROOT
from tests.helpers.ports import free_port

#: How long a command, or the start of the server, may take, in seconds.
TIMEOUT: Final = 120

_LEFT_OUT: Final = re.compile(r"^\s*# \.\.\.")


@dataclass
class Output:
    """What a command printed."""

    text: str
    #: Of the answers that curl has got.
    statuses: list[int] = field(default_factory=list)


@dataclass
class DocumentedSite:
    """A project in a directory, with its server at an address of its own."""

    directory: Path
    address: str = ""
    server: subprocess.Popen[str] | None = None
    #: What the shell of the reader has, beside the paths.
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.address = f"http://127.0.0.1:{free_port()}"
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / ".curlrc").write_text(
            'silent\nshow-error\nwrite-out = "%{stderr}HTTP %{http_code}\\n"\n'
        )

    def copy(self, directory: Path) -> DocumentedSite:
        """Return a project that begins as this one, at an address of its own."""
        shutil.copytree(self.directory, directory)
        return DocumentedSite(directory)

    def run(self, command: str) -> Output:
        """Run lines of a shell, and a server where one of them says ``runserver``.

        :raises AssertionError: one of them failed; what it printed is the message.
        """
        lines = command.splitlines(keepends=True)
        serves = [line for line in lines if re.fullmatch(r"python manage\.py runserver\n?", line)]
        script = "".join(line for line in lines if line not in serves)
        process = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.directory,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert process.returncode == 0, f"{script}\n{process.stdout}{process.stderr}"
        if serves:
            self.serve()
        statuses = re.findall(r"^HTTP (\d+)$", process.stderr, re.MULTILINE)
        return Output(process.stdout, list(map(int, statuses)))

    def python(self, code: str) -> str:
        """Run code with the project's models and settings loaded, and return what it prints.

        :raises AssertionError: it failed; what it printed is the message.
        """
        process = subprocess.run(
            [sys.executable, "-c", f"import django\ndjango.setup()\n{code}"],
            cwd=self.directory,
            env={**self._environment(), "DJANGO_SETTINGS_MODULE": "mysite.settings"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
        )
        assert process.returncode == 0, f"{code}\n{process.stdout}{process.stderr}"
        return process.stdout

    def write(self, path: str, text: str) -> None:
        """Write a file of the project; its folder becomes a package where it is Python."""
        file = self.directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".py":
            (file.parent / "__init__.py").touch()
        file.write_text(text)

    def extend(self, path: str, text: str) -> None:
        """Add lines to the end of a file of the project; ``# ...`` in them stands for what is there."""
        with (self.directory / path).open("a") as file:
            file.write(f"\n{fill_in(text)}")
        self.stop()

    def serve(self) -> None:
        """Start the server, if it is not running."""
        if self.server is not None:
            return
        log = (self.directory / "server.log").open("w")
        self.server = subprocess.Popen(
            [sys.executable, "manage.py", "runserver", "--noreload", self.address.removeprefix("http://")],
            cwd=self.directory,
            env=self._environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
            text=True,
        )
        log.close()
        deadline = time.monotonic() + TIMEOUT
        while self.server.poll() is None and time.monotonic() < deadline:
            try:
                requests.get(f"{self.address}/", timeout=TIMEOUT)
            except requests.ConnectionError:
                time.sleep(0.05)
            else:
                return
        raise AssertionError((self.directory / "server.log").read_text())

    def stop(self) -> None:
        """Stop the server, if it is running."""
        if self.server is not None:
            self.server.terminate()
            self.server.wait(TIMEOUT)
            self.server = None

    def _environment(self) -> dict[str, str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DJANGO_", "OIDC_", "PYTEST_"))
        }
        return {
            **inherited,
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "PYTHONPATH": str(ROOT),
            "CURL_HOME": str(self.directory),
            **self.environment,
        }


def fill_in(text: str) -> str:
    """Return settings in which ``# ...`` in a list or a dict is what the file has there already."""
    opened: list[str] = []
    filled: set[str] = set()
    lines = []
    for line in text.splitlines():
        code = line.split("  #")[0].rstrip()
        if _LEFT_OUT.match(line) and opened and opened[-1] not in filled:
            filled.add(opened[-1])
            name, bracket = opened[-1][:-1], opened[-1][-1]
            lines.append(f"{'*' if bracket == '[' else '**'}{name},")
            continue
        if match := re.fullmatch(r"(\w+) = ([\[{])", code):
            opened.append(match[1] + match[2])
        elif match := re.fullmatch(r'\s+("[^"]+"): ([\[{])', code):
            opened.append(f"{opened[-1][:-1]}[{match[1]}]{match[2]}")
        elif re.fullmatch(r"\s*[\]}],?", code):
            opened.pop()
        lines.append(line)
    return "\n".join(lines) + "\n"
