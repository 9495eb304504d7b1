"""Login sessions on sites that keep Django's sessions in other places, have other settings, or have none."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from django.contrib.auth.models import User
from django.core.management import call_command
from django.test import AsyncClient, Client
from django.utils import timezone
from oauth2_provider.models import get_application_model

from oauth_binding.authorization_server.revocation.login_sessions import end_session
from oauth_binding.devices import sign_out_everywhere
from oauth_binding.models import SSO_SESSION, LoginSession, RevokeOnLogout, TerminationReason
from tests.helpers import redis_server
from tests.helpers.client import PASSWORD, REDIRECT_URI, SECRET, Site, create_application, verify_jwt
from tests.helpers.login_sessions import login
from tests.helpers.project import Project, migrate

pytestmark = pytest.mark.slow

_SESSIONS: Final = "django.contrib.sessions.backends"

#: Where Django's sessions are kept.
ENGINES: Final = ("db", "cached_db", "cache", "file", "signed_cookies")

#: What else sites have in their settings.
SETTINGS: Final = {
    "local times": "USE_TZ = False\nTIME_ZONE = 'Asia/Kolkata'",
    "ATOMIC_REQUESTS": "DATABASES['default']['ATOMIC_REQUESTS'] = True",
    "SESSION_SAVE_EVERY_REQUEST": "SESSION_SAVE_EVERY_REQUEST = True",
    "SESSION_EXPIRE_AT_BROWSER_CLOSE": "SESSION_EXPIRE_AT_BROWSER_CLOSE = True",
}

#: The example project with a page that logs out without blocking.
URLS: Final = """
from django.contrib.auth import alogout
from django.db.transaction import non_atomic_requests
from django.http import HttpResponse
from django.urls import path
from example_project.urls import urlpatterns as site_urlpatterns

@non_atomic_requests
async def leave(request):
    await alogout(request)
    return HttpResponse("You are signed out.")

urlpatterns = [*site_urlpatterns, path("leave/", leave)]
"""


@contextmanager
def _cache(engine: str) -> Iterator[list[str]]:
    """Run the cache that an engine needs, and yield the lines of the settings for it."""
    with redis_server.redis_server() if "cache" in engine else nullcontext() as server:
        yield (
            []
            if server is None
            else [
                "CACHES = {'default': {'BACKEND': 'django.core.cache.backends.redis.RedisCache', "
                f"'LOCATION': {server.url!r}}}}}"
            ]
        )


@pytest.mark.parametrize("engine", ENGINES)
def test_a_logout_ends_the_session_whatever_keeps_it(
    project: Project, make_database: Callable[[], dict[str, Any]], tmp_path: Path, engine: str
) -> None:
    if "cache" in engine and redis_server.PROGRAM is None:
        pytest.skip("Redis is not installed")
    directory = tmp_path / "sessions"
    directory.mkdir()
    project.write("leaving_urls.py", URLS)
    with _cache(engine) as lines:
        project.write_settings(
            "kept",
            f"SESSION_ENGINE = '{_SESSIONS}.{engine}'",
            f"SESSION_FILE_PATH = {str(directory)!r}",
            "ROOT_URLCONF = 'leaving_urls'",
            *lines,
            default=make_database(),
        )
        project.call("kept", set_up)
        for use in (log_out, log_in_as_another, log_out_without_blocking, replay_cookie, end_from_elsewhere):
            project.call("kept", use)
        project.end()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_logout_ends_the_session_on_every_site(
    project: Project, make_database: Callable[[], dict[str, Any]], name: str
) -> None:
    project.write("leaving_urls.py", URLS)
    project.write_settings("other", SETTINGS[name], "ROOT_URLCONF = 'leaving_urls'", default=make_database())
    project.call("other", set_up)
    for use in (log_out, log_in_as_another, log_out_without_blocking, end_from_elsewhere, say_when, expire):
        project.call("other", use)


@pytest.mark.parametrize("name", ["local times"])
def test_expiry_and_times(project: Project, make_database: Callable[[], dict[str, Any]], name: str) -> None:
    project.write_settings("other", SETTINGS[name], default=make_database())
    project.call("other", set_up)
    project.call("other", say_when)


def test_a_site_without_sessions(project: Project, make_database: Callable[[], dict[str, Any]]) -> None:
    """One whose users have passwords, and no browsers."""
    project.write(
        "api_urls.py",
        "from django.urls import include, path\n"
        "urlpatterns = [path('oauth2/', include('oauth_binding.urls'))]",
    )
    project.write_settings(
        "without",
        "ROOT_URLCONF = 'api_urls'",
        "_WITH_SESSIONS = ('sessions', 'messages', 'admin', 'rest_framework')",
        "INSTALLED_APPS = [app for app in INSTALLED_APPS if not app.endswith(_WITH_SESSIONS)]",
        "MIDDLEWARE = ['django.middleware.common.CommonMiddleware']",
        "TEMPLATES = []",
        default=make_database(),
    )
    project.call("without", migrate)
    project.run("without", "-m", "django", "check")
    project.call("without", use_without_browsers)


# What runs in the processes of the sites


def _application(name: str, **fields: Any) -> None:
    create_application(
        name=name,
        client_id=name,
        client_type="confidential",
        authorization_grant_type="authorization-code",
        additional_grant_types="password",
        redirect_uris=REDIRECT_URI,
        client_secret=SECRET,
        hash_client_secret=False,
        algorithm="RS256",
        **fields,
    )


def set_up() -> None:
    call_command("migrate", verbosity=0)
    User.objects.create_user("alice", password=PASSWORD)
    User.objects.create_user("bob", password=PASSWORD)
    _application("following", revoke_on_logout=RevokeOnLogout.SESSION)
    _application("bound", token_binding_type=SSO_SESSION, token_type="jwt")


def _site(name: str) -> Site:
    return Site(get_application_model().objects.get(client_id=name), User.objects.get(username="alice"))


def _log_in(browser: Client, username: str = "alice") -> None:
    form = {"username": username, "password": PASSWORD}
    assert browser.post("/accounts/login/", form).status_code == 302


def _is_signed_in(browser: Client) -> bool:
    return browser.get("/oauth2/devices/").status_code == 200


def _sign_in() -> tuple[Client, list[tuple[Site, Any]]]:
    """Sign in in a browser, and return it with what the applications got."""
    browser = Client()
    _log_in(browser)
    logins = []
    for name in ("following", "bound"):
        site = _site(name)
        logins.append((site, login(site, browser)))
    assert _is_signed_in(browser)
    return browser, logins


def _sids() -> set[str]:
    live = LoginSession.objects.filter(terminated_at__isnull=True, expires__gt=timezone.now())
    return {str(sid) for sid in live.values_list("sid", flat=True)}


def _assert_ends_one(happens: Callable[[Client], None], reason: TerminationReason) -> Client:
    """Let something happen in one of two browsers, and assert that what came from it ends, and no more."""
    LoginSession.objects.all().delete()
    (laptop, ended), (phone, going_on) = _sign_in(), _sign_in()
    assert len(_sids()) == 2
    sid = LoginSession.objects.order_by("pk").first().sid  # type: ignore[union-attr]
    happens(laptop)
    assert not any(site.active(answer.access) for site, answer in ended)
    assert not any(site.refresh(answer.refresh).status == 200 for site, answer in ended)
    assert all(site.active(answer.access) for site, answer in going_on)
    assert all(site.refresh(answer.refresh).status == 200 for site, answer in going_on)
    assert _is_signed_in(phone)
    assert str(sid) not in _sids()
    assert LoginSession.objects.get(sid=sid).termination_reason == reason
    return laptop


def log_out() -> None:
    def happens(laptop: Client) -> None:
        assert laptop.post("/accounts/logout/").status_code == 302

    laptop = _assert_ends_one(happens, TerminationReason.LOGOUT)
    assert not _is_signed_in(laptop)
    # The next login is another session.
    _log_in(laptop)
    before = _sids()
    login(_site("following"), laptop)
    assert len(_sids() - before) == 1


def log_in_as_another() -> None:
    laptop = _assert_ends_one(lambda laptop: _log_in(laptop, "bob"), TerminationReason.LOGOUT)
    assert _is_signed_in(laptop)


def log_out_without_blocking() -> None:
    def happens(laptop: Client) -> None:
        client = AsyncClient()
        client.cookies = laptop.cookies
        assert asyncio.run(client.get("/leave/")).status_code == 200

    _assert_ends_one(happens, TerminationReason.LOGOUT)


def replay_cookie() -> None:
    """Send the cookie of before once more, which a server that keeps nothing can't forget."""
    stolen = Client()

    def happens(laptop: Client) -> None:
        stolen.cookies.update(laptop.cookies)
        assert _is_signed_in(stolen)
        assert laptop.post("/accounts/logout/").status_code == 302

    _assert_ends_one(happens, TerminationReason.LOGOUT)
    query = {"response_type": "code", "client_id": "following", "redirect_uri": REDIRECT_URI}
    again = {**stolen.cookies}
    for path in ("/oauth2/authorize/", "/oauth2/devices/", "/oauth2/device/", "/oauth2/authorized_tokens/"):
        stolen.cookies.clear()
        stolen.cookies.update(again)
        answer = stolen.get(path, query)
        assert answer.status_code == 302, path
        assert answer["Location"].startswith("/accounts/login/"), path


def end_from_elsewhere() -> None:
    """End the session from elsewhere: the browser is signed out of the server's pages, too."""

    def happens(laptop: Client) -> None:
        session = LoginSession.objects.order_by("pk").first()
        assert session is not None
        end_session(session, TerminationReason.USER)

    laptop = _assert_ends_one(happens, TerminationReason.USER)
    assert not _is_signed_in(laptop)


def expire() -> None:
    _laptop, logins = _sign_in()
    LoginSession.objects.update(expires=timezone.now() - timedelta(seconds=1))
    call_command("clearbindings")
    assert [site.active(answer.access) for site, answer in logins] == [True, False]


def say_when() -> None:
    """Say in ID tokens when the user has signed in, whatever clock the site keeps."""
    from django.contrib.sessions.models import Session

    LoginSession.objects.all().delete()
    before = int(time.time())
    laptop, logins = _sign_in()
    (session,) = LoginSession.objects.all()
    for _site, answer in logins:
        claims = verify_jwt(answer["id_token"])
        assert before <= claims["auth_time"] <= time.time()
        assert claims["sid"] == str(session.sid)
    kept = Session.objects.get(session_key=laptop.session.session_key).expire_date
    assert abs(kept - session.expires) < timedelta(seconds=5)


def use_without_browsers() -> None:
    User.objects.create_user("alice", password=PASSWORD)
    _application("following", revoke_on_logout=RevokeOnLogout.SESSION)
    _application("bound", token_binding_type=SSO_SESSION, token_type="jwt")
    for name in ("following", "bound"):
        site = _site(name)
        form = {"grant_type": "password", "username": "alice", "password": PASSWORD, "scope": "read"}
        answer = site.post("/oauth2/token/", form)
        assert answer.status == 200, answer.data
        refreshed = site.refresh(answer.refresh)
        assert site.active(refreshed.access)
        sign_out_everywhere(User.objects.get())
        assert not site.active(refreshed.access)
    assert not LoginSession.objects.exists()
