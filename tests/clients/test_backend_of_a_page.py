"""The recipe "A single-page application with a backend" of the documentation, as written there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
import requests

from tests.clients.server.commands import manage, shell
from tests.helpers.browser import PEOPLE, Example
from tests.helpers.ports import free_port

pytestmark = pytest.mark.slow

PAGE: Final = Path(__file__).parents[2] / "docs" / "logout.md"

FILES: Final = re.compile(r'```python title="(shop/[^"]+)"\n(.*?)```', re.DOTALL)

SECRET: Final = "a-secret-of-the-shop-of-some-length"

#: How long the backend may take to start, or to answer, in seconds.
TIMEOUT: Final = 60

#: The application as the page has it, at the addresses here.
_REGISTER: Final = """
from oauth_binding.models import LogoutNotification
from tests.helpers.client import create_application
LogoutNotification.objects.all().delete()  # what others here have left
create_application(
    name="Shop", client_id="shop", client_secret={secret!r}, client_type="confidential",
    authorization_grant_type="authorization-code", algorithm="RS256", skip_authorization=True,
    redirect_uris="{shop}/callback", post_logout_redirect_uris="{shop}/",
    revoke_on_logout="session", backchannel_logout_uri="{back_channel}/backchannel-logout",
)
"""

_FORGET: Final = """
from oauth2_provider.models import get_application_model
get_application_model().objects.get(client_id="shop").delete()
"""


@pytest.fixture
def shop(tmp_path: Path, database: Path, site: Example) -> Iterator[str]:
    """Run the backend, and return its address: its cookies are not those of the server."""
    files = dict(FILES.findall(PAGE.read_text()))
    assert sorted(files) == ["shop/settings.py", "shop/urls.py", "shop/views.py"]
    (tmp_path / "shop").mkdir()
    for name, text in files.items():
        text = text.replace("/var/tmp/shop", str(tmp_path / "cache"))
        (tmp_path / name).write_text(text.replace('"shop.example"', '"localhost", "127.0.0.1"'))
    port = free_port()
    address, back_channel = f"http://localhost:{port}", f"http://127.0.0.1:{port}"
    shell(database, _REGISTER.format(secret=SECRET, shop=address, back_channel=back_channel))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("DJANGO_")},
        "DJANGO_SETTINGS_MODULE": "shop.settings",
        "PYTHONPATH": str(tmp_path),
        "SHOP_SECRET_KEY": "a-key-of-the-shop-that-is-long-enough-for-django",
        "SHOP_ISSUER": f"{site.address}/oauth2",
        "SHOP_API": f"{site.address}/api",
        "SHOP_CLIENT_SECRET": SECRET,
        # It would have the server at an https address.
        "AUTHLIB_INSECURE_TRANSPORT": "1",
    }
    command = [sys.executable, "-m", "django", "runserver", "--noreload", f"127.0.0.1:{port}"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        wait_for(address)
        yield address
    finally:
        process.terminate()
        process.wait(TIMEOUT)
        shell(database, _FORGET)


def wait_for(address: str) -> None:
    deadline = time.monotonic() + TIMEOUT
    while True:
        try:
            requests.get(address, timeout=TIMEOUT)
        except requests.ConnectionError:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        else:
            return


class Browser(requests.Session):
    """A user's browser."""

    def log_in(self, site: Example, shop: str) -> None:
        """Log in to the shop, by way of the server's login page."""
        self.trust_env = False
        page = self.get(f"{shop}/login", timeout=TIMEOUT)
        assert page.url.startswith(f"{site.address}/accounts/login/")
        (token,) = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        form = {"csrfmiddlewaretoken": token, "username": "alice", "password": PEOPLE["alice"]}
        answer = self.post(page.url, form, timeout=TIMEOUT)
        assert answer.url == f"{shop}/", answer.text

    def log_out_of(self, address: str, path: str) -> requests.Response:
        host = "localhost.local" if "localhost" in address else "127.0.0.1"
        token = str(self.cookies.get("csrftoken", domain=host))
        return self.post(f"{address}{path}", headers={"X-CSRFToken": token}, timeout=TIMEOUT)

    def status_of(self, shop: str) -> int:
        return self.get(f"{shop}/api/me/", timeout=TIMEOUT).status_code


def test_a_logout_of_the_server_ends_the_session_of_the_shop(
    site: Example, shop: str, database: Path
) -> None:
    laptop, phone = Browser(), Browser()
    for browser in (laptop, phone):
        browser.log_in(site, shop)
        assert browser.status_of(shop) == 200

    laptop.log_out_of(site.address, "/accounts/logout/")

    assert laptop.status_of(shop) == 401  # the token has ended
    assert manage(database, "sendlogouts").strip() == "1 logout tokens delivered, 0 failed, 0 left."
    assert [browser.status_of(shop) for browser in (laptop, phone)] == [401, 200]
    # Nor does the shop have a session any more that it could log out.
    assert laptop.get(f"{shop}/login", timeout=TIMEOUT).url.startswith(f"{site.address}/accounts/login/")


def test_a_logout_of_the_shop_ends_the_login_session(site: Example, shop: str, database: Path) -> None:
    laptop, phone = Browser(), Browser()
    for browser in (laptop, phone):
        browser.log_in(site, shop)

    asked = laptop.log_out_of(shop, "/logout")
    # The server asks, as it does by default.
    assert asked.url.startswith(f"{site.address}/oauth2/logout/?")
    form = dict(re.findall(r'name="(\w+)" value="([^"]*)"', asked.text))
    answer = laptop.post(asked.url, {**form, "allow": "Logout"}, timeout=TIMEOUT)

    assert answer.url == f"{shop}/"
    assert [browser.status_of(shop) for browser in (laptop, phone)] == [401, 200]
    assert laptop.get(f"{site.address}/oauth2/devices/", timeout=TIMEOUT).url.startswith(
        f"{site.address}/accounts/login/"
    )


def test_the_shop_believes_nobody_else(site: Example, shop: str) -> None:
    for text in ("", "nonsense", "e30.e30.e30"):
        answer = requests.post(f"{shop}/backchannel-logout", {"logout_token": text}, timeout=TIMEOUT)
        assert (answer.status_code, answer.json()) == (400, {"error": "invalid_request"})
