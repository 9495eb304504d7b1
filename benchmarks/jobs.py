"""The requests of a job, made by the process that sends them; each may depend on the last answer."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

from benchmarks.plan import Job

#: Generated under the SECRET_KEY of the benchmarks.
SECRET = "q5B1sXv0TzKp8LwYhJd3RfNc7MgUa2EoIk9VtQ4WxHbiMX0awOjqnaKvwinikv1Dg"
PASSWORD = "correct horse battery staple"


@dataclass(frozen=True)
class Call:
    """An HTTP request; a form is sent by POST."""

    path: str
    form: dict[str, str] | None = None
    authorization: str = ""
    #: Whether the next call belongs to the same request.
    goes_on: bool = False

    @property
    def body(self) -> bytes:
        return urlencode(self.form or {}).encode()


#: Yields calls, and is sent the answers.
Calls = Generator[Call, dict[str, Any], None]


def calls(job: Job, process: int) -> Calls:
    """Yield the requests of a job without end.

    :param process: tells the processes apart that do the same job.
    """
    if not job.grant:
        yield from _api_calls(_other_token(job.contender))
    if job.endpoint == "token":
        yield from _token_calls(job, process)
    # A token of its own, which nobody supersedes.
    login = replace(job, binding=job.binding and "slots")
    answer = yield next(_token_calls(login, process))
    if job.endpoint == "api":
        yield from _api_calls(f"Bearer {answer['access_token']}")
    while True:
        yield Call("/oauth2/introspect/", {"token": answer["access_token"]}, _client(job))


def _api_calls(authorization: str) -> Calls:
    while True:
        yield Call("/api/", None, authorization)


def _token_calls(job: Job, process: int) -> Calls:
    form = {"grant_type": job.grant, "scope": job.scope}
    if job.grant == "password":
        form |= {"username": "alice", "password": PASSWORD}
    if job.grant == "authorization_code":
        form |= {"redirect_uri": "https://app.example/cb"}
    if job.binding == "seen":
        form["tokenBindingId"] = "a device"
    if job.binding == "slots":
        form["tokenBindingId"] = f"device {process}"
    if job.grant == "refresh_token":
        del form["scope"]
        login = {
            **form,
            "grant_type": "password",
            "username": "alice",
            "password": PASSWORD,
            "scope": job.scope,
        }
        answer = yield Call("/oauth2/token/", login, _client(job))
    if job.revokes:
        answer = yield Call("/oauth2/token/", dict(form), _client(job))
    while True:
        if job.revokes:
            revoked = {"token": answer["refresh_token"]}
            answer = yield Call("/oauth2/token/", dict(form), _client(job), goes_on=True)
            yield Call("/oauth2/revoke_token/", revoked, _client(job))
            continue
        if job.binding == "new":
            form["tokenBindingId"] = secrets.token_urlsafe(16)
        if job.grant == "authorization_code":
            form["code"] = _make_code(job)
        if job.grant == "refresh_token":
            form["refresh_token"] = answer["refresh_token"]
        answer = yield Call("/oauth2/token/", dict(form), _client(job))


def _client(job: Job) -> str:
    return "Basic " + base64.b64encode(f"{_client_id(job)}:{SECRET}".encode()).decode()


def _client_id(job: Job) -> str:
    return f"{job.grant}-{job.token}-{'none' if job.binding is None else 'bound'}"


# In the contender's site.


def prepare(job: Job) -> None:
    """Make the application of a job, and the user."""
    from django.contrib.auth.models import User

    if not User.objects.filter(username="alice").exists():
        User.objects.create_user("alice", password=PASSWORD)
    if not job.grant:
        return
    from oauth2_provider.models import Application

    if Application.objects.filter(client_id=_client_id(job)).exists():
        return
    grant = {"authorization_code": "authorization-code", "client_credentials": "client-credentials"}
    fields: dict[str, Any] = {
        "client_id": _client_id(job),
        "client_secret": SECRET,
        "client_type": "confidential",
        "authorization_grant_type": grant.get(job.grant, "password"),
        "redirect_uris": "https://app.example/cb",
        "algorithm": "RS256",
    }
    if job.token != "opaque":
        fields |= {"token_type": "jwt", "access_token_algorithm": job.token}
    if job.binding is not None:
        fields["token_binding_type"] = "client-request"
    Application.objects.create(**fields)


def _make_code(job: Job) -> str:
    from django.contrib.auth.models import User
    from django.utils import timezone
    from oauth2_provider.models import Application, Grant

    code = secrets.token_urlsafe(16)
    Grant.objects.create(
        user=User.objects.get(),
        code=code,
        application=Application.objects.get(client_id=_client_id(job)),
        expires=timezone.now() + timedelta(hours=1),
        redirect_uri="https://app.example/cb",
        scope=job.scope,
    )
    return code


def _other_token(contender: str) -> str:
    """Return the Authorization header of a contender whose tokens don't come from a token endpoint."""
    if contender == "django-rest-knox":
        from django.contrib.auth.models import User
        from knox.models import get_token_model

        _row, token = get_token_model().objects.create(User.objects.get())
        return f"Token {token}"
    if contender.startswith("simplejwt"):
        from django.contrib.auth.models import User
        from rest_framework_simplejwt.tokens import AccessToken

        access = AccessToken.for_user(User.objects.get())
        access.set_exp(lifetime=timedelta(days=1))
        return f"Bearer {access}"
    return f"Bearer {_foreign_jwt(contender.rpartition(' ')[2])}"


def _foreign_jwt(algorithm: str) -> str:
    import jwt
    from django.conf import settings as django_settings

    settings: Any = django_settings
    now = int(time.time())
    claims = {
        "iss": settings.OAUTH_RESOURCE_SERVER["ISSUER"],
        "aud": settings.OAUTH_RESOURCE_SERVER["AUDIENCE"],
        "exp": now + 86400,
        "iat": now,
        "jti": secrets.token_urlsafe(16),
        "sub": "1",
        "client_id": "client",
        "scope": "read",
    }
    pem = settings.RSA_PEM if algorithm == "RS256" else settings.EC_PEM
    return jwt.encode(claims, pem, algorithm, {"typ": "at+jwt", "kid": algorithm})


def decode(body: bytes) -> dict[str, Any]:
    """Return the JSON of an answer."""
    answer: dict[str, Any] = json.loads(body or b"{}")
    return answer
