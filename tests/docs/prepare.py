"""What the pages take for granted: the sites that they go on from, and what they say in words."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import jwt
import requests

from tests.helpers.servers import RSA_KEY

if TYPE_CHECKING:
    from tests.docs.reader import Reader

#: How the pages' applications are made.
HELPERS: Final = """
from django.contrib.auth import get_user_model
from oauth2_provider.models import get_application_model
from oauth_binding.models import TokenExchangeRule

users, applications = get_user_model().objects, get_application_model().objects
rules = TokenExchangeRule.objects

def make(client_id, grants="password", **fields):
    first, *others = grants.split()
    return applications.create(**{
        "name": client_id, "client_id": client_id, "client_secret": f"{client_id}-secret",
        "client_type": "confidential", "authorization_grant_type": first,
        "additional_grant_types": " ".join(others), "token_binding_type": "client-request", **fields})
"""

#: Users with the names and passwords of the pages, and the applications of Getting started.
ACCOUNTS: Final = f"""{HELPERS}
users.create_superuser("admin", "admin@example.com", "looking-glass-7")
users.create_user("alice", "alice@example.com", "wonderland-7")
make("phone-app")
make("phone-app-jwt", client_secret="phone-app-secret", token_type="jwt")
"""

#: The tables of the examples in Token exchange.
EXCHANGE: Final = f"""{HELPERS}
phone_app = applications.get(client_id="phone-app")
orders = make("orders", "client-credentials token-exchange")
payments = make("payments", "client-credentials token-exchange", token_type="jwt")
rules.create(client=orders, subject_client=phone_app, impersonation=True)
rules.create(client=payments, subject_client=phone_app, delegation=True, audiences="https://bank.example")
rules.create(client=orders, subject_issuer="https://idp.example", impersonation=True)
"""


def post(reader: Reader, path: str, client: str, **form: str) -> Any:
    """Send a form to the site of a page, and return the answer."""
    reader.site.serve()
    secret = f"{client.removesuffix('-jwt')}-secret"
    answer = requests.post(f"{reader.site.address}/oauth2/{path}", form, auth=(client, secret), timeout=60)
    assert answer.status_code == 200, answer.text
    return answer.json() if answer.content else None


def log_in(reader: Reader, client: str = "phone-app", binding: str = "phone", **form: str) -> str:
    """Return an access token of alice's from the site of a page."""
    alice = {"username": "alice", "password": "wonderland-7"}
    answer = post(reader, "token", client, grant_type="password", tokenBindingId=binding, **alice, **form)
    return str(answer["access_token"])


def _expire(reader: Reader, token: str) -> None:
    reader.site.python(
        "from datetime import timedelta\n"
        "from django.utils import timezone\n"
        "from oauth2_provider.models import get_access_token_model\n"
        "ago = timezone.now() - timedelta(minutes=10)\n"
        f"assert get_access_token_model().objects.filter(token={token!r}).update(expires=ago)"
    )


def an_api(reader: Reader) -> None:
    """Let a client have called the API, and another token have expired."""
    reader.placeholders["<access token>"] = log_in(reader, binding="uniqueId")
    expired = reader.placeholders["<expired access token>"] = log_in(reader, binding="old")
    _expire(reader, expired)


def devices(reader: Reader) -> None:
    """Let alice have signed in on two devices, and the reader's shell have the token of one."""
    log_in(reader, binding="laptop")
    time.sleep(0.01)
    reader.site.environment["TOKEN"] = log_in(reader, scope="devices:read devices:write")


def named_devices(reader: Reader) -> None:
    """Let alice have signed in on two devices, of which one has a name."""
    log_in(reader)
    reader.site.python(
        "from oauth_binding.models import TokenBinding\nTokenBinding.objects.update(name='Red phone')"
    )
    log_in(reader, binding="laptop")


def a_key_in_use(reader: Reader) -> None:
    """Let the announcement of a key be over."""
    file = reader.site.directory / "signing-keys.json"
    keys = json.loads(file.read_text())
    for key in keys["keys"]:
        key["nbf"] -= 24 * 60 * 60
    file.write_text(json.dumps(keys))


def a_token_of_another_server(reader: Reader) -> None:
    """Let the other server issue a token."""
    now = int(time.time())
    claims = {
        "iss": "https://idp.example",
        "sub": "8f14e45f",
        "preferred_username": "alice",
        "aud": f"{reader.site.address}/oauth2",
        "iat": now,
        "exp": now + 300,
    }
    token = jwt.encode(claims, RSA_KEY, "RS256", headers={"kid": "one"})
    reader.tokens.note("eyJhbG...eBkrrw", token)
    reader.print(json.dumps(claims))


def revoked_tokens(reader: Reader) -> None:
    """Let a JWT have been revoked, another user be locked out, and read what the feed says."""
    revoked = log_in(reader, "phone-app-jwt")
    post(reader, "revoke", "phone-app-jwt", token=revoked)
    log_in(reader, "phone-app-jwt", "laptop")
    reader.site.python(
        "from django.contrib.auth import get_user_model\n"
        "get_user_model().objects.filter(username='alice').update(is_active=False)"
    )
    _read_feed(reader)


def _read_feed(reader: Reader, query: str = "") -> dict[str, Any]:
    address = f"{reader.site.address}/oauth2/revoked-tokens/{query}"
    text = requests.get(address, timeout=60).text
    assert jwt.get_unverified_header(text)["typ"] == "revoked-tokens+jwt"
    claims: dict[str, Any] = jwt.decode(text, options={"verify_signature": False})
    reader.print(json.dumps(claims))
    return claims


def what_was_revoked(reader: Reader) -> None:
    """Read the piece of the feed that has something."""
    (minute,) = _read_feed(reader)["slices"]
    _read_feed(reader, f"?from={minute}")


def users_who_are_not_active(reader: Reader) -> None:
    """Read the piece of the feed that has their tokens."""
    (hour,) = _read_feed(reader)["suspended"]
    _read_feed(reader, f"?suspended={hour}")


#: A package of the site's own beside mysite, whose models take the place of django-oauth-toolkit's.
ACCOUNTS_APP: Final = """
INSTALLED_APPS += ["accounts"]
for model in ("Application", "Access_Token", "Refresh_Token", "Grant", "ID_Token"):
    globals()[f"OAUTH2_PROVIDER_{model.upper()}_MODEL"] = f"accounts.{model.replace('_', '')}"
"""


def tables_of_token_exchange(reader: Reader) -> None:
    """Let one backend act for alice, and then another in its turn; and make what the examples begin with."""
    extra = """
rules.filter(client=orders, subject_client=phone_app).update(delegation=True)
rules.create(client=payments, subject_client=orders, delegation=True)
"""
    reader.site.python(EXCHANGE + extra)
    kind = "urn:ietf:params:oauth:token-type:access_token"
    token = log_in(reader)
    for client in ("orders", "payments"):
        actor = post(reader, "token", client, grant_type="client_credentials")["access_token"]
        token = post(
            reader,
            "token",
            client,
            grant_type="urn:ietf:params:oauth:grant-type:token-exchange",
            subject_token=token,
            subject_token_type=kind,
            actor_token=actor,
            actor_token_type=kind,
        )["access_token"]
    claims = post(reader, "introspect", "payments", token=token)
    reader.begin_anew()
    reader.site.python(EXCHANGE)
    reader.print(json.dumps({"act": claims["act"]}))


def models_of_its_own(reader: Reader) -> None:
    reader.site.extend("mysite/settings.py", ACCOUNTS_APP)


def a_new_site(reader: Reader) -> None:
    """Begin a site that has not what the page said before."""
    reader.begin_anew()


def a_device(reader: Reader) -> None:
    """Begin a site on which alice is signed in."""
    reader.begin_anew()
    log_in(reader)


def a_bound_jwt(reader: Reader) -> None:
    """Let the code have a bound JWT at hand."""
    reader.names["token"] = log_in(reader, "phone-app-jwt")


#: The page and the beginning of a block -> what is done before it.
BEFORE: Final[dict[tuple[str, str], Callable[[Reader], None]]] = {
    (
        "docs/apis.md",
        'curl -i -H "Authorization: Bearer <expired access token>" ht',
    ): an_api,
    ("docs/commands.md", "$ python manage.py bindings --user alice"): named_devices,
    ("docs/devices.md", 'curl -H "Authorization: Bearer $TOKEN" https://example.com/a'): devices,
    ("docs/existing-sites.md", "from hashlib import sha256"): a_bound_jwt,
    ("docs/resource-server.md", 'OAUTH_BINDING = {"REVOCATION_FEED": True}'): a_new_site,
    ("docs/resource-server.md", "{"): revoked_tokens,
    ("docs/resource-server.md", '{"from": 1795401780, "until": 1795401840,'): what_was_revoked,
    (
        "docs/resource-server.md",
        '{"from": 1795402800, "until": 1795406400,',
    ): users_who_are_not_active,
    ("docs/settings.md", "from oauth_binding.authorization_server import BindingOAuth2"): a_new_site,
    ("docs/settings.md", "import uuid"): a_new_site,
    (
        "docs/settings.md",
        "from oauth2_provider.models import AbstractGrant, AbstractID",
    ): models_of_its_own,
    ("docs/settings.md", "from oauth_binding.models import TokenBinding"): a_device,
    ("docs/signing-keys.md", "$ python manage.py signingkeys rotate"): a_key_in_use,
    (
        "docs/token-exchange.md",
        '{"act": {"sub": "payments", "client_id": "payments", "act": ',
    ): tables_of_token_exchange,
    (
        "docs/token-exchange.md",
        '{"iss": "https://idp.example", "sub": "8f14e45f", "preferred',
    ): a_token_of_another_server,
}

START: Final = "django-admin startproject mysite ."

#: Pages that do not begin with the site of Getting started -> the command that makes what they begin with.
FIRST: Final = {"README.md": "", "docs/getting-started.md": START, "docs/resource-server.md": START}
