"""What a device or a browser looks like: what its requests said about themselves."""

from __future__ import annotations

from typing import Any, Literal

from django.db import models
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from oauth_binding.core.device_facts import DeviceFacts
from oauth_binding.core.places import MAX_PLACE_LENGTH
from oauth_binding.core.user_agents import MAX_FACT_LENGTH


def fact_field(verbose_name: Any, max_length: int = MAX_FACT_LENGTH) -> models.CharField[str, str]:
    """Return the field for a fact that is read off a request; empty if nothing is known."""
    return models.CharField(
        verbose_name, max_length=max_length, blank=True, default="", db_default="", editable=False
    )


class Sighted(models.Model):
    """Keeps what was seen of a client at its first and its last use.

    None of this is proven: whoever makes a request says what they like. It helps people to recognise their
    devices, and decides nothing.
    """

    first_browser = fact_field(_("browser at first"))
    first_os = fact_field(_("operating system at first"))
    first_device = fact_field(_("kind of device at first"))
    first_address = models.GenericIPAddressField(_("address at first"), null=True, editable=False)
    first_place = fact_field(_("place at first"), MAX_PLACE_LENGTH)
    last_browser = fact_field(_("browser"))
    last_os = fact_field(_("operating system"))
    last_device = fact_field(_("kind of device"))
    last_address = models.GenericIPAddressField(_("address"), null=True, editable=False)
    last_place = fact_field(_("place"), MAX_PLACE_LENGTH)

    class Meta:
        abstract = True

    @property
    def facts(self) -> DeviceFacts:
        """What was seen at the last use."""
        return DeviceFacts(
            browser=self.last_browser,
            os=self.last_os,
            device=self.last_device,
            address=self.last_address or "",
            place=self.last_place,
        )

    def see(self, facts: DeviceFacts) -> None:
        """Set what was seen at the last use to what is seen now; the row is not saved."""
        for column, value in sighting("last", facts).items():
            setattr(self, column, value)

    @property
    def description(self) -> str:
        """What it looks like, as people would put it ("Firefox on Windows"); empty if nothing is known."""
        return looks_like(self.last_browser, self.last_device or self.last_os)


def looks_like(browser: str, machine: str) -> str:
    """Return what something looks like, by its browser and what that runs on; each may be empty."""
    if browser and machine:
        return gettext("%(browser)s on %(machine)s") % {"browser": browser, "machine": machine}
    return browser or machine


def sighting(when: Literal["first", "last"], facts: DeviceFacts) -> dict[str, Any]:
    """Return the columns of a sighting, by their names.

    :param facts: what was seen.
    """
    return {
        f"{when}_browser": facts.browser,
        f"{when}_os": facts.os,
        f"{when}_device": facts.device,
        f"{when}_address": facts.address or None,
        f"{when}_place": facts.place,
    }
