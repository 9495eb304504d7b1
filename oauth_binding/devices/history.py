"""The history of what was ended and renamed, and by whom: the entries of Django's admin (``LogEntry``).

What happened to a binding is also in the histories of its user and its application, which are still there
when the binding is gone.
"""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.utils.translation import gettext, ngettext

from oauth_binding.devices.registry import Device
from oauth_binding.models import LoginSession, TokenBinding
from oauth_binding.models.binding import LABEL_LENGTH


def note(actor: Any, rows: list[Any], text: str) -> None:
    """Note something in the history of some rows, if the site has Django's admin.

    :param actor: the user who has done it.
    :param rows: of any models.
    """
    if not apps.is_installed("django.contrib.admin"):
        return
    from django.contrib.admin.models import CHANGE, LogEntry

    LogEntry.objects.log_actions(actor.pk, rows, CHANGE, text)


def holders(row: Any) -> list[Any]:
    """Return the user and the application of a binding, a token or a login session, as far as it has them."""
    found = (getattr(row, name, None) for name in ("user", "application"))
    return [holder for holder in found if holder is not None]


def described(row: Any) -> str:
    """Return what the history calls a binding, a token or a login session: whose it is, and its reference."""
    if isinstance(row, TokenBinding | LoginSession):
        what = _called(row)
    else:
        what = str(row) if row.binding is None else f"{row}, {_called(row.binding)}"
    names = (getattr(row, "application", None), None if row.user is None else row.user.get_username())
    whose = ", ".join(str(name) for name in names if name is not None)
    return f"{whose}: {what}" if whose else what


def _called(row: TokenBinding | LoginSession) -> str:
    if isinstance(row, LoginSession):
        name, reference = row.description, row.label
    elif row.is_shared:
        return gettext("(shared)")
    else:
        name, reference = row.name or row.description, row.reference[:LABEL_LENGTH]
    return f"{name} ({reference})" if name else reference


# What users have done themselves


def note_device_signed_out(user: Any, device: Device) -> None:
    """Note that a user has signed a device out."""
    binding = device.binding
    if binding is None:
        rows = [user, device.application]
        what = f"{device.application}, {user.get_username()}: {device.name}"
    else:
        binding.user = user  # as it is now; it may not have been read
        rows, what = [binding, *holders(binding)], described(binding)
    note(user, rows, gettext("Signed out: %(what)s.") % {"what": what})


def note_browser_signed_out(user: Any, session: LoginSession) -> None:
    """Note that a user has signed a browser out."""
    session.user = user
    note(user, [session, user], gettext("Signed out: %(what)s.") % {"what": described(session)})


def note_others_signed_out(user: Any, number: int) -> None:
    """Note that a user has signed out everywhere else.

    :param number: the number of devices and browsers that were signed out.
    """
    text = ngettext(
        "Signed out everywhere else: %(number)d device or browser.",
        "Signed out everywhere else: %(number)d devices and browsers.",
        number,
    )
    note(user, [user], text % {"number": number})


def note_renamed(user: Any, binding: TokenBinding, before: str) -> None:
    """Note that a user has given a device another name.

    :param before: the name that it had; empty for none.
    """
    if binding.name == before:
        return
    binding.user = user
    text = gettext("Renamed: %(what)s, from “%(before)s” to “%(after)s”.")
    values = {"what": described(binding), "before": before, "after": binding.name}
    note(user, [binding, *holders(binding)], text % values)
