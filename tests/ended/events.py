"""What ends credentials for good, and how standing is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from django.conf import settings
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection
from django.test import Client, override_settings
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_application_model, get_refresh_token_model

from oauth_binding.authorization_server.revocation.login_sessions import end_session
from oauth_binding.devices import sign_out_everywhere
from oauth_binding.models import (
    LoginSession,
    RevokeOnLogout,
    TerminationReason,
    TokenBinding,
    TokenExchangeRule,
    TokenPolicy,
)
from oauth_binding.sessions.browser import SID_KEY
from tests.ended.held import CREDENTIALS, EXCHANGED, LOGIN, Held, Kind
from tests.helpers.client import PASSWORD, Answer, set_policy
from tests.helpers.end_all import PAGES, end_all
from tests.helpers.provider import provider
from tests.helpers.rows import access_token_row, refresh_token_row

#: Why a credential outlives an event.
LIVES_OTHER = "it came from another login, or from none yet"
LIVES_SAME_LOGIN = "the login goes on, and what was exchanged from it with it"
LIVES_RIGHT = "the password is as right as before"
LIVES_BROWSER = "a session of Django's is no token"
LIVES_LOGOUT = "the application says nothing of logouts"
LIVES_EXPIRY = "a login outlasts its browser, unless it is bound to that"
LIVES_NO_BROWSER = "it belongs to no browser"
LIVES_CODE = "it is on no device yet"
LIVES_AGAIN_BROWSER = "it is prolonged again, and another login session begins"
LIVES_AGAIN = "the user is active again, and so is what has no row of its own"
LIVES_OFF = "PASSWORD_CHANGE_ENDS says so"
LIVES_RULE = "it was not exchanged by the rule"
LIVES_USABLE = "it is the user's, and not the application's"

FEED_OF_USERS = "the feed names tokens that have ended, and those of users and sessions without standing"

#: Where less than the whole standing is asked.
TOOLKIT_ASKS_LESS = {
    ("exchanged access token", "API in plain Django with the toolkit"): (
        "the toolkit's own validator asks the application of the token alone"
    )
}

NEW_PASSWORD = "another correct horse"


@dataclass(frozen=True)
class Event:
    """What happens, and what it spares."""

    #: What happens; it may return what undoes it after the doors were tried.
    happens: Callable[[Held], Any]
    #: What lives on, by credential, with the reason.
    spares: Mapping[str, str] = field(default_factory=dict)
    #: The kinds of tokens it is about.
    kinds: Callable[[Kind], bool] = lambda kind: True
    #: What a door does not know of, with the reason, by credential and door.
    spares_at: Mapping[tuple[str, str], str] = field(default_factory=dict)
    #: Doors that the event closes whatever comes.
    shuts: tuple[str, ...] = ()
    #: Settings that it happens under.
    under: Callable[[], AbstractContextManager[Any]] = lambda: override_settings()
    #: Whether others have to be at another application to be untouched.
    is_of_application: bool = False
    #: Whether nothing is ended: standing is lost, and may come back.
    is_lost_standing: bool = False


def sparing(reason: str, *credentials: str, **further: str) -> dict[str, str]:
    return {**dict.fromkeys(credentials, reason), **further}


BEFORE_LOGIN = sparing(LIVES_OTHER, "password", "browser session", "authorization code", "device code")


def admin_client() -> Client:
    if not User.objects.filter(username="operator").exists():
        User.objects.create_superuser("operator", password="operator")
    client = Client()
    client.force_login(User.objects.get(username="operator"))
    return client


def admin_action(model: Any, pk: Any, action: str, **more: str) -> None:
    path = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    answer = admin_client().post(path, {"action": action, "_selected_action": str(pk), **more}, follow=True)
    assert answer.status_code == 200
    assert b"errornote" not in answer.content


def device_of(held: Held) -> str:
    row = access_token_row(held.login.access)
    return f"binding-{row.binding_id}" if row.binding_id else f"application-{row.application_id}"


def supersede(held: Held) -> None:
    form = {"grant_type": "password", "username": held.user.username, "password": held.password}
    answer = held.mobile.post("/oauth2/token/", held.bound({**form, "scope": held.login["scope"]}))
    assert answer.status == 200, answer.data


def refresh(held: Held) -> Answer:
    answer = held.mobile.refresh(held.login.refresh)
    assert answer.status == 200, answer.data
    return answer


def replay_refresh_token(held: Held) -> None:
    used = held.login
    held.login = refresh(held)
    assert held.mobile.refresh(used.refresh).status == 400


def replay_code(held: Held) -> None:
    assert held.mobile.post("/oauth2/token/", held.login_form).status == 400


def sign_out_device(held: Held) -> None:
    assert held.browser.post(f"/oauth2/devices/{device_of(held)}/sign-out/").status_code == 302


def sign_in_elsewhere(held: Held) -> None:
    """Sign in on another device, where one user may have one."""
    policy = TokenPolicy.objects.create(application=held.mobile.application, max_devices=1)
    form = {"grant_type": "password", "username": held.user.username, "password": held.password}
    answer = held.mobile.post("/oauth2/token/", {**form, "tokenBindingId": "another device"})
    assert answer.status == 200, answer.data
    policy.delete()


def withdraw_consent(held: Held) -> None:
    pk = access_token_row(held.login.access).pk
    assert held.browser.post(f"/oauth2/authorized_tokens/{pk}/delete/").status_code == 302


def end_browser(held: Held) -> None:
    assert held.browser.post("/accounts/logout/").status_code == 302


def follow_logout(held: Held) -> None:
    """Have the application follow logouts."""
    set_policy(held.mobile.application, revoke_on_logout=RevokeOnLogout.SESSION)


def end_followed_browser(held: Held) -> None:
    follow_logout(held)
    end_browser(held)


def log_another_in(held: Held) -> None:
    follow_logout(held)
    User.objects.create_user("mallory", password=PASSWORD)
    form = {"username": "mallory", "password": PASSWORD}
    browser = Client()
    browser.cookies.update(held.browser.cookies)
    assert browser.post("/accounts/login/", form).status_code == 302


def session_of(held: Held) -> LoginSession:
    return LoginSession.objects.get(sid=held.browser.session[SID_KEY])


def end_session_as(reason: TerminationReason) -> Callable[[Held], None]:
    def happens(held: Held) -> None:
        follow_logout(held)
        end_session(session_of(held), reason)

    return happens


def expire_session(held: Held) -> Callable[[], None]:
    """Let Django's session expire, as the login session knows."""
    key, login_session = held.browser.session.session_key, session_of(held)
    django_session = Session.objects.get(session_key=key)
    lasted, django_lasted = login_session.expires, django_session.expire_date

    def set_expiry(expires: datetime, django_expires: datetime) -> None:
        LoginSession.objects.filter(pk=login_session.pk).update(expires=expires)
        Session.objects.filter(session_key=key).update(expire_date=django_expires)

    past = timezone.now() - timedelta(seconds=1)
    set_expiry(past, past)
    return lambda: set_expiry(lasted, django_lasted)


def clear_expired_session(held: Held) -> None:
    """End an expired session; that it is prolonged again then is of no use."""
    prolong = expire_session(held)
    call_command("clearbindings")
    prolong()


def log_out(held: Held) -> None:
    query = {"id_token_hint": held.login["id_token"], "client_id": held.mobile.application.client_id}
    answer = held.browser.post("/oauth2/logout/", {**query, "allow": "true"})
    assert answer.status_code == 302, (answer.status_code, answer.headers, answer.content)


def change_password(held: Held) -> None:
    form = {"old_password": held.password, "new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    assert held.browser.get("/oauth2/devices/").status_code == 200
    user = User.objects.get(pk=held.user.pk)
    assert user.check_password(form["old_password"])
    user.set_password(form["new_password1"])
    user.save()


def set_active_by_sql(user: User, active: bool) -> None:
    table = connection.ops.quote_name(User._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {table} SET is_active = %s WHERE id = %s", [active, user.pk])


def deactivate(held: Held) -> None:
    """Deactivate a user, who then is active again: what has ended stays ended."""
    user = User.objects.get(pk=held.user.pk)
    user.is_active = False
    user.save()
    set_active_by_sql(user, True)


def lose_user_standing(held: Held) -> Callable[[], None]:
    set_active_by_sql(held.user, False)
    return lambda: set_active_by_sql(held.user, True)


def lose_application_standing(held: Held) -> Callable[[], None]:
    pk = held.mobile.application.pk
    patch = mock.patch.object(
        get_application_model(), "is_usable", lambda application, request: application.pk != pk
    )
    patch.start()
    return patch.stop


def lose_rule(held: Held) -> Callable[[], None]:
    clients = (held.applications.backend.application, held.mobile.application)
    rules = TokenExchangeRule.objects.filter(client__in=clients)
    gone = list(rules.filter(subject_client=held.mobile.application))
    rules.filter(pk__in=[rule.pk for rule in gone]).delete()

    def undo() -> None:
        TokenExchangeRule.objects.bulk_create(gone)

    return undo


def delete_user(held: Held) -> None:
    User.objects.get(pk=held.user.pk).delete()


def delete_application(held: Held) -> None:
    get_application_model().objects.get(pk=held.mobile.application.pk).delete()


@contextmanager
def password_change_ends(extent: str) -> Iterator[None]:
    with override_settings(OAUTH_BINDING={**settings.OAUTH_BINDING, "PASSWORD_CHANGE_ENDS": extent}):
        yield


def bound_only(kind: Kind) -> bool:
    return kind.is_bound


def unbound_only(kind: Kind) -> bool:
    return not kind.is_bound


def of_session_only(kind: Kind) -> bool:
    return kind.is_of_session


def not_of_session(kind: Kind) -> bool:
    return not kind.is_of_session


def device_only(kind: Kind) -> bool:
    return kind.is_bound and not kind.is_of_session


#: What lives on when a browser is signed out of what ends with that.
WITHOUT_BROWSER = {"password": LIVES_RIGHT, "device code": LIVES_NO_BROWSER}


EVENTS: dict[str, Event] = {
    "the access token is revoked": Event(lambda held: held.mobile.revoke(held.login.access), BEFORE_LOGIN),
    "the refresh token is revoked": Event(lambda held: held.mobile.revoke(held.login.refresh), BEFORE_LOGIN),
    "the token is superseded": Event(
        supersede,
        {**BEFORE_LOGIN, **sparing(LIVES_SAME_LOGIN, *EXCHANGED)},
        kinds=lambda kind: device_only(kind) and kind.is_jwt,
    ),
    "the token is refreshed": Event(refresh, {**BEFORE_LOGIN, **sparing(LIVES_SAME_LOGIN, *EXCHANGED)}),
    "a used refresh token comes again": Event(
        replay_refresh_token, BEFORE_LOGIN, under=lambda: provider(REFRESH_TOKEN_REUSE_PROTECTION=True)
    ),
    "the authorization code comes again": Event(replay_code, BEFORE_LOGIN),
    "the device is signed out": Event(
        sign_out_device,
        sparing(
            LIVES_CODE,
            "authorization code",
            "device code",
            password=LIVES_RIGHT,
            **{"browser session": LIVES_BROWSER},
        ),
        kinds=bound_only,
    ),
    "another device takes its place": Event(
        sign_in_elsewhere,
        sparing(
            LIVES_CODE,
            "authorization code",
            "device code",
            password=LIVES_RIGHT,
            **{"browser session": LIVES_BROWSER},
        ),
        kinds=device_only,
    ),
    "what is not bound to a device is signed out": Event(
        sign_out_device,
        {"password": LIVES_RIGHT, "browser session": LIVES_BROWSER},
        kinds=unbound_only,
    ),
    "the user is signed out everywhere": Event(
        lambda held: sign_out_everywhere(held.user),
        {"password": LIVES_RIGHT},
    ),
    "an operator signs the user out everywhere": Event(
        lambda held: admin_action(User, held.user.pk, "sign_out_users", confirmed="1"),
        {"password": LIVES_RIGHT},
    ),
    "an operator ends all of the user": Event(
        lambda held: end_all(admin_client(), f"{PAGES}user/{held.user.pk}/"),
        {"password": LIVES_RIGHT},
    ),
    "an operator ends all of the application": Event(
        lambda held: end_all(admin_client(), f"{PAGES}application/{held.mobile.application.pk}/"),
        {"password": LIVES_RIGHT, "browser session": LIVES_BROWSER},
        is_of_application=True,
    ),
    "an operator ends all that the list shows": Event(
        lambda held: end_all(admin_client(), f"{PAGES}?user__id__exact={held.user.pk}&live=yes"),
        BEFORE_LOGIN,
        kinds=bound_only,
    ),
    "an operator revokes the binding": Event(
        lambda held: admin_action(
            TokenBinding, access_token_row(held.login.access).binding_id, "revoke", confirmed="1"
        ),
        BEFORE_LOGIN,
        kinds=bound_only,
    ),
    "an operator revokes the access token": Event(
        lambda held: admin_action(
            get_access_token_model(), access_token_row(held.login.access).pk, "revoke_tokens", confirmed="1"
        ),
        BEFORE_LOGIN,
    ),
    "an operator revokes the refresh token": Event(
        lambda held: admin_action(
            get_refresh_token_model(),
            refresh_token_row(held.login.refresh).pk,
            "revoke_tokens",
            confirmed="1",
        ),
        BEFORE_LOGIN,
    ),
    "consent is withdrawn": Event(withdraw_consent, BEFORE_LOGIN),
    "the user logs out by OpenID Connect": Event(
        log_out,
        sparing(LIVES_OTHER, "authorization code", "device code", password=LIVES_RIGHT),
        kinds=not_of_session,
        under=lambda: provider(OIDC_RP_INITIATED_LOGOUT_ENABLED=True),
    ),
    "the user logs out": Event(
        end_browser,
        {**WITHOUT_BROWSER, **sparing(LIVES_LOGOUT, "authorization code", *LOGIN, *EXCHANGED)},
        kinds=not_of_session,
    ),
    "the user logs out, and the tokens are bound to the session": Event(
        end_browser, WITHOUT_BROWSER, kinds=of_session_only
    ),
    "the user logs out, and the application follows": Event(end_followed_browser, WITHOUT_BROWSER),
    "another user logs in in the browser, and the application follows": Event(
        log_another_in, WITHOUT_BROWSER
    ),
    "the user signs the browser out from elsewhere, and the application follows": Event(
        end_session_as(TerminationReason.USER), WITHOUT_BROWSER
    ),
    "an operator ends the session, and the application follows": Event(
        end_session_as(TerminationReason.OPERATOR), WITHOUT_BROWSER
    ),
    "a session has expired for good": Event(
        clear_expired_session,
        {
            **WITHOUT_BROWSER,
            **sparing(LIVES_EXPIRY, "authorization code", *LOGIN, *EXCHANGED),
            "browser session": LIVES_AGAIN_BROWSER,
        },
        kinds=not_of_session,
    ),
    "a session has expired for good, and the tokens are bound to it": Event(
        clear_expired_session,
        {**WITHOUT_BROWSER, "browser session": LIVES_AGAIN_BROWSER},
        kinds=of_session_only,
    ),
    "the password is changed": Event(change_password, kinds=bound_only),
    "the password is changed, and nothing binds": Event(
        change_password,
        sparing(LIVES_OFF, "authorization code", "device code", *LOGIN, *EXCHANGED),
        kinds=unbound_only,
    ),
    "the password is changed, which ends all": Event(
        change_password, under=lambda: password_change_ends("all")
    ),
    "the password is changed, which ends nothing": Event(
        change_password,
        sparing(LIVES_OFF, "authorization code", "device code", *LOGIN, *EXCHANGED),
        kinds=not_of_session,
        under=lambda: password_change_ends("off"),
    ),
    "the password is changed, which ends nothing but sessions": Event(
        change_password,
        {"device code": LIVES_NO_BROWSER},
        kinds=of_session_only,
        under=lambda: password_change_ends("off"),
    ),
    "the user is deactivated": Event(deactivate, {"password": LIVES_AGAIN}),
    "the user is deleted": Event(delete_user),
    "the application is deleted": Event(
        delete_application,
        {"browser session": LIVES_USABLE},
        shuts=("authorization endpoint", "device approval"),
        is_of_application=True,
    ),
    # Standing
    "the user is not active": Event(lose_user_standing, is_lost_standing=True),
    "the session has expired": Event(
        expire_session,
        {**WITHOUT_BROWSER, **sparing(LIVES_EXPIRY, "authorization code", *LOGIN, *EXCHANGED)},
        kinds=not_of_session,
        is_lost_standing=True,
    ),
    "the session has expired that the tokens are bound to": Event(
        expire_session, WITHOUT_BROWSER, kinds=of_session_only, is_lost_standing=True
    ),
    "the application is not usable": Event(
        lose_application_standing,
        {"browser session": LIVES_USABLE},
        spares_at={
            **TOOLKIT_ASKS_LESS,
            ("access token", "API elsewhere, with the feed"): FEED_OF_USERS,
            ("exchanged access token", "API elsewhere, with the feed"): FEED_OF_USERS,
        },
        shuts=("authorization endpoint",),
        is_of_application=True,
        is_lost_standing=True,
    ),
    "the exchange rule is gone": Event(
        lose_rule,
        sparing(LIVES_RULE, *(name for name in CREDENTIALS if name not in EXCHANGED)),
        spares_at={("exchanged access token", "API elsewhere, with the feed"): FEED_OF_USERS},
        shuts=("token exchange, as the subject", "token exchange, as the actor"),
        is_of_application=True,
        is_lost_standing=True,
    ),
}
