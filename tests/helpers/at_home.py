"""Users of the example project who are signed in on devices and with browsers."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

from playwright.sync_api import Browser, BrowserContext, Page

from tests.helpers.browser import Example, run

PASSWORD = "the password of a user"
SECRET = "a-client-secret-of-some-length"

_APPLICATIONS = """
from django.contrib.auth.models import User
from oauth2_provider.models import get_application_model

for name, kind, binding_type in (
    ("Mail", "password", "client-request"),
    ("News", "password", "none"),
    ("Web shop", "authorization-code", "sso-session"),
    ("Chat", "authorization-code", "client-request"),
):
    get_application_model().objects.create(
        name=name, client_id=name.lower().replace(" ", "-"), client_secret={secret!r},
        client_type="confidential", skip_authorization=True,
        authorization_grant_type=kind, token_binding_type=binding_type,
        redirect_uris="{address}/callback" if kind == "authorization-code" else "",
    )
"""

_DEVICES = """
from datetime import timedelta
from django.utils import timezone
from tests.helpers.rows import make_devices, make_pairs
from django.contrib.auth.models import User
from oauth2_provider.models import get_application_model
from oauth_binding.models import TokenBinding

user = User.objects.create_user({user!r}, password={password!r})
mail, news = (get_application_model().objects.get(name=name) for name in ("Mail", "News"))
bindings = make_devices(user, mail, {number})
for binding in bindings[-2:-1]:
    TokenBinding.objects.filter(pk=binding.pk).update(
        name="Old phone", last_used=timezone.now() - timedelta(hours=3, minutes=20)
    )
for binding in bindings[-1:]:
    TokenBinding.objects.filter(pk=binding.pk).update(
        last_browser="Firefox", last_os="Windows", last_place="Bern, Switzerland", last_address="192.0.2.7"
    )
for binding in bindings[:1] if {number} > 2 else ():
    TokenBinding.objects.filter(pk=binding.pk).update(
        name="Grandma's tablet", last_used="2024-02-03T04:05:06Z"
    )
if bindings:
    make_pairs(user, news, [None])
"""


@dataclass
class Home:
    """The applications of the example project, and those who use them."""

    browser: Browser
    example: Example

    def __post_init__(self) -> None:
        run(_APPLICATIONS.format(secret=SECRET, address=self.example.address))

    def move_in(self, user: str, devices: int) -> None:
        """Make a user who is signed in to Mail on some devices, and to News where there are any.

        The last used is a Firefox on Windows, and the one before it is called "Old phone". Of more than two,
        the first is "Grandma's tablet".
        """
        run(_DEVICES.format(user=user, password=PASSWORD, number=devices))

    def open(self, user: str, **options: object) -> Page:
        """Return a browser of a user, who is signed in to the site."""
        settings: dict[str, object] = {"base_url": self.example.address, "locale": "en", **options}
        context: BrowserContext = self.browser.new_context(**settings)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto("/oauth2/devices/")
        page.locator("#id_username").fill(user)
        page.locator("#id_password").fill(PASSWORD)
        page.locator("[type=submit]").click()
        page.wait_for_url("**/devices/")
        return page

    def use(self, page: Page, application: str, binding: str = "") -> str:
        """Sign the user of a browser in to an application, and return the access token.

        :param binding: the identifier that the application sends; empty for none.
        """
        client_id, callback = application.lower().replace(" ", "-"), f"{self.example.address}/callback"
        verifier = secrets.token_urlsafe(48)
        query = {
            "response_type": "code",
            "client_id": client_id,
            "redirect_uri": callback,
            "scope": "read",
            "code_challenge": verifier,
            "code_challenge_method": "plain",
        }
        page.goto(f"/oauth2/authorize/?{urlencode(query)}")
        page.wait_for_url(f"{callback}?*")
        code = parse_qs(urlsplit(page.url).query)["code"][0]
        form = {"grant_type": "authorization_code", "redirect_uri": callback, "code_verifier": verifier}
        if binding:
            form["tokenBindingId"] = binding
        answer = self.example.post("/oauth2/token", (client_id, SECRET), code=code, **form)
        return str(answer["access_token"])

    def is_active(self, application: str, token: str) -> bool:
        """Return whether an access token of an application works."""
        return self.example.is_active((application.lower().replace(" ", "-"), SECRET), token)
