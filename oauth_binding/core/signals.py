"""Signals for a site's own audit log or mail ("a new device has signed in").

They are sent after the transaction has been committed, so a receiver never learns of what did not happen.
An exception in a receiver is logged by Django, and changes nothing for the client. Do not log the text of a
token.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from django.db import models, transaction
from django.dispatch import Signal

#: A device, or another client instance, was seen for the first time, with good credentials.
#: ``sender`` is the TokenBinding model, ``binding`` the binding.
binding_created: Final = Signal()

#: All tokens of a binding were revoked: a device was signed out.
#: ``sender`` is the TokenBinding model, ``binding`` the binding.
binding_revoked: Final = Signal()

#: The tokens of a user were ended, on all devices or all but one. ``sender`` is the user model, ``user`` the
#: user, and ``cause`` is ``sign_out_everywhere``, ``password_change`` or ``deactivation``.
user_signed_out: Final = Signal()

#: A request was answered with the live token of its slot.
#: ``sender`` is the access-token model, ``access_token`` the token.
token_reused: Final = Signal()

#: A live token was ended because a newer one took its slot.
#: ``sender`` is the access-token model, ``access_token`` the token that was ended.
token_superseded: Final = Signal()

#: A token was exchanged for another one (RFC 8693). ``sender`` is the access-token model; ``client`` and
#: ``subject_client`` are the applications that got the new token and had the old one, ``user`` is whose
#: tokens they are, ``act`` is the claim of that name or None, and ``scopes`` is a list.
token_exchanged: Final = Signal()


#: A token request was answered that an application's demand would have refused, had it been more than a
#: report. ``sender`` is the application model, ``application`` the application, ``user`` whose token it is or
#: None, ``binding`` the binding or None, and ``demand`` the name of the field of the token policy.
demand_reported: Final = Signal()


def send_after_commit(signal: Signal, sender: type[models.Model], using: str, **arguments: Any) -> None:
    """Send a signal when the transaction of a database is committed, or now if there is none.

    :param signal: one of the above.
    :param using: alias of the database.
    """
    transaction.on_commit(partial(signal.send_robust, sender=sender, **arguments), using=using)
