"""What Django mails to the administrators when a view fails."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock
from urllib.parse import urlencode

import django
from django.conf import settings
from django.core import mail
from django.http import HttpRequest
from django.test import Client, override_settings
from django.urls import URLPattern
from django.utils.log import AdminEmailHandler

#: Pairs until Django 6.0, and addresses from then on.
ADMINS: list[Any] = (
    ["operator@example.com"] if django.VERSION >= (6, 0) else [("Operator", "operator@example.com")]
)

#: What is sent, under the names that tell that it is a secret. Each is in a form and in a query string.
NAMES = (
    *("token", "client_secret", "password", "code", "code_verifier", "device_code", "user_code"),
    *("refresh_token", "access_token", "subject_token", "actor_token", "client_assertion"),
    *("tokenBindingId", "id_token_hint", "name", "state"),
)
POSTED = {name: f"canary-{number}-posted" for number, name in enumerate(NAMES)}
ASKED = {name: f"canary-{number}-asked" for number, name in enumerate(NAMES)}
QUERY = urlencode(ASKED)

#: The header of the setting ``BINDING_HEADER``, whose name does not say that it is secret.
BINDING_HEADER = "X-Device"

HEADERS = {
    "Authorization": "Basic canary-basic",
    "Token-Binding-Id": "canary-header",
    BINDING_HEADER: "canary-device",
    "Cookie": f"{settings.SESSION_COOKIE_NAME}=canary-session",
    "Referer": f"https://site.example/oauth2/authorize/?{QUERY}",
}

#: As servers have it beside QUERY_STRING.
META = {"RAW_URI": f"/oauth2/?{QUERY}", "REQUEST_URI": f"/oauth2/?{QUERY}"}


@contextmanager
def mailing() -> Iterator[None]:
    """Have reports mailed as a site can have them that shows as much as Django can."""
    (handler,) = (
        each for each in logging.getLogger("django").handlers if isinstance(each, AdminEmailHandler)
    )
    binding = {**getattr(settings, "OAUTH_BINDING", {}), "BINDING_HEADER": BINDING_HEADER}
    with (
        override_settings(ADMINS=ADMINS, OAUTH_BINDING=binding),
        mock.patch.object(handler, "include_html", True),
    ):
        yield


def ask(path: str, method: str = "POST", **sent: Any) -> Any:
    """Send all secrets that there are to a view, and return its answer."""
    sent = {"data": POSTED, **sent} if method == "POST" else sent
    client: Any = Client(raise_request_exception=False)
    call = client.post if method == "POST" else client.get
    return call(path, query_params=ASKED, headers=HEADERS, **META, **sent)


def mailed(*, of: str) -> str:
    """Return the one report that was mailed, in text and in HTML.

    :param of: what it has to tell.
    """
    message: Any
    (message,) = mail.outbox
    (html, _type) = message.alternatives[0]
    assert of in message.body
    assert of in html
    return f"{message.subject}\n{message.body}\n{html}"


def assert_tells_no_secret(*, of: str) -> str:
    """Check the one report that was mailed, and return it.

    :param of: what it has to tell.
    """
    report = mailed(of=of)
    found = [line.strip()[:200] for line in report.splitlines() if "canary" in line]
    assert not found
    return report


@contextmanager
def failing(pattern: URLPattern) -> Iterator[None]:
    """Have a view fail that has looked at what it was sent."""

    def fail(self: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        posted, asked = dict(request.POST), request.GET.get("token")
        raise RuntimeError(f"The database is gone: {len(posted)}, {len(asked or '')}")

    view: Any = pattern.callback
    with mock.patch.object(getattr(view, "view_class", None) or view.cls, "dispatch", fail):
        yield
