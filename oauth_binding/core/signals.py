"""Signals for a site's own audit log or mail ("a new device has signed in").

Those that are sent while a request is answered have ``facts``, a ``DeviceFacts``: what the request says about
the device that it comes from.

They are sent after the transaction has been committed, so a receiver never hears of what did not happen. An
exception in a receiver is logged by Django, and changes nothing for the client. Do not log the text of a
token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from django.db import models, transaction
from django.dispatch import Signal

from oauth_binding.core import audit
from oauth_binding.core.audit import Event, Facts

#: A device, or another client instance, was seen for the first time, with good credentials. ``sender`` is the
#: TokenBinding model, ``binding`` the binding; ``facts`` is None if the browser that the device stands for is
#: not known.
binding_created: Final = Signal()

#: All tokens of a binding were revoked: a device was signed out.
#: ``sender`` is the TokenBinding model, ``binding`` the binding.
binding_revoked: Final = Signal()

#: The tokens of a user were ended, on all devices or all but one. ``sender`` is the user model, ``user`` the
#: user, and ``cause`` is ``sign_out_everywhere``, ``password_change`` or ``deactivation``.
user_signed_out: Final = Signal()

#: A login session has ended: a user was logged out in a browser, or it has expired and was cleared away.
#: ``sender`` is the LoginSession model, ``session`` the login session, with ``termination_reason``.
login_session_ended: Final = Signal()

#: A request was answered with the live token of its slot.
#: ``sender`` is the access-token model, ``access_token`` the token; ``facts``.
token_reused: Final = Signal()

#: A live token was ended because a newer one took its slot. ``sender`` is the access-token model,
#: ``access_token`` the token that was ended; ``facts`` are about the request that got the newer one.
token_superseded: Final = Signal()

#: A token was exchanged for another one (RFC 8693). ``sender`` is the access-token model; ``client`` and
#: ``subject_client`` are the applications that got the new token and had the old one, ``user`` is whose
#: tokens they are, ``act`` is the claim of that name or None, and ``scopes`` is a list; ``facts``.
token_exchanged: Final = Signal()


#: A token request was answered although an application's demand, had it been more than a report, would have
#: refused it. ``sender`` is the application model, ``application`` the application, ``user`` whose token it
#: is or None, ``binding`` the binding or None, and ``demand`` the name of the field of the token policy;
#: ``facts`` is None if a token was validated without a request.
demand_reported: Final = Signal()


def _facts_of_binding(binding: Any) -> Facts:
    return Facts(client_id=binding.application.client_id, user=binding.user_id, binding=binding)


def _facts_of_user(user: Any, cause: str) -> Facts:
    return Facts(user=user.pk)


def _facts_of_session(session: Any) -> Facts:
    return Facts(user=session.user_id, sid=session.sid)


def _facts_of_demand(application: Any, user: Any, binding: Any, demand: str) -> Facts:
    return Facts(client_id=application.client_id, user=None if user is None else user.pk, binding=binding)


#: What the audit log says when a signal is sent: about whom, from its arguments, and why. For token requests,
#: the entries are made where they are answered.
AUDITED: Final[Mapping[Signal, tuple[Event, Callable[..., Facts], Callable[..., str | None]]]] = {
    binding_created: (Event.BINDING_CREATED, _facts_of_binding, lambda binding: None),
    binding_revoked: (Event.BINDING_REVOKED, _facts_of_binding, lambda binding: None),
    user_signed_out: (Event.USER_SIGNED_OUT, _facts_of_user, lambda user, cause: cause),
    login_session_ended: (
        Event.LOGIN_SESSION_ENDED,
        _facts_of_session,
        lambda session: session.termination_reason,
    ),
    demand_reported: (
        Event.DEMAND_REPORTED,
        _facts_of_demand,
        lambda application, user, binding, demand: demand,
    ),
}


def is_wanted(signal: Signal, sender: type[models.Model]) -> bool:
    """Return whether anybody listens to a signal, or the audit log has an entry for it."""
    return signal.has_listeners(sender) or (signal in AUDITED and audit.is_on())


def send_after_commit(signal: Signal, sender: type[models.Model], using: str, **arguments: Any) -> None:
    """Send a signal when the transaction of a database is committed, or now if there is none.

    :param signal: one of the above; ``AUDITED`` has what the audit log says about it.
    :param using: alias of the database.
    """
    if signal in AUDITED and audit.is_on():
        event, facts_of, reason_of = AUDITED[signal]
        said = {name: value for name, value in arguments.items() if name != "facts"}
        device = arguments.get("facts")
        request = {} if device is None else {"REMOTE_ADDR": device.address}
        audit.tell(event, using, replace(facts_of(**said), meta=request), reason_of(**said))
    transaction.on_commit(partial(signal.send_robust, sender=sender, **arguments), using=using)
