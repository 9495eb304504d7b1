"""An application that has not opted in is served as by django-oauth-toolkit alone.

Each story is played twice, with this app's OAUTH2_PROVIDER entries and URLs and with the toolkit's own, and
must come out the same: statuses, errors, tokens told apart by when they first appear, and the rows that are
left.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import oauthlib
import pytest
from django.test import Client
from oauth2_provider.models import (
    get_access_token_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)
from oauth2_provider.settings import DEFAULTS

from oauth_binding.authorization_server.endpoints.responses import BASIC
from oauth_binding.models import TokenBinding
from oauth_binding.storage.ending import ended
from tests.helpers.client import GRANTS, Answer, Site, verify_jwt
from tests.helpers.rows import expire
from tests.helpers.toolkit_alone import with_this_app, with_toolkit_alone

DEVICE = "urn:ietf:params:oauth:grant-type:device_code"

# With oauthlib 4, django-oauth-toolkit alone has no device grant to compare with.
COMPARABLE = [grant for grant in GRANTS if grant != DEVICE or oauthlib.__version__.startswith("3.")]

Story = Callable[[Site], Iterator[Answer]]


def issue(site: Site) -> Iterator[Answer]:
    yield site.token()
    yield site.token()
    yield site.token(scope="read")
    yield site.token(tokenBindingId="phone")
    yield site.token(tokenBindingId="phone")
    yield site.token(tokenBindingId="x" * 500)
    yield site.token(resource=["https://a.example", "https://b.example"])
    yield site.token(resource="nonsense")
    if site.application.authorization_grant_type in {"password", "client-credentials"}:
        yield site.token(scope="nonsense")


def issue_with_an_id_token(site: Site) -> Iterator[Answer]:
    answer = site.token(scope="openid read")
    yield answer
    yield site.refresh(answer.refresh)


def refuse(site: Site) -> Iterator[Answer]:
    form = site.grant()
    for name, _value in form:
        yield site.post("/oauth2/token/", [(key, value) for key, value in form if key != name])
    yield site.post("/oauth2/token/", list({**dict(form), "grant_type": "nonsense"}.items()))
    yield site.post("/oauth2/token/", form, authenticate=False)
    site.secret = "wrong"
    yield site.post("/oauth2/token/", form)


def refresh(site: Site) -> Iterator[Answer]:
    first = site.token()
    yield first
    second = site.refresh(first.refresh)
    yield second
    yield site.refresh(first.refresh)
    yield site.refresh(second.refresh, tokenBindingId="phone") if second.status == 200 else second
    yield site.refresh("unknown")
    third = site.token(scope="read write")
    yield site.refresh(third.refresh, scope="read")


def revoke(site: Site) -> Iterator[Answer]:
    first, second = site.token(), site.token()
    yield first
    yield second
    yield site.revoke(first.access)
    yield site.revoke(second.data.get("refresh_token", "none"))
    yield site.revoke("unknown")
    yield site.refresh(first.data.get("refresh_token", "none"))
    yield Answer(site.api(first.access), {}, {})
    yield Answer(site.api(second.access), {}, {})


def expire_and_call(site: Site) -> Iterator[Answer]:
    first = site.token()
    yield Answer(site.api(first.access), {}, {})
    expire(first.access)
    yield Answer(site.api(first.access), {}, {})
    yield site.token()


def introspect(site: Site) -> Iterator[Answer]:
    token = site.token()
    answer = site.introspect(token.access)
    assert answer["client_id"] == site.application.client_id
    known = ("active", "scope", "username")
    yield Answer(answer.status, {name: answer.data.get(name) for name in known}, {})
    expire(token.access)
    yield Answer(200, site.introspect(token.access).data, {})
    yield Answer(200, site.introspect("unknown").data, {})


STORIES: dict[str, tuple[Story, list[str]]] = {
    "issue": (issue, COMPARABLE),
    "issue with an ID token": (issue_with_an_id_token, ["authorization_code"]),
    "refuse": (refuse, [grant for grant in COMPARABLE if grant != DEVICE]),
    "refresh": (refresh, [grant for grant in COMPARABLE if grant != "client_credentials"]),
    "revoke": (revoke, COMPARABLE),
    "expire and call": (expire_and_call, COMPARABLE),
    "introspect": (introspect, COMPARABLE),
}

PROVIDERS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "no rotation": {"ROTATE_REFRESH_TOKEN": False},
    "grace period": {"REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 60},
    "reuse protection": {"REFRESH_TOKEN_REUSE_PROTECTION": True},
    "redacted": {"COMPLIANT_BCP_RFC9700_TOKEN_STORAGE": True},
    "OIDC off": {"OIDC_ENABLED": False},
}


def tell(answers: Iterator[Answer]) -> list[Any]:
    """Put answers into a form that is the same for the same story."""
    told = []
    names: dict[str, str] = {}

    def name(kind: str, value: str) -> str:
        return names.setdefault(value, f"{kind} {len(names)}")

    for answer in answers:
        data = dict(answer.data)
        for key in ("access_token", "refresh_token"):
            if key in data:
                assert re.fullmatch(r"\w{30}", data[key])
                data[key] = name(key, data[key])
        if "id_token" in data:
            claims = verify_jwt(data["id_token"])
            claims.pop("sid", None)  # which this app adds where the user signed in with a browser
            data["id_token"] = sorted(claims)
        challenge = answer.headers.get("WWW-Authenticate")
        # django-oauth-toolkit names that scheme to all clients, and takes HTTP Basic.
        challenge = BASIC if challenge == 'Bearer error="invalid_client"' else challenge
        told.append((answer.status, data, challenge))
    return told


def left_behind() -> dict[str, int]:
    models = (get_access_token_model(), get_refresh_token_model(), get_grant_model(), get_id_token_model())
    # What is revoked is not deleted here, so that requests which are being answered find it ended.
    return {
        model.__name__: model.objects.exclude(
            **({"expires": ended()} if hasattr(model, "expires") else {})
        ).count()
        for model in models
    }


@pytest.mark.parametrize("entries", PROVIDERS)
@pytest.mark.parametrize(
    ("story", "grant_type"),
    [(story, grant) for story, (_play, grants) in STORIES.items() for grant in grants],
)
def test_the_story_is_the_same(
    make_site: Callable[..., Site], story: str, grant_type: str, entries: str
) -> None:
    play = STORIES[story][0]
    with with_toolkit_alone(**PROVIDERS[entries]):
        expected = tell(play(make_site(grant_type)))
        rows = left_behind()
    with with_this_app(**PROVIDERS[entries]):
        assert tell(play(make_site(grant_type))) == expected

    assert left_behind() == {model: 2 * count for model, count in rows.items()}
    assert not TokenBinding.objects.exists()
    for row in get_access_token_model().objects.all():
        assert (row.binding, row.slot, row.token_seed) == (None, None, None)


#: By member of the metadata: what this app says beside, or in place of, what django-oauth-toolkit says there.
ADDED = {
    "device_authorization_endpoint": "http://testserver/oauth2/device-authorization/",
    "grant_types_supported": [
        *DEFAULTS["OAUTH2_GRANT_TYPES_SUPPORTED"],
        "urn:ietf:params:oauth:grant-type:token-exchange",
    ],
    "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "none"],
    "revocation_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic", "none"],
    "dpop_signing_alg_values_supported": ["ES256", "EdDSA", "PS256"],
    "backchannel_logout_supported": True,
    "backchannel_logout_session_supported": True,
}


def test_discovery_documents_have_what_those_of_the_toolkit_have(db: None) -> None:
    settings = {"DCR_ENABLED": True, "OIDC_RP_INITIATED_LOGOUT_ENABLED": True}
    with with_toolkit_alone(**settings):
        of_oauth, of_openid, keys = _documents()
    with with_this_app(**settings):
        ours, ours_for_openid, our_keys = _documents()

    assert our_keys == keys
    assert ours == ours_for_openid == {**of_oauth, **of_openid, **ADDED}


def _documents() -> list[dict[str, Any]]:
    """Return the two documents of metadata, and the JWK set."""
    documents: list[dict[str, Any]] = [
        Client().get(f"/oauth2/.well-known/{name}").json()
        for name in ("oauth-authorization-server", "openid-configuration", "jwks.json")
    ]
    for document in documents:
        for member in document.keys() & {"claims_supported", "scopes_supported"}:
            document[member].sort()
    return documents
