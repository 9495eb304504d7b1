"""The mail about a sign-in on a new device: who gets it, what it says, and how many there are at most."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import django
import pytest
from django.contrib.auth.models import User
from django.core import mail
from django.db import connection, transaction
from django.utils import timezone

from oauth_binding.devices import new_sign_in, rename
from oauth_binding.models import TokenBinding
from oauth_binding.signals import binding_created
from oauth_binding.storage import users
from tests.helpers.client import PASSWORD, Answer, Site, make_application
from tests.helpers.dpop import DeviceKey
from tests.helpers.project import Project, migrate
from tests.helpers.provider import provider


@pytest.fixture(autouse=True)
def _mails(
    settings: Any, django_capture_on_commit_callbacks: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Have the site mail, and let each request of it commit, as it does outside of tests."""
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, "NEW_SIGN_IN_MAIL": True}
    new_sign_in.connect()
    post = Site.post

    def committed(*arguments: Any, **named: Any) -> Any:
        with django_capture_on_commit_callbacks(execute=True):
            return post(*arguments, **named)

    monkeypatch.setattr(Site, "post", committed)
    yield
    binding_created.disconnect(new_sign_in._mail, sender=TokenBinding)


@pytest.fixture
def site(make_bound: Callable[..., Site]) -> Site:
    """A site on whose one device the user has been signed in since yesterday."""
    site = make_bound(name="Photo album")
    site.bound("phone")
    TokenBinding.objects.update(created=timezone.now() - timedelta(days=2))
    assert mail.outbox == []
    return site


def texts() -> list[str]:
    return [str(message.body) for message in mail.outbox]


def test_a_new_device_is_mailed(site: Site) -> None:
    with provider(OIDC_ISS_ENDPOINT="https://id.example"):
        answer = site.bound("a secret of the laptop")

    (message,) = mail.outbox
    assert message.to == ["alice@example.com"]
    assert message.subject == "New sign-in to Photo album"
    binding = TokenBinding.objects.get(binding_value="a secret of the laptop")
    text = str(message.body)
    assert "Your account alice was used to sign in to Photo album on a new device." in text
    assert "Device:" not in text  # it did not say what it is
    assert re.search(rf"^Time: .*{binding.created:%Y}", text, re.MULTILINE)
    assert "Place:" not in text
    assert "https://id.example/oauth2/devices/" in text
    assert "no more mails" not in text
    for secret in ("a secret of the laptop", answer.access, answer.refresh):
        assert secret not in text


def test_it_says_what_is_known_of_the_device(site: Site) -> None:
    def note(binding: TokenBinding, **kwargs: Any) -> None:
        rename(binding, "ignored where the device is known")
        TokenBinding.objects.filter(pk=binding.pk).update(
            last_browser="Firefox", last_os="Windows", last_address="203.0.113.7", last_place="Berlin"
        )

    binding_created.disconnect(new_sign_in._mail, sender=TokenBinding)
    binding_created.connect(note)
    new_sign_in.connect()
    site.bound("laptop")
    binding_created.disconnect(note)

    (text,) = texts()
    assert "Device: Firefox on Windows\n" in text
    assert "Place: Berlin (203.0.113.7)\n" in text


def test_without_the_address_of_the_site_there_is_no_link(site: Site) -> None:
    site.bound("laptop")

    (text,) = texts()
    assert "on the page of your devices." in text
    assert "http" not in text


def test_what_somebody_has_called_an_application_stays_on_its_line(site: Site) -> None:
    site.application.name = "Photos\n\nCall 555-0123 & win"
    site.application.save()

    site.bound("laptop")

    (message,) = mail.outbox
    assert message.subject == "New sign-in to Photos\\n\\nCall 555-0123 & win"
    assert "Photos\\n\\nCall 555-0123 & win" in message.body


def test_a_device_that_is_known_is_not_mailed(site: Site) -> None:
    answer = site.bound("phone")
    site.refresh(answer.refresh)
    assert mail.outbox == []

    site.bound("laptop")
    site.bound("laptop")
    assert len(mail.outbox) == 1


def test_nor_is_the_first_device_of_all(make_bound: Callable[..., Site]) -> None:
    make_bound().bound("phone")
    assert mail.outbox == []

    make_bound().bound("phone")  # of another application
    assert len(mail.outbox) == 1


def test_one_without_an_identifier_is_mailed_once(site: Site) -> None:
    site.bound(None)
    site.bound(None)

    (text,) = texts()
    assert "Your account alice was used to sign in to Photo album on a new device." in text


def test_one_that_is_bound_to_a_key_is_mailed(site: Site, make_bound: Callable[..., Site]) -> None:
    other = make_bound(token_binding_type="dpop-key", sender_constraint="dpop")
    other.key = DeviceKey()

    assert other.token().status == 200

    assert len(mail.outbox) == 1


def test_a_browser_that_logs_in_again_is_not(site: Site, make_bound: Callable[..., Site]) -> None:
    other = make_bound(grant_type="authorization_code", token_binding_type="sso-session")

    for _ in range(2):
        assert other.token().status == 200

    assert TokenBinding.objects.filter(binding_type="sso-session").exists()
    assert mail.outbox == []


def test_what_has_no_user_is_not(site: Site, make_bound: Callable[..., Site]) -> None:
    assert make_bound(grant_type="client_credentials", as_user=None).bound("server").status == 200

    assert mail.outbox == []


def test_nor_is_a_user_without_an_address(site: Site) -> None:
    User.objects.update(email="")

    site.bound("laptop")

    assert mail.outbox == []


def test_what_is_refused_is_not(site: Site) -> None:
    assert site.bound("laptop", password="wrong").status == 400

    assert mail.outbox == []


def test_it_speaks_the_language_of_the_request(site: Site) -> None:
    site.post(
        "/oauth2/token/", [*site.grant(), ("tokenBindingId", "laptop")], headers={"Accept-Language": "de"}
    )

    (message,) = mail.outbox
    assert message.subject == "Neue Anmeldung bei Photo album"
    assert "ändern Sie Ihr Passwort" in message.body


def test_there_are_three_a_day(site: Site) -> None:
    for number in range(6):
        site.bound(f"made up {number}")

    assert ["no more mails" in text for text in texts()] == [False, False, True]

    TokenBinding.objects.update(created=timezone.now() - timedelta(days=1))
    for number in range(6):
        site.bound(f"made up the next day {number}")
    assert len(mail.outbox) == 6


def test_they_are_counted_over_all_applications(site: Site, make_bound: Callable[..., Site]) -> None:
    for number in range(3):
        site.bound(f"made up {number}")

    make_bound().bound("another")

    assert len(mail.outbox) == 3


def test_and_for_each_user(site: Site, make_bound: Callable[..., Site]) -> None:
    for number in range(4):
        site.bound(f"made up {number}")
    bob = User.objects.create_user("bob", "bob@example.com", PASSWORD)
    other = Site(site.application, bob)
    other.bound("phone")
    mail.outbox.clear()

    other.bound("laptop")

    assert [message.to for message in mail.outbox] == [["bob@example.com"]]


def test_a_mail_server_that_fails_is_no_concern_of_the_client(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*arguments: Any, **named: Any) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(mail.EmailMessage, "send", refuse)

    answer = site.bound("laptop")

    assert answer.status == 200
    assert site.active(answer.access)
    assert any(record.exc_info and record.exc_info[0] is ConnectionRefusedError for record in caplog.records)


@pytest.mark.skipif(connection.vendor != "postgresql", reason="elsewhere, locks are had in turn")
@pytest.mark.django_db(transaction=True)
def test_who_goes_on_issuing_keeps_no_mail_back(site: Site) -> None:
    is_held, is_done = threading.Event(), threading.Event()

    def hold() -> None:
        with transaction.atomic():
            users.share(site.user.pk)  # type: ignore[union-attr]
            is_held.set()
            is_done.wait(60)
        connection.close()

    thread = threading.Thread(target=hold)
    thread.start()
    assert is_held.wait(30)
    try:
        assert site.bound("laptop").status == 200
        assert len(mail.outbox) == 1
    finally:
        is_done.set()
        thread.join()


LOCMEM = "django.core.mail.backends.locmem.EmailBackend"


@pytest.mark.slow
def test_the_limit_holds_between_processes(
    project: Project, make_database: Callable[[], dict[str, Any]]
) -> None:
    database = make_database()
    names = [f"process_{number}" for number in range(4)]
    for name in names:
        project.write_settings(
            name,
            "from tests.settings import OAUTH_BINDING",
            "OAUTH_BINDING = {**OAUTH_BINDING, 'NEW_SIGN_IN_MAIL': True}",
            f"MAILERS = {{'default': {{'BACKEND': {LOCMEM!r}}}}}"
            if django.VERSION >= (6, 1)
            else f"EMAIL_BACKEND = {LOCMEM!r}",
            default=database,
        )
    project.call(names[0], migrate)
    for user in ("alice", "bob", "carol"):
        project.call(names[0], sign_up, user)
        with ThreadPoolExecutor(len(names)) as threads:
            sent = list(threads.map(lambda name: project.call(name, make_up, user, name), names))  # noqa: B023
        assert sum(sent) == new_sign_in.MAX_PER_DAY, (user, sent)


# What runs in the processes of the site


def sign_up(user: str) -> None:
    application = make_application("opaque")
    alice = User.objects.create_user(user, f"{user}@example.com", PASSWORD)
    Site(application, alice).bound("phone")
    TokenBinding.objects.update(created=timezone.now() - timedelta(days=2))


def make_up(user: str, prefix: str) -> int:
    """Sign in on made-up devices, from several threads at once, and return how many mails that sent."""
    from oauth2_provider.models import Application

    mail.outbox = []
    site = Site(Application.objects.latest("pk"), User.objects.get(username=user))

    def sign_in(number: int) -> Answer:
        try:
            return site.bound(f"{prefix} {number}")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(sign_in, range(8)))
    assert {answer.status for answer in answers} == {200}, [answer.data for answer in answers]
    return len(mail.outbox)
