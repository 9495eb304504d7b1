"""The addresses of the app, and how each answers what the database gives up for others."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final, NamedTuple

#: For clients (RFC 6749 section 5.2), for people, and as Django REST framework has it.
JSON, PAGE, DETAIL = "JSON", "page", "detail"

#: It asks nothing that could be given up.
NOTHING: Final = "nothing"


class Door(NamedTuple):
    """How an address is asked, and how it answers what is given up."""

    kind: str
    method: str = "GET"
    form: dict[str, Any] | None = None
    #: Where it is, if not at its route itself.
    path: str = ""


CLIENT: Final = {"client_id": "x", "client_secret": "x"}
TOKEN: Final = Door(JSON, "POST", {**CLIENT, "grant_type": "client_credentials"})
TAKES_A_TOKEN: Final = Door(JSON, "POST", {**CLIENT, "token": "x"})
DOCUMENT: Final = Door(NOTHING)

#: All of the app's, by their routes.
DOORS: dict[str, Door] = {
    "oauth2/.well-known/oauth-authorization-server": DOCUMENT,
    "oauth2/.well-known/oauth-authorization-server/<path:issuer_path>": DOCUMENT,
    "oauth2/.well-known/oauth-protected-resource": DOCUMENT,
    "oauth2/.well-known/oauth-protected-resource/<path:resource_path>": DOCUMENT,
    r"oauth2/^\.well-known/openid-configuration/?$": Door(
        NOTHING, path="oauth2/.well-known/openid-configuration"
    ),
    "oauth2/.well-known/jwks.json": DOCUMENT,
    ".well-known/oauth-authorization-server": DOCUMENT,
    ".well-known/oauth-authorization-server/<path:issuer_path>": DOCUMENT,
    ".well-known/openid-configuration": DOCUMENT,
    ".well-known/openid-configuration/<path:issuer_path>": DOCUMENT,
    ".well-known/oauth-protected-resource": DOCUMENT,
    ".well-known/oauth-protected-resource/<path:resource_path>": DOCUMENT,
    "oauth2/token/": TOKEN,
    "oauth2/token": TOKEN,
    "oauth2/revoke_token/": TAKES_A_TOKEN,
    "oauth2/revoke_token": TAKES_A_TOKEN,
    "oauth2/revoke/": TAKES_A_TOKEN,
    "oauth2/revoke": TAKES_A_TOKEN,
    "oauth2/introspect/": TAKES_A_TOKEN,
    "oauth2/introspect": TAKES_A_TOKEN,
    "oauth2/device-authorization/": Door(JSON, "POST", {"client_id": "x"}),
    "oauth2/userinfo/": Door(JSON),
    "oauth2/register/": Door(
        JSON, "POST", {"grant_types": ["authorization_code"], "redirect_uris": ["https://x.example/"]}
    ),
    "oauth2/register/<str:client_id>/": Door(JSON, path="oauth2/register/x/"),
    "oauth2/revoked-tokens/": Door(JSON),
    "oauth2/authorize/": Door(PAGE, form={"client_id": "x", "response_type": "code"}),
    "oauth2/device/": Door(PAGE, "POST", {"user_code": "x"}),
    "oauth2/device-confirm/<slug:client_id>/<slug:user_code>": Door(PAGE, path="oauth2/device-confirm/x/x"),
    "oauth2/device-grant-status/<slug:client_id>/<slug:user_code>": Door(
        PAGE, path="oauth2/device-grant-status/x/x"
    ),
    "oauth2/applications/": Door(PAGE),
    "oauth2/applications/register/": Door(
        PAGE,
        "POST",
        {
            "client_id": "x",
            "client_type": "public",
            "authorization_grant_type": "authorization-code",
            "redirect_uris": "https://x.example/",
        },
    ),
    "oauth2/applications/<slug:pk>/": Door(PAGE, path="oauth2/applications/1/"),
    "oauth2/applications/<slug:pk>/delete/": Door(PAGE, "POST", path="oauth2/applications/1/delete/"),
    "oauth2/applications/<slug:pk>/update/": Door(PAGE, "POST", path="oauth2/applications/1/update/"),
    "oauth2/authorized_tokens/": Door(PAGE),
    "oauth2/authorized_tokens/<slug:pk>/delete/": Door(
        PAGE, "POST", path="oauth2/authorized_tokens/1/delete/"
    ),
    "oauth2/logout/": Door(PAGE, form={"client_id": "x"}),
    "oauth2/devices/": Door(PAGE),
    "oauth2/devices/<slug:device>/sign-out/": Door(PAGE, "POST", path="oauth2/devices/b1/sign-out/"),
    "oauth2/devices/sign-out-others/": Door(PAGE, "POST"),
    "oauth2/devices/<slug:device>/rename/": Door(PAGE, "POST", {"name": "x"}, "oauth2/devices/b1/rename/"),
    "oauth2/devices/browsers/<int:session>/sign-out/": Door(
        PAGE, "POST", path="oauth2/devices/browsers/1/sign-out/"
    ),
    "api/devices/": Door(DETAIL),
    "api/devices/sign-out-others/": Door(DETAIL, "POST"),
    "api/devices/<str:id>/": Door(DETAIL, "DELETE", path="api/devices/b1/"),
    "api/devices/<str:id>/sign-out-others/": Door(DETAIL, "POST", path="api/devices/b1/sign-out-others/"),
}

if find_spec("rest_framework") is None:
    DOORS = {route: door for route, door in DOORS.items() if not route.startswith("api/")}
