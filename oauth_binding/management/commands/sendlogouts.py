"""``manage.py sendlogouts``: send the logout tokens that are due."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from oauth_binding.authorization_server.backchannel.delivery import deliver_due, waiting


class Command(BaseCommand):
    help = (
        "Send the logout tokens that are due to the applications that have a back-channel logout URI. "
        "Run it every minute, even where the site has a task backend: it finds what the backend has "
        "lost. Several can run at the same time."
    )
    # Because it runs every minute, and a mistake elsewhere need not keep anybody logged in.
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        counts = deliver_due()
        self.stdout.write(
            f"{counts.delivered} logout tokens delivered, {counts.failed} failed, {waiting().count()} left."
        )
