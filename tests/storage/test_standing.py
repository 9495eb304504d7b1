"""Codes of a user without standing, and device codes: what is redeemed once, and what is not lost.

Which doors are closed to whom is the table of tests/ended/.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection

from tests.helpers.client import GRANTS, Site

TOKEN_TYPES = ("opaque", "jwt")
BINDINGS = ("none", "client-request")


def deactivate(user: User, *, active: bool = False) -> None:
    """Change a user by SQL alone."""
    table = connection.ops.quote_name(User._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET is_active = %s WHERE id = %s", [active, user.pk])


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
@pytest.mark.parametrize("grant_type", ["authorization_code", [*GRANTS][-1]])
def test_a_code_of_a_user_without_standing(
    make_bound: Callable[..., Site], user: User, grant_type: str, token_type: str
) -> None:
    site = make_bound(token_type, grant_type)
    form = site.grant()

    deactivate(user)
    refused = site.post("/oauth2/token/", form)
    deactivate(user, active=True)

    assert refused.status == 400
    assert refused["error"] in ("invalid_grant", "access_denied")
    assert site.post("/oauth2/token/", form).status == 200, "nothing was redeemed"


@pytest.mark.parametrize("binding", BINDINGS)
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_a_device_code_is_redeemed_once(
    make_site: Callable[..., Site], token_type: str, binding: str
) -> None:
    site = make_site([*GRANTS][-1], token_type=token_type, token_binding_type=binding)
    form = site.grant()
    first = site.post("/oauth2/token/", form)
    assert first.status == 200, first.data

    for extra in ([], [("tokenBindingId", "another")]):
        again = site.post("/oauth2/token/", [*form, *extra])
        assert (again.status, again["error"]) == (400, "expired_token")

    assert site.active(first.access)


def test_a_device_code_that_is_answered_with_a_live_token_is_redeemed_once(
    make_bound: Callable[..., Site],
) -> None:
    site = make_bound("opaque", [*GRANTS][-1])
    first, form = site.token(), site.grant()

    second = site.post("/oauth2/token/", form)
    third = site.post("/oauth2/token/", form)

    assert second.access == first.access
    assert (third.status, third["error"]) == (400, "expired_token")
