"""What the workers of a task backend run (Django 6.0 and newer)."""

from __future__ import annotations

import uuid

import django

from oauth_binding.authorization_server.backchannel.delivery import deliver

if django.VERSION >= (6, 0):  # pragma: no cover - Django 5.2 has no tasks
    from django.tasks import default_task_backend, task

    @task
    def deliver_logout(jti: str) -> None:
        """Make an attempt at a row, and ask for the next attempt if the backend can defer it.

        :param jti: that of the row, as JSON has it.
        """
        following = deliver(uuid.UUID(jti))
        if following is not None and default_task_backend.supports_defer:
            deliver_logout.using(run_after=following).enqueue(jti)
