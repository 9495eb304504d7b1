"""``manage.py bindings``: list, count and end what tokens are bound to."""

from __future__ import annotations

import json
import os
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.db.models import QuerySet
from django.utils import timezone
from oauth2_provider.models import get_application_model

from oauth_binding.authorization_server.revocation.revoke import revoke_binding
from oauth_binding.core.databases import write_alias, written
from oauth_binding.core.log_lines import one_line
from oauth_binding.core.settings import binding_settings
from oauth_binding.devices import export_devices, forget_device_facts
from oauth_binding.management.arguments import days
from oauth_binding.models import TokenBinding
from oauth_binding.storage.chunks import CHUNK_SIZE, in_pages
from oauth_binding.storage.devices import has_live_tokens

#: How many bindings are ended between two lines of progress.
PROGRESS_INTERVAL: Final = 1000

#: The options besides the user that leave bindings out.
_FILTERS: Final = ("application", "type", "unused_for", "live", "ended")


class Command(BaseCommand):
    help = (
        "List token bindings, one per line, by their numbers: the devices, installations and browsers that "
        "tokens were issued for. With --count, say how many there are; with --end, revoke all tokens of "
        "each. Binding values are secret, and are not shown."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--user", help="only those of this user: a user name or a primary key")
        parser.add_argument(
            "--application", metavar="CLIENT_ID", help="only those of the application with this client ID"
        )
        parser.add_argument("--type", metavar="TYPE", help="only those of this token binding type")
        parser.add_argument(
            "--unused-for", type=days, metavar="DAYS", help="only those not used for at least this many days"
        )
        tokens = parser.add_mutually_exclusive_group()
        tokens.add_argument(
            "--live",
            action="store_true",
            help="only those with a token that is neither expired nor revoked",
        )
        tokens.add_argument("--ended", action="store_true", help="only those without such a token")
        what = parser.add_mutually_exclusive_group()
        what.add_argument("--count", action="store_true", help="say how many there are, list none")
        what.add_argument("--json", action="store_true", help="list them as JSON, one object per line")
        what.add_argument(
            "--end",
            action="store_true",
            help="revoke all access and refresh tokens of each, and what was exchanged from them",
        )
        what.add_argument(
            "--export",
            action="store_true",
            help="with --user: all that is kept of the user's devices and browsers, as JSON",
        )
        what.add_argument(
            "--forget",
            action="store_true",
            help="with --user: forget what the user's devices and browsers are called and look like, and "
            "where they were seen; nobody is signed out",
        )
        parser.add_argument(
            "--no-input", action="store_false", dest="interactive", help="with --end, do not ask first"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["export"] or options["forget"]:
            self._answer_user(options)
            return
        rows = _find(options)
        if options["count"]:
            self.stdout.write(str(rows.count()))
        elif options["end"]:
            self._end(rows, options["interactive"])
        else:
            try:
                self._list(rows, _as_json if options["json"] else _as_text)
            except BrokenPipeError:
                # The reader, such as head, has seen enough. Python flushes the output once more at the end.
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _answer_user(self, options: dict[str, Any]) -> None:
        """Do what a user may ask for about what is kept of theirs.

        :raises CommandError: no user is given, or there is no such user.
        """
        if options["user"] is None or any(options[name] for name in _FILTERS):
            raise CommandError("--export and --forget are for all of one --user, and take no other filter.")
        users = get_user_model()
        user = users._base_manager.using(write_alias(users)).get(pk=_find_user(options["user"]))
        if options["export"]:
            self.stdout.write(json.dumps(export_devices(user), indent=2))
        else:
            forget_device_facts(user)
            self.stdout.write(self.style.SUCCESS("Forgotten."))

    def _list(self, rows: QuerySet[Any], show: Callable[[Any, str, str | None], str]) -> None:
        for batch in in_pages(rows, CHUNK_SIZE):
            applications, users = _names_of(batch)
            for binding in batch:
                application = applications.get(binding.application_id, "")
                self.stdout.write(show(binding, application, users.get(binding.user_id)))

    def _end(self, rows: QuerySet[Any], interactive: bool) -> None:
        # What is made meanwhile is not included: a device that signs in again stays.
        last = rows.order_by("-pk").values_list("pk", flat=True).first()
        if last is None:
            self.stdout.write("There are no such token bindings.")
            return
        rows = rows.filter(pk__lte=last)
        number = rows.count()
        if interactive and not _is_confirmed(f"This ends all tokens of {number} token bindings."):
            raise CommandError("Nothing was ended.")
        ended = looked_at = 0
        for batch in in_pages(rows, CHUNK_SIZE):
            for binding in batch:
                # Each in its own transaction, so that no request waits long for one.
                ended += bool(revoke_binding(binding))
                looked_at += 1
                if looked_at % PROGRESS_INTERVAL == 0:
                    self.stdout.write(
                        f"{looked_at} of {number} token bindings looked at, {ended} ended so far."
                    )
        self.stdout.write(
            self.style.SUCCESS(
                f"{ended} of {looked_at} token bindings ended; the others had no tokens that could be ended."
                if ended < looked_at
                else f"{ended} token bindings ended."
            )
        )


def _find(options: dict[str, Any]) -> QuerySet[Any]:
    """Return the bindings that meet all filters, each with ``is_live``.

    :raises CommandError: there is no such user, application or token binding type.
    """
    rows: QuerySet[Any] = written(TokenBinding).annotate(is_live=has_live_tokens())
    if options["user"] is not None:
        rows = rows.filter(user=_find_user(options["user"]))
    if options["application"] is not None:
        rows = rows.filter(application=_find_application(options["application"]))
    if options["type"] is not None:
        rows = rows.filter(binding_type=_find_type(options["type"]))
    if options["unused_for"] is not None:
        rows = rows.filter(last_used__lt=timezone.now() - timedelta(days=options["unused_for"]))
    if options["live"] or options["ended"]:
        rows = rows.filter(is_live=options["live"])
    return rows


def _find_user(text: str) -> Any:
    model = get_user_model()
    users = model._base_manager.using(write_alias(model))
    found: set[Any] = set()
    for field in (model.USERNAME_FIELD, "pk"):
        with suppress(ValueError, ValidationError):  # it can't be a primary key
            found |= set(users.filter(**{field: text}).values_list("pk", flat=True))
    if not found:
        raise CommandError(f"There is no user with the user name or primary key {one_line(text)!r}.")
    if len(found) > 1:
        pks = " and ".join(sorted(map(str, found)))
        raise CommandError(
            f"{one_line(text)!r} is the user name of one user and the primary key of another: {pks}."
        )
    return found.pop()


def _find_application(client_id: str) -> Any:
    pk = written(get_application_model()).filter(client_id=client_id).values_list("pk", flat=True).first()
    if pk is None:
        raise CommandError(f"There is no application with the client ID {one_line(client_id)!r}.")
    return pk


def _find_type(name: str) -> str:
    installed = sorted(binding_settings.binders)
    # A binder that is no longer installed may have left some.
    if name not in installed and not written(TokenBinding).filter(binding_type=name).exists():
        raise CommandError(
            f"There is no token binding type {one_line(name)!r}; there are: {', '.join(installed)}."
        )
    return name


def _names_of(batch: list[Any]) -> tuple[dict[Any, str], dict[Any, str]]:
    """Return the client IDs of the applications of some bindings, and the user names, by primary key."""
    users, applications = get_user_model(), get_application_model()
    client_ids = applications._base_manager.using(write_alias(applications)).values_list("pk", "client_id")
    names = users._base_manager.using(write_alias(users)).values_list("pk", users.USERNAME_FIELD)
    return (
        dict(client_ids.filter(pk__in={binding.application_id for binding in batch})),
        dict(names.filter(pk__in={binding.user_id for binding in batch} - {None})),
    )


def _as_text(binding: Any, application: str, user: str | None) -> str:
    fields = [
        str(binding.pk),
        application,
        "(no user)" if user is None else user,
        binding.binding_type,
        "(shared)" if binding.is_shared else binding.reference,
        *([f'"{binding.name}"'] if binding.name else []),
        "live" if binding.is_live else "ended",
        f"last used {_show(binding.last_used)}",
    ]
    # Some of it was chosen by users.
    return "  ".join(map(one_line, fields))


def _as_json(binding: Any, application: str, user: str | None) -> str:
    return json.dumps(
        {
            "id": binding.pk,
            "application": application,
            "user": user,
            "type": binding.binding_type,
            "reference": binding.reference or None,
            "name": binding.name,
            "description": binding.description,
            "live": binding.is_live,
            "created": _show(binding.created),
            "last_used": _show(binding.last_used),
        }
    )


def _show(moment: datetime) -> str:
    """Return a moment of a row in UTC, to the second, even if rows have local times."""
    aware = timezone.make_aware(moment) if timezone.is_naive(moment) else moment
    return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_confirmed(what: str) -> bool:
    try:
        return input(f"{what} Type 'yes' to go on: ") == "yes"
    except EOFError:
        return False
