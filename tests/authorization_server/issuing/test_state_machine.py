"""Random sequences of requests, operators' actions and passing time, against a model of the site.

The model is a list of token pairs, and is written from the documented behaviour: it uses neither the decision
table nor the keys of the implementation.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from unittest import mock

import jwt
import pytest
from django.contrib.auth.models import User
from django.db import transaction
from django.utils import timezone
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from oauth2_provider.models import clear_expired, get_access_token_model, get_refresh_token_model

from oauth_binding.models import policy_of
from tests.helpers.client import PASSWORD, Answer, Site, is_jwt, public_key, set_policy
from tests.helpers.rows import refresh_token_row

# HYPOTHESIS_PROFILE=ci tries more sequences than one wants to wait for while writing code.
hypothesis_settings.register_profile("quick", max_examples=10, stateful_step_count=20, deadline=None)
hypothesis_settings.register_profile("ci", max_examples=40, stateful_step_count=20, deadline=None)
PROFILE = hypothesis_settings.get_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

LIFETIME = timedelta(seconds=3600)

IDS = [
    "phone",
    None,
    "",
    " \t",
    " phone",
    "Phone",
    "電話 📱",
    # One word to readers and to some database collations, but two strings.
    "caf\u00e9",
    "cafe\u0301",
    "x" * 255,
]
MALFORMED_IDS = ["x" * 256, "pho\0ne", "phone\n", "\x7f"]
SCOPES = ["read write", "read", None, "write read", "read write read"]
DEFAULT_SCOPE = "read write"

ITS_OWN = "the id that the refresh token is bound to"

# Most requests are about one device, or they would seldom meet in a slot.
ids = st.sampled_from(["phone"] * len(IDS) + IDS + MALFORMED_IDS)
ids_for_refresh = st.sampled_from([ITS_OWN, None, "phone"] * len(IDS) + IDS + MALFORMED_IDS)
scopes = st.sampled_from(SCOPES)
# Hypothesis favours what is first.
scopes_for_refresh = st.sampled_from(["read", None, *SCOPES])
# What an operator changes in the application just before a request.
changes: st.SearchStrategy[dict[str, str]] = st.just({}) | st.sampled_from(
    [
        {"token_binding_type": "none"},
        {"token_binding_type": "client-request"},
        {"token_type": "jwt"},
        {"token_type": "opaque"},
        {"require_binding": "yes"},
        {"require_binding": "report"},
        {"require_binding": "no"},
        {"policy": {"access_token_lifetime": 1_800}},
        {"policy": {"access_token_lifetime": 7_200}},
        {"policy": {"client_token_lifetime": 600}},
        {"policy": {"login_lifetime": 5_000}},
        {"policy": {"refresh_token_lifetime": 1_800}},
        {"policy": {"reuse_min_lifetime": 900}},
        {"policy": {"rotate_refresh_tokens": True}},
        {"policy": {"rotate_refresh_tokens": False}},
        {"policy": {}},
    ]
)
LIFETIMES = (
    *("access_token_lifetime", "client_token_lifetime", "login_lifetime", "refresh_token_lifetime"),
    *("reuse_min_lifetime", "rotate_refresh_tokens"),
)
#: How far clocks may be apart: a token that lives for so much longer is returned again.
LEEWAY = timedelta(seconds=300)


def any_of(attribute: str) -> st.SearchStrategy[Any]:
    """Return a strategy for an item of one of the running machine's lists, half of the time the last one."""

    def choose(machine: TokenMachine) -> st.SearchStrategy[Any]:
        items = getattr(machine, attribute)
        return st.just(items[-1]) | st.sampled_from(items)

    return st.runner().flatmap(choose)


class Row(NamedTuple):
    """What the row of an access token says; all but the last make a slot."""

    application: int
    user: int | None
    binding: str | None
    scopes: frozenset[str]
    expires: datetime


@dataclass
class Pair:
    """An access token and its refresh token, neither of them revoked; the access token may have expired."""

    site: Site
    binding: str | None  # the tokenBindingId, "" for the shared slot, None for unbound tokens
    scopes: frozenset[str]
    access: str
    refresh: str | None
    expires: datetime
    started: datetime

    @property
    def binding_claims(self) -> dict[str, str]:
        if not self.binding:
            return {}
        digest = hashlib.sha256(self.binding.encode()).digest()
        reference = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return {"binding_type": "client-request", "binding_ref": reference}

    @property
    def introspected(self) -> dict[str, Any]:
        """What introspection says of both tokens."""
        user = {} if self.site.user is None else {"username": self.site.user.username}
        client_id = self.site.application.client_id
        return {"active": True, "client_id": client_id, "scope": self.scopes, **user, **self.binding_claims}

    @property
    def row(self) -> Row:
        user = None if self.site.user is None else self.site.user.pk
        return Row(self.site.application.pk, user, self.binding, self.scopes, self.expires)


class TokenMachine(RuleBasedStateMachine):
    """Requests to the site, and the pairs that it should then know."""

    def __init__(self, sites: list[Site], *, rotates: bool) -> None:
        super().__init__()
        # Every example starts without tokens.
        self.transaction = transaction.atomic()
        self.transaction.__enter__()
        self.now = timezone.now().replace(microsecond=0)
        self.clock = mock.patch("django.utils.timezone.now", self.tell_time)
        self.clock.start()

        self.sites = sites
        self.rotates = rotates
        #: The token policies by the primary key of the application.
        self.policies: dict[int, dict[str, Any]] = {}
        self.pairs: list[Pair] = []
        # What was requested and answered so far.
        self.requests: list[tuple[Site, str | None, str | None]] = []
        self.tokens: list[str] = []
        self.refresh_tokens: list[str] = []
        self.owners: dict[str, Site] = {}
        self.introspected: dict[str, dict[str, Any]] = {}

    def tell_time(self) -> datetime:
        return self.now

    def teardown(self) -> None:
        self.clock.stop()
        transaction.set_rollback(True)
        self.transaction.__exit__(None, None, None)

    # The model

    def policy(self, site: Site, name: str) -> Any:
        return self.policies.get(site.application.pk, {}).get(name)

    def end_of_login(self, site: Site, started: datetime) -> datetime | None:
        seconds = self.policy(site, "login_lifetime")
        return None if seconds is None or site.user is None else started + timedelta(seconds=seconds)

    def expiry(self, site: Site, started: datetime) -> datetime:
        """Return when an access token expires that is issued now."""
        kind = "client_token_lifetime" if site.user is None else "access_token_lifetime"
        seconds = self.policy(site, kind)
        expires = self.now + (LIFETIME if seconds is None else timedelta(seconds=seconds))
        return min(expires, self.end_of_login(site, started) or expires)

    def refresh_expiry(self, pair: Pair) -> datetime | None:
        idle = self.policy(pair.site, "refresh_token_lifetime")
        ends = [
            self.end_of_login(pair.site, pair.started),
            None if idle is None else pair.expires + timedelta(seconds=idle),
        ]
        return min((end for end in ends if end is not None), default=None)

    def is_answered_again(self, held: Pair) -> bool:
        least = self.now + timedelta(seconds=self.policy(held.site, "reuse_min_lifetime") or 0)
        end = self.end_of_login(held.site, held.started)
        return (
            self.now < held.expires
            and least <= held.expires <= self.expiry(held.site, self.now) + LEEWAY
            and (end is None or max(held.expires, least) <= end)
        )

    def find(self, **attributes: Any) -> Pair | None:
        found = [
            pair
            for pair in self.pairs
            if all(getattr(pair, name) == value for name, value in attributes.items())
        ]
        return found[0] if found else None

    def end(self, pair: Pair | None) -> None:
        if pair is not None:
            self.pairs.remove(pair)

    def check_issued(
        self,
        answer: Answer,
        site: Site,
        binding: str | None,
        scopes: frozenset[str],
        refresh: str | None = None,
        started: datetime | None = None,
    ) -> None:
        """Check an answer with a new access token, and with a new refresh token unless one is given."""
        assert answer.status == 200, answer.data
        assert answer.access not in self.tokens
        # A client that acts for itself has no refresh token (RFC 6749 section 4.4.3).
        assert ("refresh_token" in answer.data) is (site.user is not None)
        if refresh is not None:
            assert answer.refresh == refresh
        elif site.user is not None:
            assert answer.refresh not in self.tokens
        started = started or self.now
        expires = self.expiry(site, started)
        pair = Pair(site, binding, scopes, answer.access, answer.data.get("refresh_token"), expires, started)
        assert is_jwt(pair.access) is (site.application.token_type == "jwt")
        if is_jwt(pair.access):
            claims = jwt.decode(
                pair.access,
                public_key(),
                algorithms=["RS256"],
                # PyJWT has a clock of its own.
                options={"verify_aud": False, "verify_exp": False, "verify_iat": False},
            )
            assert claims["exp"] == pair.expires.timestamp()
            assert only(claims, "binding_type", "binding_ref") == pair.binding_claims
        self.pairs.append(pair)
        self.check_answer(answer, pair)

    def check_answer(self, answer: Answer, pair: Pair) -> None:
        assert answer.status == 200, answer.data
        assert answer.access == pair.access
        assert answer.data.get("refresh_token") == pair.refresh
        assert set(answer["scope"].split()) == pair.scopes
        assert answer["expires_in"] == (pair.expires - self.now).total_seconds()
        if pair.access not in self.owners:
            self.tokens.append(pair.access)
            self.owners[pair.access] = pair.site
        if pair.refresh is not None and pair.refresh not in self.owners:
            self.tokens.append(pair.refresh)
            self.refresh_tokens.append(pair.refresh)
            self.owners[pair.refresh] = pair.site

    # What clients do. These rules have one argument because Hypothesis chooses such rules more often.

    @initialize(
        token_types=st.lists(st.sampled_from(["opaque", "opaque", "jwt"]), min_size=4, max_size=4),
        token_binding_type=st.sampled_from(["client-request", "client-request", "none"]),
    )
    def begin(self, token_types: list[str], token_binding_type: str) -> None:
        fields = {"token_binding_type": token_binding_type, "require_binding": "no"}
        for site, token_type in zip(self.sites, token_types, strict=True):
            self.change(site, {**fields, "token_type": token_type})
        # A refresh of the one with a narrowed scope moves it to the slot of the other.
        self.request_token((self.sites[-1], "phone", "read", {}))
        self.request_token((self.sites[-1], "phone", "read write", {}))

    @rule(request=st.tuples(any_of("sites"), ids, scopes, changes))
    def request_token(self, request: tuple[Site, str | None, str | None, dict[str, Any]]) -> None:
        site, token_binding_id, scope, change = request
        self.requests.append((site, token_binding_id, scope))
        self.change(site, change)
        answer = site.bound(token_binding_id, **({} if scope is None else {"scope": scope}))
        granted = frozenset((scope or DEFAULT_SCOPE).split())

        if site.application.token_binding_type == "none":
            self.check_issued(answer, site, None, granted)
            return
        if token_binding_id in MALFORMED_IDS:
            check_refused(answer, "invalid_request", naming="tokenBindingId")
            return
        binding = "" if is_absent(token_binding_id) else token_binding_id
        if binding == "" and policy_of(site.application).require_binding == "yes":
            check_refused(answer, "invalid_request", naming="tokenBindingId")
            return
        held = self.find(site=site, binding=binding, scopes=granted)
        is_opaque = site.application.token_type == "opaque"
        if held is not None and is_opaque and not is_jwt(held.access) and self.is_answered_again(held):
            if held.refresh is None and site.user is not None:
                assert answer.refresh not in self.tokens
                held.refresh = answer.refresh
            self.check_answer(answer, held)
            return
        self.end(held)
        self.check_issued(answer, site, binding, granted)

    @precondition(lambda self: self.requests)
    @rule(request=any_of("requests"))
    def request_token_again(self, request: tuple[Site, str | None, str | None]) -> None:
        self.request_token((*request, {}))

    @precondition(lambda self: self.refresh_tokens)
    @rule(request=st.tuples(any_of("refresh_tokens"), ids_for_refresh, scopes_for_refresh, changes))
    def refresh(self, request: tuple[str, str | None, str | None, dict[str, Any]]) -> None:
        refresh_token, token_binding_id, scope, change = request
        pair = self.find(refresh=refresh_token)
        site = self.owners[refresh_token]
        self.change(site, change)
        if token_binding_id == ITS_OWN:
            token_binding_id = None if pair is None else pair.binding
        form = {"tokenBindingId": token_binding_id, "scope": scope}
        answer = site.refresh(
            refresh_token, **{name: value for name, value in form.items() if value is not None}
        )

        expiry = None if pair is None else self.refresh_expiry(pair)
        if pair is None or (expiry is not None and expiry <= self.now):
            check_refused(answer, "invalid_grant")
            return
        if pair.binding is not None or site.application.token_binding_type != "none":
            if token_binding_id in MALFORMED_IDS:
                check_refused(answer, "invalid_request", naming="tokenBindingId")
                return
            if not is_absent(token_binding_id) and token_binding_id != pair.binding:
                check_refused(answer, "invalid_grant", naming="tokenBindingId")
                return
        granted = pair.scopes if scope is None else frozenset(scope.split())
        if not granted <= pair.scopes:
            check_refused(answer, "invalid_scope")
            return
        self.end(pair)
        if pair.binding is not None:
            self.end(self.find(site=site, binding=pair.binding, scopes=granted))
        rotates = self.policy(site, "rotate_refresh_tokens")
        rotates = self.rotates if rotates is None else rotates
        kept = None if rotates else refresh_token
        self.check_issued(answer, site, pair.binding, granted, kept, pair.started)

    @precondition(lambda self: self.tokens)
    @rule(token=any_of("tokens"), hint=st.sampled_from(["access_token", "refresh_token"]))
    def revoke(self, token: str, hint: str) -> None:
        owner = self.owners[token]
        thief = next(site for site in self.sites if site.application != owner.application)
        check_refused(thief.refresh(token), "invalid_grant")
        assert thief.revoke(token, token_type_hint=hint).status == 200
        assert introspect(owner, token) == self.introspected[token]

        assert owner.revoke(token, token_type_hint=hint).status == 200
        self.end(self.find(access=token) or self.find(refresh=token))

    # What operators do

    def change(self, site: Site, fields: dict[str, Any]) -> None:
        if "policy" in fields:
            self.policies[site.application.pk] = fields["policy"]
            set_policy(site.application, **{**dict.fromkeys(LIFETIMES), **fields["policy"]})
            return
        for name, value in fields.items():
            if name == "require_binding":
                set_policy(site.application, require_binding=value)
            else:
                setattr(site.application, name, value)
        site.application.save()

    @precondition(lambda self: self.pairs)
    @rule(pair=any_of("pairs"), cleartokens=st.booleans())
    def delete_refresh_token(self, pair: Pair, cleartokens: bool) -> None:
        if pair.refresh is not None:
            refresh_token_row(pair.refresh).delete()
            pair.refresh = None
        if cleartokens:
            clear_expired()

    @rule(seconds=st.sampled_from([1, 1799, 1800]), cleartokens=st.booleans())
    def let_time_pass(self, seconds: int, cleartokens: bool) -> None:
        self.now += timedelta(seconds=seconds)
        self.introspected = {
            token: answer for token, answer in self.introspected.items() if not answer["active"]
        }
        if cleartokens:
            clear_expired()

    # What holds at all times

    @invariant()
    def introspection_agrees(self) -> None:
        expected: dict[str, dict[str, Any]] = {token: {"active": False} for token in self.tokens}
        for pair in self.pairs:
            if self.now < pair.expires:
                expires = pair.expires.timestamp()
                expected[pair.access] = {**pair.introspected, "token_type": "Bearer", "exp": expires}
            ends = self.refresh_expiry(pair)
            if pair.refresh is not None and (ends is None or self.now < ends):
                said = {} if ends is None else {"exp": ends.timestamp()}
                expected[pair.refresh] = {**pair.introspected, "token_type": "refresh_token", **said}
        for token, answer in expected.items():
            # Asking for all tokens after every step takes too long. What should not have changed is asked for
            # again when time passes, if it was active; the rows are looked at in any case.
            if self.introspected.get(token) != answer:
                self.introspected[token] = introspect(self.owners[token], token)
                assert self.introspected[token] == answer

    @invariant()
    def rows_agree(self) -> None:
        unexpired = read(get_access_token_model().objects.filter(expires__gt=self.now))
        slots = Counter(row[:4] for row in unexpired.values() if row.binding is not None)
        assert all(count == 1 for count in slots.values())
        assert unexpired == {
            checksum(pair.access): pair.row for pair in self.pairs if self.now < pair.expires
        }
        unrevoked = read(get_refresh_token_model().objects.filter(revoked=None), "access_token__")
        assert unrevoked == {
            checksum(pair.refresh): pair.row for pair in self.pairs if pair.refresh is not None
        }


def is_absent(token_binding_id: str | None) -> bool:
    return token_binding_id is None or not token_binding_id.strip()


def check_refused(answer: Answer, error: str, naming: str = "") -> None:
    assert (answer.status, answer.data.get("error")) == (400, error)
    assert naming in answer.data.get("error_description", "")


def only(data: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: data[name] for name in names if name in data}


def introspect(site: Site, token: str) -> dict[str, Any]:
    answer = site.introspect(token).data
    if not answer["active"]:
        return answer
    names = ("active", "token_type", "client_id", "username", "exp", "binding_type", "binding_ref")
    return {**only(answer, *names), "scope": set(answer["scope"].split())}


def read(tokens: Any, prefix: str = "") -> dict[str, Row]:
    """Return the rows of access tokens by the checksum of the access token, or of its refresh token."""
    columns = ("application", "user", "binding__binding_value", "scope", "expires")
    rows = tokens.values_list("token_checksum", *(prefix + column for column in columns))
    return {
        checksum: Row(application, user, binding, frozenset(scope.split()), expires)
        for checksum, application, user, binding, scope, expires in rows
    }


def checksum(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


@pytest.mark.parametrize(
    "provider",
    [
        pytest.param({}, id="default"),
        pytest.param({"ROTATE_REFRESH_TOKEN": False}, id="no rotation"),
        pytest.param({"COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True}, id="redacted storage"),
    ],
)
def test_any_sequence(
    make_site: Callable[..., Site],
    settings: Any,
    caplog: pytest.LogCaptureFixture,
    provider: dict[str, Any],
) -> None:
    # Thousands of warnings are right here, and pytest would keep them all, with the requests they are about.
    for logger in ("django.request", "oauth2_provider"):
        caplog.set_level(logging.CRITICAL, logger=logger)
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, **provider}
    alices = make_site("password")
    bobs = replace(alices, user=User.objects.create_user("bob", "bob@example.com", PASSWORD))
    sites = [make_site("client_credentials", as_user=None), make_site("password"), bobs, alices]
    rotates = provider.get("ROTATE_REFRESH_TOKEN", True)
    make_machine: Any = partial(TokenMachine, sites, rotates=rotates)
    run_state_machine_as_test(make_machine, settings=PROFILE)
