"""What tokens may be for, by the token policy of their application: allowed and default audiences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from oauth2_provider.models import get_access_token_model, get_application_model, get_device_grant_model

from oauth_binding.models import TOKEN_EXCHANGE, grant_type_choices
from tests.helpers.audiences import audiences, set_policy
from tests.helpers.client import REDIRECT_URI, Answer, Site
from tests.helpers.exchange import allow, exchange
from tests.helpers.provider import provider

ORDERS: Final = "https://orders.example/api"
STOCK: Final = "https://stock.example/api"
OTHER: Final = "https://other.example/api"

#: An audience that is no address (RFC 8693 section 2.1).
BANK: Final = "bank"

Make = Callable[..., Site]

#: How the tokens of an application are.
FORMS: Final = {
    "bound, opaque": {"token_type": "opaque", "token_binding_type": "client-request"},
    "bound, JWT": {"token_type": "jwt", "token_binding_type": "client-request"},
    "unbound, opaque": {"token_type": "opaque"},
    "unbound, JWT": {"token_type": "jwt"},
}

each_form = pytest.mark.parametrize("form", FORMS)


def resources(*asked: str) -> dict[str, Any]:
    return {"resource": list(asked)} if asked else {}


class Door:
    """A way to get a token that an application is given."""

    def __init__(self, make_site: Make, form: str, policy: dict[str, str]) -> None:
        self.site = self.make(make_site, **FORMS[form])
        self.prepare(make_site)
        set_policy(self.site, **policy)

    def make(self, make_site: Make, **fields: Any) -> Site:
        return make_site(self.kind, **fields)

    kind = "password"

    def prepare(self, make_site: Make) -> None:
        """Get ready before the application has its policy."""

    def ask(self, *asked: str) -> Answer:
        """Ask for a token that is for something."""
        return self.site.token(**resources(*asked))


class ClientCredentials(Door):
    kind = "client_credentials"


class Code(Door):
    """What it is for is said when the code is redeemed."""

    kind = "authorization_code"

    def prepare(self, make_site: Make) -> None:
        self.code = self.site.authorization_code()

    def ask(self, *asked: str) -> Answer:
        form = [*self.code.items(), *(("resource", each) for each in asked)]
        return self.site.post("/oauth2/token/", form)


class Device(Door):
    kind = "urn:ietf:params:oauth:grant-type:device_code"

    def prepare(self, make_site: Make) -> None:
        self.device_code = self.site.device_code()

    def ask(self, *asked: str) -> Answer:
        form = [("grant_type", self.kind), ("device_code", self.device_code)]
        return self.site.post("/oauth2/token/", [*form, *(("resource", each) for each in asked)])


class Refresh(Door):
    """The refresh token is for anything."""

    def prepare(self, make_site: Make) -> None:
        self.refresh = self.site.token().refresh

    def ask(self, *asked: str) -> Answer:
        form = [("grant_type", "refresh_token"), ("refresh_token", self.refresh)]
        return self.site.post("/oauth2/token/", [*form, *(("resource", each) for each in asked)])


class Exchange(Door):
    """The subject token is for anything, and the rule has more than the policy."""

    def make(self, make_site: Make, **fields: Any) -> Site:
        return make_site("client_credentials", additional_grant_types=TOKEN_EXCHANGE, **fields)

    def prepare(self, make_site: Make) -> None:
        subject = make_site()
        self.subject_token = subject.token().access
        allow(self.site, subject, audiences=f"{ORDERS} {STOCK} {OTHER}")

    def ask(self, *asked: str) -> Answer:
        return exchange(self.site, self.subject_token, **resources(*asked))


class Authorization(Door):
    """What an authorization request is redirected with."""

    response_type = "token"
    skips = True

    def make(self, make_site: Make, **fields: Any) -> Site:
        return make_site(self.kind, skip_authorization=self.skips, **fields)

    def ask(self, *asked: str) -> Answer:
        assert self.site.user is not None
        browser = Client()
        browser.force_login(self.site.user)
        query = {
            "response_type": self.response_type,
            "client_id": self.site.application.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": "openid read",
            "state": "xyz",
            "nonce": "n",
            **resources(*asked),
        }
        answer = browser.get("/oauth2/authorize/", query)
        if answer.status_code == 200:
            form = {name: value for name, value in answer.context["form"].initial.items() if value}
            answer = browser.post("/oauth2/authorize/", {**form, "allow": "Authorize"})
        assert answer["Location"].startswith(REDIRECT_URI)
        sent = urlsplit(answer["Location"])
        data = {name: values[0] for name, values in parse_qs(sent.fragment or sent.query).items()}
        assert data["state"] == "xyz"
        return Answer(400 if "error" in data else 200, data, {})


class Implicit(Authorization):
    kind = "implicit"


class ImplicitAfterConsent(Implicit):
    skips = False


class Hybrid(Authorization):
    kind = "openid-hybrid"
    response_type = "code token"


class CodeForSomething(Code):
    """What it is for is said at the authorization endpoint."""

    def prepare(self, make_site: Make) -> None:
        pass

    def ask(self, *asked: str) -> Answer:
        authorization = CodeAuthorization.__new__(CodeAuthorization)
        authorization.site = self.site
        self.site.application.skip_authorization = True
        self.site.application.save()
        answer = authorization.ask(*asked)
        if answer.status != 200:
            return answer
        form = {"grant_type": "authorization_code", "code": answer["code"], "redirect_uri": REDIRECT_URI}
        with provider(PKCE_REQUIRED=False):
            return self.site.post("/oauth2/token/", form)


class CodeAuthorization(Authorization):
    response_type = "code"


#: The doors by the allowed grant type that opens them.
DOORS: Final[dict[str, list[type[Door]]]] = {
    "password": [Door, Refresh],
    "client-credentials": [ClientCredentials],
    "authorization-code": [Code, CodeForSomething],
    "urn:ietf:params:oauth:grant-type:device_code": [Device],
    "implicit": [Implicit, ImplicitAfterConsent],
    "openid-hybrid": [Hybrid],
    TOKEN_EXCHANGE: [Exchange],
}

each_door = pytest.mark.parametrize("door", [door for doors in DOORS.values() for door in doors])


@pytest.fixture(autouse=True)
def without_pkce() -> Any:
    with provider(PKCE_REQUIRED=False):
        yield


def refused(answer: Answer, name: str = "resource") -> str:
    """Return what a refusal says, which names the parameter."""
    assert (answer.status, answer["error"]) == (400, "invalid_target"), answer.data
    description = str(answer["error_description"])
    assert name in description
    return description


def test_there_is_a_door_for_each_grant_type() -> None:
    assert DOORS.keys() == dict(grant_type_choices(get_application_model())).keys()


@each_form
@each_door
class TestEachGrant:
    POLICY: Final = {"allowed_audiences": f"{ORDERS}\n{STOCK}", "default_audiences": ORDERS}

    def test_what_is_allowed_is_granted(self, make_site: Make, door: type[Door], form: str) -> None:
        opened = door(make_site, form, self.POLICY)
        answer = opened.ask(STOCK)

        assert answer.status == 200, answer.data
        assert audiences(opened.site, answer.access) == [STOCK]

    def test_several_are_granted(self, make_site: Make, door: type[Door], form: str) -> None:
        opened = door(make_site, form, self.POLICY)

        assert audiences(opened.site, opened.ask(STOCK, ORDERS).access) == [STOCK, ORDERS]

    def test_anything_else_is_refused(self, make_site: Make, door: type[Door], form: str) -> None:
        """And nothing is consumed by it."""
        opened = door(make_site, form, self.POLICY)
        before = get_access_token_model().objects.count()

        refused(opened.ask(OTHER))
        refused(opened.ask(STOCK, OTHER))

        assert get_access_token_model().objects.count() == before
        assert opened.ask(STOCK).status == 200

    def test_who_asks_for_nothing_gets_the_default(
        self, make_site: Make, door: type[Door], form: str
    ) -> None:
        opened = door(make_site, form, self.POLICY)

        assert audiences(opened.site, opened.ask().access) == [ORDERS]

    def test_without_a_default_something_has_to_be_asked_for(
        self, make_site: Make, door: type[Door], form: str
    ) -> None:
        opened = door(make_site, form, {"allowed_audiences": f"{ORDERS} {STOCK}"})

        assert refused(opened.ask(), "audience" if door is Exchange else "resource").endswith(
            "is required: this client gets no token without one."
        )
        assert audiences(opened.site, opened.ask(ORDERS).access) == [ORDERS]

    def test_a_default_alone_refuses_nothing(self, make_site: Make, door: type[Door], form: str) -> None:
        opened = door(make_site, form, {"default_audiences": f"{ORDERS} {STOCK}"})

        assert audiences(opened.site, opened.ask(OTHER).access) == [OTHER]

    def test_a_default_may_be_no_address(self, make_site: Make, door: type[Door], form: str) -> None:
        opened = door(make_site, form, {"default_audiences": f"{ORDERS} {BANK}"})
        expected = [ORDERS] if door is Exchange else [ORDERS, BANK]  # as far as the rule has it

        assert audiences(opened.site, opened.ask().access) == expected

    def test_without_a_policy_all_is_as_ever(self, make_site: Make, door: type[Door], form: str) -> None:
        opened = door(make_site, form, {})

        if door is Exchange:
            refused(opened.ask(), "audience")  # by its rule
        else:
            assert audiences(opened.site, opened.ask().access) == []


def test_white_space_allows_anything(make_site: Make) -> None:
    site = make_site()
    set_policy(site, allowed_audiences=" \n", default_audiences="\t")

    assert audiences(site, site.token().access) == []
    assert audiences(site, site.token(resource=OTHER).access) == [OTHER]


@each_form
@pytest.mark.parametrize("door", [Door, Code, Refresh])
def test_a_resource_is_an_address(make_site: Make, door: type[Door], form: str) -> None:
    """Only an exchange may ask for an audience that is none."""
    opened = door(make_site, form, {"allowed_audiences": f"{ORDERS} {BANK}"})

    assert "is not a valid resource indicator" in refused(opened.ask(BANK))


@each_form
def test_a_device_is_told_before_its_user_is_asked(make_site: Make, form: str) -> None:
    site = make_site(Device.kind, **FORMS[form])
    set_policy(site, allowed_audiences=ORDERS)
    asked = {"client_id": site.application.client_id, "scope": "read"}

    refused(site.post("/oauth2/device-authorization/", {**asked, "resource": OTHER}))
    assert not get_device_grant_model().objects.exists()
    assert site.post("/oauth2/device-authorization/", {**asked, "resource": ORDERS}).status == 200


@pytest.mark.parametrize("response_type", ["code", "token"])
def test_a_user_is_not_asked_for_what_is_refused(make_site: Make, response_type: str) -> None:
    kind = "authorization_code" if response_type == "code" else "implicit"
    site = make_site(kind)
    set_policy(site, allowed_audiences=ORDERS)
    browser = Client()
    assert site.user is not None
    browser.force_login(site.user)
    query = {
        "response_type": response_type,
        "client_id": site.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "state": "xyz",
    }

    asked = [query | {"resource": OTHER}, *([query] if response_type == "token" else [])]
    for each in asked:
        answer = browser.get("/oauth2/authorize/", each)
        assert answer.status_code == 302
        assert "error=invalid_target" in answer["Location"]
    assert browser.get("/oauth2/authorize/", query | {"resource": ORDERS}).status_code == 200


def test_a_form_of_consent_that_was_changed_gets_no_more(make_site: Make) -> None:
    site = make_site("authorization_code")
    set_policy(site, allowed_audiences=ORDERS)
    with pytest.raises(KeyError, match="code"):
        site.authorization_code(resource=OTHER)
    assert site.authorization_code(resource=ORDERS)["code"]


def test_a_code_that_asks_for_nothing_may_be_redeemed_for_something(make_site: Make) -> None:
    site = make_site("authorization_code")
    set_policy(site, allowed_audiences=ORDERS)

    assert audiences(site, site.token(resource=ORDERS).access) == [ORDERS]


@each_form
class TestNarrowing:
    def test_a_refresh_goes_on_with_what_is_still_allowed(self, make_site: Make, form: str) -> None:
        site = make_site(**FORMS[form])
        set_policy(site, allowed_audiences=f"{ORDERS} {STOCK}")
        first = site.token(resource=[ORDERS, STOCK])
        set_policy(site, allowed_audiences=f"{STOCK} {OTHER}", default_audiences=OTHER)

        second = site.refresh(first.refresh)

        assert audiences(site, second.access) == [STOCK]
        refused(site.refresh(second.refresh, resource=ORDERS))
        assert audiences(site, site.refresh(second.refresh).access) == [STOCK]

    def test_where_nothing_is_left_the_refresh_is_refused(self, make_site: Make, form: str) -> None:
        """It is not turned into the default, which was never granted; and the refresh token stays."""
        site = make_site(**FORMS[form])
        first = site.token(resource=ORDERS)
        set_policy(site, allowed_audiences=STOCK, default_audiences=STOCK)

        assert refused(site.refresh(first.refresh)) == (
            "This client no longer gets tokens for the granted resource."
        )

        set_policy(site, allowed_audiences=f"{STOCK} {ORDERS}")
        assert audiences(site, site.refresh(first.refresh).access) == [ORDERS]

    def test_a_code_is_good_for_what_is_still_allowed(self, make_site: Make, form: str) -> None:
        site = make_site("authorization_code", **FORMS[form])
        code = site.authorization_code(resource=f"{ORDERS} {STOCK}")
        set_policy(site, allowed_audiences=OTHER)
        refused(site.post("/oauth2/token/", code))
        set_policy(site, allowed_audiences=ORDERS)

        refused(site.post("/oauth2/token/", {**code, "resource": STOCK}))
        assert audiences(site, site.post("/oauth2/token/", code).access) == [ORDERS]

    def test_without_rotation(self, make_site: Make, form: str) -> None:
        site = make_site(**FORMS[form])
        with provider(ROTATE_REFRESH_TOKEN=False):
            first = site.token(resource=[ORDERS, STOCK])
            set_policy(site, allowed_audiences=ORDERS)
            second = site.refresh(first.refresh)
            assert second.refresh == first.refresh
            assert audiences(site, second.access) == [ORDERS]
            third = site.refresh(first.refresh)

        assert audiences(site, third.access) == [ORDERS]


@pytest.mark.parametrize("form", ["bound, opaque", "bound, JWT"])
def test_a_replayed_refresh_is_narrowed_too(make_site: Make, form: str) -> None:
    site = make_site(**FORMS[form])
    first = site.token(resource=[ORDERS, STOCK])
    with provider(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=120):
        second = site.refresh(first.refresh)
        set_policy(site, allowed_audiences=ORDERS)
        replay = site.refresh(first.refresh)
        assert audiences(site, replay.access) == [ORDERS]
        assert not site.active(second.access)

        set_policy(site, allowed_audiences=OTHER)
        refused(site.refresh(first.refresh))
    assert site.active(replay.access)


@pytest.mark.parametrize("form", ["bound, opaque", "bound, JWT"])
def test_the_default_is_the_slot_of_who_asks_for_it(make_site: Make, form: str) -> None:
    site = make_site(**FORMS[form])
    set_policy(site, default_audiences=f"{ORDERS} {STOCK}")
    by_default = site.bound("phone")
    asked = site.bound("phone", resource=[STOCK, ORDERS])

    if FORMS[form]["token_type"] == "opaque":
        assert asked.access == by_default.access
    else:
        assert not site.active(by_default.access)
    other = site.bound("phone", resource=OTHER)
    assert site.active(asked.access)
    assert site.active(other.access)


def test_a_token_for_anything_is_not_answered_again(make_bound: Make) -> None:
    site = make_bound()
    before = site.bound("phone")
    set_policy(site, allowed_audiences=ORDERS, default_audiences=ORDERS)

    after = site.bound("phone")

    assert after.access != before.access
    assert audiences(site, after.access) == [ORDERS]


# Token exchange: the rule and the policy


@pytest.fixture
def subject(make_site: Make) -> Site:
    return make_site()


@pytest.fixture
def backend(make_site: Make, subject: Site) -> Callable[..., Site]:
    def make(rule: str, **policy: str) -> Site:
        site = make_site("client_credentials", additional_grant_types=TOKEN_EXCHANGE, token_type="jwt")
        allow(site, subject, audiences=rule)
        set_policy(site, **policy)
        return site

    return make


@pytest.mark.parametrize("parameter", ["audience", "resource"])
def test_rule_and_policy_have_to_allow_it(
    backend: Callable[..., Site], subject: Site, parameter: str
) -> None:
    site = backend(f"{ORDERS} {STOCK}", allowed_audiences=f"{STOCK} {OTHER}")
    token = subject.token().access

    for each in (ORDERS, OTHER):
        refused(exchange(site, token, **{parameter: each}), parameter)
    assert audiences(site, exchange(site, token, **{parameter: STOCK}).access) == [STOCK]


def test_the_parameter_is_named_that_asks_for_it(backend: Callable[..., Site], subject: Site) -> None:
    site = backend(f"{ORDERS} {BANK} {OTHER}", allowed_audiences=f"{ORDERS} {BANK}")
    token = subject.token().access

    assert "for this resource" in refused(exchange(site, token, audience=BANK, resource=OTHER))
    assert "for this audience" in refused(exchange(site, token, audience=OTHER, resource=ORDERS), "audience")
    answer = exchange(site, token, audience=BANK, resource=ORDERS)
    assert audiences(site, answer.access) == [BANK, ORDERS]


def test_what_the_subject_token_is_for_is_narrowed(backend: Callable[..., Site], subject: Site) -> None:
    site = backend(f"{ORDERS} {STOCK}", allowed_audiences=STOCK, default_audiences=STOCK)

    both = exchange(site, subject.token(resource=[ORDERS, STOCK]).access)
    assert audiences(site, both.access) == [STOCK]
    refused(exchange(site, subject.token(resource=ORDERS).access), "audience")


def test_a_rule_without_audiences_leaves_the_default_to_the_policy(
    backend: Callable[..., Site], subject: Site
) -> None:
    site = backend("", default_audiences=f"{ORDERS} {BANK}")
    token = subject.token().access

    assert audiences(site, exchange(site, token).access) == [ORDERS, BANK]
    refused(exchange(site, token, resource=ORDERS))


def test_a_default_that_the_rule_does_not_have_is_refused(
    backend: Callable[..., Site], subject: Site
) -> None:
    site = backend(STOCK, default_audiences=ORDERS)

    refused(exchange(site, subject.token().access), "audience")


def test_what_was_exchanged_is_refreshed_by_the_policy(make_site: Make, subject: Site) -> None:
    site = make_site("client_credentials", additional_grant_types=TOKEN_EXCHANGE)
    allow(site, subject, audiences=f"{BANK} {ORDERS}", refresh_tokens=True)
    set_policy(site, allowed_audiences=f"{BANK} {ORDERS}")
    pair = exchange(site, subject.token().access, audience=[BANK, ORDERS])
    set_policy(site, allowed_audiences=BANK)

    assert audiences(site, site.refresh(pair.refresh).access) == [BANK]


# Consent


def test_what_was_consented_to_by_default_is_not_asked_again(make_site: Make) -> None:
    site = make_site("authorization_code")
    set_policy(site, allowed_audiences=ORDERS, default_audiences=ORDERS)
    site.token()
    browser = Client()
    assert site.user is not None
    browser.force_login(site.user)
    query = {
        "response_type": "code",
        "client_id": site.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": "read",
        "approval_prompt": "auto",
    }

    assert browser.get("/oauth2/authorize/", query).status_code == 302

    # Such a code may by now be redeemed for more than that.
    set_policy(site, allowed_audiences=f"{ORDERS} {STOCK}")
    assert browser.get("/oauth2/authorize/", query).status_code == 200
    assert browser.get("/oauth2/authorize/", query | {"resource": ORDERS}).status_code == 302


# APIs


@each_form
def test_an_api_here_takes_what_is_for_it(make_site: Make, form: str) -> None:
    site = make_site(**FORMS[form])
    set_policy(site, allowed_audiences=f"{ORDERS} http://testserver/api/ {BANK}")

    assert site.api(site.token(resource="http://testserver/api/").access) == 200
    assert site.api(site.token(resource=ORDERS).access) == 401
    set_policy(site, default_audiences=BANK)
    assert site.api(site.token().access) == 401


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_userinfo_takes_what_is_for_the_issuer(make_site: Make, token_type: str) -> None:
    site = make_site(token_type=token_type)
    statuses = []
    for default in (f"{ORDERS} http://testserver/oauth2", ORDERS):
        set_policy(site, default_audiences=default)
        headers = {"Authorization": f"Bearer {site.token(scope='openid').access}"}
        statuses.append(site.http.get("/oauth2/userinfo/", headers=headers).status_code)

    assert statuses == [200, 401]


# Cost


@each_form
@pytest.mark.parametrize("kind", ["password", "authorization_code", "client_credentials"])
def test_a_policy_costs_no_query(make_site: Make, form: str, kind: str) -> None:
    policies = [{}, {"allowed_audiences": ORDERS, "default_audiences": ORDERS}]
    numbers = []
    for policy in policies:
        site = make_site(kind, **FORMS[form])
        set_policy(site, **policy)
        request = site.grant()
        with CaptureQueriesContext(connection) as queries:
            assert site.post("/oauth2/token/", request).status == 200
        numbers.append(len(queries))

    assert numbers[1] <= numbers[0]
