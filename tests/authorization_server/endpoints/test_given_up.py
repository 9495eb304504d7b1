"""Each address of the app, where the database gives up for others whatever is asked of it.

What is really locked, and what waits for it, is in ``test_contended.py``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, Final
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, resolve

from oauth_binding.core.errors import RETRY_AFTER
from oauth_binding.devices import devices_of
from oauth_binding.sessions.browser import SID_KEY
from tests.helpers.client import Site
from tests.helpers.given_up import DETAIL, DOORS, JSON, NOTHING
from tests.helpers.registration import OPEN

#: The example project's own, and the admin's, which stands below.
OF_THE_SITE: Final = ("accounts/", "admin/", "api/me/", "api/schema/")


def addresses(patterns: Any, before: str = "") -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from addresses(pattern.url_patterns, f"{before}{pattern.pattern}")
        else:
            yield f"{before}{pattern.pattern}", pattern


ALL: Final = dict(addresses(get_resolver().url_patterns))


class DriverError(Exception):
    """What psycopg raises (deadlock_detected)."""

    sqlstate = "40P01"


def give_up(execute: Any, sql: str, *args: Any) -> Any:
    """Give up what is asked of the tables of the app and of django-oauth-toolkit, and nothing else."""
    if "oauth" in sql:
        raise OperationalError("deadlock detected") from DriverError()
    return execute(sql, *args)


@pytest.fixture
def root(settings: Any, db: None) -> Client:
    """Return a browser that may do everything."""
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        **OPEN,
        "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
    }
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def check_page(answer: Any) -> None:
    """Check that somebody is told to try again, in words."""
    assert (answer.status_code, answer["Retry-After"]) == (503, str(RETRY_AFTER))
    assert '<h1 id="oauth-devices-heading">Please try again</h1>' in answer.text
    assert "no-store" in answer["Cache-Control"]


def test_each_address_is_in_the_table() -> None:
    assert {route for route in ALL if not route.startswith(OF_THE_SITE)} == set(DOORS)


@pytest.mark.parametrize("route", DOORS)
def test_an_address_says_when_to_ask_again(root: Client, route: str) -> None:
    door = DOORS[route]
    path = f"/{door.path or route.replace('<path:issuer_path>', 'x').replace('<path:resource_path>', 'x')}"
    assert resolve(path).route == route.replace("^", "")
    is_json = route.startswith(("oauth2/register", "api/"))
    form: Any = door.form or {}
    sent = {"data": json.dumps(form), "content_type": "application/json"} if is_json else {"data": form}
    if door.method == "GET":
        sent = {"query_params": form}
    with connection.execute_wrapper(give_up):
        answer = getattr(root, door.method.lower())(
            path,
            **sent,
            headers={"Authorization": "Bearer x"} if door.form is None and door.kind == JSON else {},
        )

    if door.kind == NOTHING:
        assert answer.status_code < 500
        return
    assert (answer.status_code, answer["Retry-After"]) == (503, str(RETRY_AFTER))
    if door.kind == JSON:
        assert answer.json()["error"] == "temporarily_unavailable"
        assert "no-store" in answer["Cache-Control"]
    elif door.kind == DETAIL:
        assert answer.json() == {"detail": "Too much is going on at the same moment. Try again."}
    else:
        check_page(answer)
        assert answer["X-Frame-Options"] == "DENY"


# The admin

#: Its classes of tables that nothing is added to by hand.
READ_ONLY: Final = (
    *("oauth_binding/tokenbinding", "oauth_binding/loginsession", "oauth_binding/logoutnotification"),
    *(f"oauth2_provider/{name}" for name in ("accesstoken", "refreshtoken", "grant", "idtoken")),
)
OTHERS: Final = ("oauth_binding/tokenexchangerule", "oauth2_provider/application", "auth/user")

#: Pages that don't ask the tables of tokens before something is sent to them.
ASK_NOTHING: Final = {
    *(f"admin/{each}/add/" for each in (*READ_ONLY, *OTHERS)),  # forms, and refusals
    *(f"admin/{each}/<path:object_id>/" for each in (*READ_ONLY, *OTHERS)),  # these lead to the page of a row
    "admin/oauth_binding/tokenbinding/find/",
    "admin/auth/user/",
    "admin/auth/user/<id>/password/",
    "admin/auth/user/<path:object_id>/history/",
}

OF_THE_ADMIN: Final = [
    route
    for route in ALL
    if route.startswith(("admin/oauth_binding/", "admin/oauth2_provider/", "admin/auth/user/"))
]


@pytest.mark.parametrize("route", OF_THE_ADMIN)
def test_a_page_of_the_admin_says_so(root: Client, route: str) -> None:
    """Those of the app, and those of users, which the app adds to."""
    user = root.session["_auth_user_id"]
    path = route.replace("<path:object_id>", user).replace("<id>", user).replace("<str:kind>", "user")

    with connection.execute_wrapper(give_up):
        answer = root.get(f"/{path}")

    if route in ASK_NOTHING:
        assert answer.status_code < 500
    else:
        check_page(answer)


# What is no address


def test_a_middleware_says_so_too(root: Client, settings: Any) -> None:
    settings.MIDDLEWARE = [*settings.MIDDLEWARE, "oauth_binding.sessions.LoginSessionMiddleware"]
    session = root.session
    session[SID_KEY] = str(uuid4())
    session.save()

    with connection.execute_wrapper(give_up):
        check_page(root.get("/accounts/login/"))


def test_other_errors_of_the_database_are_errors(root: Client) -> None:
    """They are no one's to wait for, and have to be told to operators."""

    def fail(execute: Any, sql: str, *args: Any) -> Any:
        if "oauth" in sql:
            raise OperationalError("disk full")
        return execute(sql, *args)

    paths = ["/oauth2/devices/", "/oauth2/userinfo/", "/admin/oauth_binding/tokenbinding/"]
    if "api/devices/" in DOORS:
        paths.append("/api/devices/")
    for path in paths:
        with connection.execute_wrapper(fail), pytest.raises(OperationalError):
            root.get(path, headers={"Authorization": "Bearer x"} if "userinfo" in path else {})


def test_a_page_is_in_the_language_of_the_reader(root: Client) -> None:
    with connection.execute_wrapper(give_up):
        page = root.get("/oauth2/devices/", headers={"Accept-Language": "de"})

    assert 'lang="de"' in page.text
    assert "Bitte versuchen Sie es noch einmal" in page.text


def test_the_log_says_what_the_database_said(root: Client, caplog: pytest.LogCaptureFixture) -> None:
    with connection.execute_wrapper(give_up):
        root.get("/oauth2/devices/")

    (record,) = (each for each in caplog.records if each.name.startswith("oauth_binding"))
    assert record.levelname == "WARNING"
    assert "DriverError" in record.getMessage()


@pytest.mark.django_db(transaction=True)
def test_nothing_is_kept_of_a_request_in_one_transaction(
    make_bound: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    """With ATOMIC_REQUESTS, an answer would commit what was done before the database gave up."""
    site = make_bound()
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "RETRY_SECONDS": 1}
    site.bound("phone")
    browser = Client()
    assert site.user is not None
    browser.force_login(site.user)
    device = devices_of(site.user)[0]
    monkeypatch.setitem(connection.settings_dict, "ATOMIC_REQUESTS", True)

    def give_up_history(execute: Any, sql: str, *args: Any) -> Any:
        if "django_admin_log" in sql:
            raise OperationalError("deadlock detected") from DriverError()
        return execute(sql, *args)

    with connection.execute_wrapper(give_up_history):
        check_page(browser.post(f"/oauth2/devices/{device.id}/sign-out/"))

    assert len(devices_of(site.user)) == 1
