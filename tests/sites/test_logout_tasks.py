"""Logout tokens on a site with Django's task framework: workers send them, and no request waits for that."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import django
import pytest
from django.db import transaction

from tests.helpers.client import create_application
from tests.helpers.logouts import (
    THIS_MACHINE,
    log_out,
    relying_party,
    send_logouts,
    wait_for_next_attempt,
)
from tests.helpers.project import Project, migrate

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(django.VERSION < (6, 0), reason="Django has tasks from 6.0 on"),
]

needs_workers = pytest.mark.skipif(
    find_spec("django_tasks_db") is None, reason="django-tasks-db is not installed"
)

DATABASE = {"BACKEND": "django_tasks_db.DatabaseBackend"}
WITH_WORKERS = 'INSTALLED_APPS = [*INSTALLED_APPS, "django_tasks_db"]'

#: A backend with workers that can't do anything later: here they are threads.
BACKENDS = """
import threading
from django.db import connections
from django.tasks.backends.base import BaseTaskBackend

class ThreadBackend(BaseTaskBackend):
    def enqueue(self, task, args, kwargs):
        self.validate_task(task)
        def run():
            task.call(*args, **kwargs)
            connections.close_all()
        threading.Thread(target=run).start()

class BrokenBackend(BaseTaskBackend):
    def enqueue(self, task, args, kwargs):
        raise ConnectionError("the broker is out of reach")
"""


def start(uri: str) -> None:
    from django.contrib.auth.models import User

    create_application(
        client_id="told",
        authorization_grant_type="authorization-code",
        algorithm="RS256",
        backchannel_logout_uri=uri,
    )
    User.objects.create_user("alice")


def end_sessions(number: int, commit: bool) -> None:
    from django.contrib.auth.models import User
    from oauth2_provider.models import get_application_model

    with transaction.atomic():
        user = User.objects.get(username="alice")
        log_out(user, [get_application_model().objects.get(client_id="told")], sessions=number)
        transaction.set_rollback(not commit)


def states() -> list[list[Any]]:
    from oauth_binding.models import LogoutNotification

    rows = LogoutNotification.objects.order_by("pk")
    return [[row.delivered_at is not None, row.attempts, row.failure] for row in rows]


def send() -> str:
    return send_logouts()


def asked() -> list[str]:
    """Return what the tasks that are waiting or running are called."""
    from django_tasks_db.models import DBTaskResult

    return [task.task_path for task in DBTaskResult.objects.exclude(status__in=["SUCCESSFUL", "FAILED"])]


def planned_for_the_next_attempts() -> bool:
    """Return whether there is one task for each row that is waiting, at the moment of its next attempt."""
    from django_tasks_db.models import DBTaskResult

    from oauth_binding.models import LogoutNotification

    planned: Any = DBTaskResult.objects.filter(status="READY").values_list("run_after", flat=True)
    waiting: Any = LogoutNotification.objects.filter(next_attempt__isnull=False)
    return sorted(planned) == sorted(waiting.values_list("next_attempt", flat=True))


def let_time_pass() -> None:
    from django.utils import timezone
    from django_tasks_db.models import DBTaskResult

    wait_for_next_attempt()
    DBTaskResult.objects.filter(status="READY").update(run_after=timezone.now())


@pytest.fixture
def make(project: Project, make_database: Callable[[], dict[str, Any]]) -> Callable[..., str]:
    """Return a function that makes a site with a task backend, and returns the name of its settings."""
    project.write("backends.py", BACKENDS)

    def make(backend: dict[str, Any] | None, *lines: str) -> str:
        backends = {"default": backend}
        tasks = [] if backend is None else [f"TASKS = {backends!r}"]
        project.write_settings(
            "tasks", f"OAUTH_BINDING = {THIS_MACHINE!r}", *tasks, *lines, default=make_database()
        )
        project.call("tasks", migrate)
        return "tasks"

    return make


def work(project: Project) -> None:
    """Let a worker do all that is due."""
    command = ("-m", "django", "db_worker", "--batch", "--no-startup-delay", "--interval", "0.1")
    worker = project.start("tasks", *command)
    try:
        printed, _ = worker.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        worker.kill()
        raise
    assert worker.returncode == 0, printed


@needs_workers
def test_workers_send_what_was_committed(project: Project, make: Callable[..., str]) -> None:
    make(DATABASE, WITH_WORKERS)
    with relying_party() as party:
        project.call("tasks", start, party.uri)
        project.call("tasks", end_sessions, 2, False)
        assert project.call("tasks", asked) == []
        project.call("tasks", end_sessions, 2, True)
        assert (
            project.call("tasks", asked)
            == ["oauth_binding.authorization_server.backchannel.tasks.deliver_logout"] * 2
        )
        assert party.tokens == []

        work(project)

    assert len(party.tokens) == 2
    assert project.call("tasks", states) == [[True, 1, ""]] * 2
    assert project.call("tasks", asked) == []


@needs_workers
def test_workers_try_again_when_it_is_time(project: Project, make: Callable[..., str]) -> None:
    make(DATABASE, WITH_WORKERS)
    with relying_party(503, 503, 503, 503, 200) as party:
        project.call("tasks", start, party.uri)
        project.call("tasks", end_sessions, 2, True)
        for attempt in (1, 2):
            work(project)
            assert len(party.tokens) == 2 * attempt
            assert project.call("tasks", states) == [[False, attempt, "it answered with status 503"]] * 2
            assert project.call("tasks", planned_for_the_next_attempts)
            work(project)  # it is not time yet
            assert len(party.tokens) == 2 * attempt
            project.call("tasks", let_time_pass)
        work(project)

    assert project.call("tasks", states) == [[True, 3, ""]] * 2
    assert project.call("tasks", asked) == []


@needs_workers
def test_workers_leave_alone_what_the_command_has_sent(project: Project, make: Callable[..., str]) -> None:
    make(DATABASE, WITH_WORKERS)
    with relying_party() as party:
        project.call("tasks", start, party.uri)
        project.call("tasks", end_sessions, 1, True)
        assert project.call("tasks", send) == "1 logout tokens delivered, 0 failed, 0 left."
        work(project)

    assert len(party.tokens) == 1
    assert project.call("tasks", states) == [[True, 1, ""]]
    assert project.call("tasks", asked) == []


def test_workers_that_can_do_nothing_later_leave_that_to_the_command(
    project: Project, make: Callable[..., str]
) -> None:
    make({"BACKEND": "backends.ThreadBackend"})
    with relying_party(503, 200) as party:
        project.call("tasks", start, party.uri)
        project.call("tasks", end_sessions, 1, True)
        _wait_until(lambda: project.call("tasks", states)[0][2] == "it answered with status 503")
        assert project.call("tasks", send) == "0 logout tokens delivered, 0 failed, 1 left."
        project.call("tasks", wait_until_due)
        assert project.call("tasks", send) == "1 logout tokens delivered, 0 failed, 0 left."
    assert len(party.tokens) == 2


def wait_until_due() -> None:
    wait_for_next_attempt()


def _wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.1)


#: The backends that nobody is asked by, and why.
UNASKED = {
    "Django's default": None,
    "it would hold up the request": {"BACKEND": "django.tasks.backends.immediate.ImmediateBackend"},
    "it does nothing": {"BACKEND": "django.tasks.backends.dummy.DummyBackend"},
    "it has other queues": {"BACKEND": "backends.ThreadBackend", "QUEUES": ["mail"]},
    "it is out of reach": {"BACKEND": "backends.BrokenBackend"},
}


@pytest.mark.parametrize("why", UNASKED)
def test_without_workers_the_command_sends(project: Project, make: Callable[..., str], why: str) -> None:
    make(UNASKED[why])

    with relying_party() as party:
        project.call("tasks", start, party.uri)
        project.call("tasks", end_sessions, 1, True)
        assert party.tokens == []
        assert project.call("tasks", states) == [[False, 0, ""]]
        assert project.call("tasks", send) == "1 logout tokens delivered, 0 failed, 0 left."
