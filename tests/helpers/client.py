"""A client that speaks OAuth to the site over HTTP."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from django.conf import settings
from django.contrib.auth.models import User
from django.test import Client
from oauth2_provider.models import get_application_model, get_device_grant_model

from tests.helpers.dpop import DeviceKey

PASSWORD = "correct horse battery staple"

SECRET = "a-client-secret-of-some-length"

REDIRECT_URI = "https://client.example/callback"

#: grant_type of the token request -> the application's authorization_grant_type
GRANTS = {
    "password": "password",
    "client_credentials": "client-credentials",
    "authorization_code": "authorization-code",
    "urn:ietf:params:oauth:grant-type:device_code": "urn:ietf:params:oauth:grant-type:device_code",
}


def create_application(**fields: Any) -> Any:
    """Make an application, and its token policy where there are fields of that among those given."""
    # Here, as processes without the app import this module, too.
    from oauth_binding.models import TokenPolicy

    of_policy = fields.keys() & {field.name for field in TokenPolicy._meta.fields} - {"id"}
    policy = {name: fields.pop(name) for name in of_policy}
    application = get_application_model().objects.create(**fields)
    if policy:
        set_policy(application, **policy)
    return application


def set_policy(application: Any, **fields: Any) -> Any:
    """Set fields of the token policy of an application; what is not given stays as it is."""
    from oauth_binding.models import TokenPolicy

    policy, _is_new = TokenPolicy.objects.update_or_create(application=application, defaults=fields)
    application.token_policy = policy
    return policy


def make_application(token_type: str, **fields: Any) -> Any:
    """Make an application with the password grant whose tokens are bound, called like its token type."""
    return create_application(
        name=token_type,
        client_type="confidential",
        authorization_grant_type="password",
        client_secret=SECRET,
        hash_client_secret=False,
        algorithm="RS256",
        token_type=token_type,
        token_binding_type="client-request",
        **fields,
    )


@dataclass
class Answer:
    """What an endpoint answered."""

    status: int
    data: dict[str, Any]
    headers: dict[str, str]

    def __getitem__(self, name: str) -> Any:
        return self.data[name]

    @property
    def access(self) -> str:
        return str(self.data["access_token"])

    @property
    def refresh(self) -> str:
        return str(self.data["refresh_token"])

    @property
    def claims(self) -> dict[str, Any]:
        """The claims of a JWT access token, verified as its API would."""
        return verify_jwt(self.access)


def public_key() -> Any:
    return _public_key(str(settings.OAUTH2_PROVIDER["OIDC_RSA_PRIVATE_KEY"]))


@cache  # reading a key takes longer than a request for a token
def _public_key(pem: str) -> Any:
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    return load_pem_private_key(pem.encode(), None).public_key()


def verify_jwt(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(
        token, public_key(), algorithms=["RS256"], options={"verify_aud": False, "require": ["exp", "iat"]}
    )
    return claims


@dataclass
class Site:
    """A client application talking to the site; every method is an HTTP request."""

    application: Any
    user: User | None = None
    secret: str = SECRET
    http: Client = field(default_factory=lambda: Client(enforce_csrf_checks=True))
    #: The key that it proves in each token request, if it has one.
    key: DeviceKey | None = None

    def basic(self) -> dict[str, str]:
        credentials = f"{self.application.client_id}:{self.secret}".encode()
        return {"Authorization": f"Basic {base64.b64encode(credentials).decode()}"}

    def post(
        self, path: str, form: Any, *, authenticate: bool = True, headers: dict[str, str] | None = None
    ) -> Answer:
        """Post a form: a dict, a list of pairs, or an encoded string."""
        if self.key is not None and path == "/oauth2/token/":
            headers = {"DPoP": self.key.proof("POST", path), **(headers or {})}
        body = form if isinstance(form, str) else urlencode(form)
        response = self.http.post(
            path,
            body,
            content_type="application/x-www-form-urlencoded",
            headers={**(self.basic() if authenticate else {}), **(headers or {})},
        )
        try:
            data = json.loads(response.content) if response.content else {}
        except ValueError:
            data = {}
        return Answer(response.status_code, data, dict(response.headers))

    def grant(self, **extra: Any) -> list[tuple[str, str]]:
        """Return the form of a valid token request for the application's grant, but for what is extra."""
        kind = self.application.authorization_grant_type
        form: dict[str, Any]
        if kind == "password":
            assert self.user is not None
            form = {"grant_type": "password", "username": self.user.username, "password": PASSWORD}
        elif kind == "client-credentials":
            form = {"grant_type": "client_credentials"}
        elif kind == "authorization-code":
            form = self.authorization_code(scope=extra.pop("scope", "read write"))
        else:
            form = {"grant_type": kind, "device_code": self.device_code(extra.pop("scope", "read write"))}
        form |= extra
        return [
            (name, item)
            for name, value in form.items()
            for item in (value if isinstance(value, list) else [value])
        ]

    def token(self, *, path: str = "/oauth2/token/", **extra: Any) -> Answer:
        """Request a token with the application's grant."""
        return self.post(path, self.grant(**extra))

    def bound(self, binding: str | None, **extra: Any) -> Answer:
        """Request a token with a tokenBindingId, or without one."""
        return self.token(**extra) if binding is None else self.token(tokenBindingId=binding, **extra)

    def refresh(self, refresh_token: str, **extra: str) -> Answer:
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, **extra}
        return self.post("/oauth2/token/", form)

    def introspect(self, token: str) -> Answer:
        return self.post("/oauth2/introspect/", {"token": token})

    def active(self, token: str) -> bool:
        answer = self.introspect(token)
        assert answer.status == 200
        if not answer["active"]:
            assert answer.data == {"active": False}
        return bool(answer["active"])

    def revoke(self, token: str, **extra: str) -> Answer:
        return self.post("/oauth2/revoke_token/", {"token": token, **extra})

    def api(self, token: str) -> int:
        """Call an API with the token, and return the status."""
        if self.key is not None:
            return self.http.get("/api/me/", headers=self.key.headers("GET", "/api/me/", token)).status_code
        return self.http.get("/api/me/", headers={"Authorization": f"Bearer {token}"}).status_code

    def authorization_code(
        self, scope: str = "read write", browser: Any = None, **extra: str
    ) -> dict[str, str]:
        """Sign in, consent, and return the form that redeems the code.

        :param browser: one in which the user is signed in already; None for a new one.
        """
        assert self.user is not None
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if browser is None:
            browser = Client()
            browser.force_login(self.user)
        query = {
            "response_type": "code",
            "client_id": self.application.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": scope,
            "state": "xyz",
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **extra,
        }
        asked = browser.get("/oauth2/authorize/", query) if self.key is not None else None
        if asked is not None and asked.context is not None:
            query["dpop_jkt"] = asked.context["form"].initial["dpop_jkt"]
        response = browser.post("/oauth2/authorize/", {**query, "allow": "Authorize"})
        code = parse_qs(urlsplit(response["Location"]).query)["code"][0]
        return {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT_URI,
            "code_verifier": verifier,
        }

    def device_code(self, scope: str = "read write") -> str:
        """Start a device flow, let the user accept it in a browser, and return the device code."""
        started = self.start_device(scope)
        self.accept_device(started["user_code"])
        return str(started["device_code"])

    def start_device(self, scope: str = "read write") -> Answer:
        """Start a device flow; the answer has a code for the device and one for the user."""
        form = {"client_id": self.application.client_id, "scope": scope}
        started = self.post("/oauth2/device-authorization/", form)
        assert started.status == 200, started.data
        return started

    def accept_device(self, user_code: str) -> None:
        """Let the user accept a device in a browser."""
        assert self.user is not None
        browser = Client()
        browser.force_login(self.user)
        page = browser.post("/oauth2/device/", {"user_code": user_code})
        browser.post(page["Location"], {"action": "accept"})
        assert get_device_grant_model().objects.get(user_code=user_code).status == "authorized"


def is_jwt(token: str) -> bool:
    return re.fullmatch(r"ey[\w-]+\.[\w-]+\.[\w-]+", token) is not None
