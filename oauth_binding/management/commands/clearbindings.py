"""``manage.py clearbindings``: forget devices that have not been used for a long time."""

from __future__ import annotations

from argparse import ArgumentParser
from collections.abc import Iterator
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.core.management.base import BaseCommand
from django.db import models
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from oauth_binding.authorization_server.revocation.feed import LEEWAY
from oauth_binding.authorization_server.revocation.login_sessions import end_session
from oauth_binding.authorization_server.revocation.revoke import sign_out_user
from oauth_binding.core.databases import write_alias, written
from oauth_binding.core.settings import binding_settings
from oauth_binding.management.arguments import days
from oauth_binding.models import (
    CodeContext,
    LoginSession,
    LogoutNotification,
    RevokedToken,
    TerminationReason,
    TokenBinding,
    TokenExchange,
    UsedProof,
)
from oauth_binding.storage import users
from oauth_binding.storage.attempts import in_transaction
from oauth_binding.storage.chunks import in_pages
from oauth_binding.storage.ending import not_ended, revoke_refresh_tokens
from oauth_binding.storage.liveness import outlived_refresh_tokens
from oauth_binding.storage.tokens import access_tokens, refresh_tokens

#: How many bindings are locked and deleted in one transaction.
BATCH_SIZE = 1000

#: How long is kept what an authorization code was redeemed for.
CODE_LIFETIME = timedelta(days=1)

#: How long is kept which logout tokens were delivered, and which were given up.
NOTIFICATION_LIFETIME = timedelta(days=30)

#: How many bindings are looked at between two lines of progress.
PROGRESS_INTERVAL = 100_000


class Command(BaseCommand):
    help = (
        "Delete token bindings that have not been used for a given time and hold no tokens any more, and "
        "what is kept of revoked JWTs and used proofs until they expire, of redeemed authorization codes "
        "for a day, and of logout tokens for 30 days. Forget the addresses and places of devices where "
        "the site no longer keeps them. End the tokens of users who are not active. Run it "
        "after cleartokens, which deletes tokens."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--unused-for",
            type=days,
            default=90,
            metavar="DAYS",
            help="how long a binding has not been used, in days (default: 90)",
        )
        parser.add_argument("--dry-run", action="store_true", help="say how many there are, delete nothing")

    def handle(self, *args: Any, unused_for: int, dry_run: bool, **options: Any) -> None:
        moment = timezone.now() - timedelta(days=unused_for)
        self._end_outlived(dry_run)
        self._clear(TokenBinding, "binding", moment, dry_run)
        self._clear(TokenExchange, "exchange", moment, dry_run)
        self._clear_expired(RevokedToken, timedelta(seconds=LEEWAY), dry_run)
        self._clear_expired(UsedProof, timedelta(0), dry_run)
        self._clear_codes(dry_run)
        self._clear_notifications(dry_run)
        self._end_of_inactive_users(dry_run)
        self._end_expired_sessions(dry_run)
        self._clear_sessions(moment, dry_run)
        self._forget_whereabouts(dry_run)

    def _clear_codes(self, dry_run: bool) -> None:
        old = written(CodeContext).filter(created__lt=timezone.now() - CODE_LIFETIME)
        self._remove(old, "authorization codes", dry_run, verb="forgotten")

    def _clear_notifications(self, dry_run: bool) -> None:
        moment = timezone.now() - NOTIFICATION_LIFETIME
        old = written(LogoutNotification).filter(next_attempt=None, last_attempt__lt=moment)
        self._remove(old, "old logout notifications", dry_run)

    def _end_outlived(self, dry_run: bool) -> None:
        """Revoke the refresh tokens that have expired by an application's policy, unlike cleartokens."""
        rows = refresh_tokens().filter(outlived_refresh_tokens(), revoked__isnull=True)
        if dry_run:
            count, verb = rows.count(), "would be revoked"
        else:
            # Except those whose policy was changed meanwhile.
            batches = (in_transaction(partial(_revoke_outlived, batch)) for batch in _batches(rows))
            count, verb = sum(batches), "revoked"
        if count:
            self.stdout.write(
                self.style.SUCCESS(f"{count} refresh tokens that outlived their policy {verb}.")
            )

    def _end_of_inactive_users(self, dry_run: bool) -> None:
        """End for good what users who are not active hold, however they became so."""
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

    def _end_expired_sessions(self, dry_run: bool) -> None:
        """End for good the login sessions that have expired, with the tokens that are bound to them."""
        rows = written(LoginSession).filter(terminated_at__isnull=True, expires__lte=timezone.now())
        if dry_run:
            count, verb = rows.count(), "would be ended"
        else:
            count, verb = 0, "ended"
            for batch in _batches(rows):
                for session in rows.filter(pk__in=batch):
                    end_session(session, TerminationReason.EXPIRED)
                    count += 1
        if count:
            self.stdout.write(self.style.SUCCESS(f"{count} expired login sessions {verb}."))

    def _clear_sessions(self, moment: datetime, dry_run: bool) -> None:
        """Forget login sessions that ended long ago and have no tokens left."""
        rows = written(LoginSession).filter(terminated_at__lt=moment, expires__lt=moment)
        unheld = rows.filter(
            *(
                ~Exists(model.objects.filter(binding_session=OuterRef("pk")))
                for model in (get_access_token_model(), get_refresh_token_model())
            )
        )
        self._remove(unheld, "ended login sessions", dry_run)

    def _forget_whereabouts(self, dry_run: bool) -> None:
        """Forget addresses and places if the site no longer keeps any."""
        nowhere: dict[str, Any] = {}
        if binding_settings.device_addresses == "off":
            nowhere |= {"first_address": None, "last_address": None}
        if binding_settings.device_places is None:
            nowhere |= {"first_place": "", "last_place": ""}
        if not nowhere:
            return
        for model in (TokenBinding, LoginSession):
            rows = _all(model).exclude(**nowhere)
            if dry_run:
                count, verb = rows.count(), "would be forgotten"
            else:
                count, verb = 0, "forgotten"
                for batch in _batches(rows):
                    count += _all(model).filter(pk__in=batch).update(**nowhere)
            if count:
                names = model._meta.verbose_name_plural
                self.stdout.write(self.style.SUCCESS(f"Where {count} {names} were seen {verb}."))

    def _clear(self, model: type[models.Model], field: str, moment: datetime, dry_run: bool) -> None:
        deleted = looked_at = 0
        names = model._meta.verbose_name_plural
        unused = _all(model).filter(last_used__lt=moment)
        for batch in _batches(unused):
            if dry_run:
                deleted += _without_tokens(unused.filter(pk__in=batch), field, moment).count()
            else:
                deleted += _delete(unused, batch, field, moment)
            looked_at += len(batch)
            if looked_at % PROGRESS_INTERVAL < len(batch):
                self.stdout.write(f"{looked_at} unused {names} looked at, {deleted} without tokens so far.")
        verb = "would be deleted" if dry_run else "deleted"
        if looked_at or model is TokenBinding:
            self.stdout.write(self.style.SUCCESS(f"{deleted} of {looked_at} unused {names} {verb}."))

    def _clear_expired(self, model: type[models.Model], leeway: timedelta, dry_run: bool) -> None:
        expired = written(model).filter(expires__lte=timezone.now() - leeway)
        self._remove(expired, f"expired {model._meta.verbose_name_plural}", dry_run)

    def _remove(self, rows: QuerySet[Any], names: str, dry_run: bool, verb: str = "deleted") -> None:
        """Delete rows in batches, and say how many there are."""
        if dry_run:
            count, verb = rows.count(), f"would be {verb}"
        else:
            # Not counting what goes with them.
            label = rows.model._meta.label
            batches = (rows.filter(pk__in=batch).delete()[1] for batch in _batches(rows))
            count = sum(deleted.get(label, 0) for deleted in batches)
        if count:
            self.stdout.write(self.style.SUCCESS(f"{count} {names} {verb}."))


def _batches(rows: QuerySet[Any]) -> Iterator[list[int]]:
    # Rows that still have tokens are skipped once, not in every batch.
    return in_pages(rows.values_list("pk", flat=True), BATCH_SIZE)


def _revoke_outlived(batch: list[Any]) -> int:
    return revoke_refresh_tokens(refresh_tokens().filter(outlived_refresh_tokens(), pk__in=batch))


def _all(model: type[models.Model]) -> QuerySet[Any]:
    # Including rows of bindings that were never used and are only there to be locked (see
    # storage/devices.py).
    return model._base_manager.using(write_alias(model))


def _delete(unused: QuerySet[Any], batch: list[int], field: str, moment: datetime) -> int:
    def delete() -> int:
        # Issuing locks the row and marks it as used before it adds tokens. So under the lock, neither whether
        # it is unused nor whether it has tokens can change.
        locked = list(
            unused.select_for_update().filter(pk__in=batch).order_by("pk").values_list("pk", flat=True)
        )
        without_tokens = _without_tokens(unused.filter(pk__in=locked), field, moment)
        deletable = list(without_tokens.values_list("pk", flat=True))
        _all(unused.model).filter(pk__in=deletable).delete()
        return len(deletable)

    return in_transaction(delete)


def _without_tokens(rows: QuerySet[Any], field: str, moment: datetime) -> QuerySet[Any]:
    held = {field: OuterRef("pk")}
    # With reuse protection, cleartokens keeps used refresh tokens as long as they could be valid, which is
    # for ever if they do not expire. They go with the row.
    refresh = get_refresh_token_model().objects.filter(**held).exclude(revoked__lt=moment)
    return rows.filter(~Exists(get_access_token_model().objects.filter(**held)), ~Exists(refresh))
