"""``manage.py explain`` in a project that is not the server: whether and why a token is good at its API."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any, Final

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError
from django.utils.module_loading import import_string

from oauth_binding.core.jose.claims import LAST_DATE
from oauth_binding.core.log_lines import one_line
from oauth_binding.core.setting_rules import is_number
from oauth_binding.resource_server.explanations import explain

#: The exit status if the token is not good.
NOT_GOOD: Final = 1

#: The exit status if there is none.
USAGE: Final = 2

#: What is said about a good token, and about one that is not good but rightly signed.
_SAID: Final[tuple[str, ...]] = (
    *("iss", "client_id", "sub", "aud", "scope", "iat", "exp"),
    *("jti", "binding_type", "binding_ref", "cnf"),
)


class _Command(BaseCommand):
    help = (
        "Say whether the access token on standard input is good at this API, and why: each check by its "
        "name. The token is not an argument, as arguments are visible to all users of a machine. The "
        "exit status is 0 where it is good, and 1 where it is not."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", help="print it as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        text = sys.stdin.read().strip()
        if not text:
            raise CommandError("There is no token on standard input.", returncode=USAGE)
        claims, faults = explain(text)
        said = {name: claims[name] for name in _SAID if name in claims}
        if options["json"]:
            self.stdout.write(json.dumps({"good": not faults, "faults": faults, "claims": said}))
        else:
            self.stdout.write(_as_text(said, faults))
        if faults:
            sys.exit(NOT_GOOD)


def _as_text(said: dict[str, Any], faults: dict[str, str]) -> str:
    lines = [f"access token: {'not good' if faults else 'good'}"]
    lines += [f"  because {one_line(words)} ({name})" for name, words in faults.items()]
    for name, value in said.items():
        is_moment = name in ("iat", "exp") and is_number(value, LAST_DATE)
        shown = datetime.fromtimestamp(value, UTC).isoformat() if is_moment else value
        lines.append(f"  {name}: {one_line(shown) if isinstance(shown, str) else json.dumps(shown)}")
    return "\n".join(lines)


# Django uses the command of the app that comes first in INSTALLED_APPS. If the server is in this project,
# too, it is the server's command in either order, which knows all tokens.
Command: Any = (
    import_string("oauth_binding.management.commands.explain.Command")
    if apps.is_installed("oauth_binding")
    else _Command
)
