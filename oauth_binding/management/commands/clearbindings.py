"""``manage.py clearbindings``: forget devices that have not been used for a long time."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

from django.core.management.base import BaseCommand
from django.db import router, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.models import TokenBinding

#: Bindings that are locked and deleted in one transaction.
BATCH_SIZE = 1000

#: Bindings that are looked at between two lines of progress.
PROGRESS_INTERVAL = 100_000


def _days(text: str) -> int:
    days = int(text)
    if days < 1:
        raise ArgumentTypeError("must be 1 or more")
    return days


class Command(BaseCommand):
    help = (
        "Delete token bindings that have not been used for a given time and hold no tokens any more. "
        "Run it after cleartokens, which deletes the tokens."
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
        deleted = looked_at = 0
        unused = _unused_since(timezone.now() - timedelta(days=unused_for))
        for batch in _batches(unused):
            deleted += (
                _without_tokens(unused.filter(pk__in=batch)).count() if dry_run else _delete(unused, batch)
            )
            looked_at += len(batch)
            if looked_at % PROGRESS_INTERVAL < len(batch):
                self.stdout.write(f"{looked_at} unused bindings looked at, {deleted} without tokens so far.")
        verb = "would be deleted" if dry_run else "deleted"
        self.stdout.write(self.style.SUCCESS(f"{deleted} of {looked_at} unused bindings {verb}."))


def _unused_since(moment: datetime) -> QuerySet[TokenBinding]:
    return TokenBinding.objects.using(router.db_for_write(TokenBinding)).filter(last_used__lt=moment)


def _batches(bindings: QuerySet[TokenBinding]) -> Iterator[list[int]]:
    # By a cursor on the primary key: bindings that still have tokens are passed over once, not at each batch.
    last = 0
    while batch := list(
        bindings.filter(pk__gt=last).order_by("pk").values_list("pk", flat=True)[:BATCH_SIZE]
    ):
        yield batch
        last = batch[-1]


def _delete(unused: QuerySet[TokenBinding], batch: list[int]) -> int:
    with transaction.atomic(using=unused.db):
        # Issuing locks the binding and marks it as used before it adds tokens, so under the lock neither what
        # is unused nor what has tokens changes.
        locked = list(
            unused.select_for_update().filter(pk__in=batch).order_by("pk").values_list("pk", flat=True)
        )
        deletable = _without_tokens(unused.filter(pk__in=locked))
        return (
            TokenBinding.objects.using(unused.db)
            .filter(pk__in=list(deletable.values_list("pk", flat=True)))
            .delete()[0]
        )


def _without_tokens(bindings: QuerySet[TokenBinding]) -> QuerySet[TokenBinding]:
    for model in (get_access_token_model(), get_refresh_token_model()):
        bindings = bindings.filter(~Exists(model.objects.filter(binding=OuterRef("pk"))))
    return bindings
