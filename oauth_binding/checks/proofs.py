"""Checks of what proofs of possession need."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from oauth2_provider.settings import oauth2_settings

from oauth_binding.checks.application_table import DatabaseOutOfReachError, get_applications
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import NO_CONSTRAINT
from oauth_binding.proof.shared_caches import problem_of


@register(Tags.security, deploy=True)
def check_proofs(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E032 and W024: used proofs are remembered by all processes, and the public address is known."""
    return [*_check_cache(), *_check_address()]


def _check_cache() -> Iterator[CheckMessage]:
    alias = binding_settings.dpop_replay_cache
    problem = None if alias is None else problem_of(alias)
    if problem:
        yield Error(
            f"OAUTH_BINDING['DPOP_REPLAY_CACHE'] is {alias!r}, a cache {problem}: proofs could be reused.",
            hint="Name a cache of Redis or Memcached, or leave the setting out for a table of the database.",
            id="oauth_binding.E032",
        )


def _check_address() -> Iterator[CheckMessage]:
    if oauth2_settings.OIDC_ISS_ENDPOINT or settings.SECURE_PROXY_SSL_HEADER:
        return
    try:
        applications = get_applications()
    except DatabaseOutOfReachError:
        return  # I001 says so
    if applications is None:
        return
    constrained = applications.filter(token_policy__isnull=False).exclude(
        token_policy__sender_constraint=NO_CONSTRAINT
    )
    if constrained.exists():
        yield Warning(
            "There are applications whose clients prove keys, and proofs name the public address of the "
            "server, which can't be known behind a proxy that ends TLS.",
            hint="Set OAUTH2_PROVIDER['OIDC_ISS_ENDPOINT'], and SECURE_PROXY_SSL_HEADER if there is a proxy.",
            id="oauth_binding.W024",
        )
