"""``manage.py explain``: what a token is, and why it is good or not, without saying it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import jwt
import pytest
import time_machine
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_application_model,
    get_id_token_model,
    get_refresh_token_model,
)

from oauth_binding.core.reasons import Reason
from oauth_binding.management.explanations import _WORDS
from oauth_binding.models import TokenBinding, TokenExchangeRule
from oauth_binding.storage.standing import is_backed
from tests.helpers.client import Answer, Site, set_policy
from tests.helpers.dpop import DeviceKey
from tests.helpers.exchange import allow, exchange
from tests.helpers.login_sessions import login, signed_in
from tests.helpers.provider import provider
from tests.helpers.rows import access_token_row, expire
from tests.helpers.servers import RSA_KEY

DEVICE = "canary-binding-id"


def explain(text: str, *arguments: str, status: int = 0) -> dict[str, Any]:
    """Return what is said as JSON, having seen that it is said in words, too, and the secret by neither."""
    said = []
    for form in ([], ["--json"]):
        output = io.StringIO()
        command_input = io.StringIO(f"{text}\n")
        ended = 0
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr("sys.stdin", command_input)
            try:
                call_command("explain", *arguments, *form, stdout=output, no_color=True)
            except SystemExit as error:
                ended = int(str(error.code))
        assert ended == status, output.getvalue()
        assert text not in output.getvalue()
        said.append(output.getvalue())
    found: dict[str, Any] = json.loads(said[1])
    assert said[0].startswith(f"{found['kind']}: {'good' if found['good'] else 'not good'}\n")
    assert found["good"] is (status == 0)
    return found


def faults(text: str) -> set[str]:
    return {*explain(text, status=1)["faults"]}


@pytest.fixture
def site(make_bound: Callable[..., Site]) -> Site:
    return make_bound()


@pytest.fixture
def answer(site: Site) -> Answer:
    return site.bound(DEVICE)


def test_a_good_opaque_token(site: Site, answer: Answer) -> None:
    found = explain(answer.access)

    assert (found["kind"], found["faults"]) == ("access token (opaque)", {})
    assert (found["application"], found["user"]) == (site.application.client_id, "alice")
    assert (found["scope"], found["from"]) == ("read write", "a login")
    assert found["bound_to"] == access_token_row(answer.access).binding.label


def test_a_name_writes_no_lines_of_its_own(answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    User.objects.update(username="al\x1b[2Jice\n  because fine")
    monkeypatch.setattr("sys.stdin", io.StringIO(answer.access))
    output = io.StringIO()

    call_command("explain", stdout=output, no_color=True)

    assert "  user: al\\x1b[2Jice\\n  because fine" in output.getvalue().split("\n")


def test_a_good_refresh_token(answer: Answer) -> None:
    assert explain(answer.refresh)["kind"] == "refresh token"


def test_a_good_jwt(make_bound: Callable[..., Site]) -> None:
    site = make_bound("jwt")
    answer = site.bound(DEVICE)
    refreshed = site.refresh(answer.refresh)

    assert explain(refreshed.access)["kind"] == "access token (JWT)"
    assert faults(answer.access) >= {"token_revoked"}
    assert faults(answer.refresh) == {"refresh_token_revoked"}


@pytest.mark.parametrize("binding_type", ["client-request", "none"])
def test_a_refresh_token_that_was_used_is_good_as_long_as_it_may_be_used_again(
    make_site: Callable[..., Site], binding_type: str
) -> None:
    site = make_site(token_binding_type=binding_type)
    with provider(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=120):
        answer, revoked = site.bound(DEVICE), site.bound("another")
        assert "may_be_used_again_until" not in explain(answer.refresh)
        site.refresh(answer.refresh)
        site.revoke(revoked.refresh)

        assert explain(answer.refresh)["may_be_used_again_until"]
        assert site.refresh(answer.refresh).status == 200
        assert faults(revoked.refresh) == {"refresh_token_revoked"}
        assert site.refresh(revoked.refresh).status == 400

        set_policy(site.application, login_lifetime=60)
        get_refresh_token_model().objects.update(binding_login_started=timezone.now() - timedelta(days=2))
        assert faults(answer.refresh) == {"login_too_old"}
        assert site.refresh(answer.refresh).status == 400
        set_policy(site.application, login_lifetime=None)
        get_refresh_token_model().objects.filter(revoked__isnull=False).update(
            revoked=timezone.now() - timedelta(seconds=121)
        )
        assert faults(answer.refresh) == {"refresh_token_revoked"}
        assert site.refresh(answer.refresh).status == 400


@pytest.mark.parametrize(("binding_type", "status"), [("client-request", 200), ("none", 400)])
def test_so_is_one_of_redacted_storage_if_its_answer_can_be_had_again(
    make_site: Callable[..., Site], binding_type: str, status: int
) -> None:
    site = make_site(token_binding_type=binding_type)
    with provider(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=120, COMPLIANT_BCP_RFC9700_TOKEN_STORAGE=True):
        refresh = site.bound(DEVICE).refresh
        site.refresh(refresh)

        explain(refresh, status=0 if status == 200 else 1)
        assert site.refresh(refresh).status == status


def test_a_good_id_token(make_site: Callable[..., Site], user: User) -> None:
    site = make_site("authorization_code")
    browser = signed_in(user)
    answer = login(site, browser)

    assert explain(answer["id_token"])["kind"] == "ID token"
    assert explain(answer.access)["from"] == "a login in a browser"
    assert explain(answer.access)["login_session"]
    site.revoke(answer.access)
    assert faults(answer["id_token"]) == {"session_ended"}


def test_what_is_wrong_has_the_names_of_the_audit_log(site: Site, answer: Answer) -> None:
    expire(answer.access)
    assert faults(answer.access) == {"token_expired"}
    User.objects.update(is_active=False)
    assert faults(answer.access) == {"token_expired", "user_inactive"}
    User.objects.update(is_active=True)
    site.revoke(answer.refresh)
    assert faults(answer.refresh) == {"refresh_token_revoked"}


def test_a_login_that_is_too_old(site: Site, answer: Answer) -> None:
    set_policy(site.application, login_lifetime=3600)
    get_refresh_token_model().objects.update(binding_login_started=timezone.now() - timedelta(days=2))

    found = explain(answer.refresh, status=1)

    assert found["faults"].keys() >= {"login_too_old"}
    assert next(iter(found["limits"])) == "login_lifetime"


def test_a_login_session_that_has_ended(make_site: Callable[..., Site], user: User) -> None:
    site = make_site("authorization_code", token_binding_type="sso-session")
    browser = signed_in(user)
    answer = login(site, browser)
    from oauth_binding.models import LoginSession

    LoginSession.objects.update(expires=timezone.now() - timedelta(seconds=1))
    assert faults(answer.access) == {"session_ended"}


def test_an_exchanged_token_whose_rule_is_gone(make_site: Callable[..., Site]) -> None:
    app = make_site()
    backend = make_site("client_credentials", additional_grant_types="token-exchange")
    allow(backend, app)
    token = exchange(backend, app.token().access).access
    assert explain(token)["from"] == f"token exchange, from a token of {app.application.client_id}"

    TokenExchangeRule.objects.all().delete()

    assert faults(token) == {"exchange_rule_missing"}


@pytest.mark.parametrize(
    ("fields", "by"),
    [({}, "ACCESS_TOKEN_EXPIRE_SECONDS"), ({"access_token_lifetime": 60}, "access_token_lifetime")],
)
def test_the_setting_that_decides_comes_first(site: Site, fields: dict[str, int], by: str) -> None:
    set_policy(site.application, login_lifetime=3_000_000, **fields)
    assert list(explain(site.bound(DEVICE).access)["limits"]) == [by, "login_lifetime"]
    set_policy(site.application, login_lifetime=30)
    site.application.refresh_from_db()
    assert next(iter(explain(site.bound("another").access)["limits"])) == "login_lifetime"


def test_what_this_server_does_not_know(make_bound: Callable[..., Site]) -> None:
    site = make_bound("jwt")
    claims = site.bound(DEVICE).claims
    get_access_token_model().objects.all().delete()
    forged = jwt.encode(claims, RSA_KEY, "RS256", {"typ": "at+jwt"})

    assert faults("no-such-token") == {"token_invalid"}
    assert faults(forged) == {"signature", "token_invalid"}
    assert faults("a.b.c") == {"token_invalid"}


def test_a_token_of_an_app_itself(make_site: Callable[..., Site]) -> None:
    site = make_site("client_credentials", as_user=None)

    found = explain(site.token().access)

    assert (found["user"], found["from"]) == (None, "client credentials")


def test_a_token_of_a_device_with_a_key(site: Site) -> None:
    set_policy(site.application, sender_constraint="dpop", constrained_token_lifetime=60)
    site.key = DeviceKey()
    answer = site.bound(DEVICE)
    TokenBinding.objects.update(last_browser="Firefox", last_os="Windows")

    found = explain(answer.access)

    assert found["constrained_to_key"] == site.key.thumbprint
    assert found["device"] == "Firefox on Windows"
    assert list(found["limits"]) == ["constrained_token_lifetime"]


def test_an_id_token_that_has_expired(make_site: Callable[..., Site], user: User) -> None:
    id_token = login(make_site("authorization_code"), signed_in(user))["id_token"]
    get_id_token_model().objects.update(expires=timezone.now() - timedelta(seconds=1))

    assert faults(id_token) == {"token_expired"}


def test_an_id_token_that_the_server_has_deleted(make_site: Callable[..., Site], user: User) -> None:
    id_token = login(make_site("authorization_code"), signed_in(user))["id_token"]
    get_id_token_model().objects.all().delete()

    assert faults(id_token) == {"token_invalid"}


def test_a_jwt_by_its_own_claims(make_bound: Callable[..., Site]) -> None:
    token = make_bound("jwt").bound(DEVICE).access

    with time_machine.travel(timezone.now() - timedelta(days=1)):
        assert "nbf" in faults(token)
    with time_machine.travel(timezone.now() + timedelta(days=30)):
        assert faults(token) >= {"exp", "token_expired"}
    with provider(OIDC_ISS_ENDPOINT="https://elsewhere.example"):
        assert faults(token) == {"iss"}
    with provider(OIDC_RSA_PRIVATE_KEY=""):
        assert faults(token) == {"signature"}


def test_what_a_binding_id_stands_for(site: Site) -> None:
    arguments = ("--client", site.application.client_id, "--user", "alice")
    assert explain(DEVICE, *arguments, status=1)["next_token_request"] == "a new token"

    answer = site.bound(DEVICE)

    found = explain(DEVICE, *arguments)
    assert found["next_token_request"] == "the same token again, for the scope 'read write'"
    assert [each["scope"] for each in found["live_access_tokens"]] == ["read write"]
    assert found["live_refresh_tokens"] == 1
    site.revoke(answer.access)
    assert explain(DEVICE, *arguments, status=1)["next_token_request"] == "a new token"


def test_what_is_asked_wrongly(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments, said in (
        ((), "no token"),
        (("--user", "alice"), "goes with"),
        (("--client", "nobody"), "no application"),
        (("--client", site.application.client_id, "--user", "nobody"), "no user"),
    ):
        monkeypatch.setattr("sys.stdin", io.StringIO(""))
        with pytest.raises(CommandError, match=said) as raised:
            call_command("explain", *arguments)
        assert raised.value.returncode == 2


def test_the_bool_that_doors_ask_costs_what_it_did(site: Site, answer: Answer) -> None:
    row = get_access_token_model().objects.select_related("user", "binding").get()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        assert is_backed(row)
    assert len(queries) == 0


def test_each_reason_that_a_token_may_have_is_said_in_words() -> None:
    import inspect

    from oauth_binding.storage import liveness, standing

    yielded = {
        Reason[name]
        for module in (liveness, standing)
        for name in re.findall(r"Reason\.([A-Z_]+)", inspect.getsource(module))
    }
    assert yielded == _WORDS.keys()


def test_an_application_that_does_not_bind_has_nothing_to_explain(make_site: Callable[..., Site]) -> None:
    make_site()
    client_id = get_application_model().objects.get().client_id
    assert explain(DEVICE, "--client", client_id, status=1)["faults"].keys() == {"token_not_bound"}
