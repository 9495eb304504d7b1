"""How many SQL queries a request takes: what is slow on a busy site."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext

from oauth_binding.authorization_server import BindingOAuth2Validator
from oauth_binding.models import TokenPolicy
from oauth_binding.storage.prepared_sql import takes_several_statements
from tests.helpers.client import REDIRECT_URI, Site, set_policy
from tests.helpers.login_sessions import login, signed_in
from tests.helpers.provider import provider


def count_queries(call: Callable[[], object]) -> int:
    """Return how many queries a call takes; transaction control not counted."""
    with CaptureQueriesContext(connection) as captured:
        call()
    control = ("BEGIN", "SAVEPOINT", "RELEASE", "COMMIT")
    return sum(not query["sql"].startswith(control) for query in captured.captured_queries)


#: A policy that sets all there is.
FULL_POLICY: dict[str, Any] = {
    "require_binding": "report",
    "sender_constraint": "dpop",
    "require_sender_constraint": "no",
    "access_token_lifetime": 1_800,
    "client_token_lifetime": 600,
    "constrained_token_lifetime": 3_600,
    "refresh_token_lifetime": 86_400,
    "login_lifetime": 86_400,
    "reuse_min_lifetime": 60,
    "rotate_refresh_tokens": True,
    "refresh_token_reuse_protection": True,
    "allowed_audiences": "https://api.example https://other.example",
    "default_audiences": "https://api.example",
    "claims": "email",
    "max_devices": 5,
    "device_limit_action": "evict",
    "revoke_on_logout": "session",
    "backchannel_logout_uri": "https://client.example/logout",
    "backchannel_logout_session_required": True,
}


def test_the_full_policy_is_full() -> None:
    fields = {field.name for field in TokenPolicy._meta.concrete_fields}
    assert fields - FULL_POLICY.keys() == {"id", "application", "require_presented_binding"}


# Two of each are for the application and the user, and of a new device two for the limit.
@pytest.mark.parametrize("policy", [{}, FULL_POLICY], ids=["no policy", "a full policy"])
@pytest.mark.parametrize(
    ("token_type", "first", "second", "number"),
    [
        ("opaque", "phone", "phone", 4),
        ("opaque", None, None, 4),
        ("opaque", "phone", "laptop", 9),
        ("jwt", "phone", "phone", 8),
        ("jwt", None, None, 8),
        ("jwt", "phone", "laptop", 9),
    ],
)
def test_a_login(
    make_bound: Callable[..., Site],
    settings: Any,
    policy: dict[str, Any],
    token_type: str,
    first: str | None,
    second: str | None,
    number: int,
) -> None:
    sources = {"CLAIM_SOURCES": {"email": "email"}}
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "REVOCATION_FEED": False, **sources}
    site = make_bound(token_type)
    if policy:
        set_policy(site.application, **{**policy, **({"require_binding": "no"} if first is None else {})})
    assert site.bound(first).status == 200
    if takes_several_statements(connection):
        is_new, is_jwt = first != second, token_type == "jwt"
        # Sent together are: the locks on the user and what is next; what ends the token before; and for a new
        # device the gate and the count, which come next for an opaque token.
        number -= is_jwt + (is_jwt and not is_new) + is_new + (is_new and not is_jwt)
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


@pytest.mark.parametrize(
    ("binding", "openid", "numbers"),
    [
        # Without login sessions 9, 16 and 7; 9, 21 and 11.
        ("none", "", (13, 18, 7)),
        ("none", "openid ", (13, 24, 12)),
        ("sso-session", "", (13, 16, 9)),
        ("sso-session", "openid ", (13, 20, 11)),
    ],
)
def test_a_login_with_a_browser(
    make_site: Callable[..., Site], user: User, binding: str, openid: str, numbers: tuple[int, ...]
) -> None:
    """The second one in it: a code, redeeming that, and a refresh."""
    site = make_site("authorization_code", token_binding_type=binding, skip_authorization=True)
    browser = signed_in(user)
    login(site, browser, f"{openid}read")
    query = {
        "response_type": "code",
        "client_id": site.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": f"{openid}read",
        "code_challenge": "x" * 43,
        "code_challenge_method": "plain",
    }
    form = {"grant_type": "authorization_code", "redirect_uri": REDIRECT_URI, "code_verifier": "x" * 43}
    answers: list[Any] = []

    counted = [count_queries(lambda: answers.append(browser.get("/oauth2/authorize/", query)))]
    form["code"] = parse_qs(urlsplit(answers[-1]["Location"]).query)["code"][0]
    counted.append(count_queries(lambda: answers.append(site.post("/oauth2/token/", form))))
    counted.append(count_queries(lambda: answers.append(site.refresh(answers[1].refresh))))

    assert [answer.status for answer in answers[1:]] == [200, 200]
    if connection.vendor == "postgresql":
        counted[2] += 1  # the pair before is ended in one statement
    assert tuple(counted) == numbers


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
@pytest.mark.parametrize(("binding", "number"), [("none", 7), ("client-request", 8)])
def test_a_refresh(
    make_site: Callable[..., Site], settings: Any, token_type: str, binding: str, number: int
) -> None:
    """Each has its reason in docs/how-it-works.md."""
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "REVOCATION_FEED": False}
    site = make_site(token_type=token_type, token_binding_type=binding)
    token = site.bound("phone")
    if connection.vendor == "postgresql":
        number -= 1  # the pair before is ended in one statement

    for _again in range(2):
        answers: list[Any] = []
        queries = count_queries(lambda: answers.append(site.refresh(token.refresh)))  # noqa: B023
        (token,) = answers
        assert (token.status, queries) == (200, number)


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_an_introspection(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    token = site.bound("phone").access

    assert count_queries(lambda: site.introspect(token)) == 2


@pytest.mark.parametrize(
    "policy",
    [
        {},
        {"require_presented_binding": "no"},
        {"require_presented_binding": "report"},
        {"require_presented_binding": "yes"},
        {"sender_constraint": "dpop", "require_binding": "yes"},
    ],
)
def test_a_request_to_an_api(make_bound: Callable[..., Site], policy: dict[str, str]) -> None:
    """The token is read with its application, user and binding, and with what the policy demands."""
    site = make_bound(**policy)
    headers = {"Authorization": f"Bearer {site.bound('phone').access}", "Token-Binding-Id": "phone"}

    assert count_queries(lambda: site.http.get("/api/me/", headers=headers)) == 1


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
        for site in (bound, unbound):
            token = site.token()
            CountsRotations.asked.clear()

            assert site.refresh(token.refresh).status == 200

            assert len(CountsRotations.asked) == 1
