"""Projects of their own, in processes of their own: without the server, its app and its tables."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import Client

from oauth_binding.binding.semantics import binding_reference
from tests.helpers.dpop import OFFER
from tests.helpers.project import Project
from tests.helpers.resource_server import AUDIENCE, ISSUER, Issuer
from tests.helpers.servers import OTHER_KEY

SETTINGS = """
INSTALLED_APPS = {apps!r}
ROOT_URLCONF = "tests.resource_server.elsewhere.urls"
ALLOWED_HOSTS = ["*"]
SECRET_KEY = "x"
USE_TZ = {use_tz}
REST_FRAMEWORK = {{
    "DEFAULT_AUTHENTICATION_CLASSES": ["oauth_binding.contrib.rest_framework.BearerAuthentication"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "EXCEPTION_HANDLER": "oauth_binding.contrib.rest_framework.handlers.exception_handler",
    "UNAUTHENTICATED_USER": None,
}}
OAUTH_RESOURCE_SERVER = {options!r}
"""

APPS = ["rest_framework", "oauth_binding.resource_server"]


def call_api(path: str, headers: dict[str, str]) -> list[Any]:
    """Call the API in the process of a project; return status, body and challenge."""
    response = Client().get(path, headers=headers)
    return [response.status_code, response.json(), response.headers.get("WWW-Authenticate")]


def foreign_modules() -> list[str]:
    """Return the modules of the server side that the process has imported."""
    return sorted(
        name
        for name in sys.modules
        if name in ("oauth2_provider.models", "oauth_binding.models", "django.contrib.auth.models")
    )


def check(deploy: bool = False) -> str:
    """Return what the system checks of the project find."""
    try:
        call_command("check", fail_level="WARNING", deploy=deploy)
    except SystemCheckError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "apps",
    [APPS, APPS[:1], [*APPS, "django.contrib.contenttypes", "django.contrib.auth"]],
    ids=["with checks", "without checks", "with users"],
)
@pytest.mark.parametrize("use_tz", [True, False])
def test_a_project_without_the_server(tmp_path: Path, issuer: Issuer, apps: list[str], use_tz: bool) -> None:
    project = Project(tmp_path)
    options = {"ISSUER": ISSUER, "AUDIENCE": AUDIENCE, "JWKS_URL": f"{issuer.url}/jwks"}
    options["REVOCATION_FEED_URL"] = f"{issuer.url}/revoked"
    project.write("api_settings.py", SETTINGS.format(apps=apps, use_tz=use_tz, options=options))
    issuer.revoke("token-2")
    bound: dict[str, Any] = {"binding_type": "client-request", "binding_ref": binding_reference("phone")}

    def call(token: str | None, path: str = "/me/", **headers: str) -> Any:
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return project.call("api_settings", call_api, path, headers)

    try:
        assert project.call("api_settings", check) == ""
        for path in ("/me/", "/plain/"):
            assert call(issuer.token(), path)[0] == 200
            assert call(issuer.token(sub="mobile"), path)[1]["user"] is None
            assert call(issuer.token(jti="token-2"), path)[0] == 401
            assert call(issuer.token(OTHER_KEY), path)[0] == 401
            assert call(issuer.token(scope="write"), path)[0] == 403
            assert call(issuer.token(exp=int(time.time()) - 60), path)[0] == 401
            assert call(None, path)[::2] == [401, f'Bearer realm="api",scope="read"{OFFER}']
        presented = {"Token-Binding-Id": "phone"}
        assert call(issuer.token(**bound), "/presented/", **presented)[0] == 200
        assert call(issuer.token(**bound), "/presented/")[0] == 401
        assert call(issuer.token(), "/bound/")[0] == 403
        with_users = "django.contrib.auth" in apps
        expected = ["django.contrib.auth.models"] if with_users else []
        assert project.call("api_settings", foreign_modules) == expected
    finally:
        project.end()


def describe() -> list[Any]:
    """Return what the OpenAPI schema of the project says of bearer tokens, and of an operation."""
    from drf_spectacular.generators import SchemaGenerator

    schema = SchemaGenerator().get_schema(public=True)  # type: ignore[no-untyped-call]
    of_operations = [schema["paths"][path]["get"]["security"] for path in ("/me/", "/presented/")]
    return [schema["components"]["securitySchemes"], *of_operations]


def test_openapi_names_the_scheme(tmp_path: Path) -> None:
    project = Project(tmp_path)
    text = SETTINGS.format(apps=[*APPS, "drf_spectacular"], use_tz=True, options={"ISSUER": ISSUER})
    schema_class = 'REST_FRAMEWORK["DEFAULT_SCHEMA_CLASS"] = "drf_spectacular.openapi.AutoSchema"\n'
    project.write("api_settings.py", text + schema_class)
    try:
        schemes, security, presented = project.call("api_settings", describe)
    finally:
        project.end()

    assert schemes["oauth2"]["scheme"] == "bearer"
    assert schemes["tokenBinding"]["name"] == "Token-Binding-Id"
    assert security == [{"oauth2": []}]
    assert presented == [{"oauth2": [], "tokenBinding": []}]


def test_mistakes_are_found_by_check(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.write("api_settings.py", SETTINGS.format(apps=APPS, use_tz=True, options={"ISSUER": ISSUER}))
    try:
        found = project.call("api_settings", check)
        found_for_deployment = project.call("api_settings", check, True)
    finally:
        project.end()

    assert found.count("oauth_binding_resource_server.E002") == 2
    assert "oauth_binding.E032" not in found
    assert "oauth_binding.E032" in found_for_deployment


def test_the_example_passes_its_checks_and_has_no_database() -> None:
    settings = "example_project.resource_server.settings"
    program = (
        "import django; django.setup()\n"
        "from django.core.management import call_command; call_command('check', fail_level='WARNING')\n"
        "from django.db import connection; print(connection.vendor)"
    )
    for extra in ({}, {"OAUTH_CLIENT_ID": "api", "OAUTH_CLIENT_SECRET": "secret"}):
        output = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "DJANGO_SETTINGS_MODULE": settings, **extra},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        )
        assert output.stdout.split()[-1] == "unknown"
