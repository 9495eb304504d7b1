"""The page "Your devices" with none, a few and very many of them, in each light and width."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from example_project.demo.server import running_server
from tests.helpers.at_home import Home
from tests.helpers.browser import Example
from tests.helpers.pages import picture, violations

pytestmark = pytest.mark.slow

LIST = "/oauth2/devices/"

#: Arabic for what this page has most of; what is missing is in English.
ARABIC = {
    "Your devices": "أجهزتك",
    "You are signed in here. Sign out what you do not know or no longer use.": (
        "أنت مسجل الدخول هنا. سجل الخروج مما لا تعرفه."
    ),
    "Sign out everywhere else": "تسجيل الخروج من كل مكان آخر",
    "Devices and applications": "الأجهزة والتطبيقات",
    "Browsers": "المتصفحات",
    "This browser": "هذا المتصفح",
    "Last used": "آخر استخدام",
    "Last seen": "آخر ظهور",
    "Signed in": "تسجيل الدخول",
    "First seen": "أول ظهور",
    "Last seen from": "آخر ظهور من",
    "Reference": "المرجع",
    "Sign out": "تسجيل الخروج",
    "Rename": "إعادة تسمية",
    "Unknown browser": "متصفح غير معروف",
    "Unnamed device": "جهاز بلا اسم",
    "just now": "الآن",
}


@pytest.fixture(scope="module")
def home(browser: Browser, example: Example) -> Home:
    home = Home(browser, example)
    for user, number in (("nobody", 0), ("carol", 3), ("dave", 50_000)):
        home.move_in(user, number)
    return home


@pytest.fixture
def open_page(home: Home) -> Iterator[Callable[..., Page]]:
    """Return a function that opens the page in a browser of a user's."""
    pages: list[Page] = []

    def open_as(user: str, **options: Any) -> Page:
        pages.append(home.open(user, **options))
        return pages[-1]

    yield open_as
    for page in pages:
        page.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
@pytest.mark.parametrize(
    ("user", "shown"),
    [
        ("nobody", "You are not signed in on any device."),
        ("carol", "Grandma's tablet"),
        ("dave", "Firefox on Windows"),
    ],
    ids=["none", "three", "very-many"],
)
def test_it_is_accessible_and_fits(
    home: Home, open_page: Callable[..., Page], user: str, shown: str, scheme: str, width: int
) -> None:
    page = open_page(user, color_scheme=scheme, viewport={"width": width, "height": 800})
    if user == "carol":
        home.use(page, "Web shop")
        page.goto(LIST)

    expect(page.get_by_text(shown, exact=True)).to_be_visible()
    picture(page, f"devices-{user}-{scheme}-{width}")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.querySelector('main')).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    if user == "nobody":
        return
    entry = page.get_by_role("listitem").filter(has=page.get_by_text("Firefox on Windows", exact=True))
    entry.get_by_text("Rename").click()
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.goto(f"{LIST}?q=firefox")
    assert violations(page) == []
    for link in ("Sign out everywhere else", "Sign out Firefox on Windows"):
        page.goto(LIST)
        page.get_by_role("link", name=link).click()
        expect(page.get_by_role("heading")).to_contain_text("?")
        picture(page, f"confirm-{user}-{scheme}-{width}")
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_name_that_is_typed_in_is_there_at_320_pixels(open_page: Callable[..., Page]) -> None:
    page = open_page("carol", viewport={"width": 320, "height": 800})
    entry = page.get_by_role("listitem").filter(has=page.get_by_text("Old phone", exact=True))
    entry.get_by_text("Rename").click()
    entry.get_by_role("textbox").fill("W" * 100)
    entry.get_by_role("button", name="Save").click()

    expect(page.get_by_role("heading", name="W" * 100)).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    entry = page.get_by_role("listitem").filter(has=page.get_by_text("W" * 100, exact=True))
    entry.get_by_text("Rename").click()
    entry.get_by_role("textbox").fill("Old phone")
    entry.get_by_role("button", name="Save").click()


def test_by_keyboard_alone(open_page: Callable[..., Page]) -> None:
    """What has the focus is seen, comes in the order of the page, and the first stop skips to the content."""
    page = open_page("dave")
    focused = (
        "document.activeElement.innerText || document.activeElement.value || document.activeElement.name"
    )

    def press(key: str) -> str:
        page.keyboard.press(key)
        if page.evaluate("document.activeElement !== document.body"):
            assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
        return str(page.evaluate(focused))

    assert press("Tab") == "Skip to the content"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.tagName") == "MAIN"
    stops = [press("Tab") for _stop in range(6)]
    # What is on unknown devices has no name to change.
    assert stops == ["Sign out everywhere else", "q", "Search", "Sign out", "Sign out", "Rename"]
    assert press("Enter") == "Rename"
    assert press("Tab") == "name"
    page.keyboard.type("Living room")
    page.keyboard.press("Enter")

    expect(page.get_by_role("status")).to_contain_text("Firefox on Windows is now called Living room.")
    page.get_by_label("Find a device").focus()
    page.keyboard.type("living")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status").last).to_contain_text("Found: one device or browser.")
    entry = page.get_by_role("listitem").filter(has=page.get_by_text("Living room", exact=True))
    entry.get_by_text("Rename").click()
    entry.get_by_role("textbox").fill("")
    entry.get_by_role("textbox").press("Enter")


def test_nothing_moves(open_page: Callable[..., Page]) -> None:
    """So that there is nothing to leave out for who prefers less motion."""
    page = open_page("carol", reduced_motion="no-preference")

    moving = """[...document.querySelectorAll("*")].filter((element) => {
        const style = getComputedStyle(element);
        return style.animationName !== "none" || style.transitionDuration !== "0s";
    }).length"""
    assert page.evaluate(moving) == 0
    assert page.evaluate("document.getAnimations().length") == 0


def test_the_next_page_of_very_many(open_page: Callable[..., Page]) -> None:
    page = open_page("dave")
    for name in ("Next", "Page 2001", "Previous"):
        page.get_by_role("navigation", name="Pages of devices").get_by_role("link", name=name).click()
        expect(page.get_by_role("heading", name="Devices and applications")).to_be_visible()
    expect(page.get_by_role("link", name="Page 2000")).to_have_attribute("aria-current", "page")


# Right to left


@pytest.fixture
def arabic(tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Serve the example project with a site's own Arabic catalogue, and return its address."""
    if shutil.which("msgfmt") is None:
        pytest.skip("gettext is not installed")
    messages = tmp_path / "locale" / "ar" / "LC_MESSAGES"
    messages.mkdir(parents=True)
    (tmp_path / "arabic_site.py").write_text(
        f"from example_project.settings import *\nLOCALE_PATHS = [{str(tmp_path / 'locale')!r}]\n"
    )
    header = 'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n'
    language = 'msgctxt "the language of this catalogue, as a BCP 47 tag"\nmsgid "en"\nmsgstr "ar"\n'
    texts = [f'msgid "{text}"\nmsgstr "{translated}"\n' for text, translated in ARABIC.items()]
    (messages / "django.po").write_text("\n".join([header, language, *texts]))
    subprocess.run(["msgfmt", "-o", messages / "django.mo", messages / "django.po"], check=True)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("DJANGO_SETTINGS_MODULE", "arabic_site")
    with running_server() as server:
        yield server.address


@pytest.mark.parametrize("width", [1280, 320])
def test_it_is_read_from_right_to_left(
    arabic: str, home: Home, open_page: Callable[..., Page], width: int
) -> None:
    page = open_page("carol", locale="ar", base_url=arabic, viewport={"width": width, "height": 800})

    main = page.get_by_role("main")
    expect(main).to_have_attribute("lang", "ar")
    expect(main).to_have_attribute("dir", "rtl")
    name, button = (
        main.get_by_text(text, exact=True).first.bounding_box() for text in ("Old phone", "تسجيل الخروج")
    )
    assert name is not None
    assert button is not None
    # What begins the line is at the right, and what ends it at the left.
    assert name["x"] + name["width"] > width / 2
    assert (button["x"] < width / 2) or width == 320
    picture(page, f"devices-right-to-left-{width}")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_language_that_the_texts_are_not_in_is_not_claimed(open_page: Callable[..., Page]) -> None:
    """Without a catalogue in Arabic the page is in English, and says so."""
    page = open_page("carol", locale="ar")

    expect(page.get_by_role("heading", name="Your devices")).to_be_visible()
    for tag in ("html", "main"):
        expect(page.locator(tag)).to_have_attribute("lang", "en")
        expect(page.locator(tag)).to_have_attribute("dir", "ltr")
