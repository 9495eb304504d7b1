"""No path to a token gives more than was granted: random walks over all of them.

What is granted is written down when somebody logs in, or another server vouches for somebody. Whatever is
made of that afterwards, by any sequence of requests, is within it: scope, audience, life, binding and user,
in the answer, the row, introspection and a JWT alike. A request that asks for no more than that is answered,
so that the walks get somewhere.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.test import Client
from django.utils import timezone
from hypothesis import Phase
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    rule,
    run_state_machine_as_test,
)
from oauth2_provider.models import get_access_token_model

from oauth_binding.authorization_server import BindingOAuth2Validator
from oauth_binding.binding.semantics import binding_reference
from oauth_binding.models import TokenExchangeRule
from tests.helpers.client import REDIRECT_URI, Answer, Site, is_jwt, verify_jwt
from tests.helpers.exchange import ACCESS_TOKEN, ID_TOKEN, JWT, REFRESH_TOKEN, allow, exchange
from tests.helpers.rows import access_token_row
from tests.helpers.servers import RSA_KEY, jwk

PROFILE = hypothesis_settings(
    max_examples=60 if os.environ.get("HYPOTHESIS_PROFILE") == "ci" else 12,
    stateful_step_count=20,
    deadline=None,
    # A walk is told by its steps; making it shorter takes longer than reading it.
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)

LIFETIME = 3600

#: How much longer a token may live that is returned again: hosts' clocks differ.
LEEWAY = 300

ISSUER = "https://idp.example"

ONE, TWO, THREE = (f"https://{name}.example/" for name in ("one", "two", "three"))

#: The ways to a token. Each is taken, or the walks prove less than they claim.
PATHS = {
    *("password", "client-credentials", "authorization-code", "implicit", "openid-hybrid"),
    "urn:ietf:params:oauth:grant-type:device_code",
    *("reuse", "refresh", "grace", "exchange access", "exchange refresh", "exchange ID", "foreign"),
    *("narrowed by the site", "narrowed by an operator"),
}

SCOPES = ("read", "write", "introspection", "devices:read", "devices:write")


class Narrows(BindingOAuth2Validator):
    """A site's own validator, which grants no more than reading, for five minutes, while it is told to."""

    narrows = False

    def save_bearer_token(self, token: dict[str, Any], request: Any, *args: Any, **kwargs: Any) -> None:
        if self.narrows:
            granted = token["scope"].split()
            token["scope"] = " ".join(scope for scope in granted if scope in {"read", "openid"})
            token["expires_in"] = min(token["expires_in"], 300)
        super().save_bearer_token(token, request, *args, **kwargs)


def audiences_of(claims: dict[str, Any]) -> set[str]:
    """Return who a token is for: one is a text, several are a list (RFC 7519 section 4.1.3)."""
    audience = claims.get("aud", [])
    return {audience} if isinstance(audience, str) else set(audience)


@dataclass(frozen=True)
class Grant:
    """The most that somebody's credential can be turned into."""

    user: str | None
    scopes: frozenset[str]
    #: None where it is for all.
    audience: frozenset[str] | None
    #: When a token that is exchanged for it expires at the latest, in seconds since the epoch.
    until: float = float("inf")


@dataclass(frozen=True)
class Held:
    """A credential that somebody holds."""

    site: Site
    text: str
    type: str
    grant: Grant
    #: The tokenBindingId; None where it is unbound, or of the shared slot.
    binding: str | None


@dataclass
class Walk:
    """What all walks have in common."""

    sites: list[Site]
    backends: list[Site]
    taken: Counter[str] = field(default_factory=Counter)
    #: What each begins with.
    held: list[Held] = field(default_factory=list)


scopes = st.frozensets(st.sampled_from(SCOPES), min_size=1, max_size=3)
# Most ask for no more than they may have, or seldom anything would be granted.
asked_scopes = st.sampled_from([None, frozenset({"read"}), None]) | scopes
audiences = st.sampled_from([(), (ONE,), (), (TWO,), (ONE, TWO), (THREE,)])
targets = st.sampled_from([(ONE,), (TWO,), (ONE,), (ONE, TWO), (), (THREE,)])
ids = st.sampled_from([None, "phone", "laptop"])


class Walker(RuleBasedStateMachine):
    def __init__(self, walk: Walk) -> None:
        super().__init__()
        self.walk = walk
        self.held = list(walk.held)
        Narrows.narrows = False
        self.rows = transaction.atomic()
        self.rows.__enter__()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.rows.__exit__(None, None, None)
        Narrows.narrows = False

    # Logging in

    def every_path_is_taken_once(self) -> None:
        """Have something of everything, which stays in the database for all walks."""
        for site in self.walk.sites:
            self._log_in(site, frozenset({"read", "write"}), (), "phone")
        self._log_in(self.walk.sites[0], frozenset({"read", "write"}), (), "phone")
        for token_type in (ACCESS_TOKEN, REFRESH_TOKEN, ID_TOKEN):
            held = self._of_type(token_type)[0]
            self._exchange(held, self._exchanger(held, 0), None, (ONE,), "exchanged")
        self._exchange_foreign(None, frozenset({"read"}), 600, "phone")
        refreshed = self._of_type(REFRESH_TOKEN)[0]
        for _time in range(2):
            self._refresh(refreshed, None, ())
        Narrows.narrows = True
        self._log_in(self.walk.sites[1], frozenset({"read", "write"}), (), "narrow")
        Narrows.narrows = False
        self._narrow(self._of_type(ACCESS_TOKEN)[0])
        self.rows.__exit__(None, None, None)
        self.walk.held = self.held

    @rule(data=st.data(), wanted=scopes, audience=audiences, binding=ids)
    def log_in(
        self, data: st.DataObject, wanted: frozenset[str], audience: tuple[str, ...], binding: str | None
    ) -> None:
        self._log_in(data.draw(st.sampled_from(self.walk.sites)), wanted, audience, binding)

    def _log_in(
        self, site: Site, wanted: frozenset[str], audience: tuple[str, ...], binding: str | None
    ) -> None:
        kind = site.application.authorization_grant_type
        scope = " ".join(sorted(wanted | ({"openid"} if site.application.algorithm else set())))
        extra = {} if binding is None else {"tokenBindingId": binding}
        if kind in {"implicit", "openid-hybrid"}:
            answer, binding = authorize(site, scope, audience), None
        elif kind == "authorization-code":
            resource: Any = {"resource": list(audience)} if audience else {}
            form = site.authorization_code(scope, **resource)
            # The scope of the token request counts for nothing.
            answer = site.post("/oauth2/token/", {**form, **extra, "scope": "introspection devices:write"})
        elif kind.endswith("device_code"):
            answer, audience = site.token(scope=scope, **extra), ()
        else:
            answer = site.token(scope=scope, resource=list(audience), **extra)
        grant = Grant(
            user=None if kind == "client-credentials" else "alice",
            scopes=frozenset(scope.split()),
            audience=frozenset(audience) or None,
        )
        assert answer.status == 200, (kind, answer.data)
        again = any(held.text == answer.access for held in self.held)
        self._receive("reuse" if again else kind, site, answer, grant, binding)

    # Going on

    @rule(data=st.data(), asked=asked_scopes, audience=audiences)
    def refresh(self, data: st.DataObject, asked: frozenset[str] | None, audience: tuple[str, ...]) -> None:
        self._refresh(data.draw(st.sampled_from(self._of_type(REFRESH_TOKEN))), asked, audience)

    def _refresh(self, held: Held, asked: frozenset[str] | None, audience: tuple[str, ...]) -> None:
        was_live = held.site.active(held.text)
        form = [("grant_type", "refresh_token"), ("refresh_token", held.text)]
        form += [] if asked is None else [("scope", " ".join(asked))]
        form += [("resource", each) for each in audience]
        answer = held.site.post("/oauth2/token/", form)
        path = "refresh" if was_live else "grace"
        if answer.status != 200:
            is_within = self._is_within(held, asked, audience)
            assert not (was_live and is_within), answer.data
            return
        wanted = held.grant.scopes if asked is None or path == "grace" else asked
        self._receive(
            path, held.site, answer, replace(held.grant, scopes=held.grant.scopes & wanted), held.binding
        )

    @rule(data=st.data(), asked=asked_scopes, audience=targets, binding=ids)
    def exchange(
        self,
        data: st.DataObject,
        asked: frozenset[str] | None,
        audience: tuple[str, ...],
        binding: str | None,
    ) -> None:
        token_type = data.draw(st.sampled_from([ID_TOKEN, ACCESS_TOKEN, REFRESH_TOKEN]))
        held = data.draw(st.sampled_from(self._of_type(token_type)))
        self._exchange(held, self._exchanger(held, data.draw(st.integers(0, 1))), asked, audience, binding)

    def _exchanger(self, held: Held, number: int) -> Site:
        """Return who may exchange a credential: an ID token is for nobody but its audience."""
        return held.site if held.type == ID_TOKEN else self.walk.backends[number]

    def _exchange(
        self,
        held: Held,
        backend: Site,
        asked: frozenset[str] | None,
        audience: tuple[str, ...],
        binding: str | None,
    ) -> None:
        found = held.site.introspect(held.text).data if held.type != ID_TOKEN else {}
        row = None if held.type == ID_TOKEN or not found["active"] else found
        answer = exchange(
            backend,
            held.text,
            subject_token_type=held.type,
            scope=None if asked is None else " ".join(asked),
            audience=list(audience),
            tokenBindingId=binding,
        )
        if answer.status != 200:
            allowed = set(audience or held.grant.audience or ())
            takes_some = backend is not self.walk.backends[1]
            usable = set() if row is None else set(row["scope"].split())
            if not backend.application.algorithm:
                usable -= {"openid"}  # it could not be answered
            is_within = bool(usable) and (not asked or asked <= usable)
            is_within = is_within and held.grant.user is not None and allowed <= {ONE, TWO}
            assert not (is_within and bool(allowed) is takes_some and row is not None), answer.data
            return
        until = float("inf") if row is None else row.get("exp", float("inf"))
        grant = Grant(
            user=held.grant.user,
            scopes=held.grant.scopes if asked is None else held.grant.scopes & asked,
            # What the rule allows, and less where it is asked for.
            audience=frozenset(audience) or held.grant.audience,
            until=min(until, held.grant.until if held.type == ACCESS_TOKEN else float("inf")),
        )
        if backend is not self.walk.backends[1]:
            assert grant.audience is not None
            assert grant.audience <= {ONE, TWO}
        name = {ACCESS_TOKEN: "exchange access", REFRESH_TOKEN: "exchange refresh", ID_TOKEN: "exchange ID"}
        self._receive(name[held.type], backend, answer, grant, binding)

    @rule(asked=asked_scopes, vouched=scopes, life=st.sampled_from([60, 600]), binding=ids)
    def exchange_what_another_server_says(
        self, asked: frozenset[str] | None, vouched: frozenset[str], life: int, binding: str | None
    ) -> None:
        self._exchange_foreign(asked, vouched, life, binding)

    def _exchange_foreign(
        self, asked: frozenset[str] | None, vouched: frozenset[str], life: int, binding: str | None
    ) -> None:
        now = int(time.time())
        claims = {"iss": ISSUER, "sub": "alice", "aud": "here", "iat": now, "exp": now + life}
        text = jwt.encode(
            {**claims, "scope": " ".join(vouched)}, RSA_KEY, "RS256", {"kid": "one", "typ": "at+jwt"}
        )
        backend = self.walk.backends[0]
        answer = exchange(
            backend,
            text,
            subject_token_type=JWT,
            scope=None if asked is None else " ".join(asked),
            audience=ONE,
            tokenBindingId=binding,
        )
        is_within = asked is None or asked <= vouched
        assert (answer.status == 200) is is_within, answer.data
        if is_within:
            grant = Grant("alice", vouched if asked is None else asked, frozenset({ONE}), now + life)
            self._receive("foreign", backend, answer, grant, binding)

    # What narrows

    @rule(narrows=st.booleans())
    def the_site_changes_its_mind(self, narrows: bool) -> None:
        Narrows.narrows = narrows

    @rule(data=st.data())
    def an_operator_narrows_a_token(self, data: st.DataObject) -> None:
        self._narrow(data.draw(st.sampled_from(self._of_type(ACCESS_TOKEN))))

    def _narrow(self, held: Held) -> None:
        checksum = hashlib.sha256(held.text.encode()).hexdigest()
        row = get_access_token_model().objects.filter(token_checksum=checksum)
        if "read" not in held.grant.scopes or not row.update(scope="read"):
            return  # without rotation, another token has its row by now
        self.held = [
            replace(each, grant=replace(each.grant, scopes=each.grant.scopes & {"read"}))
            if each is held
            else each
            for each in self.held
        ]
        self.walk.taken["narrowed by an operator"] += 1

    # What is received

    def _receive(self, path: str, site: Site, answer: Answer, grant: Grant, binding: str | None) -> None:
        """Check a token against what was granted, and keep what came with it."""
        self.walk.taken[path] += 1
        text = answer.access
        row, found = access_token_row(text), self.walk.sites[0].introspect(text).data
        now, scope = timezone.now().timestamp(), frozenset(row.scope.split())
        limit = now + LIFETIME
        # An unbound token that is answered once more within the grace period was granted before.
        if Narrows.narrows and not (path == "grace" and row.binding is None):
            self.walk.taken["narrowed by the site"] += 1
            grant = replace(grant, scopes=grant.scopes & {"read", "openid"})
            limit = now + 300
        may_be_older = site.application.token_type == "opaque" and row.binding is not None

        assert found["active"], path
        assert found.get("username") == grant.user
        assert scope <= grant.scopes, path
        assert frozenset(answer["scope"].split()) == scope == frozenset(found["scope"].split())
        assert grant.audience is None or (row.resource and set(row.resource) <= grant.audience), path
        without_any = {found["iss"]} if is_jwt(text) else set()
        assert audiences_of(found) == (set(row.resource) or without_any), path
        assert row.expires.timestamp() <= min(limit + (LEEWAY if may_be_older else 0), grant.until) + 1, path
        assert abs(answer.data.get("expires_in", 0) + now - row.expires.timestamp()) < 3
        assert found["exp"] == int(row.expires.timestamp())
        binds = row.binding is not None and not row.binding.is_shared
        expected = None if binding is None or row.binding is None else binding_reference(binding)
        assert (row.binding.reference if binds else None) == expected, path
        assert found.get("binding_ref") == expected
        if is_jwt(text):
            claims = verify_jwt(text)
            assert frozenset(claims["scope"].split()) == scope
            assert claims["exp"] == int(row.expires.timestamp())
            assert claims.get("binding_ref") == expected
            assert audiences_of(claims) == audiences_of(found)

        binding = binding if row.binding is not None else None
        grant = replace(grant, audience=frozenset(row.resource) or None)
        kept = replace(grant, scopes=scope)
        self.held.append(Held(site, text, ACCESS_TOKEN, kept, binding))
        # One that is used again is good for what it was good for (RFC 6749 section 6).
        if "refresh_token" in answer.data and all(held.text != answer.refresh for held in self.held):
            self.held.append(
                Held(site, answer.refresh, REFRESH_TOKEN, replace(kept, until=float("inf")), binding)
            )
        if "id_token" in answer.data and grant.user is not None and site.application.algorithm:
            self.held.append(Held(site, answer["id_token"], ID_TOKEN, kept, binding))

    def _of_type(self, token_type: str) -> list[Held]:
        """Return what is held of a type; who logged in first, and the last few, so that most are alive."""
        held = [held for held in self.held if held.type == token_type]
        return held[:3] + held[3:][-5:]

    def _is_within(self, held: Held, asked: frozenset[str] | None, audience: tuple[str, ...]) -> bool:
        granted = set(held.site.introspect(held.text).data.get("scope", "").split())
        is_for = held.grant.audience is None or set(audience) <= held.grant.audience
        return is_for and (asked is None or asked <= granted)


def authorize(site: Site, scope: str, audience: tuple[str, ...]) -> Answer:
    """Return what the authorization endpoint itself answers."""
    assert site.user is not None
    browser = Client()
    browser.force_login(site.user)
    is_hybrid = site.application.authorization_grant_type == "openid-hybrid"
    query = {
        "response_type": "code id_token token" if is_hybrid else "id_token token",
        "client_id": site.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": scope,
        "nonce": "n",
        "state": "s",
        "code_challenge": "c" * 43,
        "code_challenge_method": "S256",
        "resource": " ".join(audience),
        "allow": "Authorize",
    }
    response = browser.post("/oauth2/authorize/", query)
    data: dict[str, Any] = dict(parse_qsl(urlsplit(response["Location"]).fragment))
    assert "access_token" in data, data
    return Answer(200, {**data, "expires_in": int(data["expires_in"])}, {})


@pytest.mark.parametrize(
    "provider",
    [
        pytest.param({}, id="default"),
        pytest.param({"REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 60}, id="grace period"),
        pytest.param({"ROTATE_REFRESH_TOKEN": False}, id="no rotation"),
        pytest.param({"COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True}, id="redacted storage"),
    ],
)
def test_nobody_gets_more_than_was_granted(
    make_site: Callable[..., Site],
    user: User,
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    provider: dict[str, Any],
) -> None:
    for logger in ("django.request", "oauth2_provider", "oauth_binding"):
        caplog.set_level(logging.CRITICAL, logger=logger)
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        "OAUTH2_VALIDATOR_CLASS": Narrows,
        "ACCESS_TOKEN_EXPIRE_SECONDS": LIFETIME,
        **provider,
    }
    keys = {"keys": [jwk(RSA_KEY)]}
    settings.OAUTH_BINDING = {"TOKEN_EXCHANGE_ISSUERS": {ISSUER: {"KEYS": keys, "AUDIENCE": "here"}}}
    bound = {"token_binding_type": "client-request"}
    sites = [
        make_site("password", algorithm="", **bound),
        make_site("password", algorithm="", token_type="jwt", **bound),
        make_site("password", algorithm="", token_type="jwt"),
        make_site("client_credentials", as_user=None, algorithm="", token_type="jwt", **bound),
        make_site("urn:ietf:params:oauth:grant-type:device_code", algorithm="", **bound),
        make_site("authorization_code", additional_grant_types="token-exchange", **bound),
        make_site("authorization_code", additional_grant_types="token-exchange", token_type="jwt"),
        make_site("implicit", token_type="jwt"),
        make_site("openid-hybrid", **bound),
    ]
    exchanger = {"as_user": None, "algorithm": "", "additional_grant_types": "token-exchange"}
    backends = [
        make_site("client_credentials", token_type="jwt", **exchanger, **bound),
        make_site("client_credentials", **exchanger, **bound),
    ]
    everybody = [*sites, *backends]
    for site in everybody:
        allow(backends[0], site, audiences=f"{ONE} {TWO}", refresh_tokens=True)
        allow(backends[1], site, refresh_tokens=True)
        if "token-exchange" in site.application.additional_grant_types and site in sites:
            allow(site, site, audiences=f"{ONE} {TWO}", refresh_tokens=True)
    TokenExchangeRule.objects.create(
        client=backends[0].application,
        subject_issuer=ISSUER,
        impersonation=True,
        audiences=ONE,
        refresh_tokens=True,
    )
    walk = Walk(sites, backends)

    Walker(walk).every_path_is_taken_once()
    make_machine: Any = partial(Walker, walk)
    run_state_machine_as_test(make_machine, settings=PROFILE)

    assert set(walk.taken) == PATHS if "REFRESH_TOKEN_GRACE_PERIOD_SECONDS" in provider else True, walk.taken
    assert set(walk.taken) >= PATHS - {"grace"}, walk.taken
