"""The log has no line that somebody else has written."""

from __future__ import annotations

import ast
import logging
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import jwt
import pytest
from django.contrib.auth.models import User
from oauth2_provider.models import get_application_model

import oauth_binding
from oauth_binding.core.jose.jwk_sets import remote_jwk_set
from oauth_binding.core.log_lines import MAX_LENGTH, one_line
from tests.helpers.client import Site
from tests.helpers.exchange import JWT, exchange
from tests.helpers.provider import provider
from tests.helpers.servers import RSA_KEY, serve

ROOT = Path(oauth_binding.__file__).parent

#: What else is logged, by module: what the server or its operators have written themselves.
OWN = {
    "authorization_server/backchannel/delivery.py": {"row.attempts", "result.failure"},
    "authorization_server/exchange/foreign_tokens.py": {
        *("type(error).__name__", "issuer.name", "len(users)", "issuer.user_field", "fields", "name", "error")
    },
    "authorization_server/issuing/device_limit.py": {"len(surplus)", "plan.binding.user_id", "limit"},
    "authorization_server/issuing/save.py": {"error.__cause__ or error"},  # with %r
    "sessions/given_up.py": {"error.__cause__"},  # with %r
    "authorization_server/signing/jwt_access_tokens.py": {"error", "name"},
    "authorization_server/signing/key_file.py": {
        *("problem", "'' if self.good is None else ' Those read before stay in use.'")
    },
    "authorization_server/signing/user_claims.py": {"type(error).__name__"},
    "core/audit.py": {"json.dumps(entry)"},
    "core/caches.py": {"alias", "about", "type(error).__name__"},
    "core/jose/remote_document.py": {"self.name", "self.url"},
    "core/places.py": {"error"},  # the name of a type
    "proof/replay.py": {"self.alias"},
    "proof/replay_table.py": {"type(error).__name__"},
    "storage/last_used.py": {"type(error).__name__"},
    "storage/reports.py": {"demand", "type(error).__name__"},
    "resource_server/introspection_client.py": {"url", "error.code", "type(error).__name__"},
}


def logged() -> Iterator[tuple[str, str]]:
    """Yield what is logged: the module, and the expression of each argument."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and isinstance(node.func.value, ast.Name)
                and node.func.value.id == "logger"
            ):
                yield from (
                    (str(path.relative_to(ROOT)), ast.unparse(argument)) for argument in node.args[1:]
                )


def test_what_others_have_written_is_escaped() -> None:
    found: dict[str, set[str]] = {}
    for module, argument in logged():
        if not argument.startswith("one_line("):
            found.setdefault(module, set()).add(argument)
    assert found == OWN


def test_a_text_stays_on_one_line() -> None:
    assert one_line("a\r\nb\x1b[2J\u2028\u202e\x00é") == "a\\r\\nb\\x1b[2J\\u2028\\u202e\\x00é"
    assert len(one_line("x" * 10_000)) == MAX_LENGTH


FORGED = "x\nERROR forged \x1b[31m"


def test_a_token_of_another_server_forges_no_line(
    make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="oauth_binding")
    site = make_site("client_credentials", as_user=None, additional_grant_types="token-exchange")
    texts = [
        jwt.encode({"iss": FORGED, "sub": FORGED}, RSA_KEY, "RS256", {"kid": FORGED, "typ": FORGED}),
        f"{FORGED}.{FORGED}.{FORGED}",
    ]

    for text in texts:
        assert exchange(site, text, subject_token_type=JWT).status == 400

    assert len(caplog.messages) >= len(texts)
    assert not any("\n" in message or "\x1b" in message for message in caplog.messages)


def test_a_client_id_forges_no_line(make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture) -> None:
    site = make_site("client_credentials", as_user=None, token_type="jwt")
    get_application_model().objects.update(client_id=FORGED)
    site.application.client_id = FORGED
    with provider(OIDC_RSA_PRIVATE_KEY=""):
        assert site.token().status == 503
    messages = [record.getMessage() for record in caplog.records if record.name.startswith("oauth_binding")]
    assert messages
    assert not any("\n" in message or "\x1b" in message for message in messages)


def own_message(caplog: pytest.LogCaptureFixture) -> str:
    """Return the one thing that this app has logged, which is printable."""
    (message,) = (each.getMessage() for each in caplog.records if each.name.startswith("oauth_binding"))
    assert message.isprintable(), ascii(message)
    return message


def test_a_client_id_forges_no_line_without_an_id_token(
    make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    fields = {"client_id": FORGED, "client_secret": "too short", "algorithm": "HS256"}
    site = make_site("authorization_code", **fields)
    site.secret = "too short"

    assert site.token(scope="openid").status == 503

    assert "No ID token for client x\\nERROR forged \\x1b[31m: " in own_message(caplog)


def test_a_client_id_forges_no_line_where_it_is_a_user_key(
    make_site: Callable[..., Site], caplog: pytest.LogCaptureFixture, user: User
) -> None:
    """Python reads a number with a line feed before it as a number."""
    site = make_site("client_credentials", as_user=None, token_type="jwt", client_id=f"\n{user.pk}")

    assert site.token().status == 503

    assert f"client \\n{user.pk} itself" in own_message(caplog)


@pytest.mark.parametrize(
    ("status_line", "logged_text"),
    [
        (b"HTTP/1.1 500 Sorry\x1b[2K\x85ERROR forged", "HTTP Error 500: Sorry\\x1b[2K\\x85ERROR forged"),
        (b"Sorry\x1b[2K", "Sorry\\x1b[2K\\r\\n"),
    ],
)
def test_a_status_line_of_another_server_forges_no_line(
    caplog: pytest.LogCaptureFixture, status_line: bytes, logged_text: str
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(status_line + b"\r\n\r\n")

    with serve(answer) as url:
        remote_jwk_set(f"{url}/jwks").refresh(0, wait=True)

    assert own_message(caplog).endswith(logged_text)
