"""The doors that take a proof: the token endpoint by each grant, and all that an access token opens."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.test import Client, override_settings

from oauth_binding.models import TokenPolicy
from oauth_binding.resource_server import BearerTokenMiddleware
from tests.helpers.client import PASSWORD, REDIRECT_URI, Site
from tests.helpers.exchange import ACCESS_TOKEN, GRANT_TYPE, allow
from tests.helpers.provider import provider
from tests.helpers.resource_server import AUDIENCE, CLIENT_ID, CLIENT_SECRET, ISSUER, Issuer
from tests.proof.forging import About, Key

DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"

PROVIDER: Final[dict[str, Any]] = settings.OAUTH2_PROVIDER

#: Where all of the server and of the APIs is.
ORIGIN: Final = "https://testserver"

SCOPES: Final[dict[str, str]] = {
    **PROVIDER["SCOPES"],
    "oauth2_provider:registration": "Manage a registration",
}


@dataclass(frozen=True)
class Call:
    """A request that lacks nothing but its proof."""

    method: str
    path: str
    form: dict[str, str] = field(default_factory=dict)
    #: What the ``ath`` of the proof is about.
    token: str | None = None
    #: Whether that is presented in the Authorization header.
    is_resource: bool = True

    def about(self, key: Key) -> About:
        return About(self.method, ORIGIN + self.path, self.token, key)

    def send(self, headers: dict[str, str], *, scheme: str = "DPoP", query: str = "") -> Any:
        """Send the request over TLS.

        :param headers: those that have the proof, if any.
        :param scheme: that of the access token, where the request presents one; empty for presenting none.
        """
        if self.token is not None and self.is_resource and scheme:
            headers = {**headers, "Authorization": f"{scheme} {self.token}"}
        return Client(raise_request_exception=False).generic(
            self.method,
            self.path + query,
            urlencode(self.form),
            "application/x-www-form-urlencoded",
            secure=True,
            headers=headers,
        )


@dataclass
class Holder:
    """A public client with a key, and what it holds: whenever a credential is asked for, a new one."""

    make_site: Callable[..., Site]
    key: Key
    issuer: Issuer

    @cached_property
    def site(self) -> Site:
        site = self.make_site(
            "authorization_code",
            client_type="public",
            client_secret="",
            additional_grant_types=f"password {DEVICE_GRANT}",
            registration_source="dcr",
        )
        self.demand_proofs(site)
        return site

    @cached_property
    def backend(self) -> Site:
        """A confidential client with the same key."""
        site = self.make_site("client_credentials", additional_grant_types="token-exchange")
        self.demand_proofs(site)
        allow(site, self.site)
        return site

    @cached_property
    def access_token(self) -> str:
        return self.issue(
            self.password("read openid introspection devices:read oauth2_provider:registration")
        )["access_token"]

    def demand_proofs(self, site: Site) -> None:
        TokenPolicy.objects.create(
            application=site.application, sender_constraint="dpop", require_sender_constraint="yes"
        )

    def issue(self, call: Call) -> dict[str, str]:
        """Send a token request with a good proof."""
        answer = call.send({"DPoP": call.about(self.key).proof()})
        assert answer.status_code == 200, answer.content
        issued: dict[str, str] = answer.json()
        return issued

    def token_request(self, form: dict[str, str], **more: Any) -> Call:
        form = {"client_id": self.site.application.client_id, **form}
        return Call("POST", "/oauth2/token/", form, is_resource=False, **more)

    def backend_request(self, form: dict[str, str], **more: Any) -> Call:
        credentials = {"client_id": self.backend.application.client_id, "client_secret": self.backend.secret}
        return self.token_request({**credentials, **form}, **more)

    def password(self, scope: str = "read") -> Call:
        assert self.site.user is not None
        form = {"username": self.site.user.username, "password": PASSWORD, "scope": scope}
        return self.token_request({"grant_type": "password", **form})

    def client_credentials(self) -> Call:
        return self.backend_request({"grant_type": "client_credentials"})

    def refresh_token(self) -> Call:
        issued = self.issue(self.password())
        return self.token_request({"grant_type": "refresh_token", "refresh_token": issued["refresh_token"]})

    def code(self, **asked: str) -> Call:
        return self.token_request(_authorize(self.site, **asked))

    def code_for_the_key(self) -> Call:
        return self.code(dpop_jkt=self.key.thumbprint)

    def device_code(self) -> Call:
        assert self.site.user is not None
        form = {"client_id": self.site.application.client_id, "scope": "read"}
        started = Client().post("/oauth2/device-authorization/", form).json()
        self.site.accept_device(started["user_code"])
        return self.token_request({"grant_type": DEVICE_GRANT, "device_code": started["device_code"]})

    def exchange(self) -> Call:
        subject = self.access_token
        form = {"grant_type": GRANT_TYPE, "subject_token": subject, "subject_token_type": ACCESS_TOKEN}
        return self.backend_request(form, token=subject)

    def resource(self, path: str) -> Call:
        return Call("GET", path, token=self.access_token)

    def introspection(self) -> Call:
        token = self.access_token
        return Call("POST", "/oauth2/introspect/", {"token": token}, token)

    def registration(self) -> Call:
        return self.resource(f"/oauth2/register/{self.site.application.client_id}/")

    def elsewhere(self, text: str) -> Call:
        """Call an API that takes an access token of another server's."""
        confirmed: dict[str, Any] = {"cnf": {"jkt": self.key.thumbprint}}
        if text == "opaque":
            text = self.key.thumbprint  # unlike those of others, which are cached
            self.issuer.active[text] = {"active": True, "token_type": "DPoP", "scope": "read", **confirmed}
        else:
            text = self.issuer.token(**confirmed)
        return Call("GET", "/plain/", token=text)


def _authorize(site: Site, **asked: str) -> dict[str, str]:
    """Consent on the page that the server shows, and return the form that redeems the code."""
    verifier = "v" * 43
    query = {
        "response_type": "code",
        "client_id": site.application.client_id,
        "redirect_uri": REDIRECT_URI,
        "scope": "read",
        "code_challenge": verifier,
        "code_challenge_method": "plain",
        **asked,
    }
    assert site.user is not None
    browser = Client()
    browser.force_login(site.user)
    page = browser.get("/oauth2/authorize/", query).content.decode()
    shown = [tag for tag in re.findall(r"<input\b[^>]*>", page) if 'type="hidden"' in tag]
    fields = {_attribute(tag, "name"): _attribute(tag, "value") for tag in shown}
    answer = browser.post("/oauth2/authorize/", {**fields, "allow": "Authorize"})
    code = dict(part.split("=") for part in urlsplit(answer["Location"]).query.split("&"))["code"]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT_URI}
    return {**form, "code_verifier": verifier}


def _attribute(tag: str, name: str) -> str:
    found = re.search(rf'\b{name}="([^"]*)"', tag)
    return found[1].replace("&amp;", "&") if found else ""


#: What a door may have that a row needs, with the reason why the row says nothing of a door without.
TRAITS: Final = {
    "ath": "no access token comes with the proof",
    "key": "nothing there is bound to a key yet",
    "scheme": "the Authorization header is for the client",
    "query": "no query string may be there (RFC 6749 section 3.2)",
}

TOKEN_ENDPOINT: Final = "token endpoint"
RESOURCE: Final = "resource"

_OF_RESOURCES: Final = frozenset(TRAITS)


@dataclass(frozen=True)
class Door:
    """A door that takes proofs."""

    #: Makes a request that comes to it, with a credential that no other request has used.
    call: Callable[[Holder], Call]
    kind: str = RESOURCE
    has: frozenset[str] = _OF_RESOURCES
    #: What the site, or the API, is configured with meanwhile.
    under: Callable[[Holder], AbstractContextManager[Any]] = lambda holder: nullcontext()
    #: Whether it is there in this environment.
    is_there: bool = True


def _grant(call: Callable[[Holder], Call], *has: str) -> Door:
    return Door(call, TOKEN_ENDPOINT, frozenset(has))


def _api(path: str, **more: Any) -> Door:
    return Door(lambda holder: holder.resource(path), **more)


class Middleware(BearerTokenMiddleware):
    """The middleware of a site."""

    required_scopes = ["read"]


@contextmanager
def _with_middleware(holder: Holder) -> Iterator[None]:
    with override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, "tests.proof.doors.Middleware"]):
        yield


def _elsewhere(**options: Any) -> Callable[[Holder], AbstractContextManager[Any]]:
    def under(holder: Holder) -> AbstractContextManager[Any]:
        addresses = {"JWKS_URL": "/jwks", "INTROSPECTION_URL": "/introspect"}
        given = {
            name: f"{holder.issuer.url}{addresses[name]}" if name in addresses else value
            for name, value in options.items()
        }
        return override_settings(OAUTH_RESOURCE_SERVER={"ISSUER": ISSUER, "AUDIENCE": AUDIENCE, **given})

    return under


HAS_REST_FRAMEWORK: Final = find_spec("rest_framework") is not None

DOORS: Final[dict[str, Door]] = {
    "password grant": _grant(Holder.password),
    "client credentials grant": _grant(Holder.client_credentials),
    "refresh grant": _grant(Holder.refresh_token, "key"),
    "authorization code grant": _grant(Holder.code),
    "authorization code grant with dpop_jkt": _grant(Holder.code_for_the_key, "key"),
    "device grant": _grant(Holder.device_code),
    "token exchange": _grant(Holder.exchange, "key", "ath"),
    "API in plain Django, decorator": _api("/plain/"),
    "API in plain Django, mixin": _api("/mixin/scoped/", is_there=HAS_REST_FRAMEWORK),
    "API in plain Django, middleware": _api("/who/", under=_with_middleware),
    "API with Django REST framework": _api("/api/me/", is_there=HAS_REST_FRAMEWORK),
    "devices API": _api("/api/devices/", is_there=HAS_REST_FRAMEWORK),
    "userinfo": _api("/oauth2/userinfo/"),
    "introspection with an access token": Door(Holder.introspection),
    "registration management": Door(
        Holder.registration, under=lambda holder: provider(DCR_ENABLED=True, SCOPES=SCOPES)
    ),
    "API elsewhere, with JWTs": Door(lambda holder: holder.elsewhere("JWT"), under=_elsewhere(JWKS_URL=True)),
    "API elsewhere, with introspection": Door(
        lambda holder: holder.elsewhere("opaque"),
        under=_elsewhere(
            VALIDATION="introspection",
            INTROSPECTION_URL=True,
            CLIENT_ID=CLIENT_ID,
            CLIENT_SECRET=CLIENT_SECRET,
        ),
    ),
}

#: The doors of tests/ended that are none here, with the reason; what they are called here is another name.
WITHOUT_PROOFS: Final = {
    "introspection": "a confidential client authenticates itself; see introspection with an access token",
    "API with the toolkit's class for it": "it takes bearer tokens alone, and none that are constrained",
    "API in plain Django with the toolkit": "as the toolkit's class for Django REST framework",
    "token exchange, as the actor": "an actor token is in the form beside a subject token",
    "devices page": "a browser session opens it",
    "device approval": "as for the devices page",
    "authorization endpoint": "as for the devices page; its dpop_jkt is no proof",
    "revocation endpoint": "what it is given ends, whoever has it",
    "RP-initiated logout": "it takes ID tokens, which nothing binds to a key",
}

#: What the doors of tests/ended are called here, where that is not the same.
NAMED_HERE: Final = {
    "API in plain Django": "API in plain Django, decorator",
    "token exchange, as the subject": "token exchange",
    "API elsewhere, with the feed": "API elsewhere, with JWTs",
}
