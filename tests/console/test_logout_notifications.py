"""The console's list of logout notifications: what has become of them, and sending again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from oauth_binding.authorization_server.backchannel import delivery
from oauth_binding.console import read_only
from oauth_binding.models import LoginSession, LogoutNotification
from tests.helpers.client import Site
from tests.helpers.logouts import THIS_MACHINE, RelyingParty, log_out, relying_party, send_logouts
from tests.helpers.staff import staff

URL = "/admin/oauth_binding/logoutnotification/"

#: By what has become of a row: what it is called, and its columns.
STATUSES: dict[str, tuple[str, dict[str, Any]]] = {
    "delivered": (
        "delivered",
        {"delivered_at": timezone.now(), "next_attempt": None, "last_attempt": timezone.now(), "attempts": 1},
    ),
    "waiting": (
        "waiting",
        {
            "next_attempt": timezone.now() + timedelta(hours=1),
            "last_attempt": timezone.now(),
            "attempts": 5,
            "failure": "it answered with status 503",
        },
    ),
    "given_up": (
        "given up",
        {
            "next_attempt": None,
            "last_attempt": timezone.now(),
            "attempts": delivery.MAX_ATTEMPTS,
            "failure": "its host has no address",
        },
    ),
}


@pytest.fixture
def party(settings: Any) -> Iterator[RelyingParty]:
    settings.OAUTH_BINDING = {**settings.OAUTH_BINDING, **THIS_MACHINE}
    with relying_party() as party:
        yield party


@pytest.fixture
def rows(make_site: Callable[..., Site], user: User, party: RelyingParty) -> dict[str, LogoutNotification]:
    """A row of each status, of one application."""
    application = make_site(
        "authorization_code", client_id="told", backchannel_logout_uri=party.uri
    ).application
    log_out(user, [application], sessions=len(STATUSES))
    found = dict(zip(STATUSES, LogoutNotification.objects.order_by("pk"), strict=True))
    for status, row in found.items():
        LogoutNotification.objects.filter(pk=row.pk).update(**STATUSES[status][1])
    return found


def listed(client: Client, **query: str) -> list[int]:
    page = client.get(URL, query)
    assert page.status_code == 200, page
    return sorted(row.pk for row in page.context["cl"].result_list)


def again(client: Client, rows: dict[str, LogoutNotification], *statuses: str) -> Any:
    chosen = [rows[status].pk for status in statuses]
    return client.post(URL, {"action": "send_again", "_selected_action": chosen}, follow=True)


def told(page: Any) -> list[str]:
    return [str(message) for message in page.context["messages"]]


def test_the_list_says_what_has_become_of_each(operator: Client, rows: dict[str, LogoutNotification]) -> None:
    content = operator.get(URL).content.decode()

    for name, columns in STATUSES.values():
        assert f'<td class="field-status">{name}</td>' in content
        assert columns.get("failure", "") in content


@pytest.mark.parametrize("status", STATUSES)
def test_it_is_filtered_by_status(operator: Client, rows: dict[str, LogoutNotification], status: str) -> None:
    assert listed(operator, status=status) == [rows[status].pk]


def test_statuses_are_all_there_are(operator: Client, rows: dict[str, LogoutNotification]) -> None:
    by_status = [pk for status in STATUSES for pk in listed(operator, status=status)]

    assert sorted(by_status) == listed(operator) == listed(operator, status="nonsense")


@pytest.mark.parametrize(("term", "found"), [("told", True), ("nobody", False)])
def test_it_is_searched_by_application(
    operator: Client, rows: dict[str, LogoutNotification], term: str, found: bool
) -> None:
    assert bool(listed(operator, q=term)) is found


def test_a_page_says_what_the_token_says(operator: Client, rows: dict[str, LogoutNotification]) -> None:
    row = rows["given_up"]
    content = operator.get(f"{URL}{row.pk}/change/").content.decode()

    browser = LoginSession(sid=row.sid).label
    for value in (row.issuer, row.sub, browser, row.jti, "given up", "its host has no address"):
        assert str(value) in content
    assert str(row.sid) not in content


@pytest.mark.parametrize("path", ["add/", "{pk}/change/", "{pk}/delete/"])
def test_nothing_can_be_written(operator: Client, rows: dict[str, LogoutNotification], path: str) -> None:
    row = rows["waiting"]

    answer = operator.post(URL + path.format(pk=row.pk), {"post": "yes", "sub": "mallory"})

    assert answer.status_code == 403
    assert LogoutNotification.objects.get(pk=row.pk).sub == row.sub


def test_what_nobody_took_is_sent_again(
    operator: Client, rows: dict[str, LogoutNotification], party: RelyingParty
) -> None:
    page = again(operator, rows, *STATUSES)

    assert told(page) == [
        "2 logout notifications are going to be sent again.",
        "Notifications that were delivered, or are being sent, were left alone.",
    ]
    for status in ("waiting", "given_up"):
        row = LogoutNotification.objects.get(pk=rows[status].pk)
        assert row.attempts == 0
        assert row.jti == rows[status].jti
    assert send_logouts() == "2 logout tokens delivered, 0 failed, 0 left."
    assert len(party.tokens) == 2


def test_many_at_once_are_left_alone(
    operator: Client, rows: dict[str, LogoutNotification], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_only, "MAX_REVOKED", 1)

    page = again(operator, rows, "waiting", "given_up")

    assert told(page) == ["Select at most 1 logout notifications."]
    assert LogoutNotification.objects.get(pk=rows["waiting"].pk).attempts > 0


def test_it_is_in_the_history(operator: Client, rows: dict[str, LogoutNotification]) -> None:
    again(operator, rows, *STATUSES)

    noted = LogEntry.objects.values_list("object_id", "user__username", "change_message")
    assert sorted(noted) == sorted(
        (str(rows[status].pk), "operator", "To be sent again.") for status in ("waiting", "given_up")
    )


def test_what_is_being_sent_is_left_alone(operator: Client, rows: dict[str, LogoutNotification]) -> None:
    row = rows["waiting"]
    LogoutNotification.objects.filter(pk=row.pk).update(next_attempt=timezone.now())
    claimed = delivery._claim(row.jti)
    assert claimed is not None

    assert (
        told(again(operator, rows, "waiting"))[1]
        == "Notifications that were delivered, or are being sent, were left alone."
    )

    assert LogoutNotification.objects.get(pk=row.pk).next_attempt == claimed.until
    # Where the sender was killed, it is not for long.
    before = timezone.now() - delivery.CLAIM
    LogoutNotification.objects.filter(pk=row.pk).update(
        last_attempt=before - timedelta(seconds=1),
        next_attempt=before - timedelta(seconds=1) + delivery.CLAIM,
    )
    assert told(again(operator, rows, "waiting")) == ["1 logout notification is going to be sent again."]


@pytest.mark.parametrize(
    ("permission", "sees", "sends"),
    [
        ("view_logoutnotification", True, False),
        ("change_logoutnotification", True, True),
        ("view_tokenbinding", False, False),
    ],
)
def test_who_may_do_what(
    rows: dict[str, LogoutNotification], permission: str, sees: bool, sends: bool
) -> None:
    client = staff(permission)
    assert client.get(URL).status_code == (200 if sees else 403)

    again(client, rows, "given_up")

    assert (LogoutNotification.objects.get(pk=rows["given_up"].pk).next_attempt is not None) == sends
    assert LogEntry.objects.exists() == sends


def test_a_list_takes_no_more_queries_for_more_rows(
    operator: Client, rows: dict[str, LogoutNotification], django_assert_max_num_queries: Any
) -> None:
    LogoutNotification.objects.bulk_create(
        LogoutNotification(
            application=rows["waiting"].application, issuer="x", sub="1", sid=rows["waiting"].sid
        )
        for _ in range(50)
    )
    with django_assert_max_num_queries(8):
        operator.get(URL)
