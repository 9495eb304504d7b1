"""The page "Troubleshooting": the server gives the answers that it names."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from tempfile import TemporaryDirectory
from typing import Any, Final
from unittest import TestCase

import pytest
from django.contrib.auth.models import User
from django.core.cache.backends.base import BaseCache
from django.db import OperationalError, connection
from django.test import Client, override_settings
from django.urls import NoReverseMatch, reverse
from oauth2_provider.models import get_application_model

from oauth_binding.core.errors import SlotContendedError
from oauth_binding.core.reasons import Reason
from tests.docs.pages import ROOT
from tests.helpers.client import PASSWORD, Answer, Site
from tests.helpers.dpop import DeviceKey
from tests.helpers.provider import provider
from tests.helpers.rows import expire

PAGE: Final = (ROOT / "docs/troubleshooting.md").read_text()

#: The factory of applications that bind -> an answer.
Provoke = Callable[[Callable[..., Site]], Answer]


def rows_of(*headings: str) -> set[str]:
    """Return the first cells of the tables under some headings."""
    sections = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", PAGE, re.MULTILINE))
    return {
        cell
        for heading in headings
        for cell in re.findall(r"^\| (.+?) \|", sections[heading], re.MULTILINE)
        if cell not in ("Answer", "In the log")
    }


def written(answer: Answer) -> str:
    """Return an answer as the page writes it; what an API says is in its challenge (RFC 6750 section 3)."""
    if "active" in answer.data:
        return f"{answer.status} `{json.dumps(answer.data)}`"
    error, description = answer.data.get("error"), answer.data.get("error_description")
    if error is None:
        challenge = dict(re.findall(r'(\w+)="([^"]*)"', answer.headers.get("WWW-Authenticate", "")))
        error, description = challenge.get("error"), challenge.get("error_description")
    return f"{answer.status}" + (f" `{error}`" if error else "") + (f": {description}" if description else "")


# The token endpoint


def wrong_secret(make_bound: Callable[..., Site]) -> Answer:
    site = make_bound()
    site.secret = "another"
    return site.bound("phone")


def query_string(make_bound: Callable[..., Site]) -> Answer:
    return make_bound().token(path="/oauth2/token/?x=1")


def unknown_grant(make_bound: Callable[..., Site]) -> Answer:
    return make_bound().post("/oauth2/token/", {"grant_type": "Password"})


def json_body(make_bound: Callable[..., Site]) -> Answer:
    response = Client().post("/oauth2/token/", {"grant_type": "password"}, content_type="application/json")
    return Answer(response.status_code, response.json(), dict(response.headers))


def another_grant(make_bound: Callable[..., Site]) -> Answer:
    return make_bound().post("/oauth2/token/", {"grant_type": "client_credentials"})


def wrong_password(make_bound: Callable[..., Site]) -> Answer:
    return make_bound().bound("phone", password=f"{PASSWORD}!")


def inactive_user(make_bound: Callable[..., Site]) -> Answer:
    User.objects.update(is_active=False)
    return make_bound().bound("phone")


def no_identifier(make_bound: Callable[..., Site]) -> Answer:
    return make_bound(require_binding="yes").bound(None)


def identifier_in_the_address(make_bound: Callable[..., Site]) -> Answer:
    return make_bound().token(path="/oauth2/token/?tokenBindingId=phone")


def another_identifier(make_bound: Callable[..., Site]) -> Answer:
    site = make_bound()
    return site.refresh(site.bound("phone").refresh, tokenBindingId="laptop")


def used_refresh_token(make_bound: Callable[..., Site]) -> Answer:
    site = make_bound()
    used = site.bound("phone").refresh
    site.refresh(used)
    return site.refresh(used)


def openid_without_algorithm(make_bound: Callable[..., Site]) -> Answer:
    return make_bound(algorithm="").bound("phone", scope="openid")


def no_key(make_bound: Callable[..., Site]) -> Answer:
    site = make_bound("jwt")
    with provider(OIDC_RSA_PRIVATE_KEY=""):
        return site.bound("phone")


def no_key_for_id_tokens(make_bound: Callable[..., Site]) -> Answer:
    site = make_bound("opaque", "authorization_code")
    form = site.authorization_code(scope="openid read")
    with provider(OIDC_RSA_PRIVATE_KEY=""):
        return site.post("/oauth2/token/", form)


def no_binder(make_bound: Callable[..., Site]) -> Answer:
    return make_bound(token_binding_type="gone").bound("phone")


def contended(make_bound: Callable[..., Site]) -> Answer:
    # What leads to it is in tests/concurrency, and takes ten seconds.
    return Answer(
        SlotContendedError.status_code, dict(SlotContendedError(Reason.SLOT_CONTENDED).twotuples), {}
    )


TOKEN_ENDPOINT: Final = "http://testserver/oauth2/token/"


def with_proofs(make_bound: Callable[..., Site], demand: str = "no", **fields: str) -> Site:
    return make_bound(sender_constraint="dpop", require_sender_constraint=demand, **fields)


def proven(site: Site, proof: str, **form: str) -> Answer:
    """Send a token request with a proof."""
    return site.post("/oauth2/token/", site.grant(**form), headers={"DPoP": proof})


def no_proof(make_bound: Callable[..., Site]) -> Answer:
    return with_proofs(make_bound, "yes").bound("phone")


def refresh_without_a_proof(make_bound: Callable[..., Site]) -> Answer:
    site = with_proofs(make_bound)
    return site.refresh(proven(site, DeviceKey().proof("POST", TOKEN_ENDPOINT)).refresh)


def proof_for_another_address(make_bound: Callable[..., Site]) -> Answer:
    proof = DeviceKey().proof("POST", TOKEN_ENDPOINT.replace("http:", "https:"))
    return proven(with_proofs(make_bound), proof)


def old_proof(make_bound: Callable[..., Site]) -> Answer:
    proof = DeviceKey().proof("POST", TOKEN_ENDPOINT, claims={"iat": int(time.time()) - 3600})
    return proven(with_proofs(make_bound), proof)


def used_proof(make_bound: Callable[..., Site]) -> Answer:
    site, proof = with_proofs(make_bound), DeviceKey().proof("POST", TOKEN_ENDPOINT)
    proven(site, proof)
    return proven(site, proof)


def another_key(make_bound: Callable[..., Site]) -> Answer:
    site = with_proofs(make_bound, client_type="public", client_secret="")
    site.secret = ""
    refresh = proven(site, DeviceKey().proof("POST", TOKEN_ENDPOINT)).refresh
    form = {"grant_type": "refresh_token", "refresh_token": refresh}
    return site.post("/oauth2/token/", form, headers={"DPoP": DeviceKey().proof("POST", TOKEN_ENDPOINT)})


class LostCache(BaseCache):
    """A cache that does nothing but raise errors."""

    def __init__(self, location: str, params: dict[str, Any]) -> None:
        super().__init__(params)


def without_a_cache(make_bound: Callable[..., Site]) -> Answer:
    caches = {"lost": {"BACKEND": f"{__name__}.{LostCache.__name__}"}}
    with override_settings(CACHES=caches, OAUTH_BINDING={"DPOP_REPLAY_CACHE": "lost"}):
        return proven(with_proofs(make_bound), DeviceKey().proof("POST", TOKEN_ENDPOINT))


# An API


def call(authorization: str | None, **headers: str) -> Answer:
    given = {} if authorization is None else {"Authorization": authorization}
    response = Client().get("/api/me/", headers={**given, **headers})
    return Answer(response.status_code, {}, dict(response.headers))


def no_token(make_bound: Callable[..., Site]) -> Answer:
    return call(None)


def two_tokens(make_bound: Callable[..., Site]) -> Answer:
    return call("Bearer one two")


def expired(make_bound: Callable[..., Site]) -> Answer:
    token = make_bound().bound("phone").access
    expire(token)
    return call(f"Bearer {token}")


def superseded(make_bound: Callable[..., Site]) -> Answer:
    site = make_bound("jwt")
    token = site.bound("phone").access
    site.bound("phone")
    return call(f"Bearer {token}")


def revoked(make_bound: Callable[..., Site]) -> Answer:
    site = make_bound()
    token = site.bound("phone").access
    site.revoke(token)
    return call(f"Bearer {token}")


def unknown(make_bound: Callable[..., Site]) -> Answer:
    return call("Bearer unknown")


def of_an_inactive_user(make_bound: Callable[..., Site]) -> Answer:
    token = make_bound().bound("phone").access
    User.objects.update(is_active=False)
    return call(f"Bearer {token}")


def unbound(make_bound: Callable[..., Site]) -> Answer:
    return call(f"Bearer {make_bound(require_presented_binding='yes').bound(None).access}")


def no_header(make_bound: Callable[..., Site]) -> Answer:
    return call(f"Bearer {make_bound(require_presented_binding='yes').bound('phone').access}")


def another_header(make_bound: Callable[..., Site]) -> Answer:
    token = make_bound(require_presented_binding="yes").bound("phone").access
    return call(f"Bearer {token}", **{"Token-Binding-Id": "laptop"})


def constrained(make_bound: Callable[..., Site], key: DeviceKey) -> str:
    """Return an access token of a key."""
    return proven(with_proofs(make_bound), key.proof("POST", TOKEN_ENDPOINT)).access


def constrained_as_bearer(make_bound: Callable[..., Site]) -> Answer:
    return call(f"Bearer {constrained(make_bound, DeviceKey())}")


def call_with_a_proof(token: str, key: DeviceKey, proven_token: str) -> Answer:
    proof = key.proof("GET", "http://testserver/api/me/", access_token=proven_token)
    return call(f"DPoP {token}", DPoP=proof)


def with_another_key(make_bound: Callable[..., Site]) -> Answer:
    token = constrained(make_bound, DeviceKey())
    return call_with_a_proof(token, DeviceKey(), token)


def bearer_with_a_proof(make_bound: Callable[..., Site]) -> Answer:
    token = make_bound().bound("phone").access
    return call_with_a_proof(token, DeviceKey(), token)


def call_without_a_proof(make_bound: Callable[..., Site]) -> Answer:
    return call(f"DPoP {constrained(make_bound, DeviceKey())}")


def proof_for_another_token(make_bound: Callable[..., Site]) -> Answer:
    key = DeviceKey()
    return call_with_a_proof(constrained(make_bound, key), key, "another")


def no_scope(make_bound: Callable[..., Site]) -> Answer:
    return call(f"Bearer {make_bound().bound('phone', scope='write').access}")


# Introspection and revocation


def introspected_by_a_public_client(make_bound: Callable[..., Site]) -> Answer:
    form = {"token": make_bound().bound("phone").access}
    public = make_bound(client_type="public", client_secret="")
    public.secret = ""
    return public.introspect(form["token"])


def refresh_token_of_another(make_bound: Callable[..., Site]) -> Answer:
    return make_bound().introspect(make_bound().bound("phone").refresh)


def revoked_by_another(make_bound: Callable[..., Site]) -> Answer:
    site = make_bound()
    token = site.bound("phone").access
    answer = make_bound().revoke(token)
    assert site.active(token)
    return answer


#: What the page says -> what leads to it.
AT_THE_TOKEN_ENDPOINT: Final[dict[str, list[Provoke]]] = {
    "401 `invalid_client`": [wrong_secret],
    "400 `invalid_request`: URL query parameters are not allowed": [query_string],
    "415 `invalid_request`: The body must be of the content type application/x-www-form-urlencoded.": [
        json_body
    ],
    "400 `unsupported_grant_type`": [unknown_grant],
    "400 `unauthorized_client`": [another_grant],
    "400 `invalid_grant`: Invalid credentials given.": [wrong_password, inactive_user],
    "400 `invalid_request`: tokenBindingId is required by this client.": [no_identifier],
    "400 `invalid_request`: tokenBindingId must be in the body, not in the query string.": [
        identifier_in_the_address
    ],
    "400 `invalid_grant`: tokenBindingId is not the one the refresh token was issued for.": [
        another_identifier
    ],
    "400 `invalid_grant`": [used_refresh_token],
    "400 `invalid_scope`: openid: no signing algorithm for ID tokens is set up for this client.": [
        openid_without_algorithm
    ],
    "400 `invalid_dpop_proof`: The DPoP header is required.": [no_proof, refresh_without_a_proof],
    "400 `invalid_dpop_proof`: The htu of the DPoP proof is not the address of this request.": [
        proof_for_another_address
    ],
    "400 `invalid_dpop_proof`: The DPoP proof is not valid: its iat is too long ago or in the future.": [
        old_proof
    ],
    "400 `invalid_dpop_proof`: The DPoP proof was used before.": [used_proof],
    "400 `invalid_grant`: The DPoP proof is by a key other than the one that the grant is bound to.": [
        another_key
    ],
    "503 `temporarily_unavailable`: It can't be checked now whether the DPoP proof was used before. "
    "Try again.": [without_a_cache],
    "503 `server_error`: JWT access tokens are not set up on this server.": [no_key],
    "503 `server_error`: ID tokens are not set up for this client.": [no_key_for_id_tokens],
    "503 `server_error`: The token binding type of this client is not installed on this server.": [no_binder],
    "503 `temporarily_unavailable`: Too many simultaneous requests for the same thing. Try again.": [
        contended
    ],
}
AT_AN_API: Final[dict[str, list[Provoke]]] = {
    "401": [no_token],
    "400 `invalid_request`: The Authorization header does not have exactly one bearer token.": [two_tokens],
    "401 `invalid_token`: The access token has expired.": [expired, superseded, revoked],
    "401 `invalid_token`: The access token is invalid.": [unknown, of_an_inactive_user],
    "401 `invalid_token`: The access token is not bound.": [unbound],
    "401 `invalid_token`: Token-Binding-Id does not name what the access token is bound to.": [
        no_header,
        another_header,
    ],
    "401 `invalid_token`: The access token is sender-constrained, and its key is not proven.": [
        constrained_as_bearer
    ],
    "401 `invalid_token`: The access token is not bound to the key that is proven.": [
        with_another_key,
        bearer_with_a_proof,
    ],
    "401 `invalid_dpop_proof`: The DPoP header is missing.": [call_without_a_proof],
    "401 `invalid_dpop_proof`: The ath of the DPoP proof is not that of the access token.": [
        proof_for_another_token
    ],
    "403 `insufficient_scope`: The access token does not have the scope.": [no_scope],
}


AT_INTROSPECTION_AND_REVOCATION: Final[dict[str, list[Provoke]]] = {
    "401 `invalid_client`": [introspected_by_a_public_client],
    '200 `{"active": false}`': [refresh_token_of_another],
    "200": [revoked_by_another],
}


def test_every_answer_of_the_page_is_tried() -> None:
    assert rows_of("The token endpoint refuses a request") == AT_THE_TOKEN_ENDPOINT.keys()
    assert rows_of("An API refuses a token") == AT_AN_API.keys()
    assert rows_of("Introspection and revocation") == AT_INTROSPECTION_AND_REVOCATION.keys()


TABLES: Final = (AT_THE_TOKEN_ENDPOINT, AT_AN_API, AT_INTROSPECTION_AND_REVOCATION)


@pytest.mark.parametrize(
    ("answer", "provoke"),
    [
        pytest.param(answer, provoke, id=provoke.__name__)
        for table in TABLES
        for answer, causes in table.items()
        for provoke in causes
    ],
)
def test_an_answer(make_bound: Callable[..., Site], answer: str, provoke: Provoke) -> None:
    if any(provoke in causes for causes in AT_AN_API.values()):
        pytest.importorskip("rest_framework")

    assert written(provoke(make_bound)) == answer


# The log


def without_migrations(make_bound: Callable[..., Site]) -> str:
    if connection.vendor != "sqlite":
        pytest.skip("the words are those of SQLite")
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE oauth2_provider_application DROP COLUMN token_type")
    with pytest.raises(OperationalError) as failure:
        list(get_application_model().objects.all())
    return str(failure.value)


def without_urls(make_bound: Callable[..., Site]) -> str:
    with override_settings(ROOT_URLCONF=()), pytest.raises(NoReverseMatch) as failure:
        reverse("oauth2_provider:token")
    return str(failure.value)


def two_writers(make_bound: Callable[..., Site]) -> str:
    with TemporaryDirectory() as folder:
        first, second = (sqlite3.connect(f"{folder}/db", timeout=0, isolation_level=None) for _ in range(2))
        with closing(first), closing(second):
            first.execute("BEGIN IMMEDIATE")
            with pytest.raises(sqlite3.OperationalError) as failure:
                second.execute("BEGIN IMMEDIATE")
    return str(failure.value)


def password_grant(make_bound: Callable[..., Site]) -> str:
    with TestCase().assertLogs("oauth2_provider", "WARNING") as log:
        make_bound().bound("phone")
    return "\n".join(log.output)


IN_THE_LOG: Final = {
    "`no such column: oauth2_provider_application.token_type`, or the like": without_migrations,
    "`database is locked`": two_writers,
    "`'oauth2_provider' is not a registered namespace`": without_urls,
    "`The OAuth 2.0 resource owner password credentials grant is discouraged`": password_grant,
}


def test_every_line_of_the_log_is_tried() -> None:
    assert rows_of("Errors in the log") == IN_THE_LOG.keys()


@pytest.mark.parametrize("line", IN_THE_LOG)
def test_a_line_of_the_log(make_bound: Callable[..., Site], line: str) -> None:
    text = line.split("`")[1]

    assert text in IN_THE_LOG[line](make_bound)
