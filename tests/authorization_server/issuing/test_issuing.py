"""The tables of client-request binding: token type x tokenBindingId x state of the slot, for each grant."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from oauth2_provider.models import get_refresh_token_model

from oauth_binding.models import TokenBinding
from oauth_binding.storage import bindings
from tests.helpers.client import GRANTS, PASSWORD, Answer, Site, is_jwt
from tests.helpers.rows import access_token_row, expire, refresh_token_row

TOKEN_TYPES = ("opaque", "jwt")

#: kind of tokenBindingId -> the value sent; None: the parameter is not sent.
IDS: dict[str, str | None] = {
    "absent": None,
    "empty": "",
    "blank": " \t ",
    "short": "phone",
    "non-ASCII": "Gerät-📱-電話",
    "255 characters": "é" * 255,
}

#: What may be in the slot when the request comes.
STATES = ("nothing", "live", "expired", "revoked", "refresh gone")

#: (token type, state of the slot) -> (access token, refresh token) of the answer, as against the slot's.
OUTCOMES = {
    ("opaque", "nothing"): ("new", "new"),
    ("opaque", "live"): ("same", "same"),
    ("opaque", "expired"): ("new", "new"),
    ("opaque", "revoked"): ("new", "new"),
    ("opaque", "refresh gone"): ("same", "new"),
    ("jwt", "nothing"): ("new", "new"),
    ("jwt", "live"): ("new", "new"),
    ("jwt", "expired"): ("new", "new"),
    ("jwt", "revoked"): ("new", "new"),
    ("jwt", "refresh gone"): ("new", "new"),
}


def test_the_table_is_total() -> None:
    assert set(OUTCOMES) == set(itertools.product(TOKEN_TYPES, STATES))


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("kind", IDS)
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
@pytest.mark.parametrize("grant_type", GRANTS)
def test_a_request_and_its_slot(
    make_bound: Callable[..., Site], grant_type: str, token_type: str, kind: str, state: str
) -> None:
    site = make_bound(token_type, grant_type)
    other = site.bound("another device")
    before = _bring_about(site, IDS[kind], state)

    answer = site.bound(IDS[kind])

    assert answer.status == 200
    assert answer["token_type"] == "Bearer"
    assert is_jwt(answer.access) is (token_type == "jwt")
    assert ("refresh_token" in answer.data) is (grant_type != "client_credentials")
    assert site.active(answer.access)
    access, refresh = OUTCOMES[token_type, state]
    if before is not None:
        assert (answer.access == before.access) is (access == "same")
        assert site.active(before.access) is (access == "same")
    if before is not None and "refresh_token" in answer.data:
        assert (answer.refresh == before.refresh) is (refresh == "same")
        assert site.active(before.refresh) is (refresh == "same")
        assert site.active(answer.refresh)
    # Tokens of other ids are not touched.
    assert site.active(other.access)
    if "refresh_token" in other.data:
        assert site.active(other.refresh)


def _bring_about(site: Site, binding: str | None, state: str) -> Answer | None:
    if state == "nothing":
        return None
    before = site.bound(binding)
    if state == "expired":
        expire(before.access)
    elif state == "revoked":
        assert site.revoke(before.access).status == 200
    elif state == "refresh gone" and "refresh_token" in before.data:
        refresh_token_row(before.refresh).delete()
    return before


#: kind of tokenBindingId -> what is sent, as values in the body; all are refused.
REFUSED_IDS: dict[str, list[str]] = {
    "256 characters": ["é" * 256],
    "control character": ["pho\x1bne"],
    "line feed": ["phone\n"],
    "C1 control character": ["phone\x85"],
    "NUL": ["phone\x00"],
    "repeated": ["phone", "laptop"],
    "repeated, equal": ["phone", "phone"],
    "repeated, one empty": ["phone", ""],
}


@pytest.mark.parametrize("kind", [*REFUSED_IDS, "in the query", "in the query and in the body"])
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
@pytest.mark.parametrize("grant_type", GRANTS)
def test_a_malformed_id_is_refused_and_loses_nothing(
    make_bound: Callable[..., Site], grant_type: str, token_type: str, kind: str
) -> None:
    site = make_bound(token_type, grant_type)
    before = site.bound("phone")
    form = site.grant()  # with its one-time code, where the grant has one

    if kind in REFUSED_IDS:
        values = [("tokenBindingId", value) for value in REFUSED_IDS[kind]]
        answer = site.post("/oauth2/token/", form + values)
    else:
        values = [("tokenBindingId", "phone")] if kind == "in the query and in the body" else []
        answer = site.post("/oauth2/token/?tokenBindingId=phone", form + values)

    assert answer.status == 400
    assert answer["error"] == "invalid_request"
    assert "tokenBindingId" in answer["error_description"]
    assert site.active(before.access)
    # What was refused can be sent again without the fault.
    assert site.post("/oauth2/token/", form).status == 200


# There, oauthlib drops what is empty.
@pytest.mark.parametrize("kind", [kind for kind in REFUSED_IDS if "empty" not in kind])
@pytest.mark.parametrize("grant_type", GRANTS)
def test_a_malformed_id_is_refused_at_the_endpoint_of_the_toolkit(
    make_bound: Callable[..., Site], settings: Any, grant_type: str, kind: str
) -> None:
    """A site may still include the URLs of django-oauth-toolkit, which only warns (W001)."""
    site = make_bound("opaque", grant_type)
    form = site.grant()
    settings.ROOT_URLCONF = "tests.sites.plain_urls"

    answer = site.post("/oauth2/token/", form + [("tokenBindingId", value) for value in REFUSED_IDS[kind]])

    assert (answer.status, answer["error"]) == (400, "invalid_request")
    assert "tokenBindingId" in answer["error_description"]
    assert site.post("/oauth2/token/", form).status == 200


@pytest.mark.parametrize("credentials", ["client secret", "password"])
def test_a_malformed_id_is_refused_before_credentials_are_checked(
    make_bound: Callable[..., Site], credentials: str
) -> None:
    site = make_bound()
    extra = {"tokenBindingId": "x" * 256}
    if credentials == "client secret":
        site.secret = "wrong"
    else:
        extra["password"] = "wrong"
    answer = site.token(**extra)
    assert (answer.status, answer["error"]) == (400, "invalid_request")
    assert "tokenBindingId" in answer["error_description"]


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_ids_are_not_trimmed_and_not_case_folded(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    tokens = [site.bound(value).access for value in ("a", " a", "a ", "A", "á", "a\u0301")]
    assert len(set(tokens)) == len(tokens)
    assert all(site.active(token) for token in tokens)


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_the_parameter_name_is_exact(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    shared = site.bound(None)
    for name in ("tokenbindingid", "token_binding_id", "TokenBindingId"):
        answer = site.token(**{name: "phone"})
        assert answer.status == 200
        assert "binding_ref" not in site.introspect(answer.access).data
    assert site.active(shared.access) is (token_type == "opaque")


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_slots_are_apart_by_user(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    other = Site(site.application, User.objects.create_user("bob", password=PASSWORD))
    for binding in (None, "phone"):
        mine, theirs = site.bound(binding), other.bound(binding)
        assert mine.access != theirs.access
        assert site.introspect(mine.access)["username"] == "alice"
        assert site.introspect(theirs.access)["username"] == "bob"


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_slots_are_apart_by_application(make_bound: Callable[..., Site], token_type: str) -> None:
    one, two = make_bound(token_type), make_bound(token_type)
    first, second = one.bound("phone"), two.bound("phone")
    assert first.access != second.access
    assert one.active(first.access)
    assert two.active(second.access)


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
@pytest.mark.parametrize("binding", [None, "phone"])
def test_slots_are_apart_by_the_set_of_scopes(
    make_bound: Callable[..., Site], token_type: str, binding: str | None
) -> None:
    site = make_bound(token_type)
    both = site.bound(binding, scope="read write")
    one = site.bound(binding, scope="read")
    assert both.access != one.access
    assert site.active(both.access)

    again = site.bound(binding, scope="write read")

    assert (again.access == both.access) is (token_type == "opaque")
    assert site.active(both.access) is (token_type == "opaque")
    assert site.active(one.access)


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_slots_are_apart_by_the_set_of_resources(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    a, b = "https://a.example/api", "https://b.example/api"
    none = site.bound("phone")
    one = site.bound("phone", resource=a)
    both = site.bound("phone", resource=[a, b])
    assert len({none.access, one.access, both.access}) == 3
    assert all(site.active(answer.access) for answer in (none, one, both))
    assert site.introspect(both.access)["aud"] == [a, b]

    again = site.bound("phone", resource=[b, a])

    assert (again.access == both.access) is (token_type == "opaque")
    assert site.active(both.access) is (token_type == "opaque")


def test_a_reused_token_says_what_remains_of_its_life(make_bound: Callable[..., Site]) -> None:
    site = make_bound("opaque")
    first = site.bound("phone")
    row = access_token_row(first.access)
    row.expires = row.created.replace(microsecond=0) + (row.expires - row.created) / 2
    row.expires = row.expires.replace(microsecond=0)
    row.save()

    again = site.bound("phone")

    assert again.access == first.access
    assert first["expires_in"] == 3600
    assert 1790 <= again["expires_in"] <= 1800
    assert site.introspect(again.access)["exp"] == int(row.expires.timestamp())


@dataclass(frozen=True)
class _Switch:
    before: str
    after: str


@pytest.mark.parametrize("switch", [_Switch("opaque", "jwt"), _Switch("jwt", "opaque")], ids=str)
def test_another_token_type_takes_the_slot_over(make_bound: Callable[..., Site], switch: _Switch) -> None:
    site = make_bound(switch.before)
    old, other = site.bound("phone"), site.bound("laptop")
    site.application.token_type = switch.after
    site.application.save()

    new = site.bound("phone")

    assert is_jwt(new.access) is (switch.after == "jwt")
    assert not site.active(old.access)
    assert not site.active(old.refresh)
    assert site.active(other.access)


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_an_application_without_binding_issues_as_always(
    make_site: Callable[..., Site], token_type: str
) -> None:
    site = make_site(token_type=token_type)
    answers = [site.bound(binding) for binding in (None, None, "phone", "phone", "x" * 300)]
    assert len({answer.access for answer in answers}) == 5
    assert len({answer.refresh for answer in answers}) == 5
    for answer in answers:
        assert is_jwt(answer.access) is (token_type == "jwt")
        assert site.active(answer.access)
        assert "binding_type" not in site.introspect(answer.access).data


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_tokens_from_before_the_application_opted_in_stay_valid(
    make_site: Callable[..., Site], token_type: str
) -> None:
    site = make_site(token_type=token_type)
    old = site.bound(None)
    site.application.token_binding_type = "client-request"
    site.application.save()

    new = site.bound(None)

    assert new.access != old.access
    assert site.active(old.access)
    refreshed = site.refresh(old.refresh)
    assert refreshed.status == 200
    assert site.active(new.access)


@pytest.mark.parametrize("grant_type", GRANTS)
def test_a_binding_can_be_required(make_bound: Callable[..., Site], grant_type: str) -> None:
    site = make_bound(grant_type=grant_type, require_binding="yes")
    form = site.grant()
    for missing in ([], [("tokenBindingId", "")], [("tokenBindingId", "  ")]):
        answer = site.post("/oauth2/token/", form + missing)
        assert (answer.status, answer["error"]) == (400, "invalid_request")
        assert "tokenBindingId" in answer["error_description"]
    answer = site.post("/oauth2/token/", [*form, ("tokenBindingId", "phone")])
    assert answer.status == 200
    if "refresh_token" in answer.data:
        assert site.refresh(answer.refresh).status == 200


def test_without_binding_nothing_is_required(make_site: Callable[..., Site]) -> None:
    assert make_site(require_binding="yes").token().status == 200


@pytest.mark.parametrize("response_type", ["token", "id_token token"])
@pytest.mark.parametrize("token_type", TOKEN_TYPES)
def test_tokens_of_the_authorization_endpoint_are_never_bound(
    make_bound: Callable[..., Site], user: User, token_type: str, response_type: str
) -> None:
    site = make_bound(token_type, "implicit")
    # Not even where the query string says so.
    answers = [_implicit(site, response_type, grant_type="password", tokenBindingId="x") for _ in range(2)]
    tokens = [answer["access_token"] for answer in answers]
    assert tokens[0] != tokens[1]
    for token in tokens:
        assert is_jwt(token) is (token_type == "jwt")
        assert site.active(token)
        assert "binding_type" not in site.introspect(token).data


def _implicit(site: Site, response_type: str, **extra: str) -> dict[str, str]:
    from urllib.parse import parse_qsl, urlencode, urlsplit

    from django.test import Client

    from tests.helpers.client import REDIRECT_URI

    assert site.user is not None
    browser = Client()
    browser.force_login(site.user)
    query = {
        "response_type": response_type,
        "client_id": site.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": "openid read",
        "nonce": "n",
        "state": "s",
        **extra,
    }
    response = browser.post(
        f"/oauth2/authorize/?{urlencode(query)}", {**query, "allow": "Authorize"}, follow=False
    )
    return dict(parse_qsl(urlsplit(response["Location"]).fragment))


def test_a_refresh_token_is_not_taken_from_a_login(make_bound: Callable[..., Site]) -> None:
    """oauthlib answers a refresh_token parameter of any grant where rotation is off."""
    site = make_bound()
    answer = site.token(tokenBindingId="phone", refresh_token="chosen by the client")
    assert answer.refresh != "chosen by the client"


def test_the_binding_value_is_not_in_str_and_repr(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    row = access_token_row(site.bound("a very private device id").access)
    for shown in (str(row.binding), repr(row.binding), str(row), repr(row)):
        assert "private" not in shown


def test_no_more_rows_than_slots(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    for binding in ("phone", "laptop", None) * 2:
        site.bound(binding)
    assert get_refresh_token_model().objects.count() == 3


@pytest.fixture(autouse=True)
def _no_server_errors(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert not [record for record in caplog.records if record.name == "django.request" and record.exc_info]


def test_a_slot_that_is_taken_and_left_again_meanwhile(
    make_bound: Callable[..., Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the other request's token goes with the transaction that collides with it."""
    site = make_bound()
    lock = bindings.lock
    others = [lambda: site.bound("phone")]

    def lock_late(*arguments: Any, **options: Any) -> bool:
        if others:
            others.pop()()
        return lock(*arguments, **options)

    monkeypatch.setattr(bindings, "lock", lock_late)
    answer = site.bound("phone")
    assert answer.status == 200
    assert site.active(answer.access)


def test_a_device_whose_row_is_gone_and_whose_tokens_are_not(make_bound: Callable[..., Site]) -> None:
    """A site may have deleted rows in SQL: the next login ends the tokens that are left, as ever."""
    site = make_bound("jwt")
    before = site.bound("phone")
    devices = TokenBinding.objects.filter(binding_value="phone")
    devices._raw_delete(devices.db)

    after = site.bound("phone")

    assert (site.active(before.access), site.active(after.access)) == (False, True)
    assert site.refresh(before.refresh).status == 400


@pytest.mark.parametrize("token_type", TOKEN_TYPES)
@pytest.mark.parametrize("kind", ["access", "refresh"])
def test_tokens_without_the_row_of_their_device_are_bound_to_none(
    make_bound: Callable[..., Site], kind: str, token_type: str
) -> None:
    site = make_bound(token_type)
    answer = site.bound("phone")
    token = {"access": answer.access, "refresh": answer.refresh}[kind]
    devices = TokenBinding.objects.filter(binding_value="phone")
    devices._raw_delete(devices.db)

    found = site.introspect(token).data
    called = Client().get("/api/me/", headers={"Authorization": f"Bearer {answer.access}"})

    assert (found["active"], called.status_code) == (True, 200)
    assert site.post("/oauth2/revoke_token/", {"token": token}).status == 200
    assert not site.active(token)
