"""``manage.py explain`` at an API elsewhere, and what its audit log says of refusals."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from django.core.management import CommandError

import oauth_binding
from oauth_binding.resource_server.management.commands.explain import _Command
from oauth_binding.signals import audit_event
from tests.helpers.dpop import DeviceKey
from tests.helpers.project import Project
from tests.helpers.resource_server import ISSUER, Api, Issuer
from tests.helpers.servers import OTHER_KEY

pytestmark = pytest.mark.usefixtures("api")

SCHEMA = json.loads((Path(oauth_binding.__file__).parents[1] / "docs/audit-entry.schema.json").read_text())


def explain(monkeypatch: pytest.MonkeyPatch, text: str) -> dict[str, Any]:
    """Return what the command says as JSON, having seen that it says the same in words, and no token."""
    said = []
    for as_json in (False, True):
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{text}\n"))
        output, status = io.StringIO(), 0
        try:
            _Command(stdout=output, no_color=True).handle(json=as_json)
        except SystemExit as error:
            status = int(str(error.code))
        said.append((status, output.getvalue()))
    (status, words), (same, as_text) = said
    found: dict[str, Any] = json.loads(as_text)
    assert status == same == (0 if found["good"] else 1)
    assert text not in words + as_text
    assert words.startswith("access token: good\n" if found["good"] else "access token: not good\n")
    return found


@pytest.mark.parametrize(
    ("check", "claims"),
    [
        ("exp", {"exp": int(time.time()) - 3600}),
        ("nbf", {"nbf": int(time.time()) + 3600}),
        ("iss", {"iss": "https://other.example"}),
        ("aud", {"aud": "https://other.example"}),
        ("cnf", {"cnf": {"x5t#S256": "x" * 43}}),
        ("claims", {"sub": None}),
        ("claims", {"scope": 5}),
    ],
)
def test_each_check_has_its_name(
    monkeypatch: pytest.MonkeyPatch, issuer: Issuer, check: str, claims: dict[str, Any]
) -> None:
    assert [*explain(monkeypatch, issuer.token(**claims))["faults"]] == [check]


def test_a_good_token_and_its_claims(monkeypatch: pytest.MonkeyPatch, issuer: Issuer) -> None:
    found = explain(monkeypatch, issuer.token(jti="token-1"))

    assert (found["good"], found["faults"], found["claims"]["jti"]) == (True, {}, "token-1")


def test_the_form_the_key_and_the_signature(monkeypatch: pytest.MonkeyPatch, issuer: Issuer) -> None:
    token = issuer.token()
    header, _claims, signature = token.split(".")
    other = issuer.token(jti="other").split(".")[1]

    assert [*explain(monkeypatch, "opaque")["faults"]] == ["header"]
    assert [*explain(monkeypatch, f"{header}.{other}.{signature}")["faults"]] == ["signature"]
    assert [*explain(monkeypatch, issuer.token(OTHER_KEY))["faults"]] in (["signature"], ["key"])
    assert explain(monkeypatch, f"{header}.{other}.{signature}")["claims"] == {}


def test_several_things_are_wrong_at_once(monkeypatch: pytest.MonkeyPatch, issuer: Issuer) -> None:
    token = issuer.token(exp=int(time.time()) - 3600, aud="https://other.example")
    assert [*explain(monkeypatch, token)["faults"]] == ["exp", "aud"]


def test_what_the_feed_says(
    monkeypatch: pytest.MonkeyPatch, issuer: Issuer, configure: Callable[..., None]
) -> None:
    configure(REVOCATION_FEED_URL=f"{issuer.url}/revoked")
    issuer.revoke("token-2")

    assert explain(monkeypatch, issuer.token(jti="token-2"))["faults"] == {"feed": "it is revoked"}


def test_what_the_server_says(monkeypatch: pytest.MonkeyPatch, introspecting: Callable[..., None]) -> None:
    introspecting()
    assert [*explain(monkeypatch, "no-such-token")["faults"]] == ["introspection"]


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"exp": "tomorrow"}, "exp: tomorrow"),
        ({"exp": 1e30}, "exp: 1e+30"),
        ({"iat": True}, "iat: true"),
        ({"exp": 4102444800}, "exp: 2100-01-01T00:00:00+00:00"),
        ({"client_id": "x\x1b[2J\naccess token: good"}, "client_id: x\\x1b[2J\\naccess token: good"),
    ],
)
def test_what_a_token_says_is_shown_whatever_it_is(
    monkeypatch: pytest.MonkeyPatch, issuer: Issuer, claims: dict[str, Any], said: str
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(issuer.token(**claims)))
    output = io.StringIO()
    with suppress(SystemExit):
        _Command(stdout=output, no_color=True).handle(json=False)

    assert f"  {said}" in output.getvalue().split("\n")
    assert "\x1b" not in output.getvalue()


def test_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(CommandError) as raised:
        _Command().handle(json=False)
    assert raised.value.returncode == 2


def where_explain_is() -> str:
    """Return the module of the class that the command is in the process of a project."""
    from django.core.management import get_commands, load_command_class

    return type(load_command_class(get_commands()["explain"], "explain")).__module__


@pytest.mark.parametrize(
    ("apps", "found"),
    [
        (["oauth_binding.resource_server"], "oauth_binding.resource_server.management.commands.explain"),
        (["oauth_binding", "oauth_binding.resource_server"], "oauth_binding.management.commands.explain"),
        (["oauth_binding.resource_server", "oauth_binding"], "oauth_binding.management.commands.explain"),
    ],
    ids=["elsewhere", "the server first", "the server last"],
)
def test_which_command_it_is(tmp_path: Path, apps: list[str], found: str) -> None:
    project, options = Project(tmp_path), {"ISSUER": ISSUER}
    of_server = ["django.contrib.contenttypes", "django.contrib.auth", "oauth2_provider"]
    installed = [*apps, *of_server] if "oauth_binding" in apps else apps
    lines = [f"INSTALLED_APPS = {installed!r}", "SECRET_KEY = 'x'", f"OAUTH_RESOURCE_SERVER = {options!r}"]
    project.write("api_settings.py", "\n".join(lines))
    try:
        assert project.call("api_settings", where_explain_is) == found
    finally:
        project.end()


# The audit log


def test_a_token_that_is_not_proven_is_in_the_audit_log(
    api: Api, issuer: Issuer, configure: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    key = DeviceKey()
    token = issuer.token(cnf={"jkt": key.thumbprint})
    with caplog.at_level("INFO", "oauth_binding.audit"):
        assert api.call(token).status == 401
        assert "oauth_binding.audit" not in {record.name for record in caplog.records}
        configure(AUDIT_LOG=True)
        assert api.call(token).status == 401
        assert api.prove(DeviceKey(), token).status == 401

    lines = [record.getMessage() for record in caplog.records if record.name == "oauth_binding.audit"]
    entries = [json.loads(line) for line in lines]
    assert [entry["reason"] for entry in entries] == ["proof_missing", "key_mismatch"]
    for entry, line in zip(entries, lines, strict=True):
        jsonschema.validate(entry, SCHEMA)
        assert token not in line
        assert entry["event"] == "api_request_refused"
        assert entry["client_id"] == "mobile"


def test_a_binding_that_is_not_presented_is_told_to_who_listens(
    api: Api, issuer: Issuer, configure: Callable[..., None]
) -> None:
    heard: list[Any] = []

    def hear(entry: dict[str, Any], **named: Any) -> None:
        heard.append(entry["reason"])

    configure(REQUIRE_PRESENTED_BINDING=True)
    audit_event.connect(hear)
    try:
        assert api.call(issuer.token(binding_type="client-request", binding_ref="x" * 43)).status == 401
        assert api.call(issuer.token()).status == 401
    finally:
        audit_event.disconnect(hear)
    assert heard == ["binding_not_presented", "token_not_bound"]


def test_a_user_without_a_primary_key_and_a_jti_of_any_form(
    api: Api, issuer: Issuer, configure: Callable[..., None], caplog: pytest.LogCaptureFixture
) -> None:
    configure(AUDIT_LOG=True, USER=f"{__name__}.somebody")
    token = issuer.token(cnf={"jkt": DeviceKey().thumbprint}, jti="onrtro:5c0e.1\n" + "x" * 300)

    with caplog.at_level("INFO", "oauth_binding.audit"):
        assert api.call(token).status == 401

    (line,) = [record.getMessage() for record in caplog.records if record.name == "oauth_binding.audit"]
    entry = json.loads(line)
    jsonschema.validate(entry, SCHEMA)
    assert entry["user"] is None
    assert entry["token"].startswith("onrtro:5c0e.1\\nxxx")


class Somebody:
    is_active = True
    is_authenticated = True


def somebody(token: Any) -> Somebody:
    return Somebody()
