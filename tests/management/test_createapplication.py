"""``manage.py createapplication``: DOT's command, with what operators set here, and all of it or nothing."""

from __future__ import annotations

from argparse import BooleanOptionalAction
from collections.abc import Callable
from io import StringIO
from typing import Any
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command, load_command_class
from django.db import DatabaseError
from oauth2_provider.models import get_application_model

from oauth_binding.models import ApplicationBindingFields, TokenPolicy, policy_of
from tests.helpers.client import SECRET, Site
from tests.helpers.project import Project, migrate
from tests.helpers.provider import provider

#: Each field of an application that is this app's -> arguments, and what the field is then.
APPLICATION: dict[str, tuple[list[str], Any]] = {
    "token_type": (["--token-type", "jwt"], "jwt"),
    "access_token_algorithm": (["--access-token-algorithm", "RS256"], "RS256"),
    "token_binding_type": (["--token-binding-type", "client-request"], "client-request"),
    "additional_grant_types": (
        ["--additional-grant-types", "client-credentials token-exchange"],
        "client-credentials token-exchange",
    ),
}

BOUND = ["--token-binding-type", "client-request"]
DPOP = ["--sender-constraint", "dpop"]
TOLD = ["--backchannel-logout-uri", "https://client.example/logout", "--algorithm", "RS256"]

#: Likewise, of a token policy; with what has to be beside it.
POLICY: dict[str, tuple[list[str], Any]] = {
    "sender_constraint": (DPOP, "dpop"),
    "require_binding": ([*BOUND, "--require-binding", "report"], "report"),
    "require_presented_binding": ([*BOUND, "--require-presented-binding", "yes"], "yes"),
    "require_sender_constraint": ([*DPOP, "--require-sender-constraint", "yes"], "yes"),
    "access_token_lifetime": (["--access-token-lifetime", "300"], 300),
    "client_token_lifetime": (["--client-token-lifetime", "301"], 301),
    "constrained_token_lifetime": (["--constrained-token-lifetime", "302"], 302),
    "refresh_token_lifetime": (["--refresh-token-lifetime", "303"], 303),
    "login_lifetime": (["--login-lifetime", "86400"], 86_400),
    "rotate_refresh_tokens": (["--no-rotate-refresh-tokens"], False),
    "refresh_token_reuse_protection": (["--refresh-token-reuse-protection"], True),
    "reuse_min_lifetime": (["--reuse-min-lifetime", "0"], 0),
    "allowed_audiences": (["--allowed-audiences", "https://a.example urn:b"], "https://a.example urn:b"),
    "default_audiences": (["--default-audiences", "https://a.example"], "https://a.example"),
    "claims": (["--claims", "email"], "email"),
    "max_devices": ([*BOUND, "--max-devices", "3"], 3),
    "device_limit_action": (["--device-limit-action", "refuse"], "refuse"),
    "revoke_on_logout": (["--revoke-on-logout", "session"], "session"),
    "backchannel_logout_uri": (TOLD, "https://client.example/logout"),
    "backchannel_logout_session_required": ([*TOLD, "--backchannel-logout-session-required"], True),
}

Application = get_application_model()

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def claims(settings: Any) -> None:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "CLAIM_SOURCES": {"email": "email"}}


def create(*arguments: str, grant_type: str = "password") -> str:
    output = StringIO()
    call_command("createapplication", "confidential", grant_type, *arguments, stdout=output, no_color=True)
    return output.getvalue()


def test_there_is_an_option_for_each_field() -> None:
    """And the tables here have each of them."""
    assert APPLICATION.keys() == {field.name for field in ApplicationBindingFields._meta.local_fields}
    assert POLICY.keys() == {field.name for field in TokenPolicy._meta.fields} - {"id", "application"}

    parser = load_command_class("oauth_binding", "createapplication").create_parser("manage.py", "it")
    options = {action.dest: action for action in parser._actions}
    assert options.keys() >= APPLICATION.keys() | POLICY.keys()
    for field in TokenPolicy._meta.fields:
        if field.name in POLICY and field.null:
            assert options[field.name].default is None, "the site's"
    assert isinstance(options["rotate_refresh_tokens"], BooleanOptionalAction), (
        "yes, no, and as the site has it"
    )
    assert "Which tokens end" in parser.format_help()


@pytest.mark.parametrize("field", APPLICATION)
def test_each_field_of_the_application_can_be_set(field: str) -> None:
    arguments, expected = APPLICATION[field]

    create("--client-id", "mail", *arguments)

    application = Application.objects.get()
    others = {name: getattr(application, name) for name in APPLICATION if name != field}
    assert getattr(application, field) == expected
    assert others == {name: getattr(Application(), name) for name in others}
    assert not TokenPolicy.objects.exists()


@pytest.mark.parametrize("field", POLICY)
def test_each_field_of_the_policy_can_be_set(field: str) -> None:
    arguments, expected = POLICY[field]

    create(*arguments)

    policy = policy_of(Application.objects.get())
    beside = {name.removeprefix("--").replace("-", "_") for name in arguments if name.startswith("--")}
    others = {name: getattr(policy, name) for name in POLICY if name not in {field, *beside}}
    assert getattr(policy, field) == expected
    assert others == {name: getattr(TokenPolicy(), name) for name in others}


def test_the_client_gets_the_tokens_that_were_set(user: User) -> None:
    create(
        "--client-id=mail", f"--client-secret={SECRET}", "--token-type=jwt", *BOUND, "--require-binding=yes"
    )

    site = Site(Application.objects.get(client_id="mail"), user)

    assert site.bound("phone").claims["binding_type"] == "client-request"
    assert site.bound(None)["error"] == "invalid_request"


class TestAsInDjangoOauthToolkit:
    def test_a_secret_that_was_generated_is_shown_once_and_hashed(self, user: User) -> None:
        output = create("--name", "Mail", "--user", str(user.pk), "--redirect-uris", "https://a.example/")

        name, secret = output.splitlines()
        application = Application.objects.get()
        assert name == "New application Mail created successfully."
        assert (application.user, application.redirect_uris) == (user, "https://a.example/")
        assert Site(application, user, secret.removeprefix("client_secret: ")).token().status == 200
        assert application.client_secret not in output

    def test_a_secret_that_was_given_is_not_shown(self) -> None:
        assert SECRET not in create("--client-secret", SECRET, "--no-hash-client-secret")

        assert Application.objects.get().client_secret == SECRET

    def test_from_code(self) -> None:
        arguments: Any = {"client_id": "mail", "token_type": "jwt", "max_devices": 2}
        call_command(
            "createapplication",
            "public",
            "password",
            token_binding_type="client-request",
            stdout=StringIO(),
            **arguments,
        )

        application = Application.objects.get()
        assert (application.client_type, application.token_type) == ("public", "jwt")
        assert policy_of(application).max_devices == 2


#: Arguments -> the lines that say what is wrong.
REFUSED: dict[tuple[str, ...], list[str]] = {
    # Of the application, and of its types together
    ("--client-id", "4711"): [
        "client_id: This could be the primary key of a user, and tokens of the client could be taken for "
        "the user's."
    ],
    ("--user", "99999"): ["user: user instance with id 99999 "],
    ("--redirect-uris", "nowhere"): ["redirect_uris: "],
    ("--additional-grant-types", "telepathy"): ["additional_grant_types: Unknown grant types: telepathy"],
    ("--additional-grant-types", "authorization-code"): ["redirect_uris: "],
    ("--token-type", "jwt", "--access-token-algorithm", "ES256"): [
        "access_token_algorithm: JWTs can't be signed: this server has no ES256 key in use."
    ],
    # Of the policy alone, with all that is wrong
    ("--max-devices", "0", "--access-token-lifetime", "0", *BOUND): [
        "access_token_lifetime: Ensure this value is greater than or equal to 1.",
        "max_devices: Ensure this value is greater than or equal to 1.",
    ],
    ("--backchannel-logout-uri", "x" * 501): ["backchannel_logout_uri: Ensure this value has at most 500"],
    # Of the policy with the application, and the site
    ("--require-binding", "yes", "--max-devices", "3"): [
        "require_binding: Without a token binding type there is nothing that a request could name.",
        "max_devices: Without a token binding type devices can't be told apart, nor counted.",
    ],
    ("--require-sender-constraint", "report"): ["require_sender_constraint: Without a sender constraint"],
    ("--claims", "email shoe_size"): ["claims: The setting CLAIM_SOURCES has no such claims: shoe_size"],
    ("--backchannel-logout-uri", "http://client.example/"): [
        "backchannel_logout_uri: This has to be https",
        "backchannel_logout_uri: Without an algorithm",
    ],
}


@pytest.mark.parametrize("arguments", REFUSED, ids=" ".join)
def test_what_can_not_work_is_said_and_nothing_is_created(arguments: tuple[str, ...]) -> None:
    with pytest.raises(CommandError) as caught:
        create(*arguments)

    first, *lines = str(caught.value).splitlines()
    assert first == "Nothing was created. Correct these:"
    assert len(lines) == len(REFUSED[arguments]), lines
    for line, beginning in zip(lines, REFUSED[arguments], strict=True):
        assert line.startswith(f"  {beginning}")
    _assert_nothing_is_there()


def test_the_implicit_grant_alone_is_never_bound() -> None:
    with pytest.raises(CommandError, match=r"(?m)^  token_binding_type: The implicit grant does not use"):
        create("--redirect-uris", "https://a.example/", *BOUND, grant_type="implicit")

    _assert_nothing_is_there()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--token-binding-type", "cookie"], "argument --token-binding-type: invalid choice: 'cookie'"),
        (["--max-devices", "three"], "argument --max-devices: invalid int value: 'three'"),
        (["--revoke-on-logout", ""], "argument --revoke-on-logout: invalid choice: ''"),
    ],
)
def test_what_is_no_value_of_an_option_is_said(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError) as caught:
        create(*arguments)

    assert message in str(caught.value)
    _assert_nothing_is_there()


def test_without_a_signing_key_there_are_no_jwts() -> None:
    with provider(OIDC_RSA_PRIVATE_KEY="", OIDC_ENABLED=False), pytest.raises(CommandError) as caught:
        call_command("createapplication", "confidential", "password", "--token-type=jwt", skip_checks=True)

    assert "  token_type: JWTs can't be signed: this server has no RS256 key in use." in str(caught.value)


def test_an_application_whose_policy_can_not_be_saved_is_not_there() -> None:
    with mock.patch.object(TokenPolicy, "save", side_effect=DatabaseError), pytest.raises(DatabaseError):
        create(*DPOP)

    _assert_nothing_is_there()


def _assert_nothing_is_there() -> None:
    assert not Application.objects.exists()
    assert not TokenPolicy.objects.exists()


@pytest.mark.slow
@pytest.mark.parametrize("is_first", [True, False])
def test_the_first_app_has_the_command(
    project: Project, make_database: Callable[[], dict[str, Any]], is_first: bool
) -> None:
    order = ["oauth_binding", "oauth2_provider"][:: 1 if is_first else -1]
    apps = f"[app for app in INSTALLED_APPS if app not in {order!r}] + {order!r}"
    name = f"site_in_order_{is_first}"
    project.write_settings(name, f"INSTALLED_APPS = {apps}", default=make_database())
    project.call(name, migrate)
    command = ["createapplication", "confidential", "password", "--client-id=mail", "--token-type=jwt"]
    process = project.start(name, "-m", "django", *command)
    output, _ = process.communicate()

    if is_first:
        assert (process.returncode, "New application mail created" in output) == (0, True), output
    else:
        assert "unrecognized arguments: --token-type=jwt" in output
