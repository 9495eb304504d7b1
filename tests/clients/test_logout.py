"""A Node application that is told of logouts, against the site behind a socket."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from tests.clients.server.commands import manage, shell
from tests.helpers.browser import Example

pytestmark = pytest.mark.slow

CLIENT: Final = "web"

_LOG_OUT = """
from django.contrib.auth.models import User
from oauth2_provider.models import get_application_model
from tests.helpers.client import set_policy
from tests.helpers.logouts import log_out
application = get_application_model().objects.get(client_id={client!r})
set_policy(application, backchannel_logout_uri={uri!r})
(session,) = log_out(User.objects.get(username="alice"), [application], issuer={issuer!r})
print("sid", session.sid)
"""

_SEND_AGAIN = """
from django.utils import timezone
from oauth_binding.models import LogoutNotification
LogoutNotification.objects.update(next_attempt=timezone.now(), delivered_at=None)
"""


@contextmanager
def application(node_project: Path, address: str) -> Iterator[Any]:
    """Run the application, and yield what reads the lines of JSON that it prints."""
    arguments = json.dumps({"address": address, "clientId": CLIENT})
    process = subprocess.Popen(
        ["node", "logout.mjs", arguments], cwd=node_project, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    output = process.stdout
    try:
        yield lambda: json.loads(output.readline())
    finally:
        process.terminate()
        process.communicate()


def test_an_application_validates_what_it_is_told(node_project: Path, database: Path, site: Example) -> None:
    issuer = f"{site.address}/oauth2"
    with application(node_project, site.address) as printed:
        started = printed()
        assert started["supported"] == [True, True]

        uri = f"http://127.0.0.1:{started['port']}/logout"
        sid = shell(database, _LOG_OUT.format(client=CLIENT, uri=uri, issuer=issuer)).split()[-1]
        assert manage(database, "sendlogouts").strip() == "1 logout tokens delivered, 0 failed, 0 left."
        claims = printed()["claims"]
        assert claims["sid"] == sid
        assert claims["iss"] == issuer

        # The same logout once more is known by its jti.
        shell(database, _SEND_AGAIN)
        assert manage(database, "sendlogouts").strip() == "0 logout tokens delivered, 1 failed, 1 left."
        assert "it was used" in printed()["error"]
