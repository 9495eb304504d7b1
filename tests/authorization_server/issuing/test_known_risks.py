"""What "Known risks" in docs/semantics.md says: consequences of the rules that a site should know."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.contrib.auth.models import User

from oauth_binding.devices import devices_of, sign_out
from tests.helpers.client import Site
from tests.helpers.provider import provider
from tests.helpers.rows import access_token_row


def test_an_opaque_login_after_a_theft_is_answered_with_the_pair_of_the_thief(
    make_bound: Callable[..., Site], user: User
) -> None:
    site = make_bound()
    stolen = site.bound("phone").refresh
    thief = site.refresh(stolen)

    login = site.bound("phone")

    assert (login.access, login.refresh) == (thief.access, thief.refresh)
    # What the page says to do.
    (device,) = devices_of(user)
    sign_out(user, device)
    assert not site.active(thief.access)
    assert site.refresh(thief.refresh).status == 400
    assert site.bound("phone").access != thief.access


def test_a_jwt_login_after_a_theft_ends_the_pair_of_the_thief(make_bound: Callable[..., Site]) -> None:
    site = make_bound("jwt")
    thief = site.refresh(site.bound("phone").refresh)

    site.bound("phone")

    assert not site.active(thief.access)
    assert site.refresh(thief.refresh).status == 400


def test_two_devices_in_the_shared_slot_end_each_other_with_reuse_protection(
    make_bound: Callable[..., Site],
) -> None:
    with provider(REFRESH_TOKEN_REUSE_PROTECTION=True):
        site = make_bound()
        first, second = site.bound(None), site.bound(None)
        assert first.refresh == second.refresh
        refreshed = site.refresh(first.refresh)
        assert site.active(refreshed.access)

        assert site.refresh(second.refresh)["error"] == "invalid_grant"

        assert not site.active(refreshed.access)
        assert site.refresh(refreshed.refresh)["error"] == "invalid_grant"


@pytest.mark.parametrize("demand", ["no", "report", "yes"])
def test_an_identifier_at_the_authorization_endpoint_is_ignored(
    make_bound: Callable[..., Site], demand: str
) -> None:
    site = make_bound("opaque", "authorization_code", require_binding=demand)
    form = site.authorization_code(tokenBindingId="phone")

    answer = site.post("/oauth2/token/", form)

    if demand == "yes":
        assert answer["error_description"] == "tokenBindingId is required by this client."
    else:
        assert access_token_row(answer.access).binding.reference == ""
