"""The doors: all that takes a credential, and gives access or facts for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

from oauth2_provider.models import get_device_grant_model

from tests.ended.held import DEVICE_GRANT, EXCHANGED, LOGIN, Held, authorize
from tests.helpers.client import PASSWORD, Site
from tests.helpers.exchange import ACCESS_TOKEN, ID_TOKEN, REFRESH_TOKEN, exchange

TOKENS = (*LOGIN, *EXCHANGED)
ACCESS_TOKENS = ("access token", "exchanged access token")
REFRESH_TOKENS = ("refresh token", "exchanged refresh token")


@dataclass(frozen=True)
class Door:
    """Something that takes credentials."""

    #: Whether it lets one in.
    opens: Callable[[Held, str], bool]
    takes: tuple[str, ...]
    #: Whether it is there in this environment.
    is_there: bool = True


def _token(held: Held, site: Site, form: dict[str, str]) -> bool:
    return site.post("/oauth2/token/", form).status == 200


def password_grant(held: Held, credential: str) -> bool:
    form = {"grant_type": "password", "username": held.user.username, "password": held.password}
    return _token(held, held.mobile, {**form, "tokenBindingId": "another"})


def code_grant(held: Held, credential: str) -> bool:
    return _token(held, held.mobile, {**held.code, "tokenBindingId": "another"})


def device_grant(held: Held, credential: str) -> bool:
    form = {"grant_type": DEVICE_GRANT, "device_code": held.device_code, "tokenBindingId": "another"}
    return _token(held, held.mobile, form)


def refresh_grant(held: Held, credential: str) -> bool:
    return held.holder(credential).refresh(held.text(credential)).status == 200


def exchange_as_subject(held: Held, credential: str) -> bool:
    kind = {"ID token": ID_TOKEN, **dict.fromkeys(REFRESH_TOKENS, REFRESH_TOKEN)}.get(
        credential, ACCESS_TOKEN
    )
    # Who is not its audience must not take an ID token.
    site = held.mobile if credential == "ID token" else held.applications.backend
    answer = exchange(site, held.text(credential), subject_token_type=kind, tokenBindingId="another")
    return answer.status == 200


def exchange_as_actor(held: Held, credential: str) -> bool:
    site = held.applications.mobile
    form = {"grant_type": "password", "username": held.applications.carol.username, "password": PASSWORD}
    subject = site.post("/oauth2/token/", {**form, "scope": "read", "tokenBindingId": "carol"})
    if subject.status != 200:
        return False
    actor = {"actor_token": held.text(credential), "actor_token_type": ACCESS_TOKEN}
    return exchange(held.applications.backend, subject.access, **actor, tokenBindingId="other").status == 200


def introspection(held: Held, credential: str) -> bool:
    text = held.text(credential)
    asking = held.holder(credential) if credential in REFRESH_TOKENS else held.applications.other
    answer = asking.introspect(text)
    return answer.status == 200 and bool(answer["active"])


def _api(path: str) -> Callable[[Held, str], bool]:
    def opens(held: Held, credential: str) -> bool:
        headers = {"Authorization": f"Bearer {held.text(credential)}"}
        answer = held.mobile.http.get(path, headers=headers)
        # An API that lets everybody in says who it takes the caller for.
        return answer.status_code == 200 and b'"user":""' not in answer.content

    return opens


def authorization_endpoint(held: Held, credential: str) -> bool:
    return authorize(held)


def device_approval(held: Held, credential: str) -> bool:
    page = held.browser.post("/oauth2/device/", {"user_code": held.user_code})
    if page.headers.get("Location", "").startswith("/oauth2/device-confirm/"):
        held.browser.post(page["Location"], {"action": "accept"})
    grant = get_device_grant_model().objects.filter(user_code=held.user_code).first()
    return grant is not None and grant.status == grant.AUTHORIZED


def devices_page(held: Held, credential: str) -> bool:
    return held.browser.get("/oauth2/devices/").status_code == 200


HAS_REST_FRAMEWORK = find_spec("rest_framework") is not None

#: What consumes a credential comes after what does not.
DOORS: dict[str, Door] = {
    "introspection": Door(introspection, (*ACCESS_TOKENS, *REFRESH_TOKENS)),
    "userinfo": Door(_api("/oauth2/userinfo/"), ACCESS_TOKENS),
    "API with Django REST framework": Door(_api("/drf/any/"), ACCESS_TOKENS, HAS_REST_FRAMEWORK),
    "API with the toolkit's class for it": Door(
        _api("/drf/toolkit/"), (*ACCESS_TOKENS, "ID token"), HAS_REST_FRAMEWORK
    ),
    "API in plain Django": Door(_api("/plain/"), ACCESS_TOKENS),
    "API in plain Django with the toolkit": Door(_api("/toolkit/"), ACCESS_TOKENS),
    "devices API": Door(_api("/api/devices/"), ACCESS_TOKENS, HAS_REST_FRAMEWORK),
    "token exchange, as the subject": Door(exchange_as_subject, TOKENS),
    "token exchange, as the actor": Door(exchange_as_actor, ("exchanged access token",)),
    "devices page": Door(devices_page, ("browser session",)),
    "device approval": Door(device_approval, ("browser session",)),
    "authorization endpoint": Door(authorization_endpoint, ("browser session",)),
    "password grant": Door(password_grant, ("password",)),
    "authorization code grant": Door(code_grant, ("authorization code",)),
    "device grant": Door(device_grant, ("device code",)),
    "refresh grant": Door(refresh_grant, REFRESH_TOKENS),
}

#: What takes credentials and gives nothing for them, with the reason.
GIVES_NOTHING = {
    "revocation endpoint": "what it is given ends, and it answers 200 to everything",
    "RP-initiated logout": "an ID token or a session is ended there, whether or not it had ended",
}

#: Doors that are elsewhere: they learn of what ends with a delay.
ELSEWHERE = {
    "API elsewhere, with the feed": ACCESS_TOKENS,
    "API elsewhere, with introspection": ACCESS_TOKENS,
}
