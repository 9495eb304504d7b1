"""System checks in a site's own tests, which may keep a test from the database."""

from __future__ import annotations

from django.core.checks import run_checks


def test_they_say_nothing_of_the_database() -> None:
    found = [message.id for message in run_checks() if str(message.id).startswith("oauth_binding.")]

    assert found == []
