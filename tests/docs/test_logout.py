"""The page "Logout": what it says of failures is all that there is."""

from __future__ import annotations

import re
import ssl
import uuid
from http.client import BadStatusLine
from socket import gaierror
from typing import Final
from unittest import mock
from urllib.error import URLError

import pytest
from django.core.exceptions import ImproperlyConfigured

from oauth_binding.authorization_server.backchannel import delivery
from oauth_binding.authorization_server.backchannel.post import Result, post
from oauth_binding.core.jose.timed_http import AddressNotAllowedError
from oauth_binding.models import LogoutNotification
from tests.docs.pages import ROOT
from tests.helpers.client import create_application
from tests.helpers.logouts import relying_party

PAGE: Final = (ROOT / "docs/logout.md").read_text()

URI: Final = "https://rp.example/logout"

_NOT_VERIFIED = ssl.SSLCertVerificationError()
_NOT_VERIFIED.verify_message = "certificate has expired"
_NO_TLS = ssl.SSLError()
_NO_TLS.reason = "WRONG_VERSION_NUMBER"

#: What can be raised while something is sent; some of it in an error of urllib's.
ERRORS: Final = (
    TimeoutError("it takes too long"),
    URLError(TimeoutError()),
    URLError(ConnectionRefusedError(111, "Connection refused")),
    ConnectionResetError(104, "Connection reset by peer"),
    URLError(gaierror(-2, "Name or service not known")),
    URLError(AddressNotAllowedError("it has no address that may be connected to")),
    URLError(_NOT_VERIFIED),
    URLError(_NO_TLS),
    BadStatusLine("SSH-2.0-OpenSSH a secret that is nobody's to read"),
    UnicodeError("label too long"),
)


def documented() -> set[str]:
    section = PAGE.partition("### Why it has failed")[2].partition("\n### ")[0]
    return set(re.findall(r"^\| (.+?) \|", section, re.MULTILINE)) - {"Last failure", "---"}


def without_details(result: Result) -> str:
    """Return why something has failed as the page has it."""
    return re.sub(r"(: |status ).*", r"\1...", result.failure)


@pytest.mark.django_db
def test_each_reason_is_on_the_page_and_no_other() -> None:
    found = set()
    for error in ERRORS:
        with mock.patch(
            "oauth_binding.authorization_server.backchannel.post.open_in_time", side_effect=error
        ):
            result = post(URI, "token", [])
        assert not result.answered
        assert "secret" not in result.failure
        found.add(without_details(result))
    with (
        relying_party(503) as party,
        mock.patch("oauth_binding.authorization_server.backchannel.post.is_allowed", return_value=True),
    ):
        found.add(without_details(post(party.uri, "token", [])))
    found.add(without_details(post("ftp://rp.example/logout", "token", [])))
    row = LogoutNotification(issuer="https://id.example", sub="1", sid=uuid.uuid4())
    found.add(without_details(delivery._prepare(row, None)()))
    unsigned = create_application(backchannel_logout_uri=URI)
    with pytest.raises(ImproperlyConfigured):
        _ = unsigned.jwk_key
    found.add(without_details(delivery._prepare(row, unsigned)()))

    assert found == documented()
