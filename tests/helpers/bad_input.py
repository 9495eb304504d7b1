"""Values that no parameter may stumble over."""

from __future__ import annotations

from urllib.parse import quote

from tests.helpers.client import Answer

TOKEN = "/oauth2/token/"

#: Values that no parameter but a password or user name may have, or that are hard to digest.
JUNK = {
    "empty": "",
    "blank": " ",
    "NUL": "\x00",
    "NUL inside": "a\x00b",
    "control": "\x1b[31m",
    "newline": "a\nb\r\nc",
    "non-ASCII": "é📱\u202e",
    "lone surrogate in UTF-8": "%ED%A0%80",
    "invalid UTF-8": "%FF%FE",
    "percent": "%zz%",
    "long": "x" * 20_000,
    "quotes": "'\"; DROP TABLE oauth2_provider_accesstoken; --",
    "braces": "{}[]{%s}%d",
    "unclosed IPv6": "https://[",
    "JWT": "eyJhbGciOiJub25lIn0.e30.",
}

_ENCODED = {"lone surrogate in UTF-8", "invalid UTF-8"}


def assert_answered(answer: Answer) -> None:
    """It is a token, or an error after RFC 6749 section 5.2; never a server error."""
    assert answer.status in {200, 400, 401, 404}
    assert answer.headers["Content-Type"].startswith("application/json")
    if answer.status != 200:
        assert answer["error"]
        assert "access_token" not in answer.data


def encoded(name: str, kind: str) -> str:
    value = JUNK[kind] if kind in _ENCODED else quote(JUNK[kind], safe="")
    return f"{quote(name)}={value}"
