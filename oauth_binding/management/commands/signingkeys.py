"""``manage.py signingkeys``: make the keys in ``SIGNING_KEYS``, and replace them in time."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone
from oauth2_provider.settings import oauth2_settings

from oauth_binding.authorization_server.signing import key_file
from oauth_binding.authorization_server.signing.key_file import FileKey
from oauth_binding.core.jose.algorithms import SIGNING_ALGORITHMS
from oauth_binding.core.settings import binding_settings

#: Added to how long a JWK set is cached, and to how long a token lives, in seconds: for clocks that differ,
#: for requests under way, and for answers of the revocation feed, which are relied on for a while.
MARGIN: Final = 900

_DAY: Final = 24 * 60 * 60


def _whole_number(text: str) -> int:
    number = int(text)
    if number < 0:
        raise ArgumentTypeError("must be 0 or more")
    return number


class Command(BaseCommand):
    help = (
        "List, create and rotate the keys in OAUTH_BINDING['SIGNING_KEYS'], which sign JWT access tokens. "
        "A new key is announced first: it is in the JWK set, and signs nothing until verifiers have it."
    )
    # It makes the file whose absence is an error.
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="list|create|rotate")
        actions.add_parser("list", help="show the keys and their dates, and nothing secret")

        create = actions.add_parser("create", help="make the first key of an algorithm")
        create.add_argument("--algorithm", required=True, choices=SIGNING_ALGORITHMS)

        rotate = actions.add_parser(
            "rotate",
            help="announce a successor of each key, whose use ends when that of the successor begins, and "
            "remove the keys whose publication is over. Where a successor is announced already, wait for it.",
        )
        rotate.add_argument(
            "--algorithm", choices=SIGNING_ALGORITHMS, help="rotate only the key of this algorithm"
        )
        rotate.add_argument(
            "--older-than",
            type=_whole_number,
            default=0,
            metavar="DAYS",
            help="only keys that have been used for at least this many days (default: 0)",
        )
        rotate.add_argument(
            "--publish-for",
            type=_whole_number,
            metavar="MINUTES",
            help="how long an old key stays in the JWK set after its use, in minutes (default: a little "
            "longer than an access token lives)",
        )
        for action in (create, rotate):
            action.add_argument(
                "--announce-for",
                type=_whole_number,
                metavar="MINUTES",
                help="how long a new key is announced, in minutes (default: a little longer than verifiers "
                "may cache the JWK set; 0: use it at once)",
            )

    def handle(self, *args: Any, action: str, **options: Any) -> None:
        path = binding_settings.signing_keys
        if path is None:
            raise CommandError("Set OAUTH_BINDING['SIGNING_KEYS'] to the path of the file of keys.")
        try:
            if action == "list":
                self._list(key_file.read(path))
                return
            with key_file.lock(path):
                keys = key_file.read(path) if path.exists() or action == "rotate" else ()
                changed = self._create(keys, options) if action == "create" else self._rotate(keys, options)
                if changed == list(keys):
                    self.stdout.write("There is nothing to do.")
                else:
                    key_file.write(path, changed)
        except (OSError, ValueError) as error:
            raise CommandError(f"The signing keys in {path} can't be used: {error}.") from None

    def _list(self, keys: Sequence[FileKey]) -> None:
        for key in keys:
            parts = [key.kid, key.algorithm, self._state(key, keys), f"used from {_show(key.used_from)}"]
            if key.used_until is not None and key.published_until is not None:
                parts += [f"until {_show(key.used_until)}", f"published until {_show(key.published_until)}"]
            self.stdout.write("  ".join(parts))

    def _state(self, key: FileKey, keys: Sequence[FileKey]) -> str:
        if not key_file.is_published(key, _now()):
            return "over"
        if key.used_from > _now():
            return "announced"
        is_current = key is key_file.current_key(keys, key.algorithm, _now())
        return "used" if is_current else "retired"

    def _create(self, keys: Sequence[FileKey], options: dict[str, Any]) -> list[FileKey]:
        algorithm = options["algorithm"]
        if any(key.algorithm == algorithm for key in _lasting(keys)):
            raise CommandError(f"There is a key for {algorithm} already. To replace it, use rotate.")
        return [*keys, self._announce(algorithm, options)]

    def _rotate(self, keys: Sequence[FileKey], options: dict[str, Any]) -> list[FileKey]:
        rotated = {key.kid: key for key in keys}
        for key in keys:
            if not key_file.is_published(key, _now()):
                del rotated[key.kid]
                self.stdout.write(f"{key.algorithm}: {key.kid} is removed.")
        for algorithm in [options["algorithm"]] if options["algorithm"] else SIGNING_ALGORITHMS:
            old = [key for key in _lasting(keys) if key.algorithm == algorithm]
            # Negative if one is announced.
            age = min((_now() - key.used_from for key in old), default=-1)
            if age < options["older_than"] * _DAY:
                continue
            successor = self._announce(algorithm, options)
            published_until = successor.used_from + _publication(options)
            for key in old:
                rotated[key.kid] = key.retire(successor.used_from, published_until)
                until = _show(published_until)
                self.stdout.write(f"{algorithm}: {key.kid} is used until then, and published until {until}.")
            rotated[successor.kid] = successor
        return list(rotated.values())

    def _announce(self, algorithm: str, options: dict[str, Any]) -> FileKey:
        minutes = options["announce_for"]
        # A cache may serve a JWK set for the same time again while it fetches a new one (RFC 5861 section 3).
        default = 2 * oauth2_settings.OIDC_JWKS_MAX_AGE_SECONDS + MARGIN
        key = key_file.generate(algorithm, _now() + (default if minutes is None else minutes * 60))
        self.stdout.write(f"{algorithm}: {key.kid} is announced, and used from {_show(key.used_from)}.")
        return key


def _lasting(keys: Iterable[FileKey]) -> list[FileKey]:
    """Return the keys without an end; the others are on their way out, with or without a successor."""
    return [key for key in keys if key.used_until is None]


def _publication(options: dict[str, Any]) -> int:
    """Return how long a key is still published after it stops signing, in seconds."""
    if options["publish_for"] is not None:
        return int(options["publish_for"]) * 60
    lifetime = oauth2_settings.server_kwargs["token_expires_in"]
    if callable(lifetime):
        raise CommandError("Give --publish-for: how long access tokens live is decided by a function.")
    return int(lifetime) + MARGIN


def _now() -> int:
    return int(timezone.now().timestamp())


def _show(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat().removesuffix("+00:00") + "Z"
