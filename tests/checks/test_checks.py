"""System checks: each misconfiguration is named, with a hint, by ``manage.py check``."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import timedelta
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.apps import apps
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import INFO, CheckMessage, run_checks
from django.core.management import call_command
from django.db import OperationalError, connection, connections, models
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest
from django.test import override_settings
from django.urls import URLPattern, URLResolver, include, path
from django.utils import timezone
from django.utils.module_loading import import_string
from oauth2_provider import urls as toolkit_urls
from oauth2_provider.models import get_application_model, get_refresh_token_model
from oauth2_provider.settings import DEFAULTS

import oauth_binding
from oauth_binding import checks, urls
from oauth_binding.authorization_server import BindingOAuth2Validator, BindingOAuthLibCore
from oauth_binding.authorization_server.signing.key_file import FileKey, generate, write
from oauth_binding.binding import ClientRequestBinder, TokenBinder
from oauth_binding.checks.lifetimes import LIFETIMES
from oauth_binding.core import settings as core_settings
from oauth_binding.core.audit import LOGGER
from oauth_binding.models import LogoutNotification, TokenBinding, TokenExchangeRule, TokenPolicy
from oauth_binding.resource_server import BearerTokenMiddleware
from oauth_binding.resource_server import checks as resource_server_checks
from oauth_binding.urls import metadata_urlpatterns
from tests.helpers.client import create_application
from tests.helpers.next_toolkit import installed_path
from tests.helpers.provider import provider

pytestmark = pytest.mark.django_db

ROOT = Path(oauth_binding.__file__).parent.parent

needs_rest_framework = pytest.mark.skipif(
    not apps.is_installed("rest_framework"), reason="djangorestframework is not installed"
)

JSONOAuthLibCore: Any = import_string(installed_path("oauth2_backends.JSONOAuthLibCore"))

TOKEN_MIDDLEWARE = installed_path("middleware.OAuth2TokenMiddleware")

CLIENT_REQUEST = "oauth_binding.binding.ClientRequestBinder"

DAY = 24 * 60 * 60

ED25519 = {"SIGNING_ALGORITHM": "EdDSA"}
SLOW_HASHER = "django.contrib.auth.hashers.PBKDF2PasswordHasher"
FAST_HASHER = "oauth_binding.authorization_server.GeneratedSecretHasher"
GENERATOR = "oauth_binding.authorization_server.ClientSecretGenerator"
TOOLKIT_GENERATOR = "oauth2_provider.generators.ClientSecretGenerator"

#: Of an issuer whose tokens may be exchanged.
OPTIONS = {"JWKS_URL": "https://idp.example/jwks", "AUDIENCE": "https://site.example"}
PUBLIC_KEY = {"kty": "RSA", "n": "AQAB", "e": "AQAB"}


class Validator(BindingOAuth2Validator):
    """A site's own validator."""


class JSONBackend(BindingOAuthLibCore, JSONOAuthLibCore):
    """A backend that reads JSON as well."""


class NumberGenerator:
    """Makes client ids that could be primary keys of users."""

    def hash(self) -> str:
        return "4711"


class BinderWithoutType(TokenBinder):
    label = "Device"


class BinderOfTypeNumber(TokenBinder):
    type = 1  # type: ignore[assignment]
    label = "Device"


class BinderOfLongType(TokenBinder):
    type = "x" * 65
    label = "Device"


class BinderWithoutLabel(TokenBinder):
    type = "device"


class BinderOfTypeNone(TokenBinder):
    type = "none"
    label = "Device"


class DemandingBinder(ClientRequestBinder):
    required = True


class BinderOfTypeClientRequest(TokenBinder):
    type = ClientRequestBinder.type
    label = "Device"


class AnyToken(BearerTokenMiddleware):
    required_scopes = ()


class SomeTokens(BearerTokenMiddleware):
    required_scopes = ["read"]


class ByMethod(BearerTokenMiddleware):
    def get_required_scopes(self, request: HttpRequest) -> list[str]:
        return ["read" if request.method == "GET" else "write"]


class Elsewhere:
    """A router that sends questions about an app, or about all, to a database that the site does not have."""

    def __init__(self, *questions: str, app: str = "") -> None:
        self.app = app
        for question in questions:
            setattr(self, question, self.answer)

    def answer(self, model: Any, **hints: Any) -> str | None:
        return "elsewhere" if model._meta.app_label.startswith(self.app) else None


class BindingsElsewhere:
    """A database router that knows nothing of the tokens."""

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str | None:
        return "elsewhere" if model is TokenBinding else None


@contextmanager
def bindings_elsewhere() -> Iterator[None]:
    # As if there was such a database.
    known = mock.patch.object(checks.database, "unknown_databases", return_value=[])
    with known, override_settings(DATABASE_ROUTERS=[BindingsElsewhere()]):
        yield


def provider_without(entry: str) -> override_settings:
    entries = {name: value for name, value in settings.OAUTH2_PROVIDER.items() if name != entry}
    return override_settings(OAUTH2_PROVIDER=entries)


def middleware(*paths: str) -> override_settings:
    return override_settings(MIDDLEWARE=[*settings.MIDDLEWARE, *paths])


@contextmanager
def all_scopes(*scopes: str, **entries: Any) -> Iterator[None]:
    """Offer some scopes, and give all to who asks for none, as django-oauth-toolkit does by itself."""
    with provider_without("DEFAULT_SCOPES"), provider(SCOPES=dict.fromkeys(scopes, "So"), **entries):
        yield


def binders(*paths: Any) -> override_settings:
    return override_settings(OAUTH_BINDING={"BINDERS": list(paths)})


def issuer(**options: Any) -> override_settings:
    """Configure an issuer whose tokens may be exchanged; None takes an option out."""
    merged = {**OPTIONS, **options}
    given = {name: value for name, value in merged.items() if value is not None}
    return issuers({"https://idp.example": given})


def issuers(value: Any) -> override_settings:
    return override_settings(OAUTH_BINDING={"TOKEN_EXCHANGE_ISSUERS": value})


def elliptic_curve_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def key_on_an_unknown_curve() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    # From 1.2.840.10045.3.1.7 to 1.2.840.10045.3.1.6.
    renamed = der.replace(bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d030106"))
    return f"-----BEGIN PRIVATE KEY-----\n{base64.b64encode(renamed).decode()}\n-----END PRIVATE KEY-----\n"


@contextmanager
def application(**fields: Any) -> Iterator[None]:
    create_application(
        **{"client_type": "confidential", "authorization_grant_type": "client-credentials", **fields}
    )
    yield


def implicit(field: str = "authorization_grant_type", **fields: Any) -> AbstractContextManager[None]:
    return application(**{field: "implicit", "token_binding_type": "client-request", **fields})


@contextmanager
def implicit_with_demanding_binder() -> Iterator[None]:
    with binders(f"{__name__}.DemandingBinder"), implicit():
        yield


@contextmanager
def with_policy(**fields: Any) -> Iterator[None]:
    with application():
        TokenPolicy.objects.create(application=get_application_model().objects.get(), **fields)
        yield


@contextmanager
def told_at(uri: str, algorithm: str = "RS256") -> Iterator[None]:
    with with_policy(backchannel_logout_uri=uri):
        get_application_model().objects.update(algorithm=algorithm)
        yield


@contextmanager
def logout_due_for(overdue: timedelta) -> Iterator[None]:
    with told_at("https://rp.example/logout"):
        LogoutNotification.objects.create(
            application=get_application_model().objects.get(),
            issuer="https://id.example",
            sub="1",
            sid=uuid.uuid4(),
            next_attempt=timezone.now() - overdue,
        )
        yield


def told_without_openid() -> AbstractContextManager[None]:
    return _with(provider(OIDC_ENABLED=False), told_at("https://rp.example/logout"))


def feed_without_issuer() -> AbstractContextManager[Any]:
    return _with(provider(OIDC_ISS_ENDPOINT=""), override_settings(OAUTH_BINDING={"REVOCATION_FEED": True}))


def mail_without_addresses() -> AbstractContextManager[Any]:
    return _with(
        override_settings(OAUTH_BINDING={"NEW_SIGN_IN_MAIL": True}),
        mock.patch.object(get_user_model(), "EMAIL_FIELD", "mail_address"),
    )


def last_used_interval(seconds: Any) -> AbstractContextManager[Any]:
    return override_settings(OAUTH_BINDING={"LAST_USED_INTERVAL": seconds})


def retry_seconds(seconds: Any) -> AbstractContextManager[Any]:
    return override_settings(OAUTH_BINDING={"RETRY_SECONDS": seconds})


def logout_networks(networks: Any) -> AbstractContextManager[Any]:
    return override_settings(OAUTH_BINDING={"BACKCHANNEL_LOGOUT_NETWORKS": networks})


def unrotated_and_protected() -> AbstractContextManager[None]:
    protected = {"REFRESH_TOKEN_REUSE_PROTECTION": True, "ROTATE_REFRESH_TOKEN": False}
    return _with(provider(**protected), with_policy(refresh_token_reuse_protection=True))


def outlived_by_the_site() -> AbstractContextManager[None]:
    return _with(provider(REFRESH_TOKEN_EXPIRE_SECONDS=60), with_policy(refresh_token_lifetime=61))


@contextmanager
def _with(*managers: AbstractContextManager[Any]) -> Iterator[None]:
    with ExitStack() as stack:
        for manager in managers:
            stack.enter_context(manager)
        yield


def audiences(allowed: str, default: str) -> dict[str, str]:
    return {"allowed_audiences": allowed, "default_audiences": default}


@contextmanager
def rule_of_nothing(audiences: str) -> Iterator[None]:
    with with_policy(allowed_audiences="https://a.example"):
        client = get_application_model().objects.get()
        TokenExchangeRule.objects.create(client=client, subject_client=client, audiences=audiences)
        yield


def claim_sources(sources: Any) -> override_settings:
    return override_settings(OAUTH_BINDING={"CLAIM_SOURCES": sources})


#: Values of CLAIM_SOURCES that are none.
WRONG_SOURCES: list[Any] = [
    ["email"],
    {"": "email"},
    {None: "email"},
    {"e mail": "email"},
    {"email\n": "email"},
    *({name: "email"} for name in ("sub", "aud", "cnf", "act", "may_act", "active", "username")),
    {"email": None},
    {"email": len},
    {"email": "mail"},
    {"email": "get_full_name"},
    {"email": "no.such.function"},
    {"email": "tests.checks.test_checks.no_such_function"},
    {"email": "tests.checks.test_checks.WRONG_SOURCES"},
]


def implicit_with_proofs(demand: str) -> AbstractContextManager[None]:
    return implicit(token_binding_type="none", sender_constraint="dpop", require_sender_constraint=demand)


@contextmanager
def password_grant(**fields: Any) -> Iterator[None]:
    with application(**fields), provider_without("COMPLIANT_BCP_RFC9700_PASSWORD_GRANT"):
        yield


def json_backend() -> AbstractContextManager[None]:
    return provider(OAUTH2_BACKEND_CLASS=f"{__name__}.JSONBackend")


def without_pages() -> AbstractContextManager[Any]:
    return override_settings(ROOT_URLCONF="tests.sites.without_pages_urls", LOGIN_URL="/sign-in/")


def root_urls(*patterns: URLPattern | URLResolver) -> override_settings:
    return override_settings(ROOT_URLCONF=patterns)


def without_metadata() -> list[URLPattern | URLResolver]:
    """Return the site's URLs without the metadata at the root."""
    return [
        each for each in import_module(settings.ROOT_URLCONF).urlpatterns if each not in metadata_urlpatterns
    ]


def without(name: str) -> list[URLPattern | URLResolver]:
    """Return the site's URLs without one of this app's."""
    served = [pattern for pattern in urls.urlpatterns if pattern.name != name]
    return [
        path("oauth2/", include((served, "oauth2_provider"))) if str(each.pattern) == "oauth2/" else each
        for each in import_module(settings.ROOT_URLCONF).urlpatterns
    ]


@contextmanager
def registration_alone() -> Iterator[None]:
    with root_urls(*without("dcr-register-management")), provider(DCR_ENABLED=True):
        yield


@contextmanager
def jwt_application_without_key() -> Iterator[None]:
    with application(token_type="jwt"), provider(OIDC_RSA_PRIVATE_KEY=""):
        yield


def weak_key() -> str:
    key = rsa.generate_private_key(65537, 1024)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@contextmanager
def signing_keys(*keys: FileKey, mode: int = 0o600, **setting: Any) -> Iterator[None]:
    """Configure a file of signing keys."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "signing-keys.json")
        write(path, keys)
        path.chmod(mode)
        with override_settings(OAUTH_BINDING={"SIGNING_KEYS": path, **setting}):
            yield


def es256(begins: float = -1, ends: float | None = None) -> FileKey:
    """Return a key that is used from and until some days from now."""
    now = time.time()
    key = generate("ES256", int(now + begins * DAY))
    return key if ends is None else key.retire(int(now + ends * DAY), int(now + 100 * DAY))


@contextmanager
def es256_application(*keys: FileKey) -> Iterator[None]:
    with application(token_type="jwt", access_token_algorithm="ES256"), signing_keys(*keys):
        yield


@contextmanager
def feed_without_key() -> Iterator[None]:
    chosen = application(token_type="jwt", access_token_algorithm="ES256")
    with chosen, signing_keys(es256(), REVOCATION_FEED=True), provider(OIDC_RSA_PRIVATE_KEY=""):
        yield


def replay_cache(backend: str) -> Any:
    caches = {
        "default": {
            "BACKEND": f"django.core.cache.backends.{backend}",
            "LOCATION": f"{tempfile.gettempdir()}/used-proofs",
        }
    }
    return override_settings(CACHES=caches, OAUTH_BINDING={"DPOP_REPLAY_CACHE": "default"})


@contextmanager
def constrained_application() -> Iterator[None]:
    with application(), override_settings(OAUTH_BINDING={"REVOCATION_FEED": False}):
        constrained = get_application_model().objects.latest("pk")
        TokenPolicy.objects.create(application=constrained, sender_constraint="dpop")
        yield


@contextmanager
def application_with_fast_hash() -> Iterator[None]:
    with application(client_secret="oauth_binding_sha256$salt$hash", hash_client_secret=False):
        yield


def fast_secrets(generator: str) -> AbstractContextManager[None]:
    return provider(CLIENT_SECRET_HASHER="oauth_binding_sha256", CLIENT_SECRET_GENERATOR_CLASS=generator)


@contextmanager
def fast_hasher_with(generator: str) -> Iterator[None]:
    with hashers(SLOW_HASHER, FAST_HASHER), fast_secrets(generator):
        yield


def hashers(*paths: str) -> override_settings:
    return override_settings(PASSWORD_HASHERS=list(paths))


@contextmanager
def lost_column(model: Any = None, name: str = "token_seed") -> Iterator[None]:
    table = (model or get_refresh_token_model())._meta.db_table
    with connections["default"].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME COLUMN {name} TO lost")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE {table} RENAME COLUMN lost TO {name}")


@contextmanager
def sqlite_without_immediate() -> Iterator[None]:
    connection = connections["default"]
    options = mock.patch.dict(connection.settings_dict["OPTIONS"], clear=True)
    with options, mock.patch.object(connection, "vendor", "sqlite"):
        yield


@contextmanager
def refused_grant(grant: str, gate: str) -> Iterator[None]:
    with application(authorization_grant_type=grant), provider(**{f"COMPLIANT_BCP_RFC9700_{gate}": True}):
        yield


def rest_framework(**changed: Any) -> override_settings:
    return override_settings(REST_FRAMEWORK={**settings.REST_FRAMEWORK, **changed})


TOOLKIT_AUTHENTICATION = installed_path("contrib.rest_framework.OAuth2Authentication")

#: As CASES; without djangorestframework, nothing of it is checked.
REST_FRAMEWORK_CASES: list[tuple[str, str, Callable[[], AbstractContextManager[Any]]]] = [
    ("W009", "", lambda: rest_framework(DEFAULT_AUTHENTICATION_CLASSES=[TOOLKIT_AUTHENTICATION])),
    ("W010", "", lambda: rest_framework(EXCEPTION_HANDLER="rest_framework.views.exception_handler")),
    ("W012", "", lambda: provider(SCOPES={"read": "Read"})),
]

#: (the id, what is wrong, the circumstances)
CASES: list[tuple[str, str, Callable[[], AbstractContextManager[Any]]]] = [
    (
        "E014",
        "is not a header",
        lambda: override_settings(OAUTH_BINDING={"BINDING_HEADER": "Token Binding"}),
    ),
    ("E014", "is not a header", lambda: override_settings(OAUTH_BINDING={"BINDING_HEADER": None})),
    ("E001", "not set", lambda: provider_without("OAUTH2_VALIDATOR_CLASS")),
    ("E001", "empty", lambda: provider(OAUTH2_VALIDATOR_CLASS="")),
    ("E001", "not importable", lambda: provider(OAUTH2_VALIDATOR_CLASS="no.such.Validator")),
    (
        "E001",
        "not a class",
        lambda: provider(OAUTH2_VALIDATOR_CLASS="oauth_binding.authorization_server.toolkit.validator"),
    ),
    ("E002", "not set", lambda: provider_without("OAUTH2_BACKEND_CLASS")),
    (
        "E002",
        "another",
        lambda: provider(OAUTH2_BACKEND_CLASS=installed_path("oauth2_backends.JSONOAuthLibCore")),
    ),
    ("E029", "a backend that reads JSON", json_backend),
    ("E003", "not set", lambda: provider_without("ACCESS_TOKEN_GENERATOR")),
    ("E003", "another", lambda: provider(ACCESS_TOKEN_GENERATOR="oauthlib.common.generate_token")),
    (
        "E003",
        "overridden",
        lambda: provider(EXTRA_SERVER_KWARGS={"token_generator": lambda request: "x"}),
    ),
    ("E004", "not set", lambda: provider_without("REFRESH_TOKEN_GENERATOR")),
    ("E004", "another", lambda: provider(REFRESH_TOKEN_GENERATOR="oauthlib.common.generate_token")),
    ("E005", "unknown key", lambda: override_settings(OAUTH_BINDING={"BINDER": []})),
    ("E005", "not a dict", lambda: override_settings(OAUTH_BINDING=["BINDERS"])),
    ("E006", "not a list", lambda: override_settings(OAUTH_BINDING={"BINDERS": CLIENT_REQUEST})),
    ("E006", "not a list of paths", lambda: binders(ClientRequestBinder)),
    ("E006", "not importable", lambda: binders("no.such.Binder")),
    ("E006", "not a binder", lambda: binders(f"{__name__}.Validator")),
    ("E006", "not a class", lambda: binders("oauth_binding.binders")),
    ("E006", "without a type", lambda: binders(f"{__name__}.BinderWithoutType")),
    ("E006", "of a type that is no text", lambda: binders(f"{__name__}.BinderOfTypeNumber")),
    ("E006", "of too long a type", lambda: binders(f"{__name__}.BinderOfLongType")),
    ("E006", "without a label", lambda: binders(f"{__name__}.BinderWithoutLabel")),
    ("E006", "of the type none", lambda: binders(f"{__name__}.BinderOfTypeNone")),
    ("E006", "of a type twice", lambda: binders(CLIENT_REQUEST, f"{__name__}.BinderOfTypeClientRequest")),
    ("E007", "application", lambda: provider(APPLICATION_MODEL="auth.Group")),
    ("E007", "access token", lambda: provider(ACCESS_TOKEN_MODEL="auth.Group")),
    ("E007", "refresh token", lambda: provider(REFRESH_TOKEN_MODEL="auth.Group")),
    ("E008", "not PEM", lambda: provider(OIDC_RSA_PRIVATE_KEY="not a key")),
    ("E008", "of an unknown curve", lambda: provider(OIDC_RSA_PRIVATE_KEY=key_on_an_unknown_curve())),
    ("E008", "not RSA", lambda: provider(OIDC_RSA_PRIVATE_KEY=elliptic_curve_key())),
    ("E009", "JWT application, no key", jwt_application_without_key),
    ("E009", "the default algorithm has no key", lambda: signing_keys(SIGNING_ALGORITHM="EdDSA")),
    ("E009", "a default algorithm without a file", lambda: override_settings(OAUTH_BINDING=ED25519)),
    ("E009", "the chosen algorithm has no key", es256_application),
    ("E009", "its key has expired", lambda: es256_application(es256(begins=-2, ends=-1))),
    ("E009", "no key for the revocation feed", feed_without_key),
    ("E010", "database router", bindings_elsewhere),
    ("E011", "lost column", lost_column),
    (
        "E030",
        "of all",
        lambda: override_settings(DATABASE_ROUTERS=[Elsewhere("db_for_read", "db_for_write")]),
    ),
    ("E030", "of replicas", lambda: override_settings(DATABASE_ROUTERS=[Elsewhere("db_for_read")])),
    ("E030", "of users", lambda: override_settings(DATABASE_ROUTERS=[Elsewhere("db_for_write", app="auth")])),
    ("E012", "binder not installed", lambda: application(token_binding_type="device")),
    ("E013", "not a dict", lambda: issuers(["https://idp.example"])),
    ("E013", "an issuer that is no text", lambda: issuers({None: OPTIONS})),
    ("E013", "an empty issuer", lambda: issuers({"": OPTIONS})),
    ("E013", "too long an issuer", lambda: issuers({"x" * 256: OPTIONS})),
    ("E013", "options that are no dict", lambda: issuers({"https://idp.example": "https://idp.example"})),
    ("E013", "unknown option", lambda: issuer(AUDIENCES=["x"])),
    ("E013", "no keys", lambda: issuer(JWKS_URL=None)),
    ("E013", "keys twice", lambda: issuer(KEYS={"keys": [PUBLIC_KEY]})),
    ("E013", "http", lambda: issuer(JWKS_URL="http://idp.example/jwks")),
    ("E013", "http like a loopback host", lambda: issuer(JWKS_URL="http://localhost.example/jwks")),
    ("E013", "a file", lambda: issuer(JWKS_URL="file:///etc/jwks.json")),
    ("E013", "no URL", lambda: issuer(JWKS_URL="https://[")),
    ("E013", "a URL that is no text", lambda: issuer(JWKS_URL=1)),
    ("E013", "keys that are no set", lambda: issuer(JWKS_URL=None, KEYS=[PUBLIC_KEY])),
    ("E013", "an empty set", lambda: issuer(JWKS_URL=None, KEYS={"keys": []})),
    ("E013", "a secret key", lambda: issuer(JWKS_URL=None, KEYS={"keys": [{"kty": "oct", "k": "c2VjcmV0"}]})),
    ("E013", "a private key", lambda: issuer(JWKS_URL=None, KEYS={"keys": [{**PUBLIC_KEY, "d": "AQAB"}]})),
    ("E013", "no audience", lambda: issuer(AUDIENCE=None)),
    ("E013", "an empty audience", lambda: issuer(AUDIENCE="")),
    ("E013", "an empty list of audiences", lambda: issuer(AUDIENCE=[])),
    ("E013", "an audience that is no text", lambda: issuer(AUDIENCE=[None])),
    ("E013", "a symmetric algorithm", lambda: issuer(ALGORITHMS=["RS256", "HS256"])),
    ("E013", "the algorithm none", lambda: issuer(ALGORITHMS=["none"])),
    ("E013", "an unknown algorithm", lambda: issuer(ALGORITHMS=["RS1"])),
    ("E013", "algorithms that are no list", lambda: issuer(ALGORITHMS="RS256")),
    ("E013", "no algorithm", lambda: issuer(ALGORITHMS=[])),
    ("E013", "an empty claim", lambda: issuer(USER_CLAIM="")),
    ("E013", "an unknown field", lambda: issuer(USER_FIELD="nickname")),
    ("E013", "a field that is a relation", lambda: issuer(USER_FIELD="groups")),
    ("E013", "not whether to create users", lambda: issuer(CREATE_USERS="no")),
    ("E013", "users without a name", lambda: issuer(CREATE_USERS=True, USER_FIELD="email")),
    ("E013", "scopes that are no list", lambda: issuer(SCOPES="read write")),
    ("E013", "no types", lambda: issuer(TYPES=[])),
    ("E013", "types that are no list", lambda: issuer(TYPES="JWT")),
    ("E013", "a type that is no text", lambda: issuer(TYPES=[1])),
    ("E013", "an age that is no number", lambda: issuer(MAX_AGE="1h")),
    ("E013", "an age without end", lambda: issuer(MAX_AGE=float("inf"))),
    ("E013", "a negative leeway", lambda: issuer(LEEWAY=-1)),
    ("E015", "no file", lambda: override_settings(OAUTH_BINDING={"SIGNING_KEYS": "/no/such/file"})),
    ("E015", "a directory", lambda: override_settings(OAUTH_BINDING={"SIGNING_KEYS": Path("/")})),
    ("E015", "not a JWK set", lambda: override_settings(OAUTH_BINDING={"SIGNING_KEYS": __file__})),
    ("E016", "a relative path", lambda: override_settings(OAUTH_BINDING={"SIGNING_KEYS": "keys.json"})),
    ("E016", "not a path", lambda: override_settings(OAUTH_BINDING={"SIGNING_KEYS": ["/keys.json"]})),
    ("E016", "an unknown algorithm", lambda: override_settings(OAUTH_BINDING={"SIGNING_ALGORITHM": "HS256"})),
    ("E016", "no algorithm", lambda: override_settings(OAUTH_BINDING={"SIGNING_ALGORITHM": []})),
    ("E017", "a feed that is no flag", lambda: override_settings(OAUTH_BINDING={"REVOCATION_FEED": "no"})),
    (
        "E017",
        "a cascade that is no flag",
        lambda: override_settings(OAUTH_BINDING={"TOKEN_EXCHANGE_CASCADE": 1}),
    ),
    (
        "E017",
        "public clients that are no flag",
        lambda: override_settings(OAUTH_BINDING={"TOKEN_EXCHANGE_PUBLIC_CLIENTS": None}),
    ),
    ("E018", "an unknown extent", lambda: override_settings(OAUTH_BINDING={"PASSWORD_CHANGE_ENDS": True})),
    ("E020", "preferred for passwords", lambda: hashers(FAST_HASHER, SLOW_HASHER)),
    ("E021", "not installed", lambda: fast_secrets(GENERATOR)),
    ("E022", "taken out", application_with_fast_hash),
    ("E026", "the generator of the toolkit", lambda: fast_hasher_with(TOOLKIT_GENERATOR)),
    ("E026", "one that can't be imported", lambda: fast_hasher_with("no.such.Generator")),
    (
        "E027",
        "a middleware without scopes",
        lambda: middleware("oauth_binding.resource_server.BearerTokenMiddleware"),
    ),
    ("E023", "a text", lambda: provider(ACCESS_TOKEN_EXPIRE_SECONDS="3600")),
    ("E023", "nothing", lambda: provider(AUTHORIZATION_CODE_EXPIRE_SECONDS=0)),
    ("E023", "less than nothing", lambda: provider(REFRESH_TOKEN_EXPIRE_SECONDS=timedelta(-1))),
    ("E023", "not a number", lambda: provider(ID_TOKEN_EXPIRE_SECONDS=float("nan"))),
    ("E023", "beyond all dates", lambda: provider(REFRESH_TOKEN_EXPIRE_SECONDS=10**12)),
    ("E023", "None where it means nothing", lambda: provider(REFRESH_TOKEN_GRACE_PERIOD_SECONDS=None)),
    ("E023", "what takes precedence", lambda: provider(EXTRA_SERVER_KWARGS={"token_expires_in": "3600"})),
    ("E025", "numbers", lambda: provider(CLIENT_ID_GENERATOR_CLASS=f"{__name__}.NumberGenerator")),
    (
        "W001",
        "URLs of django-oauth-toolkit",
        lambda: override_settings(ROOT_URLCONF="tests.sites.plain_urls"),
    ),
    ("W002", "deferred transactions", sqlite_without_immediate),
    ("W003", "keys that all can read", lambda: signing_keys(es256(), mode=0o644)),
    ("W003", "keys that all can write", lambda: signing_keys(es256(), mode=0o602)),
    ("W004", "a key without a successor", lambda: es256_application(es256(ends=6))),
    ("W004", "a successor too late", lambda: es256_application(es256(ends=6), es256(begins=7))),
    ("W005", "a weak key", lambda: provider(OIDC_RSA_PRIVATE_KEY=weak_key())),
    ("W006", "the grant type", lambda: password_grant(authorization_grant_type="password")),
    ("W006", "one of several", lambda: password_grant(additional_grant_types="implicit password")),
    ("W008", "the password grant", lambda: refused_grant("password", "PASSWORD_GRANT")),
    ("W008", "the implicit grant", lambda: refused_grant("implicit", "IMPLICIT_GRANT")),
    *REST_FRAMEWORK_CASES,
    ("E028", "no page after a page", lambda: root_urls(*without("device-grant-status"))),
    ("E028", "no page of devices", lambda: root_urls(*without("device-list"))),
    ("E028", "registration alone", registration_alone),
    ("W018", "no metadata at the root", lambda: root_urls(*without_metadata())),
    (
        "W018",
        "that of django-oauth-toolkit",
        lambda: root_urls(path("", include(toolkit_urls.metadata_urlpatterns)), *without_metadata()),
    ),
    ("W011", "no such page", lambda: override_settings(LOGIN_URL="/sign-in/")),
    ("W011", "no page of that name", lambda: override_settings(LOGIN_URL="sign-in")),
    ("W013", "a number", lambda: application(client_id="4711")),
    *(
        ("E033", f"{field}={step} and nothing to have", partial(application, **{field: step}))
        for field in ("require_binding", "require_presented_binding", "require_sender_constraint")
        for step in ("report", "yes")
    ),
    *(
        (
            "E033",
            f"APIs ask for a public key: {step}",
            partial(application, token_binding_type="dpop-key", require_presented_binding=step),
        )
        for step in ("report", "yes")
    ),
    ("E033", "a token outlives its login", lambda: with_policy(access_token_lifetime=60, login_lifetime=59)),
    ("E033", "reuse that is no reuse", lambda: with_policy(access_token_lifetime=60, reuse_min_lifetime=31)),
    ("E033", "nothing is used up", unrotated_and_protected),
    ("E033", "refresh tokens are dead earlier", outlived_by_the_site),
    ("E035", "a default that is not allowed", lambda: with_policy(**audiences("https://a", "https://b"))),
    ("E035", "a default that no token has room for", lambda: with_policy(**audiences("", "a " * 21))),
    ("E035", "a default that is too long", lambda: with_policy(**audiences("", "a" * 4_097))),
    ("E035", "allowed ones that are too long", lambda: with_policy(**audiences("a" * 4_097, ""))),
    ("E035", "a control character", lambda: with_policy(**audiences("https://a/\x7f", ""))),
    ("E035", "a rule for other audiences", lambda: rule_of_nothing("https://b.example")),
    ("E035", "a rule without audiences", lambda: rule_of_nothing("")),
    ("E036", "no such claim", lambda: with_policy(claims="sub_department")),
    *(("E037", str(sources), partial(claim_sources, sources)) for sources in WRONG_SOURCES),
    ("E033", "devices that can't be told apart", lambda: with_policy(max_devices=5)),
    *(
        ("E034", repr(limit), lambda limit=limit: override_settings(OAUTH_BINDING={"MAX_DEVICES": limit}))
        for limit in (0, -1, True, 2.5, "1000")
    ),
    *(("E044", repr(seconds), partial(last_used_interval, seconds)) for seconds in (0, -1, True, 2.5, "300")),
    *(("E045", repr(seconds), partial(retry_seconds, seconds)) for seconds in (None, 0, -1, True, 2.5, "10")),
    *(
        ("E041", repr(networks), partial(logout_networks, networks))
        for networks in (None, "10.0.0.0/8", ["localhost"], ["10.0.0.1/8"], [10])
    ),
    *(
        ("E043", repr(setting), lambda setting=setting: override_settings(OAUTH_BINDING=setting))
        for setting in (
            {"DEVICE_ADDRESSES": True},
            {"DEVICE_ADDRESSES": None},
            {"DEVICE_PLACES": len},
            {"DEVICE_PLACES": "nowhere.place_of"},
            {"DEVICE_PLACES": "django.conf.global_settings.DEBUG"},
        )
    ),
    ("E042", "no https", lambda: told_at("http://rp.example/logout")),
    ("E042", "no address", lambda: told_at("logout")),
    ("E042", "a fragment", lambda: told_at("https://rp.example/logout#x")),
    ("E042", "an address inside", lambda: told_at("https://10.1.2.3/logout")),
    ("E042", "a session id in no token", lambda: with_policy(backchannel_logout_session_required=True)),
    ("W026", "no signing algorithm", lambda: told_at("https://rp.example/logout", algorithm="")),
    ("W026", "no OpenID Connect", told_without_openid),
    ("W033", "drops its lines", lambda: override_settings(OAUTH_BINDING={"AUDIT_LOG": True})),
    ("E017", "neither True nor False", lambda: override_settings(OAUTH_BINDING={"AUDIT_LOG": "yes"})),
    ("W027", "nobody sends", lambda: logout_due_for(timedelta(minutes=61))),
    ("W030", "a feed for each host", feed_without_issuer),
    ("W029", "users without addresses", mail_without_addresses),
    ("W014", "a proof is demanded", lambda: implicit_with_proofs("yes")),
    ("W014", "requests without one are refused", lambda: implicit(require_binding="yes")),
    ("W014", "APIs refuse them", lambda: implicit(require_presented_binding="yes")),
    ("W014", "the binding type demands one", implicit_with_demanding_binder),
    ("W014", "one of several grants", lambda: implicit("additional_grant_types", require_binding="yes")),
    ("W015", "a middleware for any token", lambda: middleware(f"{__name__}.AnyToken")),
    ("W016", "a middleware of the toolkit", lambda: middleware(TOKEN_MIDDLEWARE)),
    ("W019", "no page for user codes", without_pages),
    ("W017", "scopes for the devices", lambda: all_scopes("read", "devices:write")),
    ("W017", "scopes for registrations", lambda: all_scopes("devices:read", "oauth2_provider:registration")),
    (
        "W017",
        "scopes for introspection",
        lambda: all_scopes("devices:read", "introspection", DEFAULT_SCOPES=["__all__"]),
    ),
    (
        "W020",
        "local clocks that are put back",
        lambda: override_settings(USE_TZ=False, TIME_ZONE="Europe/Berlin"),
    ),
    ("E040", "no dict", lambda: override_settings(OAUTH_BINDING={"REGISTRATION_LIMITS": [60]})),
    ("E040", "no limit", lambda: override_settings(OAUTH_BINDING={"REGISTRATION_LIMITS": {"name": 1}})),
    (
        "E040",
        "nothing is left",
        lambda: override_settings(OAUTH_BINDING={"REGISTRATION_LIMITS": {"login_lifetime": 0}}),
    ),
    ("E031", "no algorithm", lambda: override_settings(OAUTH_BINDING={"DPOP_ALGORITHMS": []})),
    ("E031", "HS256", lambda: override_settings(OAUTH_BINDING={"DPOP_ALGORITHMS": ["HS256"]})),
    ("E031", "unknown nonces", lambda: override_settings(OAUTH_BINDING={"DPOP_NONCES": True})),
    ("E031", "no such cache", lambda: override_settings(OAUTH_BINDING={"DPOP_REPLAY_CACHE": "redis"})),
    *(
        ("E032", backend, partial(replay_cache, backend))
        for backend in (
            "locmem.LocMemCache",
            "dummy.DummyCache",
            "filebased.FileBasedCache",
            "db.DatabaseCache",
        )
    ),
    ("W024", "no public address", constrained_application),
    ("W025", "used tokens are deleted", lambda: with_policy(refresh_token_reuse_protection=True)),
    ("W022", "no address", lambda: provider(OAUTH2_PROTECTED_RESOURCE_IDENTIFIER="our-api")),
    ("W022", "a fragment", lambda: provider(OAUTH2_PROTECTED_RESOURCE_IDENTIFIER="https://a.example/#x")),
    ("W023", "an application's key is announced", lambda: es256_application(es256(begins=1))),
    ("W023", "the site's key is announced", lambda: signing_keys(es256(begins=1), SIGNING_ALGORITHM="ES256")),
]


#: Those that only "check --deploy" says.
DEPLOYMENT = {"E032", "W024", "W030"}


def messages(*, with_tables: bool = False, deploying: bool = False) -> list[CheckMessage]:
    """Return this app's messages; Django and django-oauth-toolkit may have something to say as well."""
    found = run_checks(databases=["default"] if with_tables else None, include_deployment_checks=deploying)
    return [message for message in found if str(message.id).startswith("oauth_binding.")]


def _param(code: str, what: str, circumstances: object) -> Any:
    # Changing a table ends the transaction that would have undone it on MariaDB.
    marks = [pytest.mark.django_db(transaction=True)] if code == "E011" else []
    marks += [needs_rest_framework] if code in {each[0] for each in REST_FRAMEWORK_CASES} else []
    return pytest.param(code, circumstances, id=f"{code}: {what}", marks=marks)


@pytest.mark.parametrize(("code", "circumstances"), [_param(*case) for case in CASES])
def test_a_misconfiguration_is_named_with_a_hint(
    code: str, circumstances: Callable[[], AbstractContextManager[Any]]
) -> None:
    with circumstances():
        # E011 alone needs "check --database".
        found = messages(with_tables=code == "E011", deploying=code in DEPLOYMENT)

    assert {message.id for message in found} == {f"oauth_binding.{code}"}
    assert all(message.hint for message in found)


def test_where_the_database_is_out_of_reach_that_is_said_once() -> None:
    error = OperationalError("could not connect to server")
    without_feed = override_settings(OAUTH_BINDING={})
    with without_feed, mock.patch.object(connection, "cursor", side_effect=error):
        (message,) = messages(deploying=True)

    assert message.id == "oauth_binding.I001"
    assert message.level == INFO
    assert "OperationalError" in message.msg


def ids_in_the_code() -> set[str]:
    """Return the ids of this app's checks, without its name: of the checks, and of the table of settings."""
    modules = [
        *Path(checks.__file__).parent.glob("*.py"),
        Path(core_settings.__file__),
        ROOT / "oauth_binding/contrib/rest_framework/checks.py",
    ]
    sources = "".join(path.read_text() for path in modules)
    shared = Path(resource_server_checks.__file__).read_text()
    return set(re.findall(r'"(?:oauth_binding\.)?([EWI]\d{3})"', sources)) | set(
        re.findall(r'"oauth_binding\.([EWI]\d{3})"', shared)
    )


def test_policies_and_claims_that_can_be_met() -> None:
    sources = {"email": "email", "name": "django.contrib.auth.get_user", "urn:x": "pk"}
    policy = {"claims": "email name urn:x", **audiences("https://a bank", "bank")}

    with override_settings(OAUTH_BINDING={"CLAIM_SOURCES": sources}), with_policy(**policy):
        client = get_application_model().objects.get()
        TokenExchangeRule.objects.create(client=client, subject_client=client, audiences="bank https://b")
        TokenExchangeRule.objects.create(client=client, subject_issuer="https://idp.example")
        assert messages() == []


def test_applications_that_are_told_of_logouts() -> None:
    inside = {"BACKCHANNEL_LOGOUT_NETWORKS": ["127.0.0.1/32", "10.1.0.0/16"]}
    addresses = (
        "https://rp.example:8443/a?b=c",
        "http://localhost:3000/",
        "http://10.1.2.3/",
        "https://[2606::1]/",
    )
    with override_settings(OAUTH_BINDING=inside):
        for address in addresses:
            with told_at(address):
                assert messages() == []
            get_application_model().objects.all().delete()


@pytest.mark.parametrize(
    ("what", "circumstances"),
    [
        (
            "users who are mailed have addresses",
            lambda: override_settings(OAUTH_BINDING={"NEW_SIGN_IN_MAIL": True}),
        ),
        (
            "the public address is known",
            lambda: _with(constrained_application(), provider(OIDC_ISS_ENDPOINT="https://a.example")),
        ),
        (
            "a proxy says it",
            lambda: _with(
                constrained_application(),
                override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https")),
            ),
        ),
    ],
)
def test_what_is_as_it_should_be_is_nothing_to_say(
    what: str, circumstances: Callable[[], AbstractContextManager[Any]]
) -> None:
    with circumstances():
        assert messages(deploying=True) == [], what


def test_an_audit_log_that_is_kept(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", LOGGER), override_settings(OAUTH_BINDING={"AUDIT_LOG": True}):
        assert messages() == []


def test_logout_tokens_that_are_due_for_less_than_an_hour_are_nothing_to_say() -> None:
    with logout_due_for(timedelta(minutes=59)):
        assert messages() == []


def test_applications_without_an_algorithm_are_named() -> None:
    with told_at("https://rp.example/logout", algorithm=""):
        (message,) = messages()

    assert repr(get_application_model().objects.get().client_id) in message.msg


def test_every_id_has_a_case() -> None:
    # I001 is no mistake, and has a test of its own.
    assert ids_in_the_code() - {"I001"} == {code for code, _what, _circumstances in CASES}


def test_every_id_is_documented() -> None:
    documentation = (ROOT / "docs/settings.md").read_text()
    rows = re.findall(r"^\| `oauth_binding\.([EWI]\d{3})` \|", documentation, re.MULTILINE)

    assert sorted(rows) == sorted(ids_in_the_code())


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kolkata"])
def test_local_clocks_that_are_never_put_back(zone: str) -> None:
    with override_settings(USE_TZ=False, TIME_ZONE=zone):
        assert messages() == []


def test_a_site_that_is_set_up_gives_no_message() -> None:
    assert run_checks(databases=["default"]) == []


def test_the_example_project_gives_no_message() -> None:
    command = [sys.executable, "manage.py", "check", "--fail-level", "DEBUG"]
    # Whatever the suite runs on: a process of its own does not have the suite's test database.
    environment = {**os.environ, "TEST_DATABASE": "sqlite"}

    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)


@pytest.mark.parametrize(
    "entries",
    [
        {"ACCESS_TOKEN_EXPIRE_SECONDS": lambda request: 60},
        {"ACCESS_TOKEN_EXPIRE_SECONDS": 0.5, "REFRESH_TOKEN_EXPIRE_SECONDS": timedelta(days=30)},
        {"REFRESH_TOKEN_EXPIRE_SECONDS": None, "DCR_REGISTRATION_TOKEN_EXPIRE_SECONDS": None},
        {"REFRESH_TOKEN_EXPIRE_SECONDS": 0, "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 0},
    ],
)
def test_lifetimes_that_are_right(entries: dict[str, Any]) -> None:
    with provider(**entries):
        assert messages() == []


def test_every_setting_of_the_toolkit_that_is_in_seconds_is_checked() -> None:
    assert {name for name in DEFAULTS if name.endswith("_SECONDS")} <= LIFETIMES.keys() <= DEFAULTS.keys()


@pytest.mark.parametrize("name", LIFETIMES)
def test_its_default_is_right_and_a_text_is_not(name: str) -> None:
    assert LIFETIMES[name].allows(DEFAULTS[name])
    with provider(**{name: "60"}):
        (message,) = messages()
    assert name in message.msg


@pytest.mark.parametrize(
    "login_url", ["login", "/accounts/login/?from=site", "https://id.example/login", "//id.example/login"]
)
def test_login_pages_that_are_right(login_url: str) -> None:
    with override_settings(LOGIN_URL=login_url):
        assert messages() == []


def test_an_identifier_that_is_right() -> None:
    with provider(OAUTH2_PROTECTED_RESOURCE_IDENTIFIER="https://a.example/api/"):
        assert messages() == []


@pytest.mark.parametrize(
    "circumstances",
    [
        pytest.param(lambda: refused_grant("password", "IMPLICIT_GRANT"), id="another grant is refused"),
        pytest.param(lambda: provider(COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=True), id="nobody has it"),
    ],
)
def test_grants_that_are_right(circumstances: Callable[[], AbstractContextManager[None]]) -> None:
    with circumstances():
        assert messages() == []


def test_commands_run_while_a_key_is_only_announced() -> None:
    with es256_application(es256(begins=1)):
        call_command("migrate", verbosity=0, skip_checks=False)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"JWKS_URL": "http://localhost:8080/jwks"},
        {"JWKS_URL": "http://127.0.0.1/jwks"},
        {"JWKS_URL": "http://[::1]/jwks"},
        {"JWKS_URL": None, "KEYS": {"keys": [PUBLIC_KEY]}},
        {"AUDIENCE": ["a", "b"], "ALGORITHMS": ["RS512", "PS256", "ES384", "EdDSA"], "SCOPES": []},
        {"USER_CLAIM": "email", "USER_FIELD": "email", "TYPES": [None, "JWT"], "MAX_AGE": 0, "LEEWAY": 0.5},
        {"CREATE_USERS": True, "USER_FIELD": "username"},
    ],
)
def test_an_issuer_that_is_set_up_gives_no_message(options: dict[str, Any]) -> None:
    with issuer(**options):
        assert messages() == []


SOUND: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "keys that nobody wants": lambda: signing_keys(es256(begins=1), es256(ends=-0.5)),
    "keys that a group can read": lambda: signing_keys(es256(), mode=0o640),
    "a default algorithm with a key": lambda: signing_keys(es256(), SIGNING_ALGORITHM="ES256"),
    "the default algorithm RS256": lambda: signing_keys(SIGNING_ALGORITHM="RS256"),
    "a chosen algorithm with a key": lambda: es256_application(es256()),
    "a key with an end to come": lambda: es256_application(es256(ends=8)),
    "a successor": lambda: es256_application(es256(ends=6), es256(begins=6)),
    "no file": lambda: override_settings(OAUTH_BINDING={"SIGNING_KEYS": ""}),
}


@pytest.mark.parametrize("circumstances", SOUND.values(), ids=SOUND)
def test_signing_keys_that_are_set_up_give_no_message(
    circumstances: Callable[[], AbstractContextManager[Any]],
) -> None:
    with circumstances():
        assert messages() == []


def test_a_key_of_the_toolkit_stands_in_for_one_that_ends() -> None:
    key = generate("RS256", int(time.time()) - 60)
    ending = key.retire(int(time.time()) + DAY, int(time.time()) + 2 * DAY)

    with application(token_type="jwt"), signing_keys(ending):
        assert messages() == []
        with provider(OIDC_RSA_PRIVATE_KEY=""):
            assert [message.id for message in messages()] == ["oauth_binding.W004"]


def test_a_subclass_of_the_validator_is_accepted() -> None:
    with provider(OAUTH2_VALIDATOR_CLASS=f"{__name__}.Validator"):
        assert messages() == []


def test_the_fast_hasher_for_client_secrets_is_accepted() -> None:
    with hashers(SLOW_HASHER, FAST_HASHER), fast_secrets(GENERATOR):
        assert messages() == []


def test_what_the_site_has_decided_is_left_to_it() -> None:
    grant = application(authorization_grant_type="password")
    with grant, provider(COMPLIANT_BCP_RFC9700_PASSWORD_GRANT=False):
        assert messages() == []


def test_a_page_of_the_sites_own_for_user_codes_is_accepted() -> None:
    with without_pages(), provider(OAUTH_DEVICE_VERIFICATION_URI="https://tv.example/go"):
        assert messages() == []


@pytest.mark.parametrize("name", ["SomeTokens", "ByMethod"])
def test_a_middleware_that_asks_for_scopes_is_accepted(name: str) -> None:
    with middleware(f"{__name__}.{name}", f"{__name__}.NotThere"):
        assert messages() == []


def test_scopes_that_are_the_default_by_name_are_left_to_the_site() -> None:
    with provider(DEFAULT_SCOPES=["read", "devices:write"]):
        assert messages() == []


def test_all_scopes_may_be_the_default_where_none_manages_anything() -> None:
    with all_scopes("read", "write", "devices:read"):
        assert messages() == []


def test_without_the_password_grant_its_default_does_not_matter() -> None:
    with password_grant(additional_grant_types="authorization-code"):
        assert messages() == []


def test_opaque_tokens_need_no_key() -> None:
    with application(token_type="opaque"), provider(OIDC_RSA_PRIVATE_KEY=""):
        assert messages() == []


@pytest.mark.parametrize("demand", ["no", "report"])
def test_the_implicit_grant_where_nothing_is_demanded_is_accepted(demand: str) -> None:
    demands = {"require_binding": demand, "require_presented_binding": demand}
    with implicit(), implicit(**demands), implicit_with_proofs(demand):
        assert messages() == []


@pytest.mark.parametrize(
    "circumstances",
    [
        lambda: application(sender_constraint="dpop", require_sender_constraint="yes"),
        lambda: with_policy(access_token_lifetime=60, login_lifetime=60, reuse_min_lifetime=30),
        lambda: application(token_binding_type="dpop-key"),
        lambda: application(token_binding_type="dpop-key", require_binding="yes"),
        lambda: application(token_binding_type="client-request", require_presented_binding="yes"),
    ],
    ids=["a demanded proof", "lifetimes", "a key", "a demanded key", "a secret binding at APIs"],
)
def test_demands_that_can_be_met(circumstances: Callable[[], AbstractContextManager[None]]) -> None:
    with circumstances():
        assert messages() == []


def test_of_many_client_ids_like_users_some_are_named() -> None:
    for number in range(5):
        with application(client_id=str(4711 + number), client_secret="xyzzy"):
            pass

    (message,) = messages()

    assert "'4711', '4712', '4713' and more" in message.msg
    assert "4714" not in message.msg
    assert "xyzzy" not in message.msg


@pytest.mark.parametrize("urls", ["django.contrib.auth.urls", None])
def test_a_site_without_the_endpoints_is_accepted(urls: str | None) -> None:
    # An API on the same database, for instance, which only accepts the tokens.
    with override_settings(ROOT_URLCONF=urls):
        assert messages() == []


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("get_model", "name"), [(get_application_model, "token_type"), (get_refresh_token_model, "token_seed")]
)
def test_a_column_that_is_still_to_come_is_no_error(get_model: Callable[[], Any], name: str) -> None:
    # "migrate" runs the checks before it adds the column, also where it was interrupted.
    migrations = MigrationRecorder(connections["default"])
    migrations.record_unapplied("oauth_binding", "0005_indexes")
    try:
        with lost_column(get_model(), name):
            assert messages(with_tables=True) == []
    finally:
        migrations.record_applied("oauth_binding", "0005_indexes")


def test_no_message_has_the_text_of_the_key() -> None:
    secret = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
    pem = f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----"

    with provider(OIDC_RSA_PRIVATE_KEY=pem):
        (message,) = messages()

    assert message.id == "oauth_binding.E008"
    assert secret not in repr(message)
