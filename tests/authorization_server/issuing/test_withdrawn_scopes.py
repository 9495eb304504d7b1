"""A scope that the server no longer offers is left out of what is granted anew, and ends no token."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.conf import settings

from tests.helpers.client import GRANTS, Site
from tests.helpers.exchange import allow, exchange
from tests.helpers.provider import provider


def without_write() -> Any:
    offered: Any = settings.OAUTH2_PROVIDER["SCOPES"]
    scopes = {name: text for name, text in offered.items() if name != "write"}
    return provider(SCOPES=scopes, DEFAULT_SCOPES=["read"])


@pytest.fixture(params=["opaque none", "opaque client-request", "jwt none", "jwt client-request"])
def options(request: pytest.FixtureRequest) -> dict[str, str]:
    token_type, binding = request.param.split()
    return {"token_type": token_type, "token_binding_type": binding}


def test_a_refresh_and_introspection_leave_it_out(
    make_site: Callable[..., Site], options: dict[str, str]
) -> None:
    site = make_site(**options)
    pair = site.bound("phone", scope="read write")
    with without_write():
        assert site.introspect(pair.access)["scope"] == "read"
        assert site.introspect(pair.refresh)["scope"] == "read"
        refused = site.refresh(pair.refresh, scope="read write")
        assert (refused.status, refused["error"]) == (400, "invalid_scope")
        refreshed = site.refresh(pair.refresh)

        assert (refreshed.status, refreshed["scope"]) == (200, "read")
    assert site.introspect(refreshed.access)["scope"] == "read", "it does not come back"


def test_a_refresh_that_would_grant_nothing_is_refused_and_loses_nothing(
    make_site: Callable[..., Site], options: dict[str, str]
) -> None:
    site = make_site(**options)
    pair = site.bound("phone", scope="write")
    with without_write():
        refused = site.refresh(pair.refresh)
        assert (refused.status, refused["error"]) == (400, "invalid_scope")

    assert site.refresh(pair.refresh).status == 200


@pytest.mark.parametrize("grant_type", ["authorization_code", [*GRANTS][-1]])
def test_a_code(make_site: Callable[..., Site], options: dict[str, str], grant_type: str) -> None:
    site = make_site(grant_type, **options)
    form = site.grant(scope="read write")
    with without_write():
        answer = site.post("/oauth2/token/", form)

    assert (answer.status, answer["scope"]) == (200, "read")


@pytest.mark.parametrize("grant_type", ["authorization_code", [*GRANTS][-1]])
def test_a_code_that_would_grant_nothing(
    make_site: Callable[..., Site], options: dict[str, str], grant_type: str
) -> None:
    site = make_site(grant_type, **options)
    form = site.grant(scope="write")
    with without_write():
        refused = site.post("/oauth2/token/", form)
        assert (refused.status, refused["error"]) == (400, "invalid_scope")

    assert site.post("/oauth2/token/", form).status == 200, "nothing was redeemed"


def test_an_exchange(make_site: Callable[..., Site], options: dict[str, str]) -> None:
    site = make_site(additional_grant_types="token-exchange", **options)
    allow(site, site)
    pair = site.bound("phone", scope="read write")
    with without_write():
        answer = exchange(site, pair.access, tokenBindingId="another")

    assert (answer.status, answer["scope"]) == (200, "read")
