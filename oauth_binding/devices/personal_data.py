"""What is kept about a user's devices and browsers: handing it out, and forgetting it."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from oauth_binding.binding.semantics import binding_reference
from oauth_binding.core.databases import written
from oauth_binding.core.device_facts import DeviceFacts
from oauth_binding.models import LoginSession, Sighted, TokenBinding, sighting

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser

_NOTHING_SEEN = {**sighting("first", DeviceFacts()), **sighting("last", DeviceFacts())}


def export_devices(user: AbstractBaseUser) -> list[dict[str, Any]]:
    """Return all that is kept about a user's devices and browsers, signed in or not, as JSON values.

    Each has its ``kind``, "device" or "browser"; moments are texts (RFC 3339). There are no secrets: the
    value that tells a device apart is there as its reference.

    :param user: whose devices and browsers they are.
    :returns: the devices in the order in which they were first seen, and then the browsers.
    """
    bindings = written(TokenBinding).filter(user=user).select_related("application").order_by("pk")
    sessions = written(LoginSession).filter(user=user).order_by("pk")
    return [*map(_device, bindings), *map(_browser, sessions)]


def forget_device_facts(user: AbstractBaseUser) -> None:
    """Forget what a user's devices and browsers are called and look like, and where they were seen.

    Nobody is signed out: what tokens are bound to, and when, stays. A device is described again when it is
    next used.

    :param user: whose devices and browsers they are.
    """
    written(TokenBinding).filter(user=user).update(name="", **_NOTHING_SEEN)
    written(LoginSession).filter(user=user).update(**_NOTHING_SEEN)


def _device(binding: TokenBinding) -> dict[str, Any]:
    return {
        "kind": "device",
        "application": binding.application.client_id,
        "binding_type": binding.binding_type,
        "reference": binding.reference,
        "name": binding.name,
        "first_seen": _moment(binding.created),
        "last_used": _moment(binding.last_used),
        **_seen(binding),
    }


def _browser(session: LoginSession) -> dict[str, Any]:
    return {
        "kind": "browser",
        "reference": binding_reference(str(session.sid)),
        "first_seen": _moment(session.created),
        "last_seen": _moment(session.last_seen),
        "authenticated": _moment(session.authenticated_at),
        "ended": None if session.terminated_at is None else _moment(session.terminated_at),
        "why_it_ended": session.termination_reason,
        **_seen(session),
    }


def _seen(row: Sighted) -> dict[str, Any]:
    return {"description": row.description, **{column: getattr(row, column) for column in _NOTHING_SEEN}}


def _moment(moment: datetime) -> str:
    aware = timezone.make_aware(moment) if timezone.is_naive(moment) else moment
    return aware.isoformat()
