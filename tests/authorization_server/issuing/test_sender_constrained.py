"""Token requests with a proof of a key: who gets which token, and what becomes of it (RFC 9449 section 5)."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.core.cache import caches
from django.test import Client, override_settings
from oauth2_provider.models import (
    get_access_token_model,
    get_grant_model,
    get_refresh_token_model,
)

from oauth_binding.binding.semantics import NO_BINDING
from oauth_binding.models import TokenBinding, TokenPolicy, UsedProof
from oauth_binding.proof.nonces import new_nonce
from tests.helpers.client import GRANTS, REDIRECT_URI, Answer, Site, make_application
from tests.helpers.dpop import DeviceKey
from tests.helpers.exchange import ACCESS_TOKEN, REFRESH_TOKEN, allow, exchange
from tests.helpers.reports import noted, reports

TOKEN = "/oauth2/token/"

pytestmark = pytest.mark.django_db


def dpop(site: Site, demand: str = "no", **fields: Any) -> Site:
    """Let an application take proofs, and its client have a key."""
    TokenPolicy.objects.create(
        application=site.application, sender_constraint="dpop", require_sender_constraint=demand
    )
    for name, value in fields.items():
        setattr(site.application, name, value)
    site.application.save()
    site.key = DeviceKey()
    return site


def without_key(site: Site) -> Site:
    return Site(site.application, site.user, site.secret)


def with_key(site: Site, key: DeviceKey | None = None) -> Site:
    return Site(site.application, site.user, site.secret, key=key or DeviceKey())


@pytest.fixture(params=["opaque", "jwt"])
def device(request: pytest.FixtureRequest, user: User) -> Site:
    return dpop(Site(make_application(request.param), user))


@pytest.fixture(params=list(itertools.product(["opaque", "jwt"], ["client-request", NO_BINDING])))
def any_device(request: pytest.FixtureRequest, user: User) -> Site:
    token_type, binding_type = request.param
    return dpop(Site(make_application(token_type), user), token_binding_type=binding_type)


def key_of(answer: Answer, site: Site) -> str | None:
    """Return the key that a live token is confirmed by, as introspection says it."""
    said = site.introspect(answer.access)
    assert said["active"]
    assert said["token_type"] == ("DPoP" if "cnf" in said.data else "Bearer")
    assert answer["token_type"] == said["token_type"]
    confirmation = said.data.get("cnf")
    assert confirmation is None or list(confirmation) == ["jkt"]
    return None if confirmation is None else str(confirmation["jkt"])


@pytest.mark.parametrize("grant", GRANTS)
def test_every_grant_takes_a_proof(grant: str, user: User) -> None:
    site = Site(make_application("jwt"), user)
    dpop(site, authorization_grant_type=GRANTS[grant], redirect_uris=REDIRECT_URI)

    answer = site.token(tokenBindingId="phone")

    assert answer.status == 200, answer.data
    assert site.key is not None
    assert key_of(answer, site) == site.key.thumbprint
    assert answer.claims["cnf"] == {"jkt": site.key.thumbprint}
    if grant != "client_credentials":  # the API is for users
        assert site.api(answer.access) == 200
    assert without_key(site).api(answer.access) == 401


def test_no_proof_no_key(any_device: Site) -> None:
    assert key_of(without_key(any_device).token(), any_device) is None


def test_a_bad_proof_is_not_a_missing_one(any_device: Site) -> None:
    answer = any_device.post(TOKEN, any_device.grant(), headers={"DPoP": "nonsense"})

    assert (answer.status, answer["error"]) == (400, "invalid_dpop_proof")
    assert not get_access_token_model().objects.exists()


def test_a_proof_is_good_once(any_device: Site) -> None:
    assert any_device.key is not None
    proof = {"DPoP": any_device.key.proof("POST", TOKEN)}

    first, again = (any_device.post(TOKEN, any_device.grant(), headers=proof) for _ in range(2))

    assert first.status == 200
    assert (again.status, again["error"]) == (400, "invalid_dpop_proof")
    assert again["error_description"] == "The DPoP proof was used before."


def test_what_is_refused_for_something_else_does_not_use_the_proof_up(device: Site) -> None:
    assert device.key is not None
    proof = {"DPoP": device.key.proof("POST", TOKEN)}
    wrong = device.post(
        TOKEN, {"grant_type": "password", "username": "alice", "password": "?"}, headers=proof
    )

    assert wrong.status == 400
    assert not UsedProof.objects.exists()
    assert device.post(TOKEN, device.grant(), headers=proof).status == 200


class TestOneLiveTokenPerId:
    def test_across_a_change_of_key(self, device: Site) -> None:
        old = device.bound("phone")
        rotated = with_key(device)

        new = rotated.bound("phone")

        assert new.access != old.access
        assert not device.active(old.access)
        assert rotated.key is not None
        assert key_of(new, device) == rotated.key.thumbprint
        assert device.refresh(old.refresh).status == 400

    def test_an_opaque_token_is_answered_again_to_its_key(self, user: User) -> None:
        device = dpop(Site(make_application("opaque"), user))

        first, again = device.bound("phone"), device.bound("phone")

        assert first.access == again.access
        assert again["token_type"] == "DPoP"

    def test_and_to_nobody_without_it(self, user: User) -> None:
        device = dpop(Site(make_application("opaque"), user))
        first = device.bound("phone")

        bearer = without_key(device).bound("phone")

        assert bearer.access != first.access
        assert key_of(bearer, device) is None
        assert not device.active(first.access)


class TestRefresh:
    @pytest.fixture(params=["confidential", "public"])
    def client(self, request: pytest.FixtureRequest, any_device: Site) -> Site:
        any_device.application.client_type = request.param
        any_device.application.save()
        return any_device

    def refresh(self, site: Site, token: str) -> Answer:
        form = {"grant_type": "refresh_token", "refresh_token": token}
        return site.post(
            TOKEN, {**form, "client_id": site.application.client_id}, authenticate=is_secret(site)
        )

    def token(self, site: Site) -> Answer:
        form = dict(site.grant(), client_id=site.application.client_id, tokenBindingId="phone")
        return site.post(TOKEN, form, authenticate=is_secret(site))

    @pytest.mark.parametrize("rotates", [True, False])
    def test_with_the_same_key(self, client: Site, rotates: bool, settings: Any) -> None:
        settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "ROTATE_REFRESH_TOKEN": rotates}
        first = self.token(client)

        second = self.refresh(client, first.refresh)
        third = self.refresh(client, second.refresh)

        assert third.status == 200, third.data
        assert confirmations(third) == [client.key and client.key.thumbprint] * 2

    @pytest.mark.parametrize("rotates", [True, False])
    def test_with_another_key(self, client: Site, rotates: bool, settings: Any) -> None:
        settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "ROTATE_REFRESH_TOKEN": rotates}
        first, other = self.token(client), with_key(client)

        answer = self.refresh(other, first.refresh)

        if is_secret(client):
            assert confirmations(answer) == [other.key and other.key.thumbprint] * 2
        else:
            assert (answer.status, answer["error"]) == (400, "invalid_grant")
            assert self.refresh(client, first.refresh).status == 200

    def test_never_without_one(self, client: Site) -> None:
        first = self.token(client)

        answer = self.refresh(without_key(client), first.refresh)

        assert (answer.status, answer["error"]) == (400, "invalid_dpop_proof")
        assert self.refresh(client, first.refresh).status == 200

    def test_never_without_one_also_when_it_is_turned_off(self, client: Site) -> None:
        first = self.token(client)
        TokenPolicy.objects.update(sender_constraint="none")

        assert self.refresh(without_key(client), first.refresh).status == 400
        answer = self.refresh(client, first.refresh)
        assert confirmations(answer) == [client.key and client.key.thumbprint] * 2

    @pytest.mark.parametrize("rotates", [True, False])
    def test_a_bearer_token_gets_a_key(self, client: Site, rotates: bool, settings: Any) -> None:
        settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "ROTATE_REFRESH_TOKEN": rotates}
        first = self.token(without_key(client))
        assert confirmations(first) == [None, None]

        second = self.refresh(client, first.refresh)

        assert confirmations(second) == [client.key and client.key.thumbprint] * 2
        assert self.refresh(without_key(client), second.refresh).status == 400

    def test_one_that_has_got_a_key_goes_to_nobody_else_within_the_grace_period(
        self, client: Site, settings: Any
    ) -> None:
        grace = {"REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 60}
        settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, **grace}
        first = self.token(without_key(client))
        second = self.refresh(client, first.refresh)

        thief = self.refresh(without_key(client), first.refresh)

        assert thief.status == 400, thief.data
        assert confirmations(second) == [client.key and client.key.thumbprint] * 2
        assert self.refresh(client, first.refresh).status == 200


def is_secret(site: Site) -> bool:
    return bool(site.application.client_type == "confidential")


def confirmations(answer: Answer) -> list[str | None]:
    """Return the keys of the rows of an access and a refresh token."""
    assert answer.status == 200, answer.data
    from oauth_binding.storage.token_values import token_checksum

    stored = [
        model.objects.values_list("binding_confirmation", flat=True).get(token_checksum=token_checksum(text))
        for model, text in (
            (get_access_token_model(), answer.access),
            (get_refresh_token_model(), answer.refresh),
        )
    ]
    return [each and each.removeprefix("jkt:") for each in stored]


class TestDemands:
    def test_yes_refuses_who_has_no_proof(self, any_device: Site) -> None:
        TokenPolicy.objects.update(require_sender_constraint="yes")

        answer = without_key(any_device).token()

        assert (answer.status, answer["error"]) == (400, "invalid_dpop_proof")
        assert answer["error_description"] == "The DPoP header is required."
        assert any_device.token().status == 200

    def test_yes_refuses_a_refresh_without_a_proof(self, any_device: Site) -> None:
        first = without_key(any_device).token()
        TokenPolicy.objects.update(require_sender_constraint="yes")

        assert without_key(any_device).refresh(first.refresh).status == 400
        assert any_device.refresh(first.refresh).status == 200

    def test_report_lets_it_through_and_says_so(self, device: Site, caplog: Any) -> None:
        TokenPolicy.objects.update(require_sender_constraint="report")

        with reports() as heard, caplog.at_level("INFO"):
            assert device.bound("phone").status == 200
            assert without_key(device).bound("laptop").status == 200

        assert [each["demand"] for each in heard] == ["require_sender_constraint"]
        assert heard[0]["binding"] == TokenBinding.objects.get(binding_value="laptop")
        assert noted("require_sender_constraint") == ["laptop"]
        client_id = device.application.client_id
        assert f"client {client_id} would have been refused by require_sender_constraint" in caplog.text
        assert "laptop" not in caplog.text

    def test_there_is_no_token_from_the_authorization_endpoint(self, user: User) -> None:
        site = Site(make_application("opaque"), user)
        dpop(
            site,
            "yes",
            authorization_grant_type="implicit",
            token_binding_type=NO_BINDING,
            redirect_uris=REDIRECT_URI,
        )
        browser = Client()
        browser.force_login(user)
        query = {"response_type": "token", "client_id": site.application.client_id, "scope": "read"}

        refused = browser.get("/oauth2/authorize/", {**query, "redirect_uri": REDIRECT_URI})

        assert "error=unauthorized_client" in refused["Location"]


class TestCodes:
    @pytest.fixture
    def app(self, user: User) -> Site:
        site = Site(make_application("opaque"), user)
        return dpop(site, authorization_grant_type="authorization-code", redirect_uris=REDIRECT_URI)

    @pytest.fixture
    def browser(self, user: User) -> Client:
        browser = Client()
        browser.force_login(user)
        return browser

    def query(self, app: Site, **extra: str) -> dict[str, str]:
        return {
            "response_type": "code",
            "client_id": app.application.client_id,
            "redirect_uri": REDIRECT_URI,
            "code_challenge": "x" * 43,
            **extra,
        }

    def test_a_code_keeps_its_key(self, app: Site) -> None:
        assert app.key is not None
        form = app.authorization_code(dpop_jkt=app.key.thumbprint)

        thief = with_key(app).post(TOKEN, form)
        nobody = without_key(app).post(TOKEN, form)

        assert (thief.status, thief["error"]) == (400, "invalid_grant")
        assert (nobody.status, nobody["error"]) == (400, "invalid_dpop_proof")
        assert app.post(TOKEN, form).status == 200

    def test_also_where_nobody_is_asked(self, app: Site, browser: Client) -> None:
        assert app.key is not None
        app.application.skip_authorization = True
        app.application.save()
        query = self.query(app, dpop_jkt=app.key.thumbprint, code_challenge_method="plain")
        location = browser.get("/oauth2/authorize/", query)["Location"]
        code = parse_qs(urlsplit(location).query)["code"][0]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
        form["code_verifier"] = "x" * 43

        assert with_key(app).post(TOKEN, form)["error"] == "invalid_grant"
        assert app.post(TOKEN, form).status == 200

    @pytest.mark.parametrize("lost", ["", "forged", None])
    def test_a_key_that_is_lost_at_the_page_of_consent_is_an_error(
        self, app: Site, browser: Client, lost: str | None
    ) -> None:
        form = self.query(app, scope="read", state="xyz", allow="Authorize")

        answer = browser.post("/oauth2/authorize/", form | ({} if lost is None else {"dpop_jkt": lost}))

        query = parse_qs(urlsplit(answer["Location"]).query)
        assert query["error"] == ["invalid_request"]
        assert query["state"] == ["xyz"]
        assert "dpop_jkt" in query["error_description"][0]
        assert not get_grant_model().objects.exists()

    def test_what_is_no_thumbprint_is_named(self, app: Site, browser: Client) -> None:
        query = self.query(app, dpop_jkt="short")

        location = browser.get("/oauth2/authorize/", query)["Location"]

        assert "error=invalid_request" in location
        assert "dpop_jkt" in location


class TestExchange:
    @pytest.fixture
    def service(self, user: User) -> Site:
        return Site(make_application("jwt", additional_grant_types="token-exchange"), user)

    def proof(self, key: DeviceKey, subject: str | None) -> dict[str, str]:
        return {"DPoP": key.proof("POST", TOKEN, access_token=subject)}

    def ask(self, service: Site, token: str, kind: str, headers: dict[str, str] | None) -> Answer:
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": token,
            "subject_token_type": kind,
        }
        return service.post(TOKEN, form, headers=headers)

    @pytest.fixture(params=[ACCESS_TOKEN, REFRESH_TOKEN])
    def subject(self, request: pytest.FixtureRequest, device: Site) -> tuple[str, str]:
        answer = device.bound("phone")
        return (answer.access if request.param == ACCESS_TOKEN else answer.refresh), request.param

    def test_with_the_key_of_the_subject(self, device: Site, service: Site, subject: tuple[str, str]) -> None:
        allow(service, device)
        assert device.key is not None

        answer = self.ask(service, *subject, self.proof(device.key, subject[0]))

        assert answer.status == 200, answer.data
        assert key_of(answer, service) == device.key.thumbprint

    def test_never_without_it(self, device: Site, service: Site, subject: tuple[str, str]) -> None:
        allow(service, device)
        assert device.key is not None

        nothing = self.ask(service, *subject, None)
        for_no_token = self.ask(service, *subject, self.proof(device.key, None))
        for_another = self.ask(service, *subject, self.proof(device.key, "another"))
        another = self.ask(service, *subject, self.proof(DeviceKey(), subject[0]))

        assert [each.status for each in (nothing, for_no_token, for_another, another)] == [400] * 4
        assert nothing["error"] == for_no_token["error"] == for_another["error"] == "invalid_dpop_proof"
        assert another["error"] == "invalid_grant"

    def test_a_rule_may_accept_a_key_of_the_clients_own(
        self, device: Site, service: Site, subject: tuple[str, str]
    ) -> None:
        allow(service, device, accept_unproven_subject=True)
        own = DeviceKey()

        assert self.ask(service, *subject, None).status == 400
        answer = self.ask(service, *subject, self.proof(own, None))

        assert answer.status == 200, answer.data
        assert key_of(answer, service) == own.thumbprint

    def test_a_bearer_token_needs_none(self, device: Site, service: Site) -> None:
        allow(service, device)
        token = without_key(device).bound("phone").access

        assert exchange(service, token)["token_type"] == "Bearer"
        # The service has not opted in, so what it sends is ignored.
        assert self.ask(service, token, ACCESS_TOKEN, {"DPoP": "nonsense"}).status == 200


class TestKeyBinder:
    """Binding type ``dpop-key``: one token per key."""

    @pytest.fixture(params=["opaque", "jwt"])
    def phone(self, request: pytest.FixtureRequest, user: User) -> Site:
        site = Site(make_application(request.param), user, key=DeviceKey())
        site.application.token_binding_type = "dpop-key"
        site.application.save()
        return site

    def test_keys_hold_tokens_apart(self, phone: Site) -> None:
        laptop = with_key(phone)
        first, other, again = phone.token(), laptop.token(), phone.token()

        assert phone.active(other.access)
        assert phone.active(again.access)
        assert phone.key is not None
        said = phone.introspect(again.access)
        assert said["binding_type"] == "dpop-key"
        assert said["binding_ref"] == said["cnf"]["jkt"] == phone.key.thumbprint
        if phone.application.token_type == "opaque":
            assert first.access == again.access
        else:
            assert not phone.active(first.access)

    def test_a_refresh_needs_the_key_also_of_a_confidential_client(self, phone: Site) -> None:
        first = phone.token()

        assert with_key(phone).refresh(first.refresh)["error"] == "invalid_grant"
        assert without_key(phone).refresh(first.refresh)["error"] == "invalid_dpop_proof"
        assert phone.refresh(first.refresh).status == 200

    def test_without_a_proof_it_is_the_shared_slot(self, phone: Site) -> None:
        answer = without_key(phone).token()

        assert answer["token_type"] == "Bearer"
        assert "binding_ref" not in phone.introspect(answer.access).data


class TestNonces:
    @pytest.fixture(autouse=True)
    def nonces(self) -> Iterator[None]:
        with override_settings(OAUTH_BINDING={"DPOP_NONCES": "token_endpoint"}):
            yield

    def test_a_proof_needs_a_nonce(self, device: Site) -> None:
        assert device.key is not None
        asked = device.token()
        assert (asked.status, asked["error"]) == (400, "use_dpop_nonce")
        proof = device.key.proof("POST", TOKEN, nonce=asked.headers["DPoP-Nonce"])

        answer = device.post(TOKEN, device.grant(), headers={"DPoP": proof})

        assert answer.status == 200
        assert answer.headers["DPoP-Nonce"]

    @pytest.mark.parametrize("nonce", ["", "mine", "1abc:def"])
    def test_one_of_the_server(self, device: Site, nonce: str) -> None:
        assert device.key is not None
        proof = device.key.proof("POST", TOKEN, claims={"nonce": nonce})

        assert device.post(TOKEN, device.grant(), headers={"DPoP": proof}).status == 400

    def test_nobody_else_is_told_of_nonces(self, user: User) -> None:
        site = Site(make_application("jwt"), user, key=DeviceKey())

        assert "DPoP-Nonce" not in site.token().headers

    def test_apis_want_none(self, device: Site) -> None:
        assert device.key is not None
        proof = device.key.proof("POST", TOKEN, nonce=new_nonce())
        answer = device.post(TOKEN, device.grant(), headers={"DPoP": proof})

        assert device.api(answer.access) == 200


def test_a_store_that_is_down_is_no_open_door(device: Site, settings: Any, monkeypatch: Any) -> None:
    settings.OAUTH_BINDING = {"DPOP_REPLAY_CACHE": "default"}
    assert device.token().status == 200
    monkeypatch.setattr(type(caches["default"]), "add", _refuse)

    answer = device.token()

    assert (answer.status, answer["error"]) == (503, "temporarily_unavailable")


def _refuse(*args: Any, **kwargs: Any) -> None:
    raise ConnectionError


@pytest.mark.parametrize("policy", [None, "none"])
def test_who_has_not_opted_in_is_answered_as_ever(policy: str | None, user: User) -> None:
    site = Site(make_application("opaque"), user)
    if policy is not None:
        TokenPolicy.objects.create(application=site.application, sender_constraint=policy)
    plain = site.token()

    with_header = site.post(TOKEN, site.grant(), headers={"DPoP": "nonsense"})

    assert {**plain.data, "expires_in": 0} == {**with_header.data, "expires_in": 0}
    assert plain.headers == with_header.headers
