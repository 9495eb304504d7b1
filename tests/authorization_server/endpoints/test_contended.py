"""Requests that others overtake for longer than they are tried again, by rows that are really locked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from oauth2_provider.models import get_access_token_model, get_application_model, get_device_grant_model

from oauth_binding.core.errors import RETRY_AFTER
from oauth_binding.models import LoginSession
from oauth_binding.sessions.browser import SID_KEY
from tests.ended.held import DEVICE_GRANT
from tests.helpers.client import REDIRECT_URI, Answer, Site
from tests.helpers.given_up import DETAIL, DOORS, JSON, NOTHING, PAGE
from tests.helpers.registration import OPEN, Registrar, metadata
from tests.helpers.rows import access_token_row, refresh_token_row

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="needs a database server, which locks rows"),
]

UNAVAILABLE = (503, "temporarily_unavailable")


@contextmanager
def migrating(model: Any) -> Iterator[None]:
    """Lock a table from another connection, as a change of it does."""
    other = connection.copy()
    other.ensure_connection()
    other.set_autocommit(False)
    table = connection.ops.quote_name(model._meta.db_table)
    lock = (
        "LOCK TABLES {} WRITE" if connection.vendor == "mysql" else "LOCK TABLE {} IN ACCESS EXCLUSIVE MODE"
    )
    try:
        with other.cursor() as cursor:
            cursor.execute(lock.format(table))
        yield
    finally:
        other.close()


@contextmanager
def locked(*rows: Any) -> Iterator[None]:
    """Lock rows from another connection, as what goes on there for long does; all of a table by its model."""
    other = connection.copy()
    other.ensure_connection()
    other.set_autocommit(False)
    try:
        with other.cursor() as cursor:
            for row in rows:
                table = connection.ops.quote_name(row._meta.db_table)
                if not isinstance(row, type):
                    cursor.execute(f"SELECT * FROM {table} WHERE id = %s FOR UPDATE", [row.pk])
                elif connection.vendor == "postgresql":
                    cursor.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
                else:
                    # The gaps between rows, too, where others would insert one.
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                    cursor.execute(f"SELECT * FROM {table} FOR UPDATE")
        yield
    finally:
        other.rollback()
        other.close()


@pytest.fixture(autouse=True)
def _impatient(settings: Any) -> Iterator[None]:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "RETRY_SECONDS": 1}
    is_mysql = connection.vendor == "mysql"
    timeouts = {"innodb_lock_wait_timeout": 1, "lock_wait_timeout": 1} if is_mysql else {"lock_timeout": 200}
    with connection.cursor() as cursor:
        for name, value in timeouts.items():
            cursor.execute(f"SET SESSION {name} = {value}")
    yield
    connection.close()


@pytest.mark.parametrize("token_type", ["opaque", "jwt"])
def test_a_login_that_has_used_nothing_up(make_bound: Callable[..., Site], token_type: str) -> None:
    site = make_bound(token_type)
    with locked(site.user):
        answer = site.bound("phone")
        assert (answer.status, answer["error"]) == UNAVAILABLE

    assert site.bound("phone").status == 200


def test_a_refresh_token_is_still_good(make_bound: Callable[..., Site]) -> None:
    site = make_bound()
    login = site.bound("phone")
    with locked(site.user):
        answer = site.refresh(login.refresh)
        assert (answer.status, answer["error"]) == UNAVAILABLE

    assert site.refresh(login.refresh).status == 200


def test_a_revocation_that_has_ended_nothing(make_bound: Callable[..., Site]) -> None:
    """RFC 7009 section 2.2.1: 503, and the client takes the token for valid."""
    site = make_bound()
    login = site.bound("phone")
    with locked(site.user):
        answer = site.revoke(login.access)
        assert (answer.status, answer["error"]) == UNAVAILABLE
    assert site.active(login.access)

    assert site.revoke(login.access).status == 200
    assert not site.active(login.access)


# All that writes what may be locked


@dataclass
class World:
    """A user who is signed in, and what there is to be changed."""

    site: Site
    user: User
    browser: Client
    login: Answer
    staff: Client
    registrar: Registrar
    #: Of a device that waits for approval.
    user_code: str

    @property
    def device(self) -> str:
        return f"binding-{access_token_row(self.login.access).binding_id}"

    @property
    def token(self) -> Any:
        return access_token_row(self.login.access)

    @property
    def session(self) -> LoginSession:
        return LoginSession.objects.get(sid=self.browser.session[SID_KEY])

    @property
    def query(self) -> dict[str, str]:
        return {
            "response_type": "code",
            "client_id": self.site.application.client_id,
            "redirect_uri": REDIRECT_URI,
            "scope": "openid read",
            "code_challenge": "x" * 43,
            "code_challenge_method": "S256",
        }

    def action(self, row: Any, action: str) -> Any:
        model = row._meta
        form = {"action": action, "_selected_action": str(row.pk), "confirmed": "1"}
        return self.staff.post(f"/admin/{model.app_label}/{model.model_name}/", form)


class Waits(NamedTuple):
    """What waits for a lock."""

    ask: Callable[[World], Any]
    #: What is locked: rows, or the model of a table.
    locked: Callable[[World], Any]
    kind: str
    #: The status once it is not locked any more.
    done: int = 302


def of_user(world: World) -> Any:
    return world.user


def of_application(world: World) -> Any:
    return world.site.application


def authorize(world: World, **more: str) -> Any:
    return world.browser.post("/oauth2/authorize/", {**world.query, "allow": "Authorize", **more})


def authorize_unasked(world: World) -> Any:
    get_application_model().objects.filter(pk=world.site.application.pk).update(skip_authorization=True)
    return world.browser.get("/oauth2/authorize/", world.query)


def log_out(world: World) -> Any:
    hint = {"id_token_hint": world.login["id_token"], "client_id": world.site.application.client_id}
    return world.browser.post("/oauth2/logout/", {**hint, "allow": "true"})


def confirm_device(world: World) -> Any:
    path = f"/oauth2/device-confirm/{world.site.application.client_id}/{world.user_code}"
    return world.browser.post(path, {"action": "accept"})


def change_password(world: World) -> Any:
    form = {
        "password1": "another correct horse",
        "password2": "another correct horse",
        "usable_password": "true",
    }
    return world.staff.post(f"/admin/auth/user/{world.user.pk}/password/", form)


OF_AN_APPLICATION: Final = {
    "client_id": "x",
    "client_type": "public",
    "authorization_grant_type": "authorization-code",
    "redirect_uris": REDIRECT_URI,
}

#: By the routes of the URL conf; those of the admin by what is done there.
WAITS: Final = {
    "oauth2/token/": Waits(lambda world: world.site.refresh(world.login.refresh), of_user, JSON, 200),
    "oauth2/revoke_token/": Waits(lambda world: world.site.revoke(world.login.access), of_user, JSON, 200),
    "oauth2/device-authorization/": Waits(
        lambda world: world.site.post(
            "/oauth2/device-authorization/", {"client_id": world.site.application.client_id}
        ),
        lambda world: get_device_grant_model(),
        JSON,
        200,
    ),
    "oauth2/register/": Waits(
        lambda world: Registrar(Client()).send("POST", metadata("authorization_code")),
        lambda world: get_application_model(),
        JSON,
        201,
    ),
    "oauth2/register/<str:client_id>/": Waits(
        lambda world: world.registrar.send("DELETE"),
        lambda world: get_application_model(),
        JSON,
        204,
    ),
    "oauth2/authorize/": Waits(authorize, of_user, PAGE),
    "oauth2/authorize/, nobody is asked": Waits(authorize_unasked, of_user, PAGE),
    "oauth2/device/": Waits(
        lambda world: world.browser.post("/oauth2/device/", {"user_code": world.user_code}),
        lambda world: get_device_grant_model().objects.get(user_code=world.user_code),
        PAGE,
    ),
    "oauth2/device-confirm/<slug:client_id>/<slug:user_code>": Waits(confirm_device, of_user, PAGE),
    "oauth2/applications/register/": Waits(
        lambda world: world.browser.post("/oauth2/applications/register/", OF_AN_APPLICATION),
        lambda world: get_application_model(),
        PAGE,
    ),
    "oauth2/applications/<slug:pk>/update/": Waits(
        lambda world: world.browser.post(
            f"/oauth2/applications/{world.site.application.pk}/update/", OF_AN_APPLICATION
        ),
        of_application,
        PAGE,
    ),
    "oauth2/applications/<slug:pk>/delete/": Waits(
        lambda world: world.browser.post(f"/oauth2/applications/{world.site.application.pk}/delete/"),
        of_application,
        PAGE,
    ),
    "oauth2/authorized_tokens/<slug:pk>/delete/": Waits(
        lambda world: world.browser.post(f"/oauth2/authorized_tokens/{world.token.pk}/delete/"), of_user, PAGE
    ),
    "oauth2/logout/": Waits(log_out, of_user, PAGE),
    "oauth2/devices/<slug:device>/sign-out/": Waits(
        lambda world: world.browser.post(f"/oauth2/devices/{world.device}/sign-out/"), of_user, PAGE
    ),
    "oauth2/devices/sign-out-others/": Waits(
        lambda world: world.browser.post("/oauth2/devices/sign-out-others/"), of_user, PAGE
    ),
    "oauth2/devices/<slug:device>/rename/": Waits(
        lambda world: world.browser.post(f"/oauth2/devices/{world.device}/rename/", {"name": "mine"}),
        lambda world: world.token.binding,
        PAGE,
    ),
    "oauth2/devices/browsers/<int:session>/sign-out/": Waits(
        lambda world: world.browser.post(f"/oauth2/devices/browsers/{world.session.pk}/sign-out/"),
        of_user,
        PAGE,
    ),
    "api/devices/<str:id>/": Waits(
        lambda world: world.browser.delete(f"/api/devices/{world.device}/"), of_user, DETAIL, 204
    ),
    "api/devices/<str:id>/sign-out-others/": Waits(
        lambda world: world.browser.post(f"/api/devices/{world.device}/sign-out-others/"),
        of_user,
        DETAIL,
        200,
    ),
    "api/devices/sign-out-others/": Waits(
        lambda world: world.browser.post("/api/devices/sign-out-others/"), of_user, DETAIL, 200
    ),
    "admin: revoke a binding": Waits(
        lambda world: world.action(world.token.binding, "revoke"), of_user, PAGE
    ),
    "admin: revoke the binding of a page": Waits(
        lambda world: world.staff.post(
            f"/admin/oauth_binding/tokenbinding/{world.token.binding_id}/revoke/", {"confirmed": "1"}
        ),
        of_user,
        PAGE,
    ),
    "admin: revoke an access token": Waits(
        lambda world: world.action(world.token, "revoke_tokens"), of_user, PAGE
    ),
    "admin: revoke a refresh token": Waits(
        lambda world: world.action(refresh_token_row(world.login.refresh), "revoke_tokens"), of_user, PAGE
    ),
    "admin: end a login session": Waits(
        lambda world: world.staff.post(
            f"/admin/oauth_binding/loginsession/{world.session.pk}/end/", {"confirmed": "1"}
        ),
        of_user,
        PAGE,
    ),
    "admin: sign a user out everywhere": Waits(
        lambda world: world.action(world.user, "sign_out_users"), of_user, PAGE
    ),
    "admin: change a password": Waits(change_password, of_user, PAGE),
    "admin: delete a user": Waits(
        lambda world: world.staff.post(f"/admin/auth/user/{world.user.pk}/delete/", {"post": "yes"}),
        of_user,
        PAGE,
    ),
    "admin: delete an application": Waits(
        lambda world: world.staff.post(
            f"/admin/oauth2_provider/application/{world.site.application.pk}/delete/", {"post": "yes"}
        ),
        of_application,
        PAGE,
    ),
}


@pytest.fixture
def world(make_bound: Callable[..., Site], settings: Any) -> World:
    settings.OAUTH2_PROVIDER = {
        **settings.OAUTH2_PROVIDER,
        **OPEN,
        "OIDC_RP_INITIATED_LOGOUT_ENABLED": True,
        "OIDC_RP_INITIATED_LOGOUT_ALWAYS_PROMPT": False,
    }
    site = make_bound(grant_type="authorization_code", additional_grant_types=DEVICE_GRANT)
    assert site.user is not None
    get_application_model().objects.filter(pk=site.application.pk).update(user=site.user)
    browser, staff, registrar = Client(), Client(), Registrar(Client())
    browser.force_login(site.user)
    staff.force_login(User.objects.create_superuser("operator"))
    assert registrar.send("POST", metadata("authorization_code")).status_code == 201
    form = {**site.authorization_code("openid read", browser), "tokenBindingId": "phone"}
    login = site.post("/oauth2/token/", form)
    assert login.status == 200, login.data
    user_code = str(site.start_device("read")["user_code"])
    get_device_grant_model().objects.filter(user_code=user_code).update(user=site.user)
    return World(site, site.user, browser, login, staff, registrar, user_code)


@pytest.mark.parametrize("door", WAITS)
def test_a_door_waits_and_says_when_to_ask_again(world: World, door: str) -> None:
    waits = WAITS[door]
    with locked(waits.locked(world)):
        answer = waits.ask(world)
        status, headers = _status(answer), answer.headers
        assert (status, headers["Retry-After"]) == (503, str(RETRY_AFTER))
        if waits.kind == PAGE:
            assert "Please try again" in answer.text
        elif waits.kind == DETAIL:
            assert answer.json()["detail"]
        else:
            said = answer.data if isinstance(answer, Answer) else answer.json()
            assert said["error"] == "temporarily_unavailable"

    assert _status(waits.ask(world)) == waits.done


def _status(answer: Any) -> int:
    status: int = answer.status if isinstance(answer, Answer) else answer.status_code
    return status


def test_nobody_is_shown_a_page_who_asks_in_silence(world: World) -> None:
    """OpenID Connect Core section 3.1.2.6; RFC 6749 section 4.1.2.1 has the code for a redirect."""
    get_application_model().objects.filter(pk=world.site.application.pk).update(skip_authorization=True)
    query = {**world.query, "prompt": "none", "state": "xyz"}

    with locked(world.user):
        answer = world.browser.get("/oauth2/authorize/", query)

    said = parse_qs(urlsplit(answer["Location"]).query)
    assert answer["Location"].startswith(REDIRECT_URI)
    assert (said["error"], said["state"]) == (["temporarily_unavailable"], ["xyz"])
    assert "code" in parse_qs(urlsplit(world.browser.get("/oauth2/authorize/", query)["Location"]).query)


#: What waits for nobody: it reads only, or passes over what is locked (``last_used``).
READS: Final = {
    "oauth2/introspect/",
    "oauth2/userinfo/",
    "oauth2/revoked-tokens/",
    "oauth2/device-grant-status/<slug:client_id>/<slug:user_code>",
    "oauth2/applications/",
    "oauth2/applications/<slug:pk>/",
    "oauth2/authorized_tokens/",
    "oauth2/devices/",
    "api/devices/",
}

#: The same as another one.
SAME: Final = {
    "oauth2/token": "oauth2/token/",
    "oauth2/introspect": "oauth2/introspect/",
    "oauth2/revoke_token": "oauth2/revoke_token/",
    "oauth2/revoke/": "oauth2/revoke_token/",
    "oauth2/revoke": "oauth2/revoke_token/",
}


def test_each_door_is_in_a_table() -> None:
    asks = {route for route, door in DOORS.items() if door.kind != NOTHING}

    assert asks == READS | SAME.keys() | {route for route in WAITS if route in DOORS}


#: Asks an endpoint, with what a login has got.
ENDPOINTS: dict[str, Callable[[Site, Answer], Answer]] = {
    "login": lambda site, login: site.bound("phone"),
    "refresh": lambda site, login: site.refresh(login.refresh),
    "introspection": lambda site, login: site.introspect(login.access),
    "revocation": lambda site, login: site.revoke(login.access),
}


@pytest.mark.parametrize("name", ENDPOINTS)
@pytest.mark.parametrize("model", [get_application_model(), get_access_token_model()])
def test_what_cannot_be_read_in_time(make_bound: Callable[..., Site], name: str, model: Any) -> None:
    """As on a node of a cluster that is far behind: the request may be sent again."""
    site = make_bound()
    login = site.bound("phone")
    with migrating(model):
        answer = ENDPOINTS[name](site, login)
        assert (answer.status, answer["error"]) == UNAVAILABLE

    assert ENDPOINTS[name](site, login).status == 200
