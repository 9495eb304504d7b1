"""What people come for: done by what is written on the screen alone, and in how many clicks.

Each task begins where people are when they think of it, and ends with what they see. A task of another page
is a function, and a row of the table.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.helpers.at_home import Home
from tests.helpers.browser import Example, run
from tests.helpers.pages import log_in
from tests.helpers.person import Person

pytestmark = pytest.mark.slow

FIND: Final = "Find a device, browser or application:"

#: Where operators are when they think of it.
CONSOLE: Final = "/admin/"
USER: Final = "/admin/auth/user/?q={user}"
APPLICATION: Final = "/admin/oauth2_provider/application/?q=Radio"

CALL_IT_SAFARI: Final = """
from oauth_binding.models import LoginSession
sessions = LoginSession.objects.filter(user__username={user!r})
sessions.update(last_browser="Safari", last_device="iPad", last_os="")
"""

RADIO: Final = """
import uuid
from oauth2_provider.models import get_application_model
from oauth_binding.models import LogoutNotification

radio = get_application_model().objects.create(
    name="Radio", client_id="radio", client_type="confidential", authorization_grant_type="password",
    token_type="opaque", token_binding_type="none",
)
LogoutNotification.objects.create(
    application=radio, issuer="https://server.example", sub="1", sid=uuid.uuid4(),
    attempts=9, next_attempt=None, failure="Connection refused",
)
"""


class Task(NamedTuple):
    """What somebody wants to do."""

    do: Callable[[Person], None]
    clicks: int
    #: Whose devices they are, by the fixture.
    who: str = "carol"
    #: Where an operator begins; empty where users do it themselves.
    operator: str = ""


def see_where_i_am_signed_in(person: Person) -> None:
    for device in ("Old phone", "Firefox on Windows", "Grandma's tablet", "News on unknown devices"):
        person.sees(device)
    person.sees("Mail", beside="Old phone")
    person.sees("3 hours ago", beside="Old phone")
    person.sees("Bern, Switzerland", beside="Firefox on Windows")


def tell_which_is_this_device(person: Person) -> None:
    person.sees("This device", beside="Chat")
    person.sees("This browser", beside="Web shop")
    person.sees("In this browser", beside="Web shop")


def sign_out_one_device(person: Person) -> None:
    person.click("Sign out", beside="Old phone")
    person.sees("Sign out Old phone?")
    person.click("Sign out")
    person.sees("Old phone is signed out.")
    person.misses("Old phone")


def change_my_mind(person: Person) -> None:
    person.click("Sign out", beside="Old phone")
    person.click("Cancel")
    person.sees("Old phone")


def rename_one(person: Person) -> None:
    person.click("Rename", beside="Old phone")
    person.click("Name:", beside="Old phone")
    person.type("Kitchen radio")
    person.click("Save", beside="Old phone")
    person.sees("Old phone is now called Kitchen radio.")
    person.sees("Mail", beside="Kitchen radio")


def sign_out_everywhere_else(person: Person) -> None:
    person.click("Sign out everywhere else")
    # Four entries of Mail and News, the Web shop in the other browser, and that browser.
    person.sees("Sign out on 6 other devices and browsers?")
    person.click("Sign out everywhere else")
    person.sees("6 other devices and browsers are signed out.")
    person.sees("This device", beside="Chat")
    person.misses("Old phone")


def sign_out_another_browser(person: Person) -> None:
    person.click("Sign out", beside="Safari on iPad")
    person.sees("Sign out Safari on iPad?")
    person.click("Sign out")
    person.sees("Safari on iPad is signed out.")
    person.misses("Safari on iPad")


def sign_out_of_this_browser(person: Person) -> None:
    person.click("Sign out", beside="This browser")
    person.sees("Sign out this browser?")
    person.click("Sign out")
    person.sees("Log in")


def find_one_among_50_000(person: Person) -> None:
    person.click(FIND)
    person.type("grandma tablet")
    person.click("Search")
    person.sees("Found: one device or browser.")
    person.sees("2 years ago", beside="Grandma's tablet")


def find_and_sign_out_one_among_50_000(person: Person) -> None:
    person.click(FIND)
    person.type("firefox on windows")
    person.click("Search")
    person.click("Sign out", beside="Firefox on Windows")
    person.click("Sign out")
    person.sees("Firefox on Windows is signed out.")
    person.sees("Found: 0 devices and browsers.")


# In the console


def see_the_devices_of_a_user(person: Person) -> None:
    person.click("5 with live tokens")
    for device in ("Old phone", "Firefox on Windows"):
        person.sees(device)
    person.sees("Chat", beside="Python Requests")
    person.sees("192.0.2.7, Bern, Switzerland", beside="Firefox on Windows")


def end_one_device_of_a_user(person: Person) -> None:
    person.click("5 with live tokens")
    person.click("Old phone")
    person.click("Revoke")
    person.reads(f"Mail, {person.user}: Old phone")
    person.click("Yes, revoke")
    person.sees("1 token binding was revoked.")
    person.sees("4 token bindings")
    person.misses("Old phone")


def end_all_of_a_user(person: Person) -> None:
    person.click("End all")
    person.sees(f"User {person.user}")
    person.sees("2 login sessions")
    person.click("Yes, end all")
    person.reads("token bindings.")
    person.sees("Ended: 2 login sessions.")


def find_a_device_by_its_whole_id(person: Person) -> None:
    person.click("Token bindings")
    person.click("Find by the whole id:")
    person.type(f"the laptop of {person.user}")
    person.click("Find")
    person.sees("1 token binding")
    person.sees("Chat", beside=person.user)


def see_who_has_ended_a_device(person: Person) -> None:
    person.click("History")
    person.reads(f"Signed out: Mail, {person.user}: Grandma's tablet", beside=person.user)


def see_which_tokens_a_device_has(person: Person) -> None:
    person.click("5 with live tokens")
    person.click("1 refresh", beside="Old phone")
    person.sees("1 refresh token")
    person.sees("live", beside="Mail")


def download_the_devices_of_a_user(person: Person) -> None:
    person.click("5 with live tokens")
    lines = person.download("Download as CSV").splitlines()
    assert len(lines) == 1 + 5
    assert any(f",{person.user},Old phone," in line for line in lines)


def find_what_nobody_uses(person: Person) -> None:
    person.click("Token bindings")
    person.click("more than 90 days ago")
    person.sees("Grandma's tablet", beside=person.user)
    person.misses("Old phone")


def end_a_login_session(person: Person) -> None:
    person.click("2 live")
    person.click("Safari on iPad")
    person.click("End")
    person.reads(f"{person.user}: Safari on iPad")
    person.click("Yes, end")
    person.sees("1 login session was ended.")
    person.sees("1 login session")


def see_what_was_not_delivered(person: Person) -> None:
    person.click("Logout notifications")
    person.sees("given up", beside="Radio")
    person.sees("Connection refused", beside="Radio")


def bind_the_tokens_of_an_application(person: Person) -> None:
    person.click("JWT")
    person.choose("Client request", of="Token binding type:")
    person.reads("a new request replaces it")
    person.click("Save")
    person.reads("was changed successfully")
    person.sees("JWT", beside="Radio")


TASKS: Final = {
    "see where I am signed in": Task(see_where_i_am_signed_in, clicks=0),
    "tell which is this device": Task(tell_which_is_this_device, clicks=0),
    "change my mind": Task(change_my_mind, clicks=2),
    "sign out one device": Task(sign_out_one_device, clicks=2),
    "rename one": Task(rename_one, clicks=3),
    "sign out everywhere else": Task(sign_out_everywhere_else, clicks=2),
    "sign out another browser": Task(sign_out_another_browser, clicks=2),
    "sign out of this browser": Task(sign_out_of_this_browser, clicks=2),
    "find one among 50,000": Task(find_one_among_50_000, clicks=2, who="dave"),
    "find and sign out one among 50,000": Task(find_and_sign_out_one_among_50_000, clicks=4, who="dave"),
    "see the devices of a user": Task(see_the_devices_of_a_user, clicks=1, operator=USER),
    "end one device of a user": Task(end_one_device_of_a_user, clicks=4, operator=USER),
    "end all of a user": Task(end_all_of_a_user, clicks=2, operator=USER),
    "find a device by its whole id": Task(find_a_device_by_its_whole_id, clicks=3, operator=CONSOLE),
    "see who has ended a device": Task(see_who_has_ended_a_device, clicks=1, operator=USER),
    "see which tokens a device has": Task(see_which_tokens_a_device_has, clicks=2, operator=USER),
    "download the devices of a user": Task(download_the_devices_of_a_user, clicks=2, operator=USER),
    "find what nobody uses": Task(find_what_nobody_uses, clicks=2, operator=CONSOLE),
    "end a login session": Task(end_a_login_session, clicks=4, operator=USER),
    "see what was not delivered": Task(see_what_was_not_delivered, clicks=1, operator=CONSOLE),
    "bind the tokens of an application": Task(
        bind_the_tokens_of_an_application, clicks=4, operator=APPLICATION
    ),
}


@pytest.fixture(scope="module")
def home(browser: Browser, example: Example) -> Home:
    return Home(browser, example)


@pytest.fixture(scope="module")
def dave(home: Home) -> str:
    """Make somebody who is signed in on 50,000 devices, and return the name."""
    home.move_in("dave", 50_000)
    return "dave"


@pytest.fixture
def carol(home: Home) -> str:
    """Make somebody who is signed in on three devices, anew for each task, and return the name."""
    name = f"carol {secrets.token_hex(4)}"
    home.move_in(name, 3)
    return name


@pytest.fixture(scope="module")
def radio(home: Home) -> None:
    """Make an application that does not take logout tokens."""
    run(RADIO)


def sign_out(page: Page, device: str) -> None:
    """Sign a device out, in the browser of its user."""
    page.get_by_role("link", name=f"Sign out {device}").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("status")).to_contain_text("is signed out.")


def begin(page: Page, path: str) -> None:
    """Open the page that an operator begins with: the first result of a search is opened itself."""
    log_in(page, "operator", path)
    if "?q=" in path:
        page.locator("#result_list tbody th a").first.click()
        page.wait_for_url("**/change/**")


@pytest.fixture
def person(request: pytest.FixtureRequest, home: Home, task: Task) -> Iterator[Person]:
    """The one who does a task; carol has a second browser, and has signed a tablet out for an operator."""
    user: str = request.getfixturevalue(task.who)
    pages: list[Page] = []
    if task.who == "carol":
        pages.append(home.open(user))
        home.use(pages[-1], "Web shop")
        run(CALL_IT_SAFARI.format(user=user))
    pages.append(home.open(user))
    if task.who == "carol":
        home.use(pages[-1], "Web shop")
        home.use(pages[-1], "Chat", f"the laptop of {user}")
    pages[-1].goto("/oauth2/devices/")
    if task.operator:
        sign_out(pages[-1], "Grandma's tablet")
        pages.append(home.browser.new_page(base_url=home.example.address, locale="en"))
        begin(pages[-1], task.operator.format(user=user))
    yield Person(pages[-1], user)
    for page in pages:
        page.context.close()


@pytest.mark.usefixtures("radio")
@pytest.mark.parametrize("task", TASKS.values(), ids=TASKS)
def test_it_is_done_by_what_is_written(task: Task, person: Person) -> None:
    task.do(person)

    assert person.clicks == task.clicks
