"""From a new application to a device that is signed out, in the browser of the operator and of the user."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from oauth_binding.binding.semantics import binding_reference
from tests.helpers.browser import PEOPLE, Example

pytestmark = pytest.mark.slow

SECRET = "a-client-secret-of-some-length"

#: Where pictures of the pages go, for instance docs/images; by default none are taken.
SCREENSHOTS = os.environ.get("BROWSER_SCREENSHOTS", "")


def log_in(page: Page, name: str, path: str) -> None:
    page.goto(path)
    page.get_by_label("Username").fill(name)
    page.get_by_label("Password").fill(PEOPLE[name])
    page.get_by_role("button", name="Log in").click()


def picture(page: Page, name: str) -> None:
    if SCREENSHOTS:
        page.screenshot(path=Path(SCREENSHOTS) / f"{name}.png", full_page=True)


def violations(page: Page) -> list[Any]:
    """Return what axe finds that keeps people from using the page."""
    # The search box and the links beside it are the admin's own.
    found = Axe().run(page, {"exclude": ["#changelist-search"]}).response["violations"]
    return [
        (violation["id"], violation["help"], [node["html"] for node in violation["nodes"]])
        for violation in found
        if violation["impact"] in {"serious", "critical"}
    ]


def give_name(page: Page, name: str) -> None:
    """Give a device the name by which the tests know it."""
    device = page.get_by_role("listitem").filter(has=page.get_by_role("heading", name=label(name)))
    device.get_by_text("Rename").click()
    device.get_by_label("Name").fill(name)
    device.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible()


def label(binding_value: str) -> str:
    """Return what a device is called that has no name."""
    return binding_reference(binding_value)[:12]


def create_application(page: Page, name: str) -> tuple[str, str]:
    """Create an application as the guide does, and return its credentials."""
    client_id = f"client-{secrets.token_hex(4)}"
    page.goto("/admin/oauth2_provider/application/add/")
    page.get_by_label("Name:").fill(name)
    page.get_by_label("Client id:").fill(client_id)
    page.get_by_label("Client secret:", exact=True).fill(SECRET)
    page.get_by_label("Confidential").check()
    page.get_by_label("Resource owner password-based").check()
    page.get_by_label("JWT").check()
    page.get_by_label("Token binding type:").select_option(label="Client request")
    picture(page, "application")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("was added successfully")).to_be_visible()
    return client_id, SECRET


@pytest.fixture
def operator(page: Page) -> Page:
    log_in(page, "operator", "/admin/")
    return page


@pytest.fixture
def user(browser: Browser, example: Example) -> Iterator[Page]:
    """Alice's own browser."""
    context = browser.new_context(base_url=example.address, locale="en")
    page = context.new_page()
    log_in(page, "alice", "/oauth2/devices/")
    yield page
    context.close()


def test_the_story(operator: Page, user: Page, example: Example) -> None:
    client = create_application(operator, "Mobile app")
    phone, laptop = (example.token(client, binding) for binding in ("phone", "laptop"))

    # The operator sees both devices, and none of their tokens.
    operator.goto(f"/admin/oauth_binding/tokenbinding/?q={client[0]}")
    picture(operator, "bindings")
    for name in ("phone", "laptop"):
        expect(operator.get_by_role("link", name=name, exact=True)).to_be_visible()
    for token in (phone, laptop):
        assert token not in operator.content()

    # So does the user, who gives them names and signs the phone out.
    user.goto("/oauth2/devices/")
    expect(user.get_by_role("heading", name="Mobile app")).to_be_visible()
    for name in ("laptop", "phone"):
        give_name(user, name)
    user.goto("/oauth2/devices/")
    picture(user, "devices")
    user.get_by_role("button", name="Sign out phone", exact=True).click()
    expect(user.get_by_role("status")).to_contain_text("Signed out: phone")
    assert not example.is_active(client, phone)
    assert example.is_active(client, laptop)
    expect(user.get_by_role("button", name="Sign out phone", exact=True)).to_have_count(0)

    # The operator ends the other one.
    operator.get_by_role("link", name="laptop", exact=True).click()
    operator.get_by_role("link", name="Revoke").click()
    picture(operator, "revoke")
    operator.get_by_role("button", name="Yes, revoke").click()
    expect(operator.get_by_text("1 token binding was revoked.")).to_be_visible()
    assert not example.is_active(client, laptop)


def test_the_explanation_follows_the_choices(operator: Page) -> None:
    operator.goto("/admin/oauth2_provider/application/add/")
    effect = operator.locator("#token-binding-effect")

    expect(effect).to_contain_text("Every request is answered with a new token.")
    operator.get_by_label("Token binding type:").select_option(label="Client request")
    expect(effect).to_contain_text("Each tokenBindingId holds one token, which is answered again")
    operator.get_by_label("JWT").check()
    expect(effect).to_contain_text("a new request replaces it")
    operator.get_by_label("Require a binding").check()
    expect(effect).to_contain_text("A request without one is refused.")


def test_the_explanation_of_the_token_policy_follows_the_choices(operator: Page) -> None:
    operator.goto("/admin/oauth2_provider/application/add/")
    effect = operator.locator("#sender-constraint-effect")

    expect(effect).to_contain_text("A proof that comes with a token request is ignored.")
    operator.get_by_label("Token binding type:").select_option(label="DPoP key")
    expect(effect).to_contain_text("Tokens that are bound to a key are of no use without it.")
    operator.get_by_label("DPoP: the client proves a key of its own").check()
    expect(effect).to_contain_text("A request without one gets bearer tokens")
    operator.get_by_label("Report what would be refused").check()
    expect(effect).to_contain_text("This page says how many devices sent none.")
    operator.get_by_label("Yes", exact=True).check()
    expect(effect).to_contain_text("A request without one is refused.")
    picture(operator, "token-policy")


def test_what_is_wrong_is_said_at_the_field(operator: Page) -> None:
    operator.goto("/admin/oauth2_provider/application/add/")
    operator.get_by_label("Confidential").check()
    operator.get_by_label("Implicit").check()
    operator.get_by_label("Redirect URIs:", exact=True).fill("https://client.example/")
    operator.get_by_label("Token binding type:").select_option(label="Client request")
    operator.get_by_role("button", name="Save", exact=True).click()

    row = operator.locator(".field-token_binding_type")
    expect(row).to_contain_text("The implicit grant does not use the token endpoint")


def test_devices_by_keyboard_alone(operator: Page, user: Page, example: Example) -> None:
    client = create_application(operator, "Keyboard app")
    tokens = {name: example.token(client, name) for name in ("watch", "tablet")}

    def press_until(name: str) -> None:
        for _ in range(60):
            user.keyboard.press("Tab")
            focused = user.evaluate(
                "(document.activeElement.getAttribute('aria-label') || document.activeElement.innerText)"
            )
            if focused.split() == name.split():
                return
        raise AssertionError(f"the Tab key never comes to {name}")

    user.goto("/oauth2/devices/")
    press_until(f"Sign out {label('watch')}")
    outline = user.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline != "none"
    user.keyboard.press("Enter")

    expect(user.get_by_role("status")).to_contain_text(f"Signed out: {label('watch')}")
    assert not example.is_active(client, tokens["watch"])
    assert example.is_active(client, tokens["tablet"])


def test_without_javascript(operator: Page, browser: Browser, example: Example) -> None:
    client = create_application(operator, "Plain app")
    token = example.token(client, "e-reader")
    context = browser.new_context(base_url=example.address, java_script_enabled=False)
    page = context.new_page()
    log_in(page, "alice", "/oauth2/devices/")

    page.get_by_role("button", name=f"Sign out {label('e-reader')}", exact=True).click()

    expect(page.get_by_role("status")).to_contain_text(f"Signed out: {label('e-reader')}")
    assert not example.is_active(client, token)
    context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_pages_are_accessible_and_fit(
    browser: Browser, example: Example, operator: Page, scheme: Any, width: int
) -> None:
    """In light and dark, wide and narrow: nothing serious for axe, and nothing to scroll sideways on ours."""
    client = create_application(operator, f"{scheme} {width}")
    name = f"A device with quite a long name of its own {scheme} {width}"
    example.token(client, name)
    context = browser.new_context(
        base_url=example.address,
        color_scheme=scheme,
        viewport={"width": width, "height": 800},
    )
    page = context.new_page()
    log_in(page, "alice", "/oauth2/devices/")
    give_name(page, name)
    picture(page, f"devices-{scheme}-{width}")
    expect(page.get_by_role("heading", name=f"{scheme} {width}", exact=True)).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    context.clear_cookies()
    log_in(page, "operator", "/admin/oauth_binding/tokenbinding/")
    binding = page.get_by_role("link", name=f"{scheme} {width}").first.get_attribute("href")
    assert binding is not None
    for name, path in (
        ("bindings", "/admin/oauth_binding/tokenbinding/"),
        ("binding", binding),
        ("revoke", binding.replace("/change/", "/revoke/")),
        ("application", "/admin/oauth2_provider/application/add/"),
    ):
        page.goto(path)
        picture(page, f"{name}-{scheme}-{width}")
        assert violations(page) == [], name
    context.close()
