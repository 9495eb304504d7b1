"""How many SQL queries a request takes: what is slow on a busy site."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from oauth_binding.authorization_server import BindingOAuth2Validator
from tests.helpers.client import Site
from tests.helpers.provider import provider


def count_queries(call: Callable[[], object]) -> int:
    """Return how many queries a call takes; transaction control not counted."""
    with CaptureQueriesContext(connection) as captured:
        call()
    control = ("BEGIN", "SAVEPOINT", "RELEASE", "COMMIT")
    return sum(not query["sql"].startswith(control) for query in captured.captured_queries)


# Two of each are for the application and the user.
@pytest.mark.parametrize(
    ("token_type", "first", "second", "number"),
    [
        ("opaque", "phone", "phone", 4),
        ("opaque", None, None, 4),
        ("opaque", "phone", "laptop", 7),
        ("jwt", "phone", "phone", 8),
        ("jwt", None, None, 8),
        ("jwt", "phone", "laptop", 9),
    ],
)
def test_a_login(
    make_bound: Callable[..., Site],
    settings: Any,
    token_type: str,
    first: str | None,
    second: str | None,
    number: int,
) -> None:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "REVOCATION_FEED": False}
    site = make_bound(token_type)
    site.bound(first)
    if connection.vendor == "postgresql" and token_type == "jwt":
        number -= 1  # what ends the token before is sent together
    if connection.vendor == "mysql" and token_type == "jwt" and first == second:
        number += 1  # an UPDATE returns no primary key

    assert count_queries(lambda: site.bound(second)) == number


@pytest.mark.skipif(connection.vendor != "postgresql", reason="is an option of PostgreSQL's")
@pytest.mark.django_db(transaction=True)
def test_a_login_where_statements_can_not_be_sent_together(
    make_bound: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "server_side_binding", True)
    monkeypatch.setattr(connection.features, "uses_server_side_binding", True)
    connection.close()
    site = make_bound("jwt")
    first = site.bound("phone")

    second = site.bound("phone")

    connection.close()
    monkeypatch.undo()
    assert (site.active(first.access), site.active(second.access)) == (False, True)
    assert site.refresh(first.refresh).status == 400


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_login_at_an_application_without_binding(make_site: Callable[..., Site], token_type: str) -> None:
    site = make_site(token_type=token_type)

    assert count_queries(site.token) == 5


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_an_introspection(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    token = site.bound("phone").access

    assert count_queries(lambda: site.introspect(token)) == 2


def test_a_request_of_no_client_or_an_unknown_one(make_bound: Callable[..., Site]) -> None:
    site = make_bound()

    def ask(**client: str) -> Any:
        form = {"grant_type": "client_credentials", **client}
        return site.post("/oauth2/token/", form, authenticate=False)

    assert count_queries(lambda: ask()) == 0
    assert count_queries(lambda: ask(client_id="unknown", client_secret="unknown")) == 1
    assert ask()["error"] == ask(client_id="unknown", client_secret="unknown")["error"] == "invalid_client"


# django-oauth-toolkit's own are 8; these lock the user and the binding, and ask whether tokens are exchanged.
@pytest.mark.parametrize(("which", "number"), [("access", 9), ("refresh", 10)])
def test_a_revocation(make_bound: Callable[..., Site], settings: Any, which: str, number: int) -> None:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "REVOCATION_FEED": False}
    site = make_bound()
    token = getattr(site.bound("phone"), which)

    assert count_queries(lambda: site.post("/oauth2/revoke_token/", {"token": token})) == number


def test_a_revocation_of_nothing(make_bound: Callable[..., Site]) -> None:
    site = make_bound()

    assert count_queries(lambda: site.post("/oauth2/revoke_token/", {"token": "unknown"})) == 3


class CountsRotations(BindingOAuth2Validator):
    asked: ClassVar[list[Any]] = []

    def rotate_refresh_token(self, request: Any) -> bool:
        self.asked.append(request)
        return True


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_whether_refresh_tokens_rotate_is_asked_once(
    make_bound: Callable[..., Site], make_site: Callable[..., Site], token_type: str
) -> None:
    bound, unbound = make_bound(token_type), make_site(token_type=token_type)
    with provider(OAUTH2_VALIDATOR_CLASS=CountsRotations):
        for site, times in ((bound, 1), (unbound, 2)):  # the latter as with django-oauth-toolkit alone
            token = site.token()
            CountsRotations.asked.clear()

            assert site.refresh(token.refresh).status == 200

            assert len(CountsRotations.asked) == times
