"""Who is still signed in after a logout: each way of ending a login session, by what applications say of it.

Alice is signed in to the same applications in two browsers, the laptop's and the phone's. What happens,
happens in the laptop's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import pytest
import time_machine
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import Client, override_settings
from django.utils import timezone

from oauth_binding.authorization_server import BindingOAuth2Validator
from oauth_binding.authorization_server.revocation.login_sessions import end_session
from oauth_binding.devices import sign_out_everywhere
from oauth_binding.models import LoginSession, RevokeOnLogout, TerminationReason
from tests.ended.held import DEVICE_GRANT
from tests.helpers.client import PASSWORD, REDIRECT_URI, Answer, Site
from tests.helpers.dpop import DeviceKey
from tests.helpers.exchange import GRANT_TYPE, ID_TOKEN, allow, exchange
from tests.helpers.login_sessions import login, signed_in_for

pytestmark = pytest.mark.django_db

BROWSERS: Final = ("laptop", "phone")

#: How long the browsers are signed in, in seconds.
SESSION_SECONDS: Final = 30

#: What applications say of logouts, by their names here.
POLICIES: Final[Mapping[str, RevokeOnLogout | None]] = {
    "says nothing": None,
    "ends nothing": RevokeOnLogout.NO,
    "ends with the session": RevokeOnLogout.SESSION,
}

#: How tokens are bound, and which type they are of.
KINDS: Final = [
    pytest.param(kind, id="-".join(kind), marks=() if is_fast else pytest.mark.slow)
    for kind, is_fast in {
        ("none", "opaque"): True,
        ("none", "jwt"): False,
        ("client-request", "opaque"): False,
        ("client-request", "jwt"): True,
        ("dpop-key", "opaque"): False,
        ("dpop-key", "jwt"): False,
        ("sso-session", "opaque"): True,
        ("sso-session", "jwt"): False,
    }.items()
]


@dataclass
class Login:
    """What one application got in one browser."""

    site: Site
    #: The form of a token request with a code that is not redeemed yet.
    code: dict[str, str]
    tokens: Answer

    def ways_in(self, reading: Site) -> dict[str, bool]:
        """Return what still lets the application in; what uses something up comes last."""
        tokens = self.tokens
        introspected = reading.introspect(tokens.access)
        assert introspected.status == 200
        return {
            "API": self.site.api(tokens.access) == 200,
            "introspection": bool(introspected["active"]),
            "ID token": self._exchange_id_token().status == 200,
            "refresh": self.site.refresh(tokens.refresh).status == 200,
            "code": self.site.post("/oauth2/token/", self.code).status == 200,
        }

    def _exchange_id_token(self) -> Answer:
        path, key, id_token = "/oauth2/token/", self.site.key, self.tokens["id_token"]
        proof = {} if key is None else {"DPoP": key.proof("POST", path, access_token=id_token)}
        form = {"grant_type": GRANT_TYPE, "subject_token": id_token, "subject_token_type": ID_TOKEN}
        # With less scope than the login, whose slot it would take otherwise.
        form["scope"] = "read"
        return self.site.post(path, form, headers=proof)


@dataclass
class World:
    """Two browsers of a user, and what each application got in each."""

    user: User
    browsers: dict[str, Client]
    #: By application and browser.
    logins: dict[tuple[str, str], Login]
    reading: Site

    def session(self, browser: str = "laptop") -> LoginSession:
        sid = self.browsers[browser].session["_oauth_binding_sid"]
        session: LoginSession = LoginSession.objects.get(sid=sid)
        return session

    def id_token(self, browser: str = "laptop") -> str:
        return str(self.logins["ends nothing", browser].tokens["id_token"])

    def is_signed_in(self, browser: str) -> bool:
        """Return whether a browser sees the user's pages."""
        return self.browsers[browser].get("/oauth2/devices/").status_code == 200


def sign_in() -> Client:
    return signed_in_for(User.objects.get(username="alice"), SESSION_SECONDS)


# What happens


def django_logout(world: World) -> None:
    assert world.browsers["laptop"].post("/accounts/logout/").status_code == 302


def _rp_initiated(world: World, http: Client, hint: str) -> Any:
    return http.get("/oauth2/logout/", {"id_token_hint": hint})


def rp_initiated(world: World) -> None:
    answer = _rp_initiated(world, world.browsers["laptop"], world.id_token())
    assert answer.status_code == 302


def rp_initiated_without_cookie(world: World) -> None:
    assert _rp_initiated(world, Client(), world.id_token()).status_code == 302


def rp_initiated_with_hint_of_phone(world: World) -> None:
    laptop = world.browsers["laptop"]
    asked = _rp_initiated(world, laptop, world.id_token("phone"))
    assert asked.status_code == 200
    assert world.session().is_live  # as long as the user has not answered
    form = {"id_token_hint": world.id_token("phone"), "allow": "true"}
    assert laptop.post("/oauth2/logout/", form).status_code == 302


def another_user(world: World) -> None:
    User.objects.create_user("bob", password=PASSWORD)
    form = {"username": "bob", "password": PASSWORD}
    assert world.browsers["laptop"].post("/accounts/login/", form).status_code == 302
    # Bob is signed in there now, and that is none of Alice's business.
    world.browsers["laptop"] = Client()


def password_change(world: World) -> None:
    user = User.objects.get(pk=world.user.pk)
    user.set_password("another correct horse")
    user.save()


def signed_out_by_user(world: World) -> None:
    end_session(world.session(), TerminationReason.USER)


def ended_by_operator(world: World) -> None:
    end_session(world.session(), TerminationReason.OPERATOR)


def signed_out_everywhere(world: World) -> None:
    sign_out_everywhere(world.user)


def deactivation(world: World) -> None:
    user = User.objects.get(pk=world.user.pk)
    user.is_active = False
    user.save()
    User.objects.update(is_active=True)


def deletion(world: World) -> None:
    world.user.delete()


def expiry(world: World) -> Callable[[], None]:
    # The phone's is used meanwhile, and prolonged by that.
    session = world.browsers["phone"].session
    session.set_expiry(timedelta(days=1))
    session.save()
    travelled = time_machine.travel(timezone.now().timestamp() + SESSION_SECONDS + 1)
    travelled.start()
    return travelled.stop


def cleared_after_expiry(world: World) -> Callable[[], None]:
    back = expiry(world)
    call_command("clearbindings")
    return back


#: How much ends.
NOTHING: Final = "nothing"
LAPTOP: Final = "the laptop's"
TOKENS: Final = "all tokens"
ALL: Final = "all"


@dataclass(frozen=True)
class Logout:
    """What happens, and what ends by it of an application, by what that says of logouts."""

    happens: Callable[[World], Callable[[], None] | None]
    #: Why the login session ends; None where it only expires.
    reason: TerminationReason | None
    says_nothing: str
    ends_nothing: str
    ends_with_session: str
    #: Of applications whose tokens are bound to the login session, whatever they say.
    bound_to_session: str
    #: Which browsers are signed in afterwards.
    signed_in: tuple[str, ...] = ("phone",)

    def ends(self, policy: str, binding: str) -> list[str]:
        """Return how much ends of an application."""
        by_policy = {
            "says nothing": self.says_nothing,
            "ends nothing": self.ends_nothing,
            "ends with the session": self.ends_with_session,
        }
        return [by_policy[policy], *([self.bound_to_session] if binding == "sso-session" else [])]


R = TerminationReason
LOGOUTS: Final = {
    # what ends where the application ...    says nothing, ends nothing, ends with it, is bound to it
    "Django's logout": Logout(django_logout, R.LOGOUT, NOTHING, NOTHING, LAPTOP, LAPTOP),
    "another user's login": Logout(another_user, R.LOGOUT, NOTHING, NOTHING, LAPTOP, LAPTOP),
    "RP-initiated logout": Logout(rp_initiated, R.LOGOUT, TOKENS, NOTHING, LAPTOP, LAPTOP),
    "RP-initiated logout without the cookie": Logout(
        rp_initiated_without_cookie, R.LOGOUT, TOKENS, NOTHING, LAPTOP, LAPTOP
    ),
    "RP-initiated logout with the phone's hint": Logout(
        rp_initiated_with_hint_of_phone, R.LOGOUT, TOKENS, NOTHING, LAPTOP, LAPTOP
    ),
    "the user signs the laptop out": Logout(signed_out_by_user, R.USER, NOTHING, NOTHING, LAPTOP, LAPTOP),
    "an operator ends the session": Logout(ended_by_operator, R.OPERATOR, NOTHING, NOTHING, LAPTOP, LAPTOP),
    # With PASSWORD_CHANGE_ENDS off, so that what ends by the sessions alone is seen.
    "the password is changed": Logout(password_change, R.PASSWORD_CHANGE, NOTHING, NOTHING, ALL, ALL, ()),
    "sign out everywhere": Logout(signed_out_everywhere, R.SIGN_OUT_EVERYWHERE, ALL, ALL, ALL, ALL, ()),
    "deactivation": Logout(deactivation, R.DEACTIVATION, ALL, ALL, ALL, ALL, ()),
    "deletion": Logout(deletion, R.DELETION, ALL, ALL, ALL, ALL, ()),
    "the session expires": Logout(expiry, None, NOTHING, NOTHING, NOTHING, LAPTOP),
    "clearbindings after that": Logout(cleared_after_expiry, R.EXPIRED, NOTHING, NOTHING, NOTHING, LAPTOP),
}


@pytest.fixture
def world(request: pytest.FixtureRequest, user: User, make_site: Callable[..., Site]) -> Iterator[World]:
    """Return two browsers that are signed in to an application of each policy, with a kind of tokens."""
    binding, token_type = request.param
    constraint = {"sender_constraint": "dpop"} if binding == "dpop-key" else {}
    entries = {"OIDC_RP_INITIATED_LOGOUT_ENABLED": True, "OIDC_RP_INITIATED_LOGOUT_ALWAYS_PROMPT": False}
    with ExitStack() as stack:
        stack.enter_context(
            override_settings(
                OAUTH2_PROVIDER={**django_settings.OAUTH2_PROVIDER, **entries},
                OAUTH_BINDING={**django_settings.OAUTH_BINDING, "PASSWORD_CHANGE_ENDS": "off"},
            )
        )
        browsers = {name: sign_in() for name in BROWSERS}
        logins = {}
        for policy, revoke_on_logout in POLICIES.items():
            site = make_site(
                "authorization_code",
                additional_grant_types="token-exchange",
                token_type=token_type,
                token_binding_type=binding,
                revoke_on_logout=revoke_on_logout,
                **constraint,
            )
            allow(site, site)
            for name, browser in browsers.items():
                key = DeviceKey() if binding == "dpop-key" else None
                here = Site(site.application, user, key=key)
                device = {"tokenBindingId": name} if binding == "client-request" else {}
                code = here.authorization_code("openid read", browser)
                tokens = here.post("/oauth2/token/", {**code, **device})
                assert tokens.status == 200, tokens.data
                unredeemed = here.authorization_code("openid read write", browser)
                logins[policy, name] = Login(here, {**unredeemed, **device}, tokens)
        yield World(user, browsers, logins, make_site("client_credentials", as_user=None))


@pytest.mark.parametrize("name", LOGOUTS)
@pytest.mark.parametrize("world", KINDS, indirect=True)
def test_who_is_signed_in_afterwards(
    world: World, name: str, request: pytest.FixtureRequest, make_site: Callable[..., Site]
) -> None:
    event = LOGOUTS[name]
    binding = request.node.callspec.params["world"][0]
    session = world.session()

    undo = event.happens(world)
    try:
        found = {at: login.ways_in(world.reading) for at, login in world.logins.items()}
        signed_in = tuple(browser for browser in BROWSERS if world.is_signed_in(browser))
    finally:
        if undo is not None:
            undo()

    expected = {}
    for policy, browser in world.logins:
        extents = event.ends(policy, binding)
        ends = ALL in extents or (LAPTOP in extents and browser == "laptop")
        ways = dict.fromkeys(("API", "introspection", "ID token", "refresh"), not (ends or TOKENS in extents))
        expected[policy, browser] = {**ways, "code": not ends}
    assert _table(found) == _table(expected)
    assert signed_in == event.signed_in
    after = LoginSession.objects.filter(pk=session.pk).first()
    if event.reason == R.DELETION:
        assert after is None
    elif event.reason is None:
        assert after is not None
        assert after.terminated_at is None
    else:
        assert after is not None
        assert after.termination_reason == event.reason


def _table(found: dict[tuple[str, str], dict[str, bool]]) -> str:
    """Return a line for each application and browser, with what lets it in."""
    return "\n".join(
        f"{policy}, {browser}: {', '.join(way for way, is_in in ways.items() if is_in) or '-'}"
        for (policy, browser), ways in found.items()
    )


def test_the_table_is_total() -> None:
    """There is a row for each reason, and an application for each thing that it may say."""
    assert {logout.reason for logout in LOGOUTS.values()} == {*TerminationReason, None}
    assert {*POLICIES.values()} == {*RevokeOnLogout, None}


# What has no browser, and what outlasts it


@pytest.fixture
def session_site(make_site: Callable[..., Site]) -> Callable[..., Site]:
    def make(grant_type: str = "authorization_code", **fields: Any) -> Site:
        return make_site(grant_type, revoke_on_logout=RevokeOnLogout.SESSION, **fields)

    return make


@pytest.mark.parametrize("binding", ["none", "client-request", "sso-session"])
def test_a_television_approved_in_a_browser_survives_its_logout(
    session_site: Callable[..., Site], user: User, binding: str
) -> None:
    television = session_site(DEVICE_GRANT, token_binding_type=binding)
    laptop = sign_in()
    session_site().authorization_code(browser=laptop)
    started = television.start_device("openid read")
    page = laptop.post("/oauth2/device/", {"user_code": started["user_code"]})
    laptop.post(page["Location"], {"action": "accept"})
    waiting = television.start_device("openid read")
    page = laptop.post("/oauth2/device/", {"user_code": waiting["user_code"]})
    laptop.post(page["Location"], {"action": "accept"})
    form = {"grant_type": DEVICE_GRANT, "client_id": television.application.client_id}
    login = television.post("/oauth2/token/", {**form, "device_code": started["device_code"]})
    assert login.status == 200, login.data

    assert laptop.post("/accounts/logout/").status_code == 302

    assert television.api(login.access) == 200
    assert television.refresh(login.refresh).status == 200
    # What was approved before it polled, too.
    assert television.post("/oauth2/token/", {**form, "device_code": waiting["device_code"]}).status == 200


def test_what_the_authorization_endpoint_hands_out_itself_ends_with_the_browser(
    session_site: Callable[..., Site], user: User
) -> None:
    site = session_site("implicit")
    tokens = []
    laptop, phone = sign_in(), sign_in()
    for browser in (laptop, phone):
        query = {
            "response_type": "token",
            "client_id": site.application.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": "read",
            "allow": "Authorize",
        }
        answer = browser.post("/oauth2/authorize/", query)
        tokens.append(dict(parse_qsl(urlsplit(answer["Location"]).fragment))["access_token"])
    reading = session_site("client_credentials", as_user=None)
    assert [reading.active(token) for token in tokens] == [True, True]
    assert laptop.post("/accounts/logout/").status_code == 302
    assert [reading.active(token) for token in tokens] == [False, True]


@pytest.mark.parametrize(
    ("policy", "binding", "is_left"),
    [
        (None, "none", True),
        (RevokeOnLogout.NO, "client-request", True),
        (RevokeOnLogout.SESSION, "none", False),
        (None, "sso-session", False),
    ],
)
def test_a_request_that_has_validated_a_code_finds_it_gone(
    make_site: Callable[..., Site],
    monkeypatch: pytest.MonkeyPatch,
    policy: RevokeOnLogout | None,
    binding: str,
    is_left: bool,
) -> None:
    """The browser is logged out between that and saving."""
    site = make_site("authorization_code", token_binding_type=binding, revoke_on_logout=policy)
    laptop = sign_in()
    form = site.authorization_code(browser=laptop)
    validate = BindingOAuth2Validator.validate_code

    def validate_and_log_out(*args: Any, **kwargs: Any) -> bool:
        is_valid = validate(*args, **kwargs)
        assert laptop.post("/accounts/logout/").status_code == 302
        return is_valid

    monkeypatch.setattr(BindingOAuth2Validator, "validate_code", validate_and_log_out)
    answer = site.post("/oauth2/token/", form)

    assert answer.status == (200 if is_left else 400)
    if not is_left:
        assert answer["error"] == "invalid_grant"


class TestOfflineAccess:
    """Section 11 of OpenID Connect Core: what the user has allowed to go on without being present."""

    SCOPE = "openid read offline_access"

    @pytest.fixture(autouse=True)
    def _offered(self, settings: Any) -> None:
        scopes = {**settings.OAUTH2_PROVIDER["SCOPES"], "offline_access": "Go on after a logout"}
        settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "SCOPES": scopes}

    @pytest.mark.parametrize("token_type", ["opaque", "jwt"])
    @pytest.mark.parametrize("binding", ["none", "client-request"])
    def test_with_consent_it_survives(
        self, session_site: Callable[..., Site], binding: str, token_type: str
    ) -> None:
        site = session_site(
            token_binding_type=binding, token_type=token_type, additional_grant_types="token-exchange"
        )
        allow(site, site, refresh_tokens=True)
        laptop = sign_in()
        first = login(site, laptop, self.SCOPE)
        assert "offline_access" in first["scope"].split()
        answer = site.refresh(first.refresh)
        assert answer.status == 200
        exchanged = exchange(site, answer.access, scope="read")
        assert exchanged.status == 200, exchanged.data
        online = login(site, laptop, "openid read")

        assert laptop.post("/accounts/logout/").status_code == 302

        assert site.active(answer.access)
        # Nor does what was exchanged from it end, also after it was refreshed.
        assert site.active(exchanged.access)
        again = site.refresh(answer.refresh)
        assert again.status == 200
        assert not site.active(online.access)
        assert site.refresh(online.refresh).status == 400

    def test_without_it_after_a_refresh_it_ends(self, session_site: Callable[..., Site]) -> None:
        site, laptop = session_site(), sign_in()
        answer = login(site, laptop, self.SCOPE)
        narrowed = site.refresh(answer.refresh, scope="openid read")
        assert narrowed.status == 200

        assert laptop.post("/accounts/logout/").status_code == 302

        assert not site.active(narrowed.access)
        assert site.refresh(narrowed.refresh).status == 400

    def _authorize_unasked(self, site: Site, browser: Client, scope: str) -> dict[str, str]:
        """Authorize without a page, and return what the client is told."""
        query = {
            "response_type": "code",
            "client_id": site.application.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": scope,
            "code_challenge": "x" * 43,
            "code_challenge_method": "plain",
        }
        answer = browser.get("/oauth2/authorize/", query)
        return dict(parse_qsl(urlsplit(answer["Location"]).query))

    def test_nobody_gets_it_without_being_asked(self, session_site: Callable[..., Site]) -> None:
        site, laptop = session_site(skip_authorization=True), sign_in()
        code = self._authorize_unasked(site, laptop, self.SCOPE)["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
        answer = site.post("/oauth2/token/", {**form, "code_verifier": "x" * 43})
        assert answer["scope"].split() == ["openid", "read"]
        assert laptop.post("/accounts/logout/").status_code == 302
        assert not site.active(answer.access)

    def test_nothing_else_than_that_is_a_scope_too_few(self, session_site: Callable[..., Site]) -> None:
        site, laptop = session_site(skip_authorization=True), sign_in()
        assert self._authorize_unasked(site, laptop, "offline_access")["error"] == "invalid_scope"

    def test_it_means_nothing_where_tokens_are_bound_to_the_session(
        self, session_site: Callable[..., Site]
    ) -> None:
        site, laptop = session_site(token_binding_type="sso-session"), sign_in()
        answer = login(site, laptop, self.SCOPE)
        assert laptop.post("/accounts/logout/").status_code == 302
        assert not site.active(answer.access)
        assert site.refresh(answer.refresh).status == 400
