"""``manage.py clearbindings``: forget devices that have not been used for a long time."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.db import models
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.authorization_server.revocation.feed import LEEWAY
from oauth_binding.authorization_server.revocation.revoke import sign_out_user
from oauth_binding.core.databases import written
from oauth_binding.models import CodeContext, RevokedToken, TokenBinding, TokenExchange, UsedProof
from oauth_binding.storage import users
from oauth_binding.storage.attempts import in_transaction
from oauth_binding.storage.ending import not_ended
from oauth_binding.storage.tokens import access_tokens, refresh_tokens

#: Bindings that are locked and deleted in one transaction.
BATCH_SIZE = 1000

#: How long it is known what an authorization code was redeemed for.
CODE_LIFETIME = timedelta(days=1)

#: Bindings that are looked at between two lines of progress.
PROGRESS_INTERVAL = 100_000


def _days(text: str) -> int:
    days = int(text)
    if days < 1:
        raise ArgumentTypeError("must be 1 or more")
    return days


class Command(BaseCommand):
    help = (
        "Delete token bindings that have not been used for a given time and hold no tokens any more, and "
        "what is kept of revoked JWTs and used proofs until they expire, and of redeemed authorization codes "
        "for a day. End the tokens of users who are not active. Run it after cleartokens, which deletes "
        "tokens."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--unused-for",
            type=_days,
            default=90,
            metavar="DAYS",
            help="how long a binding has not been used, in days (default: 90)",
        )
        parser.add_argument("--dry-run", action="store_true", help="say how many there are, delete nothing")

    def handle(self, *args: Any, unused_for: int, dry_run: bool, **options: Any) -> None:
        moment = timezone.now() - timedelta(days=unused_for)
        self._clear(TokenBinding, "binding", moment, dry_run)
        self._clear(TokenExchange, "exchange", moment, dry_run)
        self._clear_expired(RevokedToken, timedelta(seconds=LEEWAY), dry_run)
        self._clear_expired(UsedProof, timedelta(0), dry_run)
        self._clear_codes(dry_run)
        self._end_of_inactive_users(dry_run)

    def _clear_codes(self, dry_run: bool) -> None:
        rows = written(CodeContext)
        old = rows.filter(created__lt=timezone.now() - CODE_LIFETIME)
        if dry_run:
            count, verb = old.count(), "would be forgotten"
        else:
            count = sum(rows.filter(pk__in=batch).delete()[0] for batch in _batches(old))
            verb = "forgotten"
        if count:
            self.stdout.write(self.style.SUCCESS(f"{count} authorization codes {verb}."))

    def _end_of_inactive_users(self, dry_run: bool) -> None:
        """End for good what users hold who are not active, whoever has made them so."""
        inactive = Q(user__in=users.inactive())
        holders = {
            user
            for tokens, unended in (
                (access_tokens(), not_ended()),
                (refresh_tokens(), Q(revoked__isnull=True)),
            )
            for user in tokens.filter(inactive & unended).order_by().values_list("user", flat=True).distinct()
        }
        if not dry_run:
            for user in users.inactive().filter(pk__in=holders):
                sign_out_user(user, "deactivation")
        if holders:
            verb = "would be ended" if dry_run else "ended"
            message = f"The tokens of {len(holders)} users who are not active {verb}."
            self.stdout.write(self.style.SUCCESS(message))

    def _clear(self, model: type[models.Model], field: str, moment: datetime, dry_run: bool) -> None:
        deleted = looked_at = 0
        names = model._meta.verbose_name_plural
        unused = written(model).filter(last_used__lt=moment)
        for batch in _batches(unused):
            if dry_run:
                deleted += _without_tokens(unused.filter(pk__in=batch), field).count()
            else:
                deleted += _delete(unused, batch, field)
            looked_at += len(batch)
            if looked_at % PROGRESS_INTERVAL < len(batch):
                self.stdout.write(f"{looked_at} unused {names} looked at, {deleted} without tokens so far.")
        verb = "would be deleted" if dry_run else "deleted"
        if looked_at or model is TokenBinding:
            self.stdout.write(self.style.SUCCESS(f"{deleted} of {looked_at} unused {names} {verb}."))

    def _clear_expired(self, model: type[models.Model], leeway: timedelta, dry_run: bool) -> None:
        rows = written(model)
        expired = rows.filter(expires__lte=timezone.now() - leeway)
        if dry_run:
            count, verb = expired.count(), "would be deleted"
        else:
            batches = (rows.filter(pk__in=batch).delete()[0] for batch in _batches(expired))
            count, verb = sum(batches), "deleted"
        if count:
            self.stdout.write(
                self.style.SUCCESS(f"{count} expired {model._meta.verbose_name_plural} {verb}.")
            )


def _batches(rows: QuerySet[Any]) -> Iterator[list[int]]:
    # By a cursor on the primary key: rows that still have tokens are passed over once, not at each batch.
    last = 0
    while batch := list(rows.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH_SIZE]):
        yield batch
        last = batch[-1]


def _delete(unused: QuerySet[Any], batch: list[int], field: str) -> int:
    def delete() -> int:
        # Issuing locks the row and marks it as used before it adds tokens, so under the lock neither what is
        # unused nor what has tokens changes.
        locked = list(
            unused.select_for_update().filter(pk__in=batch).order_by("pk").values_list("pk", flat=True)
        )
        deletable = list(_without_tokens(unused.filter(pk__in=locked), field).values_list("pk", flat=True))
        written(unused.model).filter(pk__in=deletable).delete()
        return len(deletable)

    return in_transaction(delete)


def _without_tokens(rows: QuerySet[Any], field: str) -> QuerySet[Any]:
    for model in (get_access_token_model(), get_refresh_token_model()):
        rows = rows.filter(~Exists(model.objects.filter(**{field: OuterRef("pk")})))
    return rows
