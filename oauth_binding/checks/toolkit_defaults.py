"""Checks of the grants that django-oauth-toolkit refuses, or will refuse from 4.0 on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import CheckMessage, Tags, Warning, register
from django.db.models import Q
from oauth2_provider.models import AbstractApplication
from oauth2_provider.settings import oauth2_settings

from oauth_binding.checks.application_table import MAX_NAMED, DatabaseOutOfReachError, get_applications, named

#: Refuses the password grant (RFC 9700 section 2.4).
PASSWORD_GATE: Final = "COMPLIANT_BCP_RFC9700_PASSWORD_GRANT"  # noqa: S105

#: What refuses a grant -> the grant.
GATES: Final[Mapping[str, str]] = {
    PASSWORD_GATE: AbstractApplication.GRANT_PASSWORD,
    "COMPLIANT_BCP_RFC9700_IMPLICIT_GRANT": AbstractApplication.GRANT_IMPLICIT,
}


@register(Tags.models)
def check_grants(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W006 and W008: applications have no grant that the site refuses, or will refuse without having said so.

    If the database can't be asked, the check of the applications says so.
    """
    try:
        applications = get_applications()
    except DatabaseOutOfReachError:
        return []
    return [] if applications is None else list(_check_grants(applications))


def _check_grants(applications: Any) -> Iterator[CheckMessage]:
    for gate, grant in GATES.items():
        is_refused = bool(getattr(oauth2_settings, gate))
        is_announced = gate == PASSWORD_GATE and gate not in oauth2_settings.user_settings
        if not (is_refused or is_announced):
            continue
        # None of the other grant types has the word in its name.
        allowed = Q(authorization_grant_type=grant) | Q(additional_grant_types__contains=grant)
        with_grant = applications.filter(allowed).order_by("pk").values_list("client_id", flat=True)
        client_ids = list(with_grant[: MAX_NAMED + 1])
        if client_ids and is_refused:
            yield Warning(
                f"There are applications with the {grant} grant, which the site refuses: "
                f"{named(client_ids)}.",
                hint=f"Set OAUTH2_PROVIDER[{gate!r}] to False, or choose another grant type for them.",
                id="oauth_binding.W008",
            )
        elif client_ids:
            yield Warning(
                "There are applications with the password grant, which django-oauth-toolkit 4.0 is to refuse "
                "by default.",
                hint=f"Set OAUTH2_PROVIDER[{gate!r}] to False to go on with it, or to True to refuse it "
                "today, or choose another grant type for them.",
                id="oauth_binding.W006",
            )
