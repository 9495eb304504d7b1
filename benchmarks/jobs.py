"""The requests of a job, made by the process that sends them; each may depend on the last answer."""

from __future__ import annotations

import base64
import json
import secrets
import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import count
from typing import Any
from urllib.parse import urlencode

from benchmarks.plan import ALLAUTH, Job
from tests.helpers.dpop import DeviceKey

#: Generated under the SECRET_KEY of the benchmarks.
SECRET = "q5B1sXv0TzKp8LwYhJd3RfNc7MgUa2EoIk9VtQ4WxHbiMX0awOjqnaKvwinikv1Dg"
PASSWORD = "correct horse battery staple"
#: Who signs in on new devices, so that nobody has as many as are allowed.
_USERS = 200
#: The scheme and host of the server's endpoints, by the settings.
_ISSUER = "https://issuer.example"
#: How many proofs are made at a time, which are good for a minute.
_PROOFS = 25


@dataclass(frozen=True)
class Call:
    """An HTTP request; a form is sent by POST."""

    path: str
    form: dict[str, str] | None = None
    authorization: str = ""
    #: A DPoP proof.
    proof: str = ""
    #: Whether the next call belongs to the same request.
    goes_on: bool = False

    @property
    def body(self) -> bytes:
        return urlencode(self.form or {}).encode()


#: Yields calls, and is sent the answers.
Calls = Generator[Call, dict[str, Any], None]


def calls(job: Job, process: int, address: str) -> Calls:
    """Yield the requests of a job without end.

    :param process: tells the processes apart that do the same job.
    :param address: of the server, without a path.
    """
    prover = Prover(address) if job.proves else None
    if not job.grant:
        yield from _api_calls(_other_token(job.contender, prover), prover)
    if job.endpoint == "token":
        yield from _token_calls(job, process, prover)
    # A token of its own, which nobody supersedes.
    login = replace(job, binding=job.binding and "slots")
    answer = yield next(_token_calls(login, process, prover))
    if prover:
        prover.forget()
    if job.endpoint == "api":
        yield from _api_calls(f"{answer['token_type']} {answer['access_token']}", prover)
    while True:
        yield Call("/oauth2/introspect/", {"token": answer["access_token"]}, _client(job))


class Prover:
    """A client that proves a key (RFC 9449).

    It makes many proofs at a time, so that what they take is not only not measured, but does not slow down
    what is measured either, by what it leaves in the caches of the processor.

    :param address: of the server, without a path.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._made: list[str] = []
        self.key = DeviceKey()

    def prove(self, call: Call) -> Call:
        """Return a request with a proof of its own."""
        if not self._made:
            self._made = [self._make(call) for _ in range(_PROOFS)]
        return replace(call, proof=self._made.pop())

    def _make(self, call: Call) -> str:
        method = "GET" if call.form is None else "POST"
        scheme, _space, token = call.authorization.partition(" ")
        access_token = token if scheme == "DPoP" else None
        origin = self._address if access_token else _ISSUER
        return self.key.proof(method, origin + call.path, access_token=access_token)

    def forget(self) -> None:
        """Make new proofs next time: the ones there are, are for another address."""
        self._made.clear()

    @staticmethod
    def check(answer: dict[str, Any]) -> None:
        """See that a token was bound to the key: what is fast because it does nothing is not measured."""
        if answer["token_type"] != "DPoP":
            raise RuntimeError("The proof was not looked at.")


def _api_calls(authorization: str, prover: Prover | None) -> Calls:
    call = Call("/api/", None, authorization)
    while True:
        yield prover.prove(call) if prover else call


def _token_calls(job: Job, process: int, prover: Prover | None = None) -> Calls:
    def call(form: dict[str, str], goes_on: bool = False) -> Call:
        made = Call("/oauth2/token/", form, _client(job), goes_on=goes_on)
        return prover.prove(made) if prover else made

    form = {"grant_type": job.grant, "scope": job.scope}
    if job.grant == "password":
        form |= {"username": "alice", "password": PASSWORD}
    if job.grant == "authorization_code":
        form |= {"redirect_uri": "https://app.example/cb"}
    if job.binding == "seen":
        form["tokenBindingId"] = "a device"
    if job.binding == "slots":
        form["tokenBindingId"] = f"device {process}"
    answer: dict[str, Any] = {}
    numbers = count()
    if job.grant == "refresh_token" and job.contender == ALLAUTH:
        del form["scope"]
        answer = {"refresh_token": _refresh_token_of_allauth(job)}
        form["refresh_token"] = answer["refresh_token"]
        answer = yield call(dict(form))
    elif job.grant == "refresh_token":
        del form["scope"]
        login = {
            **form,
            "grant_type": "password",
            "username": "alice",
            "password": PASSWORD,
            "scope": job.scope,
        }
        answer = yield call(login)
    if job.revokes:
        answer = yield call(dict(form))
    while True:
        if prover and answer:
            prover.check(answer)
        if job.revokes:
            revoked = {"token": answer["refresh_token"]}
            answer = yield call(dict(form), goes_on=True)
            yield Call("/oauth2/revoke_token/", revoked, _client(job))
            continue
        if job.binding == "new":
            form["tokenBindingId"] = secrets.token_urlsafe(16)
            if job.grant == "password":
                form["username"] = f"alice {next(numbers) % _USERS}"
        if job.grant == "authorization_code":
            form["code"] = _make_code(job)
        if job.grant == "refresh_token":
            form["refresh_token"] = answer["refresh_token"]
        answer = yield call(dict(form))


def _client(job: Job) -> str:
    return "Basic " + base64.b64encode(f"{_client_id(job)}:{SECRET}".encode()).decode()


def _client_id(job: Job) -> str:
    kinds = [job.grant, job.token, "none" if job.binding is None else "bound", *["dpop"] * job.proves]
    kinds += ["policy"] * job.full_policy
    return "-".join(kinds)


# In the contender's site.


def prepare(job: Job) -> None:
    """Make the application of a job, and the users."""
    from django.contrib.auth.models import User

    if not User.objects.filter(username="alice").exists():
        user = User.objects.create_user("alice", password=PASSWORD)
        names = [f"alice {number}" for number in range(_USERS)]
        User.objects.bulk_create([User(username=name, password=user.password) for name in names])
    if not job.grant:
        return
    if job.contender == ALLAUTH:
        _make_client_of_allauth(job)
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
    application = Application.objects.create(**fields)
    policy: dict[str, Any] = {"sender_constraint": "dpop"} if job.proves else {}
    if job.full_policy:
        policy |= {
            "require_binding": "report",
            "access_token_lifetime": 3_600,
            "client_token_lifetime": 3_600,
            "constrained_token_lifetime": 3_600,
            "refresh_token_lifetime": 86_400,
            "login_lifetime": 86_400,
            "reuse_min_lifetime": 60,
            "rotate_refresh_tokens": True,
            "refresh_token_reuse_protection": True,
            "allowed_audiences": "https://api.example",
            "default_audiences": "https://api.example",
            "max_devices": 10_000,
        }
    if policy:
        from oauth_binding.models import TokenPolicy

        TokenPolicy.objects.create(application=application, **policy)


def _make_client_of_allauth(job: Job) -> None:
    from allauth.idp.oidc.models import Client
    from django.contrib.auth.hashers import make_password

    Client.objects.get_or_create(
        id=_client_id(job),
        defaults={
            "name": _client_id(job),
            "secret": make_password(SECRET),
            "type": Client.Type.CONFIDENTIAL,
            "grant_types": "client_credentials\nrefresh_token",
            "scopes": job.scope,
        },
    )


def _refresh_token_of_allauth(job: Job) -> str:
    """Return a refresh token as a login in a browser would have given it: there are no password grants."""
    from allauth.idp.oidc.models import Client, Token
    from django.contrib.auth.models import User

    text = secrets.token_urlsafe(32)
    token = Token(
        type=Token.Type.REFRESH_TOKEN,
        client=Client.objects.get(id=_client_id(job)),
        user=User.objects.get(username="alice"),
        scopes=job.scope,
    )
    token.set_value(text)
    token.save()
    return text


def _make_code(job: Job) -> str:
    from django.contrib.auth.models import User
    from django.utils import timezone
    from oauth2_provider.models import Application, Grant

    code = secrets.token_urlsafe(16)
    Grant.objects.create(
        user=User.objects.get(username="alice"),
        code=code,
        application=Application.objects.get(client_id=_client_id(job)),
        expires=timezone.now() + timedelta(hours=1),
        redirect_uri="https://app.example/cb",
        scope=job.scope,
    )
    return code


def _other_token(contender: str, prover: Prover | None) -> str:
    """Return the Authorization header of a contender whose tokens don't come from a token endpoint."""
    if contender == "django-rest-knox":
        from django.contrib.auth.models import User
        from knox.models import get_token_model

        _row, token = get_token_model().objects.create(User.objects.get(username="alice"))
        return f"Token {token}"
    if contender.startswith("simplejwt"):
        from django.contrib.auth.models import User
        from rest_framework_simplejwt.tokens import AccessToken

        access = AccessToken.for_user(User.objects.get(username="alice"))
        access.set_exp(lifetime=timedelta(days=1))
        return f"Bearer {access}"
    algorithm = contender.rpartition(" ")[2]
    if prover:
        return f"DPoP {_foreign_jwt(algorithm, cnf={'jkt': prover.key.thumbprint})}"
    return f"Bearer {_foreign_jwt(algorithm)}"


def _foreign_jwt(algorithm: str, **more: Any) -> str:
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
        **more,
    }
    pem = settings.RSA_PEM if algorithm == "RS256" else settings.EC_PEM
    return jwt.encode(claims, pem, algorithm, {"typ": "at+jwt", "kid": algorithm})


def decode(body: bytes) -> dict[str, Any]:
    """Return the JSON of an answer."""
    answer: dict[str, Any] = json.loads(body or b"{}")
    return answer
