"""What Django mails to the administrators when a view fails says none of the secrets that were posted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core import mail
from django.http import HttpRequest
from django.test import Client
from django.urls import URLPattern, reverse
from django.views.generic import View

from oauth_binding.urls import urlpatterns
from tests.helpers.client import Site

#: What is posted to each, under the names that tell that it is a secret.
SECRETS = {
    name: f"canary-{number}-of-a-secret"
    for number, name in enumerate(
        (
            *("token", "client_secret", "password", "code", "code_verifier", "device_code", "user_code"),
            *("refresh_token", "access_token", "subject_token", "actor_token", "client_assertion"),
            *("tokenBindingId", "id_token_hint", "name"),
        )
    )
}


def address_of(pattern: URLPattern) -> str:
    """Return where a view is, with something in place of what is variable: it is not looked at."""
    if pattern.name is None:
        return f"/oauth2/{pattern.pattern}"
    arguments = {name: 1 if name == "pk" else "one" for name in pattern.pattern.converters}
    return reverse(f"oauth2_provider:{pattern.name}", kwargs=arguments)


@pytest.mark.parametrize("pattern", [pytest.param(each, id=address_of(each)) for each in urlpatterns])
def test_a_report_says_nothing_that_was_posted(
    make_site: Callable[..., Site], settings: Any, monkeypatch: pytest.MonkeyPatch, pattern: URLPattern
) -> None:
    def fail(self: View, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        assert request.POST["token"]
        raise RuntimeError("The database is gone.")

    settings.ADMINS = [("Operator", "operator@example.com")]
    view: Any = pattern.callback
    monkeypatch.setattr(view.view_class, "dispatch", fail)
    site = make_site()

    response = Client(raise_request_exception=False).post(address_of(pattern), SECRETS, headers=site.basic())

    assert response.status_code == 500
    (report,) = mail.outbox
    assert "The database is gone." in report.body
    for name, secret in SECRETS.items():
        assert secret not in report.body, name
    assert site.basic()["Authorization"] not in report.body
