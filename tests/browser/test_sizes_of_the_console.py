"""The pages of the console with no bindings, a few and very many of them, in each light and width."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.browser import Example, run
from tests.helpers.pages import log_in, picture, violations

pytestmark = pytest.mark.slow

#: Users with as many devices as they are called, each at an application of the same name.
NUMBERS: Final = {"none": 0, "three": 3, "three more": 3, "very many": 50_000}

MAKE: Final = f"""
from django.contrib.auth.models import User
from oauth2_provider.models import get_application_model
from tests.helpers.rows import make_devices

for name, number in {NUMBERS!r}.items():
    application = get_application_model().objects.create(
        name=name, client_id=name, client_type="confidential", authorization_grant_type="password",
        token_type="jwt", token_binding_type="client-request",
    )
    make_devices(User.objects.create_user(name), application, number)
"""

USERS: Final = "/admin/auth/user/?q="
APPLICATIONS: Final = "/admin/oauth2_provider/application/?q="

#: What is ours on the page of a user; what is Django's has faults of its own.
LINES: Final = "fieldset:has(a[href*='user__id__exact'])"


@pytest.fixture(scope="module")
def operator(browser: Browser, example: Example) -> Any:
    """Return the cookies of an operator."""
    run(MAKE)
    page = browser.new_page(base_url=example.address, locale="en")
    log_in(page, "operator", "/admin/")
    page.wait_for_url("**/admin/")
    cookies = page.context.cookies()
    page.context.close()
    return cookies


@pytest.fixture
def open_page(browser: Browser, example: Example, operator: Any) -> Iterator[Callable[..., Page]]:
    """Return a function that opens the page of a user, or of an application, for an operator."""
    contexts = []

    def open_one(search: str, name: str, **options: Any) -> Page:
        context = browser.new_context(base_url=example.address, locale="en", **options)
        contexts.append(context)
        context.add_cookies(operator)
        page = context.new_page()
        page.goto(f"{search}{name}")
        page.locator("#result_list").get_by_role("link", name=name, exact=True).first.click()
        page.wait_for_url("**/change/**")
        return page

    yield open_one
    for context in contexts:
        context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize(
    ("name", "live", "listed"),
    [
        ("none", "0 with live tokens", "0 token bindings"),
        ("three", "3 with live tokens", "3 token bindings"),
        ("very many", "At least 2000 with live tokens", "At least 2,000 token bindings"),
    ],
)
def test_it_is_accessible_and_fits(
    open_page: Callable[..., Page], name: str, live: str, listed: str, scheme: str, width: int
) -> None:
    for kind, search, part in (("application", APPLICATIONS, "html"), ("user", USERS, LINES)):
        page = open_page(search, name, color_scheme=scheme, viewport={"width": width, "height": 800})
        expect(page.get_by_text(live, exact=True)).to_be_visible()
        picture(page, f"console-{kind}-{name}-{scheme}-{width}")
        assert violations(page, part) == [], kind
        assert page.evaluate("document.documentElement.scrollWidth") <= width, kind

    # The list that the page of the user leads to.
    page.get_by_role("link", name=live).click()
    expect(page.locator(".paginator").first).to_contain_text(listed)
    picture(page, f"console-list-{name}-{scheme}-{width}")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_device_is_ended_by_keyboard_alone(open_page: Callable[..., Page]) -> None:
    page = open_page(USERS, "three more")

    def press_until(name: str) -> None:
        for _ in range(80):
            page.keyboard.press("Tab")
            focused = page.evaluate(
                "(document.activeElement.textContent || document.activeElement.value || '').trim()"
            )
            if focused == name:
                assert page.evaluate("document.activeElement.matches(':focus-visible')")
                page.keyboard.press("Enter")
                return
        raise AssertionError(f"the Tab key never comes to {name}")

    press_until("3 with live tokens")
    expect(page.get_by_text("3 token bindings", exact=True)).to_be_visible()
    device = page.locator("#result_list tbody th a").first.inner_text()
    press_until("Skip to main content")
    press_until(device)
    expect(page.get_by_role("heading", name="View token binding")).to_be_visible()
    press_until("Skip to main content")
    press_until("Revoke")
    expect(page.get_by_role("heading", name="Revoke token bindings")).to_be_visible()
    press_until("Skip to main content")
    press_until("Yes, revoke")

    # Back where the operator has come from.
    expect(page.get_by_text("1 token binding was revoked.")).to_be_visible()
    expect(page.get_by_text("2 token bindings", exact=True)).to_be_visible()
