"""A Django site in a directory of its own, in whose processes the tests call functions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent

_CALL = """
import importlib, json, sys
import django
django.setup()
function = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])
sys.stdout.write("\\n" + json.dumps(function()))
"""


@dataclass
class Project:
    """A directory with settings modules, each of which is a state of the site."""

    directory: Path

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, settings: str, *arguments: str, **environment: str) -> str:
        """Run Python with a settings module, and return what it printed.

        :raises AssertionError: it failed; what it printed is the message.
        """
        result = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": settings,
                "PYTHONPATH": os.pathsep.join([str(self.directory), str(ROOT)]),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert result.returncode == 0, result.stdout
        return result.stdout

    def call(self, settings: str, function: Callable[[], Any], **environment: str) -> Any:
        """Call a function of a test module in a process of the site, and return its result, which is JSON."""
        output = self.run(settings, "-c", _CALL, function.__module__, function.__name__, **environment)
        return json.loads(output.splitlines()[-1])
