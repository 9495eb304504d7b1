"""``manage.py explain``: what a token is, and whether and why it is good."""

from __future__ import annotations

import json
import sys
from argparse import ArgumentParser
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError
from oauth2_provider.models import get_application_model

from oauth_binding.core.databases import deciding, written
from oauth_binding.core.log_lines import one_line
from oauth_binding.management.explanations import Explanation, explain_binding, explain_token

#: The exit status if what is explained is not good.
NOT_GOOD: Final = 1

#: The exit status if the question is wrong, the same as for wrong options.
USAGE: Final = 2


class Command(BaseCommand):
    help = (
        "Explain the token on standard input: what it is, and whether and why it is good. With --client, "
        "say what a binding id on standard input stands for. Neither is an argument, as arguments are "
        "visible to all users of a machine. The exit status is 0 where it is good, and 1 where it is not."
    )
    stdin: Any = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--client", metavar="CLIENT_ID", help="the application whose binding id comes on standard input"
        )
        parser.add_argument(
            "--user", metavar="NAME", help="with --client, the user; without, the client itself"
        )
        parser.add_argument("--json", action="store_true", help="print it as JSON")

    @deciding()
    def handle(self, *args: Any, **options: Any) -> None:
        text = (self.stdin or sys.stdin).read().strip()
        if options["client"]:
            found = explain_binding(*_find(options["client"], options["user"]), text)
        elif options["user"]:
            raise CommandError("--user goes with --client.", returncode=USAGE)
        elif not text:
            raise CommandError("There is no token on standard input.", returncode=USAGE)
        else:
            found = explain_token(text)
        self.stdout.write(_as_json(found) if options["json"] else _as_text(found))
        if not found.is_good:
            sys.exit(NOT_GOOD)


def _find(client_id: str, name: str | None) -> tuple[Any, Any]:
    """Return an application and a user.

    :raises CommandError: there is no such application or user.
    """
    applications = written(get_application_model()).select_related("token_policy")
    application = applications.filter(client_id=client_id).first()
    if application is None:
        raise CommandError("There is no application with this client ID.", returncode=USAGE)
    if name is None:
        return application, None
    model: Any = get_user_model()
    user = written(model).filter(**{model.USERNAME_FIELD: name}).first()
    if user is None:
        raise CommandError("There is no user with this name.", returncode=USAGE)
    return application, user


def _as_json(found: Explanation) -> str:
    said = {"kind": found.kind, "good": found.is_good, "faults": found.faults, "limits": found.limits}
    return json.dumps({**said, **{name.replace(" ", "_"): value for name, value in found.facts.items()}})


def _as_text(found: Explanation) -> str:
    lines = [f"{found.kind}: {'good' if found.is_good else 'not good'}"]
    lines += [f"  because {one_line(words)} ({name})" for name, words in found.faults.items()]
    lines += [f"  {name}: {_value(value)}" for name, value in found.facts.items()]
    for number, (name, end) in enumerate(found.limits.items()):
        lines.append(f"  {'ends' if number == 0 else 'would end'} by {name}: {end}")
    return "\n".join(lines)


def _value(value: Any) -> str:
    if value is None or value == [] or value == {}:
        return "-"
    # Some of it was chosen by users and clients.
    return one_line(value) if isinstance(value, str) else json.dumps(value)
