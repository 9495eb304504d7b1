"""Checks that no client passes for a user."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from oauth2_provider.settings import oauth2_settings

from oauth_binding.checks.application_table import MAX_NAMED, DatabaseOutOfReachError, get_applications, named
from oauth_binding.models import could_be_user_key, names_a_user


@register(Tags.security)
def check_generated_client_ids(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E025: client ids that the site generates can't be taken for users' primary keys."""
    try:
        client_id = oauth2_settings.CLIENT_ID_GENERATOR_CLASS().hash()
    except (AttributeError, ImportError, TypeError):
        return []  # django-oauth-toolkit says so
    if not isinstance(client_id, str) or not could_be_user_key(client_id):
        return []
    return [
        Error(
            "OAUTH2_PROVIDER['CLIENT_ID_GENERATOR_CLASS'] makes client ids of the form that primary keys of "
            "users have: no application can be registered with one.",
            hint="Let it make others, for instance with a prefix; or leave it out.",
            id="oauth_binding.E025",
        )
    ]


@register(Tags.models)
def check_client_ids(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """W013: no application has a client id that could be the primary key of a user.

    If the database can't be asked, the check of the applications says so.
    """
    try:
        applications = get_applications()
    except DatabaseOutOfReachError:
        return []
    if applications is None:
        return []
    client_ids = applications.order_by("pk").values_list("client_id", flat=True)
    found = list(islice(filter(names_a_user, client_ids.iterator()), MAX_NAMED + 1))
    if not found:
        return []
    return [
        Warning(
            f"There are applications whose client id could be the primary key of a user: {named(found)}. "
            "The tokens they get for themselves have no sub in introspection, and they get no JWTs for "
            "themselves.",
            hint="Give them other client ids, and tell their clients.",
            id="oauth_binding.W013",
        )
    ]
