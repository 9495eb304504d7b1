"""From a new application to a device that is signed out, in the browser of the operator and of the user."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from oauth_binding.binding.semantics import binding_reference
from tests.helpers.browser import PEOPLE, Example
from tests.helpers.pages import log_in, picture, violations

pytestmark = pytest.mark.slow

SECRET = "a-client-secret-of-some-length"

#: What is read aloud of what has the focus.
ACCESSIBLE_NAME = """
[document.activeElement].flatMap(
    (focused) => (focused.getAttribute("aria-labelledby") || "").split(" ").filter(Boolean)
        .map((id) => document.getElementById(id).innerText)
).join(" ") || document.activeElement.innerText
"""


def give_name(page: Page, name: str) -> None:
    """Give a device the name by which the tests know it."""
    device = page.get_by_role("listitem").filter(has=page.get_by_text(label(name), exact=True))
    device.get_by_text("Rename").click()
    device.get_by_role("textbox").fill(name)
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


def add_devices(client_id: str, number: int) -> None:
    """Give alice more devices of an application than one request can end."""
    code = f"""
from django.contrib.auth.models import User
from oauth2_provider.models import get_application_model
from tests.helpers.rows import make_devices
application = get_application_model().objects.get(client_id={client_id!r})
make_devices(User.objects.get(username="alice"), application, {number})
"""
    subprocess.run([sys.executable, "manage.py", "shell", "--verbosity", "0", "-c", code], check=True)


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
        expect(operator.get_by_role("link", name=label(name))).to_be_visible()
    for token in (phone, laptop):
        assert token not in operator.content()

    # So does the user, who gives them names and signs the phone out.
    user.goto("/oauth2/devices/")
    expect(user.get_by_text("Mobile app", exact=True)).to_have_count(2)
    for name in ("laptop", "phone"):
        give_name(user, name)
    user.goto("/oauth2/devices/")
    picture(user, "devices")
    user.get_by_role("link", name="Sign out phone", exact=True).click()
    picture(user, "devices-sign-out")
    user.get_by_role("button", name="Sign out", exact=True).click()
    expect(user.get_by_role("status")).to_contain_text("phone is signed out.")
    assert not example.is_active(client, phone)
    assert example.is_active(client, laptop)
    expect(user.get_by_role("link", name="Sign out phone", exact=True)).to_have_count(0)

    # The operator ends the other one.
    operator.get_by_role("link", name=label("laptop")).click()
    operator.get_by_role("link", name="Revoke").click()
    operator.get_by_role("button", name="Yes, revoke").click()
    expect(operator.get_by_text("1 token binding was revoked.")).to_be_visible()
    assert not example.is_active(client, laptop)


def test_a_device_is_found_by_its_whole_id_which_is_shown_on_request(
    operator: Page, example: Example
) -> None:
    example.token(create_application(operator, "Tablet app"), "an-id-to-look-for")

    operator.goto("/admin/oauth_binding/tokenbinding/")
    operator.get_by_label("Find by the whole id:").fill("an-id-to-look-for")
    operator.get_by_role("button", name="Find", exact=True).click()
    expect(operator).to_have_url(
        re.compile(r"tokenbinding/\?q=" + binding_reference("an-id-to-look-for") + "$")
    )
    operator.get_by_role("link", name=label("an-id-to-look-for")).click()
    expect(operator.get_by_text("an-id-to-look-for")).to_have_count(0)
    assert violations(operator) == []
    operator.get_by_role("button", name="Show the whole id").click()
    expect(operator.get_by_text("an-id-to-look-for", exact=True)).to_be_visible()
    assert violations(operator) == []


def test_the_explanation_follows_the_choices(operator: Page) -> None:
    operator.goto("/admin/oauth2_provider/application/add/")
    effect = operator.locator("#token-binding-effect")

    expect(effect).to_contain_text("Every request is answered with a new token.")
    operator.get_by_label("Token binding type:").select_option(label="Client request")
    expect(effect).to_contain_text("Each tokenBindingId holds one token, which is returned again")
    operator.get_by_label("JWT").check()
    expect(effect).to_contain_text("a new request replaces it")
    demand = operator.locator(".field-require_binding")
    demand.get_by_label("Report what would be refused").check()
    expect(effect).to_contain_text("This page says how many users sent none.")
    demand.get_by_label("Yes", exact=True).check()
    expect(effect).to_contain_text("A request without one is refused.")


def test_the_explanation_of_the_token_policy_follows_the_choices(operator: Page) -> None:
    operator.goto("/admin/oauth2_provider/application/add/")
    effect = operator.locator("#sender-constraint-effect")

    expect(effect).to_contain_text("A proof that comes with a token request is ignored.")
    operator.get_by_label("Token binding type:").select_option(label="DPoP key")
    expect(effect).to_contain_text("Tokens that are bound to a key are of no use without it.")
    operator.get_by_label("DPoP: the client proves a key of its own").check()
    expect(effect).to_contain_text("A request without one gets bearer tokens")
    demand = operator.locator(".field-require_sender_constraint")
    demand.get_by_label("Report what would be refused").check()
    expect(effect).to_contain_text("This page says how many devices sent none.")
    demand.get_by_label("Yes", exact=True).check()
    expect(effect).to_contain_text("A request without one is refused.")
    picture(operator, "token-policy")


def test_the_explanation_of_audiences_follows_what_is_written(operator: Page) -> None:
    operator.goto("/admin/oauth2_provider/application/add/")
    effect = operator.locator("#audiences-effect")

    expect(effect).to_contain_text("A client may ask for any resource.")
    operator.get_by_label("Allowed audiences:").fill("https://orders.example/api")
    operator.get_by_label("Default audiences:").focus()
    expect(effect).to_contain_text("A request that asks for none is refused, too.")
    operator.get_by_label("Default audiences:").fill("https://orders.example/api")
    operator.get_by_label("Allowed audiences:").focus()
    expect(effect).to_contain_text("A request that asks for none gets tokens for the default ones.")


def test_the_explanation_of_what_apis_want_follows_the_choices(operator: Page) -> None:
    operator.goto("/admin/oauth2_provider/application/add/")
    effect = operator.locator("#presented-binding-effect")
    demand = operator.locator(".field-require_presented_binding")

    expect(effect).to_contain_text("APIs take its tokens without being told what they are bound to.")
    demand.get_by_label("Report what would be refused").check()
    expect(effect).to_contain_text("Without a token binding type there is nothing that a request could name.")
    operator.get_by_label("Token binding type:").select_option(label="Client request")
    expect(effect).to_contain_text("This page says how many devices made such requests.")
    demand.get_by_label("Yes", exact=True).check()
    expect(effect).to_contain_text("is refused.")
    operator.get_by_label("Token binding type:").select_option(label="DPoP key")
    expect(effect).to_contain_text("naming it proves nothing")


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
            focused = user.evaluate(ACCESSIBLE_NAME)
            if focused.split() == name.split():
                return
        raise AssertionError(f"the Tab key never comes to {name}")

    user.goto("/oauth2/devices/")
    for name in tokens:
        give_name(user, name)
    press_until("Sign out watch")
    assert user.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    user.keyboard.press("Enter")
    expect(user.get_by_role("heading", name="Sign out watch?")).to_be_visible()
    press_until("Sign out")
    user.keyboard.press("Enter")

    expect(user.get_by_role("status")).to_contain_text("watch is signed out.")
    assert not example.is_active(client, tokens["watch"])
    assert example.is_active(client, tokens["tablet"])


def test_without_javascript(operator: Page, browser: Browser, example: Example) -> None:
    client = create_application(operator, "Plain app")
    token = example.token(client, "e-reader")
    context = browser.new_context(base_url=example.address, java_script_enabled=False)
    page = context.new_page()
    log_in(page, "alice", "/oauth2/devices/")

    device = page.get_by_role("listitem").filter(has=page.get_by_text(label("e-reader"), exact=True))
    device.get_by_role("link", name="Sign out").click()
    page.get_by_role("button", name="Sign out", exact=True).click()

    expect(page.get_by_role("status")).to_contain_text("is signed out.")
    assert not example.is_active(client, token)
    context.close()


#: What may be long in the lists.
MUCH = """
import secrets
from datetime import timedelta
from django.contrib.auth.models import User
from django.utils import timezone
from oauth2_provider.models import Application
from oauth_binding.models import LoginSession, TokenBinding
user, _ = User.objects.get_or_create(username="wolfeschlegelsteinhausenbergerdorff@example.com")
application, _ = Application.objects.get_or_create(
    name="An application with quite a long name of its own", client_type="confidential",
    authorization_grant_type="password",
)
seen = {
    "last_browser": "Samsung Internet", "last_os": "Windows",
    "last_place": "Llanfairpwllgwyngyll, United Kingdom",
    "last_address": "2001:db8:85a3:8d3:1319:8a2e:370:7348",
}
for name in ("", "W" * 100, "A device with quite a long name of its own"):
    TokenBinding.objects.create(
        application_id=application.pk, user=user, binding_type="client-request",
        binding_value=secrets.token_hex(), reference=secrets.token_urlsafe(32), key=secrets.token_hex(32),
        name=name, **seen,
    )
    LoginSession.objects.create(
        user=user, authenticated_at=timezone.now(), expires=timezone.now() + timedelta(days=1),
        terminated_at=timezone.now(), termination_reason="sign_out_everywhere", **seen,
    )
"""


@pytest.fixture(scope="module")
def much(example: Example) -> None:
    subprocess.run(
        [sys.executable, "manage.py", "shell", "--verbosity", "0", "-c", MUCH],
        env={**os.environ, **example.environment},
        check=True,
    )


@pytest.mark.usefixtures("much")
@pytest.mark.parametrize("language", ["en", "de"])
@pytest.mark.parametrize("sidebar", ["", "with the sidebar"])
@pytest.mark.parametrize("name", ["tokenbinding", "loginsession"])
def test_a_list_fits_its_page(
    browser: Browser, example: Example, name: str, sidebar: str, language: str
) -> None:
    """Nothing has to be scrolled sideways, whatever is in it, beside the filters and the admin's sidebar."""
    context = browser.new_context(
        base_url=example.address, locale=language, viewport={"width": 1280, "height": 800}
    )
    page = context.new_page()
    context.add_init_script(
        f"localStorage.setItem('django.admin.navSidebarIsOpen', '{str(bool(sidebar)).lower()}')"
    )
    page.goto("/admin/")
    page.locator("#id_username").fill("operator")
    page.locator("#id_password").fill(PEOPLE["operator"])
    with page.expect_navigation():
        page.locator("[type=submit]").click()

    page.goto(f"/admin/oauth_binding/{name}/")

    picture(page, f"list-{name}-{language}-{sidebar.replace(' ', '-')}")
    assert page.evaluate("document.querySelector('.main').classList.contains('shifted')") is bool(sidebar)
    results = "document.querySelector('#changelist .results')"
    assert page.evaluate(f"{results}.scrollWidth - {results}.clientWidth") <= 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 1280
    context.close()


@pytest.mark.usefixtures("much")
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
    expect(page.get_by_text(f"{scheme} {width}", exact=True).first).to_be_visible()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width

    context.clear_cookies()
    log_in(page, "operator", "/admin/oauth_binding/tokenbinding/")
    binding = page.get_by_role("link", name=f"{scheme} {width}").first.get_attribute("href")
    page.goto(f"/admin/oauth2_provider/application/?q={client[0]}")
    application = page.get_by_role("link", name=client[0], exact=True).get_attribute("href")
    assert binding is not None
    assert application is not None
    for name, path in (
        ("bindings", "/admin/oauth_binding/tokenbinding/"),
        ("binding", binding),
        ("revoke", binding.replace("/change/", "/revoke/")),
        ("application", "/admin/oauth2_provider/application/add/"),
        ("application with a binding", application),
        ("access tokens", "/admin/oauth2_provider/accesstoken/"),
        ("refresh tokens", "/admin/oauth2_provider/refreshtoken/"),
        ("history", binding.replace("/change/", "/history/")),
        ("login sessions", "/admin/oauth_binding/loginsession/"),
        ("logout notifications", "/admin/oauth_binding/logoutnotification/"),
        ("exchange rules", "/admin/oauth_binding/tokenexchangerule/"),
        ("exchange rule", "/admin/oauth_binding/tokenexchangerule/add/"),
    ):
        page.goto(path)
        picture(page, f"{name}-{scheme}-{width}")
        assert violations(page) == [], name
        if name in {"bindings", "login sessions"}:
            assert page.evaluate("document.documentElement.scrollWidth") <= width, name
    context.close()


def test_all_of_a_user_ends_while_the_page_says_how_far_it_is(operator: Page, example: Example) -> None:
    client = create_application(operator, "Watch app")
    tokens = [example.token(client, f"watch {number}") for number in range(3)]
    add_devices(client[0], 4_000)
    operator.goto("/admin/auth/user/?q=alice")
    operator.get_by_role("link", name="alice", exact=True).click()

    operator.get_by_role("link", name="End all", exact=True).click()
    # Other tests may have signed alice in, too.
    expect(operator.get_by_role("status")).to_contain_text(re.compile(r"[4-9],\d{3} token bindings"))
    (number,) = re.findall(r"([\d,]+) token bindings", operator.get_by_role("status").inner_text())
    assert violations(operator) == []

    # What the page asks for by itself waits until it has been looked at.
    def hold(route: Route) -> None:
        if route.request.resource_type != "fetch":
            route.continue_()

    operator.route("**/end-all/**", hold)
    operator.get_by_role("button", name="Yes, end all").click()
    expect(operator.get_by_role("status")).to_contain_text(
        re.compile(rf"[1-9][0-9,]* of {number} token bindings")
    )
    expect(operator.get_by_role("progressbar")).to_be_visible()
    assert violations(operator) == []
    address = operator.url
    operator.unroute("**/end-all/**")  # which lets them go on

    # Nobody presses anything from here on, and nothing of it is in the address.
    expect(operator.get_by_role("status")).to_contain_text(f"Ended: {number} token bindings", timeout=60_000)
    assert operator.url == address
    assert "?" not in address
    assert not any(example.is_active(client, token) for token in tokens)
    operator.get_by_role("link", name="Back", exact=True).click()
    expect(operator.get_by_text("0 with live tokens")).to_be_visible()


def test_without_scripts_there_is_a_button(browser: Browser, example: Example) -> None:
    context = browser.new_context(base_url=example.address, locale="en", java_script_enabled=False)
    page = context.new_page()
    log_in(page, "operator", "/admin/")
    client = create_application(page, "Ring app")
    token = example.token(client, "ring")
    add_devices(client[0], 4_000)
    page.goto(f"/admin/oauth_binding/tokenbinding/?q={client[0]}")

    page.get_by_role("link", name="End all that this list shows").click()
    with page.expect_navigation():
        page.get_by_role("button", name="Yes, end all").click()
    presses = 0
    while page.get_by_role("button", name="Continue").count():
        with page.expect_navigation():
            page.get_by_role("button", name="Continue").click()
        presses += 1

    assert presses
    expect(page.get_by_role("status")).to_contain_text("Ended: 4,001 token bindings.")
    assert not example.is_active(client, token)
    context.close()
