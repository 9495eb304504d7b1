"""An authorization code that is ended or redeemed while a request with it is being validated.

tests/concurrency has the same between processes, and leaves the moment to chance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from oauth2_provider.oauth2_validators import OAuth2Validator

from oauth_binding.devices import sign_out_everywhere
from tests.helpers.client import Answer, Site

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["client-request", "none"])
def site(request: pytest.FixtureRequest, make_site: Callable[..., Site]) -> Site:
    return make_site("authorization_code", token_binding_type=request.param)


@pytest.fixture(params=["get_code_challenge", "get_code_challenge_method", "confirm_redirect_uri"])
def before(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that has something done before one of the checks of a code, once."""

    def do(work: Callable[[], Any]) -> None:
        check, pending = getattr(OAuth2Validator, request.param), [work]

        def check_late(*args: Any, **kwargs: Any) -> Any:
            if pending:
                pending.pop()()
            return check(*args, **kwargs)

        monkeypatch.setattr(OAuth2Validator, request.param, check_late)

    return do


def test_a_code_that_is_ended_is_refused(site: Site, before: Callable[..., None]) -> None:
    form = site.authorization_code()
    before(lambda: sign_out_everywhere(site.user))  # type: ignore[arg-type]
    answer = site.post("/oauth2/token/", form)
    assert (answer.status, answer["error"]) == (400, "invalid_grant")


def test_a_code_that_another_request_redeems_is_replayed(site: Site, before: Callable[..., None]) -> None:
    """What the first one was answered ends, as with any replay (RFC 6749 section 4.1.2)."""
    form = site.authorization_code()
    first: list[Answer] = []
    before(lambda: first.append(site.post("/oauth2/token/", form)))
    answer = site.post("/oauth2/token/", form)
    assert (answer.status, answer["error"]) == (400, "invalid_grant")
    assert first[0].status == 200
    assert not site.active(first[0].access)
