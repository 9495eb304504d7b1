"""The floor: what a bare Django view takes for the same statements and the same crypto, in the same tables.

No library of OAuth is asked, nothing is validated that the database does not say, and no row becomes an
object. Nobody can be faster with Django; how near to it a provider comes tells what its own code costs. The
API is a view of Django REST framework here, too: that is what the site has chosen.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import secrets
import uuid
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from django.conf import settings
from django.contrib.auth.hashers import check_password
from django.db import connection, transaction
from django.http import HttpRequest, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from rest_framework.authentication import BaseAuthentication
from rest_framework.request import Request

_LIFETIME: Final = timedelta(hours=10)
_ENDED: Final = timedelta(days=366 * 50)

_ACCESS: Final = "oauth2_provider_accesstoken"
_REFRESH: Final = "oauth2_provider_refreshtoken"
_BINDING: Final = "oauth_binding_tokenbinding"
_APPLICATION: Final = "oauth2_provider_application"
_POLICY: Final = "oauth_binding_tokenpolicy"

_OF_BINDING: Final = f"LEFT JOIN {_BINDING} b ON a.binding_id = b.id"
_OF_USER: Final = (
    f"SELECT a.*, u.*, c.*, b.*, p.*, a.expires AS ends, u.username AS who FROM {_ACCESS} a"
    f" LEFT JOIN auth_user u ON a.user_id = u.id LEFT JOIN {_APPLICATION} c ON a.application_id = c.id"
    f" {_OF_BINDING} LEFT JOIN {_POLICY} p ON c.id = p.application_id WHERE a.token_checksum = %s"
)
_IN_SLOT: Final = (
    "SELECT a.id, a.token, a.expires, b.*, r.id, r.token AS refresh, r.revoked"
    f" FROM {_ACCESS} a {_OF_BINDING}"
    f" LEFT JOIN {_REFRESH} r ON a.id = r.access_token_id WHERE "
)
_SEEN: Final = (
    f"UPDATE {_BINDING} SET revision = revision + 1, may_be_live = %s, last_used = %s, last_browser = %s,"
    " last_os = %s, last_device = %s, last_address = %s, last_place = %s WHERE "
)


def _all(sql: str, *parameters: Any) -> dict[str, Any] | None:
    """Return the first row by the names of its columns, or None."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        row = cursor.fetchone()
        return None if row is None else dict(zip((each[0] for each in cursor.description), row, strict=True))


def _do(sql: str, *parameters: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return int(cursor.rowcount)


def _insert(table: str, **values: Any) -> int:
    names, places = ", ".join(values), ", ".join(["%s"] * len(values))
    row = _all(f"INSERT INTO {table} ({names}) VALUES ({places}) RETURNING id", *values.values())
    assert row is not None
    return int(row["id"])


def _digest(*parts: object) -> str:
    return hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def _moment(moment: Any) -> Any:
    return connection.ops.adapt_datetimefield_value(moment)


@functools.cache
def _key() -> Any:
    return load_pem_private_key(settings.EC_PEM.encode(), None)  # type: ignore[misc]


def _client(request: HttpRequest) -> dict[str, Any]:
    scheme, _space, encoded = request.headers["Authorization"].partition(" ")
    client_id, _colon, secret = base64.b64decode(encoded).decode().partition(":")
    client = _all(
        f"SELECT c.*, p.*, c.id AS pk FROM {_APPLICATION} c LEFT JOIN {_POLICY} p ON c.id = p.application_id"
        " WHERE c.client_id = %s",
        client_id,
    )
    if scheme != "Basic" or client is None or not check_password(secret, client["client_secret"]):
        raise PermissionError
    return client


@csrf_exempt
def token(request: HttpRequest) -> JsonResponse:
    """Answer a token request: by password, of the client itself, or by a refresh token."""
    client, form = _client(request), request.POST
    if form["grant_type"] == "refresh_token":
        return _refresh(client, form["refresh_token"])
    user = None
    if form["grant_type"] == "password":
        user = _all("SELECT * FROM auth_user WHERE username = %s", form["username"])
        if user is None or not check_password(form["password"], user["password"]) or not user["is_active"]:
            raise PermissionError
    key = _digest(client["pk"], user and user["id"], form.get("tokenBindingId", ""))
    slot = _digest(key, form["scope"])
    if client["token_type"] == "opaque":
        row = _all(f"{_IN_SLOT} a.slot = %s", slot)
        if row is not None:
            # And once more, before it is answered.
            row = _all(f"{_IN_SLOT} a.token = %s", row["token"])
            assert row is not None
            return _answer(row["token"], form["scope"], row["refresh"])
    with transaction.atomic():
        if user is not None:
            _all(f"SELECT id, is_active FROM auth_user WHERE id = %s{_shared()}", user["id"])
        binding = _hold(client, user, key, form.get("tokenBindingId", ""), client["token_type"] == "jwt")
        if client["token_type"] == "jwt":
            now = timezone.now()
            if user is not None:
                _do(
                    f"UPDATE {_REFRESH} SET revoked = %s, updated = %s, access_token_id = NULL"
                    f" WHERE access_token_id IN (SELECT id FROM {_ACCESS} WHERE slot = %s)"
                    " AND revoked IS NULL",
                    *(_moment(now), _moment(now), slot),
                )
            _do(
                f"UPDATE {_ACCESS} SET slot = NULL, source_refresh_token_id = NULL, expires = %s,"
                " updated = %s WHERE slot = %s",
                *(_moment(now - _ENDED), _moment(now), slot),
            )
        holder = None if user is None else user["id"]
        return _issue(client, holder, binding, slot, form["scope"], uuid.uuid4().hex)


def _shared() -> str:
    return " FOR SHARE" if connection.vendor == "postgresql" else ""


def _hold(client: dict[str, Any], user: Any, key: str, device: str, is_seen: bool) -> int:
    now = _moment(timezone.now())
    if is_seen:
        row = _all(f"{_SEEN} key = %s RETURNING id", True, now, "", "", "", None, "", key)
        if row is not None:
            return int(row["id"])
    sightings = {
        f"{when}_{name}": None if name == "address" else ""
        for when in ("first", "last")
        for name in ("browser", "os", "device", "address", "place")
    }
    return _insert(
        _BINDING,
        application_id=client["pk"],
        user_id=user and user["id"],
        binding_type="client-request",
        binding_value=device,
        reference=_digest(device)[:43],
        name="",
        key=key,
        created=now,
        last_used=now,
        revision=0,
        may_be_live=True,
        **sightings,
    )


def _issue(
    client: dict[str, Any],
    user: int | None,
    binding: int,
    slot: str,
    scope: str,
    family: str,
    before: Any = None,
) -> JsonResponse:
    now = timezone.now()
    jti = secrets.token_urlsafe(16) if client["token_type"] == "jwt" else None
    access = secrets.token_urlsafe(32) if jti is None else _sign(client, user, scope, jti, now)
    pk = _insert(
        _ACCESS,
        user_id=user,
        source_refresh_token_id=before,
        token=access if jti is None else "",
        token_checksum=_digest(access),
        application_id=client["pk"],
        expires=_moment(now + _LIFETIME),
        scope=scope,
        resource="[]",
        created=_moment(now),
        updated=_moment(now),
        binding_id=binding,
        slot=slot,
        jti=jti,
    )
    refresh = None
    if user is not None:
        refresh = secrets.token_urlsafe(32)
        _insert(
            _REFRESH,
            user_id=user,
            token=refresh,
            token_checksum=_digest(refresh),
            application_id=client["pk"],
            access_token_id=pk,
            token_family=family,
            resource="[]",
            created=_moment(now),
            updated=_moment(now),
            binding_id=binding,
            binding_login_started=_moment(now),
        )
    return _answer(access, scope, refresh)


def _sign(client: dict[str, Any], user: int | None, scope: str, jti: str, now: Any) -> str:
    issued = int(now.timestamp())
    claims = {
        "iss": "https://issuer.example/oauth2",
        "sub": client["client_id"] if user is None else str(user),
        "aud": "https://issuer.example/oauth2",
        "client_id": client["client_id"],
        "scope": scope,
        "jti": jti,
        "iat": issued,
        "exp": issued + int(_LIFETIME.total_seconds()),
        "binding_type": "client-request",
        "binding_ref": _digest(jti)[:43],
    }
    return jwt.encode(claims, _key(), "ES256", {"typ": "at+jwt", "kid": "floor"})


def _refresh(client: dict[str, Any], presented: str) -> JsonResponse:
    """Answer a refresh: with the reads in one, and what has to be locked and written."""
    row = _all(
        "SELECT r.id AS pk, r.user_id AS holder, r.token_family AS family, r.revoked, a.id AS access, a.slot,"
        f" a.scope, u.*, b.id AS held FROM {_REFRESH} r LEFT JOIN {_ACCESS} a ON r.access_token_id = a.id"
        f" LEFT JOIN auth_user u ON r.user_id = u.id LEFT JOIN {_BINDING} b ON r.binding_id = b.id"
        " WHERE r.token_checksum = %s ORDER BY r.revoked LIMIT 1",
        _digest(presented),
    )
    if row is None or row["revoked"] is not None or not row["is_active"]:
        raise PermissionError
    with transaction.atomic():
        now = _moment(timezone.now())
        _all(f"SELECT id, is_active FROM auth_user WHERE id = %s{_shared()}", row["holder"])
        _all(f"{_SEEN} id = %s RETURNING id", True, now, "", "", "", None, "", row["held"])
        used = _do(
            f"UPDATE {_REFRESH} SET revoked = %s, updated = %s, access_token_id = NULL WHERE id = %s"
            " AND revoked IS NULL",
            *(now, now, row["pk"]),
        )
        if not used:
            raise PermissionError
        _do(
            f"UPDATE {_ACCESS} SET slot = NULL, expires = %s, updated = %s, source_refresh_token_id = NULL"
            " WHERE id = %s",
            *(_moment(timezone.now() - _ENDED), now, row["access"]),
        )
        family = str(row["family"])
        return _issue(client, row["holder"], row["held"], row["slot"], row["scope"], family, row["pk"])


def _answer(access: str, scope: str, refresh: str | None) -> JsonResponse:
    answer = {"access_token": access, "token_type": "Bearer", "scope": scope, "expires_in": 36_000}
    more = {} if refresh is None else {"refresh_token": refresh}
    return JsonResponse({**answer, **more}, headers={"Cache-Control": "no-store"})


@csrf_exempt
def introspect(request: HttpRequest) -> JsonResponse:
    """Answer what an access token is."""
    client = _client(request)
    row = _all(_OF_USER, _digest(request.POST["token"]))
    if row is None or not row["is_active"]:
        raise PermissionError
    return JsonResponse(
        {"active": True, "scope": row["scope"], "client_id": client["client_id"], "username": row["who"]}
    )


class Authentication(BaseAuthentication):
    """Lets a request to an API pass that has a good access token, and turns its user's row into no user."""

    def authenticate(self, request: Request) -> tuple[SimpleNamespace, None]:
        row = _all(_OF_USER, _digest(request.headers["Authorization"].partition(" ")[2]))
        if row is None or not row["is_active"]:
            raise PermissionError
        return SimpleNamespace(is_authenticated=True), None
