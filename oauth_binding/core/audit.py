"""The audit log: what has happened to tokens, bindings and login sessions, and what was refused, one by one.

An entry is a dict. It is sent with the signal ``audit_event``, and where the setting ``AUDIT_LOG`` is on, it
is a line of JSON from the logger ``oauth_binding.audit``. docs/audit-log.md lists its members. None is a
secret: of what a request has sent, there is no more than the name of its client and its ``grant_type``.

If the setting is off and nobody listens to the signal, none of this is done.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum, auto
from functools import partial
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.dispatch import Signal

from oauth_binding.binding.semantics import binding_reference
from oauth_binding.core.client_addresses import kept_address
from oauth_binding.core.log_lines import one_line
from oauth_binding.core.reasons import Reason
from oauth_binding.core.settings import binding_settings

#: The ``version`` of entries. Members may be added without a new version.
VERSION: Final = 1

#: Where lines go; ``LOGGING`` decides what becomes of them.
LOGGER: Final = "oauth_binding.audit"

logger = logging.getLogger(LOGGER)

#: Something has happened that belongs in an audit log. ``sender`` is None, and ``entry`` a dict of texts and
#: None. Refusals are sent at once, and everything else when its transaction is committed.
audit_event: Final = Signal()

#: What others have written is cut to this many characters.
_LONGEST: Final = 255


class Event(StrEnum):
    """What has happened."""

    TOKEN_ISSUED = auto()
    TOKEN_REUSED = auto()
    TOKEN_REFRESHED = auto()
    TOKEN_EXCHANGED = auto()
    TOKEN_REFUSED = auto()
    TOKEN_REVOKED = auto()
    REVOCATION_REFUSED = auto()
    INTROSPECTION_REFUSED = auto()
    API_REQUEST_REFUSED = auto()
    AUTHORIZATION_GRANTED = auto()
    AUTHORIZATION_REFUSED = auto()
    DEVICE_CODE_ISSUED = auto()
    DEVICE_CODE_REFUSED = auto()
    DEVICE_APPROVED = auto()
    DEVICE_DENIED = auto()
    BINDING_CREATED = auto()
    BINDING_REVOKED = auto()
    USER_SIGNED_OUT = auto()
    LOGIN_SESSION_ENDED = auto()
    LOGOUT_GIVEN_UP = auto()
    DEMAND_REPORTED = auto()
    CLIENT_REGISTERED = auto()
    CLIENT_CHANGED = auto()
    CLIENT_DELETED = auto()
    REGISTRATION_REFUSED = auto()


class Outcome(StrEnum):
    """How it ended."""

    SUCCESS = auto()
    REFUSED = auto()
    ERROR = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Whom and what it is about, as far as that is known."""

    #: The ``client_id`` of an application, even if a request only names it.
    client_id: str | None = None
    #: The user's primary key.
    user: Any = None
    #: A binding; that of a shared slot counts as none.
    binding: Any = field(default=None, repr=False)
    #: The ``sid`` of a login session.
    sid: Any = field(default=None, repr=False)
    #: The ``grant_type`` of a request.
    grant_type: str | None = None
    #: The ``jti`` of a JWT, or the SHA-256 of another token, by which its row is found.
    token: str | None = None
    #: The ``META`` of a request, or a dict with the same keys; empty if there is none.
    meta: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(slots=True)
class Attempt:
    """A request to an endpoint that is being answered, for the entry of its refusal."""

    #: Why it is refused, by the error code that it would be refused with.
    reasons: dict[str, Reason] = field(default_factory=dict)
    #: oauthlib's request, once it is known to be about a client.
    request: Any = field(default=None, repr=False)


_attempt: ContextVar[Attempt | None] = ContextVar("oauth_binding_attempt", default=None)


def is_on() -> bool:
    """Return whether anybody wants entries."""
    return _is_logged() or audit_event.has_listeners()


def is_kept() -> bool:
    """Return whether the logger passes lines on to some handler."""
    return logger.isEnabledFor(logging.INFO) and logger.hasHandlers()


def _is_logged() -> bool:
    # A project that is not the server has only one setting for this app, and it is not OAUTH_BINDING.
    return binding_settings.audit_log or bool(
        getattr(settings, "OAUTH_RESOURCE_SERVER", {}).get("AUDIT_LOG", False)
    )


def facts_of(token: Any, meta: Mapping[str, Any] | None = None) -> Facts:
    """Return what is known about an access or refresh token.

    :param token: its row, or the token that an API elsewhere has verified; None for nothing.
    :param meta: the ``META`` of the request, if there is one.
    """
    if token is None:
        return Facts(meta=meta or {})
    # For another server's token, there are only the claims.
    claims: Mapping[str, Any] = getattr(token, "claims", {})
    application = getattr(token, "application", None)
    return Facts(
        client_id=claims.get("client_id") if application is None else application.client_id,
        # An API elsewhere has whatever its USER returns.
        user=getattr(token.user, "pk", None),
        binding=token.binding,
        token=claims.get("jti") or getattr(token, "jti", None) or getattr(token, "token_checksum", None),
        meta=meta or {},
    )


@contextmanager
def attempting() -> Iterator[Attempt]:
    """Enter with a request that may be refused: ``note`` records why."""
    attempt = Attempt()
    previous = _attempt.set(attempt)
    try:
        yield attempt
    finally:
        _attempt.reset(previous)


def note(error: str, reason: Reason) -> None:
    """Note why the current request is about to be refused; the last note counts.

    :param error: the error code that it is going to be refused with (RFC 6749 section 5.2).
    """
    attempt = _attempt.get()
    if attempt is not None:
        attempt.reasons[error] = reason


def note_request(request: Any) -> None:
    """Note oauthlib's form of the current request, which knows client and user."""
    attempt = _attempt.get()
    if attempt is not None:
        attempt.request = request


def is_attempted() -> bool:
    """Return whether an entry is going to be made if the current request is refused."""
    return _attempt.get() is not None


def refuse(event: Event, reason: Reason, facts: Facts, outcome: Outcome = Outcome.REFUSED) -> None:
    """Make the entry of a refusal, at once: there may be nothing to commit."""
    if is_on():
        _send(_entry(event, outcome, reason, facts))


def tell(event: Event, using: str, facts: Facts, reason: str | None = None) -> None:
    """Make the entry of what has happened, once the current transaction is committed.

    :param using: alias of the database; if there is no transaction, the entry is made now.
    :param reason: why; None if there is no need to ask.
    """
    if is_on():
        entry = _entry(event, Outcome.SUCCESS, reason, facts)
        transaction.on_commit(partial(_send, entry), using=using)


def _entry(event: Event, outcome: Outcome, reason: str | None, facts: Facts) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {
        "version": VERSION,
        "time": now,
        "event": str(event),
        "outcome": str(outcome),
        "reason": None if reason is None else str(reason),
        "client_id": _text(facts.client_id),
        "user": None if facts.user is None else str(facts.user),
        "binding_ref": _reference(facts.binding),
        # In the form in which tokens are bound to login sessions: some APIs accept the sid as a proof.
        "session": None if facts.sid is None else binding_reference(str(facts.sid)),
        "grant_type": _text(facts.grant_type),
        "token": _text(facts.token),
        "address": kept_address(facts.meta) or None,
    }


def _text(value: str | None) -> str | None:
    return one_line(value)[:_LONGEST] if value else None


def _reference(binding: Any) -> str | None:
    return None if binding is None else (binding.reference or None)


def _send(entry: dict[str, Any]) -> None:
    audit_event.send_robust(sender=None, entry=entry)
    if _is_logged():
        logger.info("%s", json.dumps(entry))
