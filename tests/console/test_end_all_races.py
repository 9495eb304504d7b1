"""Ending all of a user or an application while the user's devices refresh, and new ones log in."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Event
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from django.test import Client

from oauth_binding.authorization_server.revocation import end_all as engine
from oauth_binding.authorization_server.revocation.revoke import revoke_binding
from oauth_binding.console import end_all as pages
from oauth_binding.models import TokenBinding
from oauth_binding.storage import bindings
from tests.helpers.client import Answer, Site
from tests.helpers.end_all import PAGES, end_all, send, state, text
from tests.helpers.rows import make_devices, make_pairs

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(connection.vendor == "sqlite", reason="has one lock, whatever it is taken for"),
]

DEVICES = 4


@pytest.mark.parametrize("kind", ["user", "application"])
@pytest.mark.parametrize("binding_type", ["client-request", "none"])
def test_what_was_there_ends_and_what_comes_stays(
    operator: Client,
    user: User,
    make_site: Callable[..., Site],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    binding_type: str,
) -> None:
    monkeypatch.setattr(engine, "STEP", 2)
    monkeypatch.setattr(pages, "REQUEST_SECONDS", 0)
    site = make_site(token_type="jwt", token_binding_type=binding_type)
    first = [site.bound(f"device {number}") for number in range(DEVICES)]
    # There is time for the others, then.
    if binding_type == "none":
        make_pairs(user, site.application, [None] * 30)
    else:
        make_devices(user, site.application, 30)
    holder = user if kind == "user" else site.application
    url = f"{PAGES}{kind}/{holder.pk}/"
    begun, done = Event(), Event()

    def refresh(answer: Answer) -> list[Answer]:
        """Refresh as fast as the server answers, until that is refused."""
        with closing(connections["default"]):
            answers = [answer]
            while not done.is_set():
                answer = Site(site.application, user).refresh(answer.refresh)
                if answer.status != 200:
                    assert answer["error"] == "invalid_grant"
                    break
                answers.append(answer)
            return answers

    def log_in(number: int) -> list[Answer]:
        """Log new devices in from the confirmation on."""
        with closing(connections["default"]):
            answers: list[Answer] = []
            assert begun.wait(30)
            while not done.is_set() and len(answers) < 50:
                answers.append(Site(site.application, user).bound(f"new {number} {len(answers)}"))
            return answers

    with ThreadPoolExecutor() as pool:
        refreshing = [pool.submit(refresh, answer) for answer in first]
        logging_in = [pool.submit(log_in, number) for number in range(2)]
        page = send(operator, url, operator.get(url))
        while not re.search(r"\b[1-9][0-9]* of ", text(page)):
            page = send(operator, url, page)
        begun.set()
        while state(page) is not None:
            page = send(operator, url, page)
        done.set()
        before = [answer for each in refreshing for answer in each.result()]
        after = [answer for each in logging_in for answer in each.result()]

    assert {answer.status for answer in after} == {200}
    assert not any(site.active(token) for answer in before for token in (answer.access, answer.refresh))
    assert all(site.active(token) for answer in after for token in (answer.access, answer.refresh))


@pytest.mark.parametrize("way", ["end all", "revoke"])
def test_a_token_of_a_clients_own_that_is_being_issued_ends(
    operator: Client, make_site: Callable[..., Site], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    """No user is locked for it; whoever ends it waits for the binding."""
    site = make_site("client_credentials", as_user=None, token_binding_type="client-request")
    site.bound("worker")
    binding = TokenBinding.objects.get()
    is_locked = Event()
    lock = bindings.lock

    def lock_and_linger(*args: Any, **kwargs: Any) -> bool:
        result = lock(*args, **kwargs)
        is_locked.set()
        # The other has looked for tokens by then, if it does not wait.
        time.sleep(1)
        return result

    def issue() -> Answer:
        with closing(connections["default"]):
            return Site(site.application, None).bound("worker", scope="read")

    monkeypatch.setattr(bindings, "lock", lock_and_linger)
    with ThreadPoolExecutor() as pool:
        issuing = pool.submit(issue)
        assert is_locked.wait(30)
        if way == "end all":
            end_all(operator, f"{PAGES}application/{site.application.pk}/")
        else:
            revoke_binding(binding)
        answer = issuing.result()

    assert answer.status == 200
    assert not site.active(answer.access)
