"""Standing: a user who is deactivated, be it by SQL alone, finds every door closed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User
from django.db import connection
from oauth2_provider.models import get_application_model

from tests.helpers.client import GRANTS, Answer, Site
from tests.helpers.exchange import allow, exchange

TOKEN_TYPES = ("opaque", "jwt")
BINDINGS = ("none", "client-request")

#: By door: whether it lets a token pair in.
DOORS: dict[str, Callable[[Site, Answer], bool]] = {
    "API": lambda site, pair: site.api(pair.access) == 200,
    "userinfo": lambda site, pair: userinfo(site, pair.access) == 200,
    "introspection of the access token": lambda site, pair: site.active(pair.access),
    "introspection of the refresh token": lambda site, pair: site.active(pair.refresh),
    "refresh": lambda site, pair: site.refresh(pair.refresh).status == 200,
    "exchange": lambda site, pair: exchange(site, pair.access).status == 200,
}


def userinfo(site: Site, token: str) -> int:
    return site.http.get("/oauth2/userinfo/", headers={"Authorization": f"Bearer {token}"}).status_code


def deactivate(user: User, *, active: bool = False) -> None:
    """Change a user by SQL alone."""
    table = connection.ops.quote_name(User._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET is_active = %s WHERE id = %s", [active, user.pk])


@pytest.fixture(params=[(one, other) for one in TOKEN_TYPES for other in BINDINGS], ids="-".join)
def site(request: pytest.FixtureRequest, make_site: Callable[..., Site]) -> Site:
    token_type, binding = request.param
    site = make_site(
        token_type=token_type, token_binding_type=binding, additional_grant_types="token-exchange"
    )
    allow(site, site)
    return site


@pytest.mark.parametrize("door", DOORS)
def test_a_pair_of_a_user_without_standing(site: Site, user: User, door: str) -> None:
    is_open = DOORS[door]
    pair = site.token(scope="openid read")
    assert is_open(site, pair)
    pair = site.bound("another", scope="openid read")

    deactivate(user)
    closed = is_open(site, pair)
    deactivate(user, active=True)

    assert closed is False
    assert is_open(site, pair), "standing is asked, and ends nothing"


@pytest.mark.parametrize("door", ["API", "userinfo", "introspection of the access token"])
def test_a_token_of_an_application_without_standing(
    site: Site, make_site: Callable[..., Site], door: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, asking = site.token(scope="openid read"), make_site()
    assert DOORS[door](asking, pair)
    model = get_application_model()

    monkeypatch.setattr(
        model, "is_usable", lambda application, request: application.pk != site.application.pk
    )

    assert DOORS[door](asking, pair) is False


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
