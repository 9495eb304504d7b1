"""Signing a browser out from another one, in the browsers of a user."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.browser import PEOPLE, Example
from tests.helpers.pages import log_in, picture, violations

pytestmark = pytest.mark.slow

SECRET = "a-client-secret-of-some-length"

#: Who signs in: one who may open pages of the site beside the server's.
NAME = "operator"


class Contexts:
    """Browsers that have nothing in common, each with a page."""

    def __init__(self, browser: Browser, example: Example) -> None:
        self._browser, self._example = browser, example
        self._contexts: list[Any] = []

    def open(self, **options: Any) -> Page:
        context = self._browser.new_context(base_url=self._example.address, **{"locale": "en", **options})
        self._contexts.append(context)
        return context.new_page()

    def close(self) -> None:
        for context in self._contexts:
            context.close()


@pytest.fixture
def browsers(browser: Browser, example: Example) -> Iterator[Contexts]:
    contexts = Contexts(browser, example)
    yield contexts
    contexts.close()


def create_application(page: Page, name: str, callback: str) -> tuple[str, str]:
    """Create an application whose tokens end with the login session, and return its credentials."""
    client_id = f"client-{secrets.token_hex(4)}"
    log_in(page, NAME, "/admin/oauth2_provider/application/add/")
    page.get_by_label("Name:").fill(name)
    page.get_by_label("Client id:").fill(client_id)
    page.get_by_label("Client secret:", exact=True).fill(SECRET)
    page.get_by_label("Confidential").check()
    page.get_by_label("Authorization code", exact=True).check()
    page.get_by_label("Redirect URIs:", exact=True).fill(callback)
    page.get_by_label("Token binding type:").select_option(label="Login session")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was added successfully")).to_be_visible()
    return client_id, SECRET


def sign_in(page: Page, example: Example, client: tuple[str, str], callback: str) -> str:
    """Sign a user in to an application, whose access token is returned."""
    verifier = secrets.token_urlsafe(48)
    query = {
        "response_type": "code",
        "client_id": client[0],
        "redirect_uri": callback,
        "scope": "read",
        "code_challenge": verifier,
        "code_challenge_method": "plain",
    }
    page.goto(f"/oauth2/authorize/?{urlencode(query)}")
    if page.get_by_label("Username").is_visible():
        page.get_by_label("Username").fill(NAME)
        page.get_by_label("Password").fill(PEOPLE[NAME])
        page.get_by_role("button", name="Log in").click()
    page.get_by_role("button", name="Authorize").click()
    page.wait_for_url(f"{callback}?*")
    code = parse_qs(urlsplit(page.url).query)["code"][0]
    form = {"grant_type": "authorization_code", "redirect_uri": callback, "code_verifier": verifier}
    answer = example.post("/oauth2/token", client, code=code, **form)
    return str(answer["access_token"])


def browsers_on(page: Page, application: str) -> Any:
    """Return the entries of the browsers that are signed in to an application."""
    entries = page.get_by_role("list", name="Browsers").get_by_role("listitem")
    return entries.filter(has_text=application)


def test_one_browser_signs_the_other_out(browsers: Contexts, example: Example) -> None:
    callback = f"{example.address}/callback"
    client = create_application(browsers.open(), "Web shop", callback)
    laptop, phone = browsers.open(), browsers.open()
    tokens = [sign_in(page, example, client, callback) for page in (laptop, phone)]

    # The laptop sees both, and which one it is.
    laptop.goto("/oauth2/devices/")
    entries = browsers_on(laptop, "Web shop")
    expect(entries).to_have_count(2)
    expect(entries.first).to_contain_text("This browser")
    picture(laptop, "browsers")
    assert violations(laptop) == []

    # It signs the phone's out, and stays itself.
    entries.last.get_by_role("link", name="Sign out").click()
    laptop.get_by_role("button", name="Sign out").click()
    expect(laptop.get_by_role("status")).to_contain_text("is signed out.")
    expect(entries).to_have_count(1)
    assert [example.is_active(client, token) for token in tokens] == [True, False]

    # The phone has to log in again wherever it goes.
    for path in ("/admin/", "/oauth2/devices/"):
        phone.goto(path)
        expect(phone.get_by_label("Username")).to_be_visible()
    laptop.goto("/admin/")
    expect(laptop.get_by_role("heading", name="Site administration")).to_be_visible()

    # At last the laptop signs itself out.
    laptop.goto("/oauth2/devices/")
    entries.first.get_by_role("link", name="Sign out").click()
    expect(laptop.get_by_role("heading", name="Sign out this browser?")).to_be_visible()
    laptop.get_by_role("button", name="Sign out").click()
    expect(laptop.get_by_role("heading", name="Log in")).to_be_visible()
    laptop.goto("/oauth2/devices/")
    expect(laptop.get_by_label("Username")).to_be_visible()
    assert not example.is_active(client, tokens[0])


def test_an_operator_ends_a_login_session(browsers: Contexts, example: Example) -> None:
    callback = f"{example.address}/callback"
    operator, phone = browsers.open(), browsers.open()
    client = create_application(operator, "Newsletter", callback)
    token = sign_in(phone, example, client, callback)

    operator.goto("/admin/oauth_binding/loginsession/?status=live")
    picture(operator, "login-sessions")
    assert violations(operator) == []
    operator.locator("#result_list input.action-select").first.check()
    operator.get_by_label("Action:").select_option(label="End selected login sessions")
    operator.get_by_title("Run the selected action").click()
    assert violations(operator) == []
    operator.get_by_role("button", name="Yes, end").click()

    expect(operator.get_by_text("1 login session was ended.")).to_be_visible()
    assert not example.is_active(client, token)
    phone.goto("/admin/")
    expect(phone.get_by_label("Username")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_the_german_page_is_accessible_and_fits(
    browsers: Contexts, example: Example, scheme: Any, width: int
) -> None:
    callback = f"{example.address}/callback"
    client = create_application(browsers.open(), f"Zeitung mit einem langen Namen {scheme} {width}", callback)
    sign_in(browsers.open(), example, client, callback)
    english = browsers.open()
    sign_in(english, example, client, callback)
    german = browsers.open(locale="de", color_scheme=scheme, viewport={"width": width, "height": 800})
    cookies: Any = english.context.cookies()
    german.context.add_cookies(cookies)

    german.goto("/oauth2/devices/")

    browser = german.get_by_role("list", name="Browser", exact=True).get_by_role("listitem").first
    expect(browser).to_contain_text("Dieser Browser")
    expect(browser).to_contain_text("Zuletzt gesehen")
    expect(german.get_by_role("heading", name="Geräte und Anwendungen")).to_be_visible()
    picture(german, f"browsers-{scheme}-{width}")
    assert violations(german) == []
    assert german.evaluate("document.documentElement.scrollWidth") <= width
