"""System checks: each misconfiguration is named, with a hint, by ``manage.py check``."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings
from django.core.checks import CheckMessage, run_checks
from django.db import OperationalError, connections, models
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings
from oauth2_provider.models import get_application_model, get_refresh_token_model

from oauth_binding import checks
from oauth_binding.binders.base import TokenBinder
from oauth_binding.binders.client_request import ClientRequestBinder
from oauth_binding.models import TokenBinding
from oauth_binding.validators import BindingOAuth2Validator
from tests.conftest import provider

pytestmark = pytest.mark.django_db

CLIENT_REQUEST = "oauth_binding.binders.client_request.ClientRequestBinder"


class Validator(BindingOAuth2Validator):
    """A site's own validator."""


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


class BinderOfTypeClientRequest(TokenBinder):
    type = ClientRequestBinder.type
    label = "Device"


class BindingsElsewhere:
    """A database router that knows nothing of the tokens."""

    def db_for_write(self, model: type[models.Model], **hints: Any) -> str | None:
        return "elsewhere" if model is TokenBinding else None


def provider_without(entry: str) -> override_settings:
    entries = {name: value for name, value in settings.OAUTH2_PROVIDER.items() if name != entry}
    return override_settings(OAUTH2_PROVIDER=entries)


def binders(*paths: Any) -> override_settings:
    return override_settings(OAUTH_BINDING={"BINDERS": list(paths)})


def elliptic_curve_key() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@contextmanager
def application(**fields: str) -> Iterator[None]:
    get_application_model().objects.create(
        client_type="confidential", authorization_grant_type="client-credentials", **fields
    )
    yield


@contextmanager
def jwt_application_without_key() -> Iterator[None]:
    with application(token_type="jwt"), provider(OIDC_RSA_PRIVATE_KEY=""):
        yield


@contextmanager
def lost_column() -> Iterator[None]:
    table = get_refresh_token_model()._meta.db_table
    with connections["default"].cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME COLUMN token_seed TO lost")
        try:
            yield
        finally:
            cursor.execute(f"ALTER TABLE {table} RENAME COLUMN lost TO token_seed")


@contextmanager
def sqlite_without_immediate() -> Iterator[None]:
    connection = connections["default"]
    options = mock.patch.dict(connection.settings_dict["OPTIONS"], clear=True)
    with options, mock.patch.object(connection, "vendor", "sqlite"):
        yield


#: (the id, what is wrong, the circumstances)
CASES: list[tuple[str, str, Callable[[], AbstractContextManager[Any]]]] = [
    ("E001", "not set", lambda: provider_without("OAUTH2_VALIDATOR_CLASS")),
    ("E001", "empty", lambda: provider(OAUTH2_VALIDATOR_CLASS="")),
    ("E001", "not importable", lambda: provider(OAUTH2_VALIDATOR_CLASS="no.such.Validator")),
    ("E001", "not a class", lambda: provider(OAUTH2_VALIDATOR_CLASS="oauth_binding.validators")),
    ("E002", "not set", lambda: provider_without("OAUTH2_BACKEND_CLASS")),
    (
        "E002",
        "another",
        lambda: provider(OAUTH2_BACKEND_CLASS="oauth2_provider.oauth2_backends.JSONOAuthLibCore"),
    ),
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
    ("E008", "not RSA", lambda: provider(OIDC_RSA_PRIVATE_KEY=elliptic_curve_key())),
    ("E009", "JWT application, no key", jwt_application_without_key),
    ("E010", "database router", lambda: override_settings(DATABASE_ROUTERS=[BindingsElsewhere()])),
    ("E011", "lost column", lost_column),
    ("E012", "binder not installed", lambda: application(token_binding_type="device")),
    ("W001", "URLs of django-oauth-toolkit", lambda: override_settings(ROOT_URLCONF="tests.plain_urls")),
    ("W002", "deferred transactions", sqlite_without_immediate),
]


def messages(*, with_tables: bool = False) -> list[CheckMessage]:
    """Return this app's messages; Django and django-oauth-toolkit may have something to say as well."""
    found = run_checks(databases=["default"] if with_tables else None)
    return [message for message in found if str(message.id).startswith("oauth_binding.")]


def _param(code: str, what: str, circumstances: object) -> Any:
    # Changing a table ends the transaction that would have undone it on MariaDB.
    marks = [pytest.mark.django_db(transaction=True)] if code == "E011" else []
    return pytest.param(code, circumstances, id=f"{code}: {what}", marks=marks)


@pytest.mark.parametrize(("code", "circumstances"), [_param(*case) for case in CASES])
def test_a_misconfiguration_is_named_with_a_hint(
    code: str, circumstances: Callable[[], AbstractContextManager[Any]]
) -> None:
    with circumstances():
        # E011 alone needs "check --database".
        found = messages(with_tables=code == "E011")

    assert {message.id for message in found} == {f"oauth_binding.{code}"}
    assert all(message.hint for message in found)


def test_without_a_database_nothing_is_said_of_applications() -> None:
    class Unreachable:
        def __getitem__(self, alias: str) -> Any:
            raise OperationalError("could not connect to server")

    with mock.patch.object(checks, "connections", Unreachable()):
        assert checks.check_applications(None) == []


def test_every_id_has_a_case() -> None:
    ids = re.findall(r'"(?:oauth_binding\.)?([EW]\d{3})"', inspect.getsource(checks))

    assert set(ids) == {code for code, _what, _circumstances in CASES}


def test_a_site_that_is_set_up_gives_no_message() -> None:
    assert run_checks(databases=["default"]) == []


def test_the_example_project_gives_no_message() -> None:
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "manage.py", "check", "--fail-level", "DEBUG"]

    subprocess.run(command, cwd=root, check=True, capture_output=True)


def test_a_subclass_of_the_validator_is_accepted() -> None:
    with provider(OAUTH2_VALIDATOR_CLASS=f"{__name__}.Validator"):
        assert messages() == []


def test_opaque_tokens_need_no_key() -> None:
    with application(token_type="opaque"), provider(OIDC_RSA_PRIVATE_KEY=""):
        assert messages() == []


@pytest.mark.parametrize("urls", ["django.contrib.auth.urls", None])
def test_a_site_without_the_endpoints_is_accepted(urls: str | None) -> None:
    # An API on the same database, for instance, which only accepts the tokens.
    with override_settings(ROOT_URLCONF=urls):
        assert messages() == []


@pytest.mark.django_db(transaction=True)
def test_a_column_that_is_still_to_come_is_no_error() -> None:
    # "migrate" runs the checks before it adds the column.
    migrations = MigrationRecorder(connections["default"])
    migrations.record_unapplied("oauth_binding", "0001_initial")
    try:
        with lost_column():
            assert messages() == []
    finally:
        migrations.record_applied("oauth_binding", "0001_initial")


def test_no_message_has_the_text_of_the_key() -> None:
    secret = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"
    pem = f"-----BEGIN PRIVATE KEY-----\n{secret}\n-----END PRIVATE KEY-----"

    with provider(OIDC_RSA_PRIVATE_KEY=pem):
        (message,) = messages()

    assert message.id == "oauth_binding.E008"
    assert secret not in repr(message)
