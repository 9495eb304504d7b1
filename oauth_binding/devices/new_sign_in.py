"""The mail that tells users of a sign-in on a device that is new to an application.

Whoever has the password can make up any number of devices, from any number of processes at once. So the mails
of a day are counted by what is in the database anyway: primary keys give the order of the user's bindings,
and the first ones of the day are mailed. No burst can send more mails, or keep the first one from being sent.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.mail import send_mail
from django.db import OperationalError, connections
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.translation import get_language, override

from oauth_binding.core.addresses import endpoint_url
from oauth_binding.core.databases import deciding, write_alias, written
from oauth_binding.core.log_lines import one_line
from oauth_binding.core.settings import binding_settings
from oauth_binding.core.signals import binding_created
from oauth_binding.models import SSO_SESSION, TokenBinding, looks_like
from oauth_binding.storage import users
from oauth_binding.storage.attempts import is_given_up, tokens_transaction

#: How many mails a user gets in a day at most. The last one says that it is the last.
MAX_PER_DAY: Final = 3

#: How long to wait for other requests that issue to the user, in seconds.
LONGEST_WAIT: Final = 2

_SUBJECT: Final = "oauth_binding/mail/new_sign_in_subject.txt"
_BODY: Final = "oauth_binding/mail/new_sign_in.txt"


def connect() -> None:
    """Have mails sent about new devices, if the site wants that. Otherwise this asks the database nothing."""
    is_right = isinstance(binding_settings.user_settings, dict)  # otherwise, the check E005 says so
    if is_right and binding_settings.new_sign_in_mail:
        binding_created.connect(_mail, sender=TokenBinding)


@deciding()
def _mail(binding: TokenBinding, **kwargs: Any) -> None:
    """Tell the user of a new binding, unless it is the first device ever, or enough mails were sent today.

    An exception is logged by the sender of the signal, and changes nothing for the client.
    """
    # A browser that logs in again is not a new device.
    if binding.user_id is None or binding.binding_type == SSO_SESSION:
        return
    if _earlier_today(binding) >= MAX_PER_DAY:
        return
    _wait_for_issuers(binding.user_id)
    earlier = _earlier_today(binding)
    if earlier >= MAX_PER_DAY or not _has_other(binding):
        return
    bindings = written(TokenBinding).select_related("user", "application")
    current: TokenBinding | None = bindings.filter(pk=binding.pk).first()
    if current is not None:
        _send(current, is_last=earlier == MAX_PER_DAY - 1)


def _wait_for_issuers(user_pk: Any) -> None:
    """Wait for requests that began to issue earlier: then an earlier binding is there, or never will be.

    Whoever issues has a shared lock on the user's row; here, it is locked exclusively. PostgreSQL lets those
    who share it go before those who wait, so there the wait has a limit: better one mail too many than none.
    """
    connection = connections[write_alias(get_user_model())]
    try:
        with tokens_transaction():
            if connection.vendor == "postgresql":
                with connection.cursor() as cursor:
                    cursor.execute(f"SET LOCAL lock_timeout = '{LONGEST_WAIT}s'")
            users.lock(user_pk)
    except OperationalError as error:
        if not is_given_up(error):
            raise


def _earlier_today(binding: TokenBinding) -> int:
    """Return how many earlier bindings of the user are from the same day, as far as that matters."""
    earlier = written(TokenBinding).filter(user=binding.user_id, pk__lt=binding.pk).order_by("-pk")
    moments = earlier.values_list("created", flat=True)[:MAX_PER_DAY]
    return sum(_day(moment) == _day(binding.created) for moment in moments)


def _day(moment: datetime) -> Any:
    """Return the date of a moment in the site's time zone, whatever zone is active."""
    if timezone.is_naive(moment):
        return moment.date()
    return timezone.localdate(moment, timezone.get_default_timezone())


def _has_other(binding: TokenBinding) -> bool:
    """Return whether the user had another device before.

    The row of a shared slot may have been made for the sake of another device, before it stood for one
    itself.
    """
    others = written(TokenBinding).filter(user=binding.user_id).exclude(pk=binding.pk)
    found = others.filter(pk__lt=binding.pk) | others.filter(created__lt=binding.created)
    return bool(found.exists())


def _send(binding: TokenBinding, *, is_last: bool) -> None:
    user: Any = binding.user
    address = getattr(user, address_name(), None)
    if not address:
        return
    context = {
        "user": user,
        "binding": binding,
        # Somebody else may have chosen it.
        "application": one_line(binding.application),
        # Not its name or kind: whoever signed in may have sent those, and they could be any sentence.
        "device": looks_like(binding.last_browser, binding.last_os),
        "created": binding.created,
        "place": binding.last_place,
        "address": binding.last_address or "",
        "devices_url": endpoint_url(None, "device-list") or "",
        "is_last": is_last,
    }
    with override(get_language() or settings.LANGUAGE_CODE), timezone.override(None):
        subject = " ".join(render_to_string(_SUBJECT, context).split())
        send_mail(subject, render_to_string(_BODY, context), None, [address])


def address_name() -> str:
    """Return the name of the users' field for their mail address, whether or not there is one."""
    model: Any = get_user_model()
    return str(model.get_email_field_name()) if hasattr(model, "get_email_field_name") else "email"
