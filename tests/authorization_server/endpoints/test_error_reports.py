"""What Django mails to the administrators when a view fails says none of the secrets that were sent."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from django.core.exceptions import SuspiciousOperation
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.test import Client
from django.urls import URLPattern, reverse
from django.views.debug import SafeExceptionReporterFilter, get_default_exception_reporter_filter
from django.views.generic import View

from oauth_binding.authorization_server.endpoints.introspection import IntrospectTokenView
from oauth_binding.urls import urlpatterns
from tests.helpers.error_reports import POSTED, ask, assert_tells_no_secret, failing, mailing
from tests.helpers.provider import provider

INTROSPECTION = "/oauth2/introspect/"


@pytest.fixture(autouse=True)
def _mailing(db: None) -> Iterator[None]:
    with mailing():
        yield


def address_of(pattern: URLPattern) -> str:
    """Return where a view is, with something in place of what is variable: it is not looked at."""
    if pattern.name is None:
        return f"/oauth2/{pattern.pattern}"
    arguments = dict.fromkeys(pattern.pattern.converters, "1")
    return reverse(f"oauth2_provider:{pattern.name}", kwargs=arguments)


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("pattern", [pytest.param(each, id=address_of(each)) for each in urlpatterns])
def test_a_report_says_nothing_that_was_sent(pattern: URLPattern, method: str) -> None:
    with failing(pattern):
        assert ask(address_of(pattern), method).status_code == 500

    report = assert_tells_no_secret(of="The database is gone")
    assert "id_token_hint" in report  # the names of the parameters are there
    assert "in fail" in report or "fail</" in report  # and the traceback


#: Requests that get as far as the database: address -> form. All secrets have "canary".
REAL: dict[str, dict[str, str]] = {
    "/oauth2/token/": {"grant_type": "password", "username": "alice", "password": "canary-of-alice"},
    "/oauth2/token": {
        "grant_type": "authorization_code",
        "code": "canary-code",
        "code_verifier": "canary-verifier",
    },
    "/oauth2/introspect/": {"token": "canary-token"},
    "/oauth2/revoke_token/": {"token": "canary-token"},
    "/oauth2/device-authorization/": {"tokenBindingId": "canary-binding"},
}


def lose(*args: Any) -> None:
    raise RuntimeError("The database is gone.")


@pytest.mark.parametrize("path", REAL)
def test_a_report_of_a_database_that_is_gone(path: str) -> None:
    """The frames are those of Django, django-oauth-toolkit, oauthlib and this app."""
    form = {"client_id": "one", "client_secret": "canary-of-the-client", **REAL[path]}
    with connection.execute_wrapper(lose):
        answer = Client(raise_request_exception=False).post(
            path, urlencode(form), content_type="application/x-www-form-urlencoded"
        )

    assert answer.status_code == 500, answer.content
    assert_tells_no_secret(of="The database is gone.")


def test_a_report_of_a_registration_that_fails() -> None:
    """Its parameters come as JSON."""
    body = {"client_name": "canary-name", "software_statement": "canary-statement"}
    anybody = ("oauth2_provider.dcr.AllowAllDCRPermission",)
    with (
        provider(DCR_ENABLED=True, DCR_REGISTRATION_PERMISSION_CLASSES=anybody),
        connection.execute_wrapper(lose),
    ):
        answer = Client(raise_request_exception=False).post(
            "/oauth2/register/",
            {"grant_types": ["client_credentials"], **body},
            content_type="application/json",
        )

    assert answer.status_code == 500, answer.content
    assert_tells_no_secret(of="The database is gone.")


def answer(self: View, request: HttpRequest) -> HttpResponse:
    return HttpResponse("Out of order.", status=503)


def refuse(self: View, request: HttpRequest) -> HttpResponse:
    raise SuspiciousOperation("Out of order.")


def render(self: View, request: HttpRequest) -> HttpResponse:
    return TemplateResponse(request, "out of order.html", {"secret": request.POST["token"]})


@pytest.mark.parametrize(
    ("respond", "status", "what"),
    [
        pytest.param(answer, 503, "Service Unavailable", id="an answer of the view"),
        pytest.param(refuse, 400, "Out of order.", id="a suspicious operation"),
        pytest.param(render, 500, "out of order.html", id="a page, after the view"),
    ],
)
def test_a_report_of_something_else(
    monkeypatch: pytest.MonkeyPatch, respond: Any, status: int, what: str
) -> None:
    monkeypatch.setattr(IntrospectTokenView, "dispatch", respond)

    assert ask(INTROSPECTION).status_code == status

    assert_tells_no_secret(of=what)


class FilterOfASite(SafeExceptionReporterFilter):
    """It hides where the request was sent."""

    def get_safe_request_meta(self, request: Any) -> dict[str, Any]:
        meta: dict[str, Any] = super().get_safe_request_meta(request)
        return {**meta, "SERVER_NAME": "hidden by the site"}


@pytest.fixture
def _filter_of_a_site(settings: Any) -> Iterator[None]:
    settings.DEFAULT_EXCEPTION_REPORTER_FILTER = f"{__name__}.FilterOfASite"
    kept: Any = get_default_exception_reporter_filter
    kept.cache_clear()
    yield
    kept.cache_clear()


@pytest.mark.usefixtures("_filter_of_a_site")
def test_what_a_site_hides_itself_stays_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IntrospectTokenView, "dispatch", refuse)

    ask(INTROSPECTION)

    assert "hidden by the site" in assert_tells_no_secret(of="Out of order.")


def test_where_a_site_is_debugged_everything_is_shown(settings: Any) -> None:
    settings.DEBUG = True
    pattern = next(each for each in urlpatterns if each.name == "introspect")
    with failing(pattern):
        shown = ask(INTROSPECTION).content.decode()

    assert POSTED["token"] in shown
