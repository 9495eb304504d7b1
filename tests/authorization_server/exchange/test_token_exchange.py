"""Token exchange (RFC 8693): a client exchanges the token of another client for one of its own."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import call_command
from django.test import override_settings
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, IDToken, RefreshToken

from oauth_binding.authorization_server import (
    BindingOAuth2Validator,
    revoke_binding,
    revoke_unbound_tokens,
)
from oauth_binding.authorization_server.endpoints.token import TokenView
from oauth_binding.core.signals import token_exchanged
from oauth_binding.models import TokenBinding, TokenExchange, TokenExchangeRule
from tests.helpers.client import SECRET, Answer, Site
from tests.helpers.exchange import ACCESS_TOKEN, GRANT_TYPE, ID_TOKEN, JWT, REFRESH_TOKEN, allow, exchange
from tests.helpers.provider import provider
from tests.helpers.rows import access_token_row, expire

TOKEN_TYPES = ("opaque", "jwt")


@pytest.fixture
def mobile(make_bound: Callable[..., Site]) -> Site:
    """The application whose tokens are exchanged."""
    return make_bound("jwt", name="Mobile app")


@pytest.fixture
def make_backend(make_site: Callable[..., Site], mobile: Site) -> Callable[..., Site]:
    """Return a factory of applications that may exchange the tokens of the mobile app."""

    def make(
        token_type: str = "opaque",
        binding: str = "client-request",
        rule: dict[str, Any] | None = None,
        **fields: Any,
    ) -> Site:
        site = make_site(
            "client_credentials",
            as_user=None,
            token_type=token_type,
            token_binding_type=binding,
            **{"additional_grant_types": "token-exchange", **fields},
        )
        allow(site, mobile, **(rule or {}))
        return site

    return make


@pytest.fixture
def backend(make_backend: Callable[..., Site]) -> Site:
    return make_backend()


def assert_refused(answer: Answer, error: str, *words: str) -> None:
    assert (answer.status, answer.data.get("error")) == (400, error), answer.data
    for word in words:
        assert word in answer["error_description"]


class TestProtocol:
    @pytest.mark.parametrize("binding", ["none", "client-request"])
    @pytest.mark.parametrize("subject_type", [ACCESS_TOKEN, JWT])
    @pytest.mark.parametrize("token_type", TOKEN_TYPES)
    def test_a_token_is_exchanged(
        self,
        make_backend: Callable[..., Site],
        mobile: Site,
        token_type: str,
        subject_type: str,
        binding: str,
    ) -> None:
        backend = make_backend(token_type, binding)
        subject = mobile.bound("phone")

        answer = exchange(backend, subject.access, subject_token_type=subject_type)

        assert answer.status == 200, answer.data
        assert answer["issued_token_type"] == ACCESS_TOKEN
        assert answer["token_type"] == "Bearer"
        assert answer["scope"] == subject["scope"]
        assert "refresh_token" not in answer.data
        assert answer.headers["Cache-Control"] == "no-store"
        found = backend.introspect(answer.access)
        assert found["client_id"] == backend.application.client_id
        assert found["username"] == "alice"
        assert "act" not in found.data
        # What was exchanged is none the worse for it.
        assert mobile.active(subject.access)
        assert backend.api(answer.access) == 200

    def test_a_jwt_is_issued_where_one_is_asked_for(
        self, make_backend: Callable[..., Site], mobile: Site
    ) -> None:
        answer = exchange(make_backend("jwt"), mobile.bound("phone").access, requested_token_type=JWT)

        assert answer["issued_token_type"] == JWT
        assert answer.claims["sub"] == str(User.objects.get(username="alice").pk)

    def test_a_jwt_is_not_to_be_had_from_an_application_with_opaque_tokens(
        self, backend: Site, mobile: Site
    ) -> None:
        answer = exchange(backend, mobile.bound("phone").access, requested_token_type=JWT)

        assert_refused(answer, "invalid_request", "requested_token_type")

    @pytest.mark.parametrize(
        ("extra", "name"),
        [
            ({"subject_token": None}, "subject_token"),
            ({"subject_token": ""}, "subject_token"),
            ({"subject_token_type": None}, "subject_token_type"),
            ({"subject_token_type": "urn:ietf:params:oauth:token-type:saml2"}, "subject_token_type"),
            ({"subject_token_type": "access_token"}, "subject_token_type"),
            ({"subject_token_type": [ACCESS_TOKEN, ACCESS_TOKEN]}, "subject_token_type"),
            ({"subject_token": ["a", "b"]}, "subject_token"),
            ({"scope": ["read", "write"]}, "scope"),
            ({"actor_token": "x"}, "actor_token_type"),
            ({"actor_token_type": ACCESS_TOKEN}, "actor_token"),
            ({"actor_token": "x", "actor_token_type": "x"}, "actor_token_type"),
            ({"requested_token_type": "urn:ietf:params:oauth:token-type:saml1"}, "requested_token_type"),
            ({"requested_token_type": REFRESH_TOKEN}, "requested_token_type"),
            ({"requested_token_type": ID_TOKEN}, "requested_token_type"),
            ({"actor_token": "x", "actor_token_type": REFRESH_TOKEN}, "actor_token_type"),
        ],
    )
    def test_what_is_missing_repeated_or_not_supported_is_named(
        self, backend: Site, mobile: Site, extra: dict[str, Any], name: str
    ) -> None:
        answer = exchange(backend, **{"subject_token": mobile.bound("phone").access, **extra})

        assert_refused(answer, "invalid_request", name)

    @pytest.mark.parametrize("name", ["subject_token", "actor_token", "audience", "resource", "scope"])
    @pytest.mark.parametrize("junk", ["\x00", "é" * 10, "a b", "x" * 10_000, "..", "{}", "a.b.c", "ey.ey.ey"])
    def test_junk_is_refused(
        self, make_backend: Callable[..., Site], mobile: Site, name: str, junk: str
    ) -> None:
        backend = make_backend(rule={"delegation": True})
        form = {"subject_token": mobile.bound("phone").access, name: junk}
        if name == "actor_token":
            form["actor_token_type"] = ACCESS_TOKEN

        answer = exchange(backend, **form)

        assert answer.status == 400
        assert answer["error"] in {"invalid_request", "invalid_grant", "invalid_target", "invalid_scope"}
        assert junk not in answer.data.get("error_description", "")

    def test_the_client_authenticates(self, backend: Site, mobile: Site) -> None:
        backend.secret = "wrong"

        answer = exchange(backend, mobile.bound("phone").access)

        assert (answer.status, answer["error"]) == (401, "invalid_client")

    def test_a_repeated_audience_is_no_mistake(self, make_backend: Callable[..., Site], mobile: Site) -> None:
        backend = make_backend("jwt", rule={"audiences": "https://a.example https://b.example orders"})

        answer = exchange(
            backend,
            mobile.bound("phone").access,
            audience=["orders", "https://a.example"],
            resource="https://b.example",
        )

        assert set(answer.claims["aud"]) == {"orders", "https://a.example", "https://b.example"}


class TestRefreshTokens:
    """Refresh tokens as subject tokens, and asked for."""

    def test_a_refresh_token_is_exchanged_and_not_used_up(self, backend: Site, mobile: Site) -> None:
        subject = mobile.bound("phone", scope="read")

        answer = exchange(backend, subject.refresh, subject_token_type=REFRESH_TOKEN)

        assert answer["scope"] == "read"
        assert backend.active(answer.access)
        assert mobile.refresh(subject.refresh).status == 200

    def test_it_is_the_same_source_as_its_access_token(self, backend: Site, mobile: Site) -> None:
        subject = mobile.bound("phone")
        by_refresh = exchange(backend, subject.refresh, subject_token_type=REFRESH_TOKEN)
        mobile.revoke(subject.access)

        assert not backend.active(by_refresh.access)

    @pytest.mark.parametrize("what", ["used", "revoked", "expired", "access token"])
    def test_one_that_is_no_good(self, backend: Site, mobile: Site, what: str) -> None:
        subject = mobile.bound("phone")
        token = subject.access if what == "access token" else subject.refresh
        entries: dict[str, Any] = {}
        if what == "used":
            mobile.refresh(token)
        elif what == "revoked":
            mobile.revoke(token)
        elif what == "expired":
            expire(subject.access)
            entries["REFRESH_TOKEN_EXPIRE_SECONDS"] = 0.5

        with provider(**entries):
            answer = exchange(backend, token, subject_token_type=REFRESH_TOKEN)

        assert_refused(answer, "invalid_grant", "subject_token")

    @pytest.mark.parametrize("binding", ["none", "client-request"])
    def test_a_refresh_token_can_be_asked_for(
        self, make_backend: Callable[..., Site], mobile: Site, binding: str
    ) -> None:
        backend = make_backend("jwt", binding, rule={"refresh_tokens": True})

        answer = exchange(backend, mobile.bound("phone").access, requested_token_type=REFRESH_TOKEN)

        assert (answer["issued_token_type"], answer["token_type"]) == (REFRESH_TOKEN, "N_A")
        assert "refresh_token" not in answer.data
        assert "expires_in" not in answer.data
        assert backend.active(backend.refresh(answer.access).access)


class TestIDTokens:
    @pytest.fixture
    def relying_party(self, make_bound: Callable[..., Site]) -> Site:
        site = make_bound("opaque", "authorization_code", additional_grant_types="token-exchange")
        allow(site, site)
        return site

    def test_a_client_exchanges_the_id_token_it_was_issued(self, relying_party: Site) -> None:
        id_token = relying_party.token(scope="openid read")["id_token"]

        answer = exchange(relying_party, id_token, subject_token_type=ID_TOKEN, scope="read")

        assert answer.status == 200, answer.data
        assert relying_party.introspect(answer.access)["username"] == "alice"

    def test_that_of_another_audience_is_refused_also_with_a_rule(
        self, backend: Site, relying_party: Site
    ) -> None:
        allow(backend, relying_party)
        id_token = relying_party.token(scope="openid read")["id_token"]

        assert_refused(exchange(backend, id_token, subject_token_type=ID_TOKEN), "invalid_grant")

    @pytest.mark.parametrize("token_type", TOKEN_TYPES)
    def test_it_stands_for_what_its_login_was_granted(
        self, make_bound: Callable[..., Site], token_type: str
    ) -> None:
        """django-oauth-toolkit notes what the token request calls scope, which redeeming a code ignores."""
        api = "https://api.example/"
        site = make_bound(token_type, "authorization_code", additional_grant_types="token-exchange")
        allow(site, site, audiences=f"{api} https://other.example/")
        form = site.authorization_code(scope="openid read", resource=api)
        login = site.post("/oauth2/token/", {**form, "scope": "openid read write"})
        assert login["scope"] == "openid read"
        # Of another binding, or the login itself would be replaced.
        subject = {
            "subject_token": login["id_token"],
            "subject_token_type": ID_TOKEN,
            "tokenBindingId": "exchanged",
        }

        answer = exchange(site, **subject)
        assert set(answer["scope"].split()) == {"openid", "read"}
        assert site.introspect(answer.access)["aud"] == (api if token_type == "jwt" else [api])
        assert_refused(exchange(site, **subject, scope="read write"), "invalid_scope")
        # Also where an ID token is taken for an access token, as by django-oauth-toolkit's own doors.
        assert IDToken.objects.get().scope == "openid read"

    def test_what_was_exchanged_lives_no_longer_than_the_login(self, make_bound: Callable[..., Site]) -> None:
        site = make_bound("opaque", "authorization_code", additional_grant_types="token-exchange")
        allow(site, site)
        with provider(ACCESS_TOKEN_EXPIRE_SECONDS=100):
            login = site.token(scope="openid read")
        # Of another binding, or the login itself would be replaced.
        subject = {
            "subject_token": login["id_token"],
            "subject_token_type": ID_TOKEN,
            "tokenBindingId": "exchanged",
        }
        assert exchange(site, **subject)["expires_in"] > 1000  # its refresh token goes on

        RefreshToken.objects.update(revoked=timezone.now())

        assert exchange(site, **subject)["expires_in"] <= 100
        with provider(REFRESH_TOKEN_EXPIRE_SECONDS=50):
            RefreshToken.objects.update(revoked=None)
            assert exchange(site, **subject)["expires_in"] <= 150

    @pytest.mark.parametrize("client_id", ["somebody", "rp"])
    def test_who_may_act_is_who_the_login_says(self, make_bound: Callable[..., Site], client_id: str) -> None:
        site = make_bound(
            "jwt", "authorization_code", additional_grant_types="token-exchange", client_id="rp"
        )
        allow(site, site)
        login = login_with_may_act(site, {"sub": client_id}, scope="openid read")

        for subject, subject_type in ((login["id_token"], ID_TOKEN), (login.refresh, REFRESH_TOKEN)):
            answer = exchange(site, subject, subject_token_type=subject_type)
            if client_id == "rp":
                assert answer.status == 200, answer.data
            else:
                assert_refused(answer, "invalid_grant", "another party")

    def test_an_id_token_is_no_access_token(self, relying_party: Site) -> None:
        id_token = relying_party.token(scope="openid read")["id_token"]

        for token_type in (ACCESS_TOKEN, JWT, REFRESH_TOKEN):
            refused = exchange(relying_party, id_token, subject_token_type=token_type)
            assert_refused(refused, "invalid_grant", "subject_token")

    @pytest.mark.parametrize("what", ["expired", "tampered", "unsigned", "access token", "junk", "symmetric"])
    def test_one_that_is_no_good(self, relying_party: Site, mobile: Site, what: str) -> None:
        import jwt
        from oauth2_provider.models import IDToken

        id_token = relying_party.token(scope="openid read")["id_token"]
        claims = jwt.decode(id_token, options={"verify_signature": False})
        if what == "expired":
            IDToken.objects.update(expires=timezone.now())
        elif what == "tampered":
            header, _payload, signature = id_token.split(".")
            payload = jwt.encode({**claims, "sub": "1"}, "x" * 32).split(".")[1]
            id_token = f"{header}.{payload}.{signature}"
        elif what == "unsigned":
            id_token = jwt.encode(claims, "", algorithm="none")
        elif what == "symmetric":
            id_token = jwt.encode(claims, SECRET * 2, algorithm="HS256")
        else:
            id_token = {"access token": mobile.bound("phone").access, "junk": "ey.ey.ey"}[what]

        assert_refused(exchange(relying_party, id_token, subject_token_type=ID_TOKEN), "invalid_grant")


class TestPolicy:
    def test_without_a_rule_nothing_is_exchanged(
        self, backend: Site, make_bound: Callable[..., Site]
    ) -> None:
        stranger = make_bound("opaque")

        answer = exchange(backend, stranger.bound("phone").access)

        assert_refused(answer, "unauthorized_client", "subject_token")

    def test_rules_are_of_pairs_and_have_a_direction(self, backend: Site, mobile: Site) -> None:
        mobile.application.additional_grant_types = "token-exchange"
        mobile.application.save()
        token = exchange(backend, mobile.bound("phone").access).access

        assert_refused(exchange(mobile, token), "unauthorized_client")

    def test_the_grant_type_must_be_allowed(self, make_backend: Callable[..., Site], mobile: Site) -> None:
        backend = make_backend(additional_grant_types="")

        assert_refused(exchange(backend, mobile.bound("phone").access), "unauthorized_client")

    def test_public_clients_need_a_setting(self, make_backend: Callable[..., Site], mobile: Site) -> None:
        backend = make_backend(client_type="public")
        subject = mobile.bound("phone").access
        form = {"client_id": backend.application.client_id}
        backend.secret = ""

        def ask() -> Answer:
            pairs = {
                "grant_type": GRANT_TYPE,
                "subject_token": subject,
                "subject_token_type": ACCESS_TOKEN,
                **form,
            }
            return backend.post("/oauth2/token/", pairs, authenticate=False)

        assert_refused(ask(), "unauthorized_client", "public")
        with override_settings(OAUTH_BINDING={"TOKEN_EXCHANGE_PUBLIC_CLIENTS": True}):
            assert ask().status == 200

    @pytest.mark.parametrize(
        ("asked", "granted"),
        [(None, "read write"), ("read", "read"), ("write read", "read write")],
    )
    def test_scopes_shrink(self, backend: Site, mobile: Site, asked: str | None, granted: str) -> None:
        answer = exchange(backend, mobile.bound("phone", scope="read write").access, scope=asked)

        assert set(answer["scope"].split()) == set(granted.split())

    @pytest.mark.parametrize("asked", ["read write", "read introspection", "read nonsense"])
    def test_scopes_never_widen(self, backend: Site, mobile: Site, asked: str) -> None:
        subject = mobile.bound("phone", scope="read")

        assert_refused(exchange(backend, subject.access, scope=asked), "invalid_scope")

    def test_the_clients_own_scopes_are_a_limit(self, backend: Site, mobile: Site) -> None:
        subject = mobile.bound("phone", scope="read write")
        with provider(
            SCOPES_BACKEND_CLASS="tests.authorization_server.exchange.test_token_exchange.ReadOnlyClients"
        ):
            assert exchange(backend, subject.access)["scope"] == "read"
            assert_refused(exchange(backend, subject.access, scope="write"), "invalid_scope")

    @pytest.mark.parametrize("name", ["audience", "resource"])
    @pytest.mark.parametrize(
        "value", ["https://evil.example", "https://api.example/", ["https://api.example", "x"]]
    )
    def test_only_the_rules_audiences(
        self, make_backend: Callable[..., Site], mobile: Site, name: str, value: Any
    ) -> None:
        backend = make_backend(rule={"audiences": "https://api.example"})

        assert_refused(
            exchange(backend, mobile.bound("phone").access, **{name: value}), "invalid_target", name
        )

    def test_a_rule_with_audiences_asks_for_one(
        self, make_backend: Callable[..., Site], mobile: Site
    ) -> None:
        backend = make_backend(rule={"audiences": "https://api.example"})

        assert_refused(exchange(backend, mobile.bound("phone").access), "invalid_target")

    def test_a_token_for_an_audience_does_not_become_one_for_all(self, backend: Site, mobile: Site) -> None:
        subject = mobile.bound("phone", resource="https://api.example")

        assert_refused(exchange(backend, subject.access), "invalid_target")

    @pytest.mark.parametrize("token_type", TOKEN_TYPES)
    @pytest.mark.parametrize("binding", ["none", "client-request"])
    def test_the_new_token_lives_no_longer_than_the_old_one(
        self, make_backend: Callable[..., Site], mobile: Site, token_type: str, binding: str
    ) -> None:
        subject = mobile.bound("phone")
        row = access_token_row(subject.access)
        row.expires = timezone.now() + timedelta(seconds=100)
        row.save()

        answer = exchange(make_backend(token_type, binding), subject.access)

        assert 90 < answer["expires_in"] <= 100
        assert access_token_row(answer.access).expires <= row.expires

    @pytest.mark.parametrize(
        "what", ["revoked", "expired", "superseded", "inactive user", "no user", "refresh token"]
    )
    def test_a_subject_token_that_is_no_good(
        self, backend: Site, mobile: Site, make_site: Callable[..., Site], what: str
    ) -> None:
        subject = mobile.bound("phone")
        token = subject.access
        if what == "revoked":
            mobile.revoke(token)
        elif what == "expired":
            expire(token)
        elif what == "superseded":
            mobile.bound("phone")
        elif what == "inactive user":
            User.objects.update(is_active=False)
        elif what == "no user":
            machine = make_site("client_credentials", as_user=None)
            allow(backend, machine)
            token = machine.token().access
        else:
            token = subject.refresh

        assert_refused(exchange(backend, token), "invalid_grant", "subject_token")

    def test_an_opaque_token_is_no_jwt(self, backend: Site, make_bound: Callable[..., Site]) -> None:
        opaque = make_bound("opaque")
        allow(backend, opaque)

        answer = exchange(backend, opaque.bound("phone").access, subject_token_type=JWT)

        assert_refused(answer, "invalid_grant", "subject_token")

    def test_a_disabled_subject_client(
        self, backend: Site, mobile: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        subject = mobile.bound("phone")
        disable(monkeypatch, mobile)

        assert_refused(exchange(backend, subject.access), "invalid_grant", "subject_token")

    def test_a_rule_has_to_allow_something_to_somebody_who_can(self, backend: Site, mobile: Site) -> None:
        backend_app, mobile_app = backend.application, mobile.application
        with pytest.raises(ValidationError, match="allows nothing"):
            TokenExchangeRule(client=backend_app, subject_client=mobile_app).full_clean()
        with pytest.raises(ValidationError, match="not include token exchange"):
            TokenExchangeRule(client=mobile_app, subject_client=backend_app, delegation=True).full_clean()
        with pytest.raises(ValidationError, match="already exists"):
            TokenExchangeRule(client=backend_app, subject_client=mobile_app, delegation=True).full_clean()
        backend_app.client_type = "public"
        with pytest.raises(ValidationError, match="public client"):
            TokenExchangeRule(client=backend_app, subject_client=backend_app, delegation=True).full_clean()


class TestDelegation:
    @pytest.fixture
    def delegate(self, make_backend: Callable[..., Site]) -> Site:
        return make_backend("jwt", rule={"impersonation": False, "delegation": True})

    def act(self, delegate: Site, subject: str, **extra: Any) -> Answer:
        extra = {"actor_token": delegate.token().access, "actor_token_type": ACCESS_TOKEN, **extra}
        return exchange(delegate, subject, **extra)

    @pytest.mark.parametrize("token_type", TOKEN_TYPES)
    def test_the_token_says_who_acts(
        self, make_backend: Callable[..., Site], mobile: Site, token_type: str
    ) -> None:
        delegate = make_backend(token_type, rule={"delegation": True})
        client_id = delegate.application.client_id

        answer = self.act(delegate, mobile.bound("phone").access)

        assert delegate.introspect(answer.access)["act"] == {"sub": client_id, "client_id": client_id}
        if token_type == "jwt":
            assert answer.claims["act"] == {"sub": client_id, "client_id": client_id}

    def test_who_acted_before_is_inside(
        self, delegate: Site, make_backend: Callable[..., Site], mobile: Site
    ) -> None:
        second = make_backend("jwt")
        allow(second, delegate, delegation=True)
        first_token = self.act(delegate, mobile.bound("phone").access).access

        act = self.act(second, first_token).claims["act"]

        assert act["client_id"] == second.application.client_id
        assert act["act"]["client_id"] == delegate.application.client_id

    def test_impersonation_keeps_who_acted_before(
        self, delegate: Site, make_backend: Callable[..., Site], mobile: Site
    ) -> None:
        second = make_backend("jwt")
        allow(second, delegate)
        first_token = self.act(delegate, mobile.bound("phone").access).access

        assert exchange(second, first_token).claims["act"]["client_id"] == delegate.application.client_id

    def test_each_needs_to_be_allowed(self, delegate: Site, backend: Site, mobile: Site) -> None:
        subject = mobile.bound("phone").access

        assert_refused(exchange(delegate, subject), "unauthorized_client", "actor_token")
        assert_refused(self.act(backend, subject), "unauthorized_client", "actor_token")

    def test_a_user_of_the_client_acts(
        self, make_site: Callable[..., Site], mobile: Site, user: User
    ) -> None:
        desk = make_site(additional_grant_types="token-exchange", token_type="jwt")
        allow(desk, mobile, delegation=True, impersonation=False)
        helper = desk.token().access

        answer = exchange(
            desk, mobile.bound("phone").access, actor_token=helper, actor_token_type=ACCESS_TOKEN
        )

        acting = {"sub": str(user.pk), "client_id": desk.application.client_id}
        assert desk.introspect(answer.access)["act"] == acting

    def test_the_actor_token_is_the_clients_own_and_live(self, delegate: Site, mobile: Site) -> None:
        subject = mobile.bound("phone").access
        gone = delegate.token(tokenBindingId="gone").access
        delegate.revoke(gone)

        assert_refused(self.act(delegate, subject, actor_token=subject), "invalid_grant", "actor_token")
        assert_refused(self.act(delegate, subject, actor_token=gone), "invalid_grant", "actor_token")

    @pytest.mark.parametrize(
        ("may_act", "allowed"),
        [
            ({"client_id": "backend"}, True),
            ({"sub": "backend"}, True),
            ({"sub": "backend", "client_id": "backend"}, True),
            ({"sub": "backend", "iss": "http://testserver/oauth2"}, True),
            ({"sub": "backend", "iss": "https://other.example"}, False),
            ({"sub": "backend", "email": "backend@example.com"}, False),
            ({"iss": "http://testserver/oauth2"}, False),
            ({}, False),
            ({"sub": "somebody"}, False),
            ({"sub": "backend", "client_id": "somebody"}, False),
            ({"iss": "https://other.example"}, False),
            ("backend", False),
        ],
    )
    @pytest.mark.parametrize("delegation", [True, False])
    def test_may_act_is_honoured(
        self, make_backend: Callable[..., Site], mobile: Site, may_act: Any, allowed: bool, delegation: bool
    ) -> None:
        backend = make_backend(client_id="backend", rule={"delegation": True})
        login = login_with_may_act(mobile, may_act)
        # Whichever token of the login it is.
        for subject, subject_type in ((login.access, ACCESS_TOKEN), (login.refresh, REFRESH_TOKEN)):
            extra = {"subject_token_type": subject_type}

            answer = (
                self.act(backend, subject, **extra) if delegation else exchange(backend, subject, **extra)
            )

            if allowed:
                assert answer.status == 200, answer.data
            else:
                assert_refused(answer, "invalid_grant", "subject_token")


def test_one_request_leaves_nothing_for_the_next(make_backend: Callable[..., Site], mobile: Site) -> None:
    """One grant object serves all requests of a process."""
    first = make_backend(rule={"delegation": True, "refresh_tokens": True, "audiences": "orders"})
    second = make_backend()
    subject = mobile.bound("phone").access
    core = TokenView._oauthlib_core
    actor = {"actor_token": first.token().access, "actor_token_type": ACCESS_TOKEN}
    assert exchange(first, subject, audience="orders", scope="read", **actor).status == 200

    answer = exchange(second, mobile.bound("laptop", scope="read write").access)

    assert TokenView._oauthlib_core is core
    assert set(answer["scope"].split()) == {"read", "write"}
    assert "refresh_token" not in answer.data
    found = second.introspect(answer.access).data
    assert found["client_id"] == second.application.client_id
    assert not {"act", "aud"} & found.keys()


class TestBinding:
    @pytest.mark.parametrize("token_type", TOKEN_TYPES)
    def test_each_id_holds_a_token(
        self, make_backend: Callable[..., Site], mobile: Site, token_type: str
    ) -> None:
        backend = make_backend(token_type)
        subject = mobile.bound("phone").access

        one, two = (exchange(backend, subject, tokenBindingId=name) for name in ("one", "two"))
        again = exchange(backend, subject, tokenBindingId="one")

        assert (again.access == one.access) is (token_type == "opaque")
        assert backend.active(one.access) is (token_type == "opaque")
        assert backend.active(again.access)
        assert backend.active(two.access)
        assert again["expires_in"] <= one["expires_in"]

    def test_the_subjects_binding_is_not_passed_on(self, backend: Site, mobile: Site) -> None:
        subject = mobile.bound("phone").access
        assert "binding_ref" in mobile.introspect(subject).data

        assert "binding_ref" not in backend.introspect(exchange(backend, subject).access).data

    def test_an_opaque_token_of_another_subject_token_is_replaced(self, backend: Site, mobile: Site) -> None:
        """Or revoking what it was exchanged from would not reach it."""
        phone, laptop = mobile.bound("phone"), mobile.bound("laptop")
        of_phone = exchange(backend, phone.access, tokenBindingId="one")
        of_laptop = exchange(backend, laptop.access, tokenBindingId="one")

        assert of_phone.access != of_laptop.access
        assert not backend.active(of_phone.access)
        mobile.revoke(laptop.access)
        assert not backend.active(of_laptop.access)

    def test_a_token_that_was_not_exchanged_is_not_answered(
        self, make_bound: Callable[..., Site], mobile: Site
    ) -> None:
        both = make_bound("opaque", additional_grant_types="token-exchange")
        allow(both, mobile)
        own = both.bound("phone")

        exchanged = exchange(both, mobile.bound("phone").access, tokenBindingId="phone")

        assert exchanged.access != own.access
        assert "refresh_token" not in exchanged.data
        assert both.refresh(own.refresh).status == 400

    def test_refreshing_the_subject_token_changes_nothing(self, backend: Site, mobile: Site) -> None:
        subject = mobile.bound("phone")
        first = exchange(backend, subject.access)
        refreshed = mobile.refresh(subject.refresh)

        assert backend.active(first.access)
        assert exchange(backend, refreshed.access).access == first.access

    @pytest.mark.parametrize("value", ["x" * 256, "a\nb"])
    def test_a_malformed_id_is_refused_before_anything(self, backend: Site, value: str) -> None:
        assert_refused(exchange(backend, "junk", tokenBindingId=value), "invalid_request", "tokenBindingId")


class TestRevocation:
    @pytest.mark.parametrize("how", ["access", "refresh", "binding", "superseding binding"])
    @pytest.mark.parametrize("token_type", TOKEN_TYPES)
    @pytest.mark.parametrize("binding", ["none", "client-request"])
    def test_what_was_exchanged_goes_with_what_it_was_exchanged_from(
        self, make_backend: Callable[..., Site], mobile: Site, how: str, token_type: str, binding: str
    ) -> None:
        backend = make_backend(token_type, binding, rule={"refresh_tokens": True})
        subject, other = mobile.bound("phone"), mobile.bound("laptop")
        answer = exchange(backend, subject.access, tokenBindingId="one")
        refreshed = backend.refresh(answer.refresh)
        of_other = exchange(backend, other.access, tokenBindingId="two")

        if how == "access":
            mobile.revoke(subject.access)
        elif how == "refresh":
            mobile.revoke(subject.refresh)
        elif how == "binding":
            revoke_binding(TokenBinding.objects.get(binding_value="phone"))
        else:
            mobile.bound("phone")
            revoke_binding(TokenBinding.objects.get(binding_value="phone"))

        assert not backend.active(refreshed.access)
        assert backend.refresh(refreshed.refresh)["error"] == "invalid_grant"
        assert backend.active(of_other.access)

    @pytest.mark.parametrize("bound", [True, False])
    def test_reuse_protection_reaches_what_was_exchanged(
        self, backend: Site, mobile: Site, make_site: Callable[..., Site], bound: bool
    ) -> None:
        site = mobile if bound else make_site()
        if not bound:
            allow(backend, site)
        with provider(REFRESH_TOKEN_REUSE_PROTECTION=True):
            subject = site.bound("phone")
            answer = exchange(backend, subject.access)
            site.refresh(subject.refresh)
            assert backend.active(answer.access)

            site.refresh(subject.refresh)  # somebody has stolen it

        assert not backend.active(answer.access)

    @pytest.mark.parametrize("how", ["endpoint", "refresh token", "everywhere"])
    def test_the_same_for_unbound_subject_tokens(
        self, backend: Site, make_site: Callable[..., Site], user: User, how: str
    ) -> None:
        plain = make_site()
        allow(backend, plain)
        subject = plain.token()
        answer = exchange(backend, subject.access)

        if how == "endpoint":
            plain.revoke(subject.access)
        elif how == "refresh token":
            plain.revoke(subject.refresh)
        else:
            revoke_unbound_tokens(user, plain.application)

        assert not backend.active(answer.access)

    def test_a_chain_goes_as_a_whole(
        self, backend: Site, make_backend: Callable[..., Site], mobile: Site
    ) -> None:
        second = make_backend("jwt")
        allow(second, backend)
        subject = mobile.bound("phone")
        first_token = exchange(backend, subject.access).access
        second_token = exchange(second, first_token).access

        mobile.revoke(subject.refresh)

        assert not backend.active(first_token)
        assert not second.active(second_token)

    def test_a_setting_turns_it_off(self, backend: Site, mobile: Site) -> None:
        subject = mobile.bound("phone")
        answer = exchange(backend, subject.access)

        with override_settings(OAUTH_BINDING={"TOKEN_EXCHANGE_CASCADE": False}):
            mobile.revoke(subject.access)

        assert backend.active(answer.access)

    def test_revoking_the_new_token_leaves_the_old_one(self, backend: Site, mobile: Site) -> None:
        subject = mobile.bound("phone")
        answer = exchange(backend, subject.access)

        backend.revoke(answer.access)

        assert not backend.active(answer.access)
        assert mobile.active(subject.access)

    def test_deleting_the_subject_client_deletes_what_was_exchanged(
        self, backend: Site, mobile: Site
    ) -> None:
        answer = exchange(backend, mobile.bound("phone").access)

        Application.objects.get(pk=mobile.application.pk).delete()

        assert not backend.active(answer.access)


class TestRefreshing:
    @pytest.fixture(params=itertools.product(TOKEN_TYPES, ["none", "client-request"]), ids="-".join)
    def refreshing(self, request: pytest.FixtureRequest, make_backend: Callable[..., Site]) -> Site:
        return make_backend(*request.param, rule={"refresh_tokens": True, "delegation": True})

    def test_the_provenance_stays(self, refreshing: Site, mobile: Site) -> None:
        actor = {"actor_token": refreshing.token().access, "actor_token_type": ACCESS_TOKEN}
        answer = exchange(refreshing, mobile.bound("phone").access, **actor)

        for _ in range(2):
            answer = refreshing.refresh(answer.refresh)
            assert answer.status == 200
            assert refreshing.introspect(answer.access)["act"]["sub"] == refreshing.application.client_id

    @pytest.mark.parametrize("what", ["user", "client", "subject client", "rule", "refresh tokens"])
    def test_good_standing_is_checked_again(
        self, refreshing: Site, mobile: Site, monkeypatch: pytest.MonkeyPatch, what: str
    ) -> None:
        answer = exchange(refreshing, mobile.bound("phone").access)
        if what == "user":
            User.objects.update(is_active=False)
        elif what == "client":
            disable(monkeypatch, refreshing)
        elif what == "subject client":
            disable(monkeypatch, mobile)
        elif what == "rule":
            TokenExchangeRule.objects.all().delete()
        else:
            TokenExchangeRule.objects.update(refresh_tokens=False)

        refused = refreshing.refresh(answer.refresh)

        assert refused.status in {400, 401}
        assert refused["error"] in {"invalid_grant", "invalid_client"}

    def test_an_audience_is_refreshed(self, make_backend: Callable[..., Site], mobile: Site) -> None:
        for binding in ("none", "client-request"):
            backend = make_backend("jwt", binding, rule={"refresh_tokens": True, "audiences": "orders"})
            answer = exchange(backend, mobile.bound("phone").access, audience="orders")

            assert backend.refresh(answer.refresh).claims["aud"] == "orders"

    def test_who_may_no_longer_exchange_does_not_refresh_either(self, refreshing: Site, mobile: Site) -> None:
        answer = exchange(refreshing, mobile.bound("phone").access)
        Application.objects.filter(pk=refreshing.application.pk).update(additional_grant_types="password")

        assert_refused(refreshing.refresh(answer.refresh), "invalid_grant")

    def test_an_application_with_nothing_but_token_exchange(
        self, make_backend: Callable[..., Site], mobile: Site
    ) -> None:
        fields = {"authorization_grant_type": "token-exchange", "additional_grant_types": ""}
        backend = make_backend(rule={"refresh_tokens": True}, **fields)

        answer = exchange(backend, mobile.bound("phone").access)

        assert backend.refresh(answer.refresh).status == 200

    def test_a_refresh_token_of_the_clients_choosing_is_not_issued(
        self, refreshing: Site, mobile: Site
    ) -> None:
        with provider(ROTATE_REFRESH_TOKEN=False):
            answer = exchange(refreshing, mobile.bound("phone").access, refresh_token="chosen")

        assert answer.refresh != "chosen"


def test_a_subject_token_that_expires_this_second_is_not_exchanged(backend: Site, mobile: Site) -> None:
    subject = mobile.bound("phone")
    row = access_token_row(subject.access)
    row.expires = timezone.now().replace(microsecond=0) + timedelta(seconds=1)
    row.save()

    answer = exchange(backend, subject.access)

    assert answer.status == 400 or answer["expires_in"] == 1


def test_what_holds_no_tokens_any_more_is_forgotten(backend: Site, mobile: Site) -> None:
    kept = exchange(backend, mobile.bound("phone").access, tokenBindingId="one")
    exchange(backend, mobile.bound("laptop").access, tokenBindingId="two")
    AccessToken.objects.exclude(pk=access_token_row(kept.access).pk).delete()
    TokenExchange.objects.update(last_used=timezone.now() - timedelta(days=100))
    output = StringIO()

    call_command("clearbindings", stdout=output)

    assert "1 of 2 unused token exchanges deleted." in output.getvalue()
    assert TokenExchange.objects.count() == 1
    assert backend.active(kept.access)


def test_a_signal_tells_of_an_exchange(
    backend: Site, mobile: Site, django_capture_on_commit_callbacks: Any
) -> None:
    heard: list[dict[str, Any]] = []

    def hear(**arguments: Any) -> None:
        heard.append(arguments)

    token_exchanged.connect(hear)
    try:
        with django_capture_on_commit_callbacks(execute=True):
            answer = exchange(backend, mobile.bound("phone").access, scope="read")
        with django_capture_on_commit_callbacks(execute=True):
            exchange(backend, "junk")
    finally:
        token_exchanged.disconnect(hear)

    (event,) = heard
    assert event["sender"] is AccessToken
    assert event["client"] == backend.application
    assert event["subject_client"] == mobile.application
    assert (event["user"].username, event["act"], event["scopes"]) == ("alice", None, ["read"])
    assert answer.access not in str(event)


def disable(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    """Disable an application as a site does whose model has a way to."""
    pk = site.application.pk
    monkeypatch.setattr(Application, "is_usable", lambda self, request: self.pk != pk)


def login_with_may_act(site: Site, may_act: Any, **extra: Any) -> Answer:
    """Let somebody log in where the site says in its JWTs who may act."""

    class Validator(BindingOAuth2Validator):
        def get_additional_access_token_claims(self, request: Any) -> dict[str, Any]:
            return {"may_act": may_act}

    with provider(OAUTH2_VALIDATOR_CLASS=Validator):
        answer = site.bound("phone", **extra)
    assert answer.claims["may_act"] == may_act
    return answer


class ReadOnlyClients:
    """A scopes backend that lets machines read only."""

    def get_all_scopes(self) -> dict[str, str]:
        scopes: Any = settings.OAUTH2_PROVIDER["SCOPES"]
        return dict(scopes)

    def get_available_scopes(self, application: Any = None, *args: Any, **kwargs: Any) -> list[str]:
        is_machine = application is not None and application.authorization_grant_type == "client-credentials"
        return ["read"] if is_machine else list(self.get_all_scopes())

    def get_default_scopes(self, application: Any = None, *args: Any, **kwargs: Any) -> list[str]:
        return self.get_available_scopes(application)
