"""Checks of what applications ask for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Info, Tags, register

from oauth_binding.authorization_server.toolkit.client_secrets import GeneratedSecretHasher, is_installed
from oauth_binding.binding.semantics import TokenType
from oauth_binding.checks.application_table import DatabaseOutOfReachError, get_applications
from oauth_binding.checks.client_secrets import HASHER_PATH
from oauth_binding.checks.keys import check_algorithm, check_successor
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import binding_type_choices

_FAST_HASH = f"{GeneratedSecretHasher.algorithm}$"


@register(Tags.models)
def check_applications(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E009, E012, E022, W004, W023 and I001: what applications ask for is set up.

    Only the table of applications can tell, so this asks the database. Before the first migration there is
    nothing to say; if the database is out of reach, as while images are built, the check says that.
    """
    try:
        applications = get_applications()
    except DatabaseOutOfReachError as error:
        return [
            Info(
                f"The applications were not checked: {error}.",
                hint="Run 'manage.py check' again where they can be.",
                id="oauth_binding.I001",
            )
        ]
    return [] if applications is None else list(_check_applications(applications))


def _check_applications(applications: Any) -> Iterator[CheckMessage]:
    with_jwts = applications.filter(token_type=TokenType.JWT.value).order_by("access_token_algorithm")
    chosen = set(with_jwts.values_list("access_token_algorithm", flat=True).distinct())
    if chosen and binding_settings.revocation_feed:
        chosen.add("")  # signs the feed
    for algorithm in sorted(chosen):
        whose = "An application's" if algorithm else "The site's default"
        if algorithm or "SIGNING_ALGORITHM" not in binding_settings.user_settings:
            yield from check_algorithm(algorithm or binding_settings.signing_algorithm, whose)
    for algorithm in sorted({algorithm or binding_settings.signing_algorithm for algorithm in chosen}):
        yield from check_successor(algorithm)
    if not is_installed() and applications.filter(client_secret__startswith=_FAST_HASH).exists():
        yield Error(
            "There are applications whose client secret has the fast hash, but no hasher that verifies it.",
            hint=f"Keep {HASHER_PATH!r} last in PASSWORD_HASHERS; without "
            "CLIENT_SECRET_HASHER each client's next request gives its secret a slow hash again.",
            id="oauth_binding.E022",
        )
    installed = [binding_type for binding_type, _label in binding_type_choices()]
    binding_types = applications.order_by("token_binding_type").values_list("token_binding_type", flat=True)
    for binding_type in binding_types.exclude(token_binding_type__in=installed).distinct():
        yield Error(
            f"There are applications with the token binding type {binding_type!r}, which is not installed.",
            hint="Add its binder to OAUTH_BINDING['BINDERS'], or choose another type for them.",
            id="oauth_binding.E012",
        )
