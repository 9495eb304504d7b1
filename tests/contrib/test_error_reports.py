"""What Django mails to the administrators when the API for devices fails says no token."""

from __future__ import annotations

import pytest
from django.urls import URLPattern, reverse

from oauth_binding.contrib.rest_framework.urls import urlpatterns
from tests.helpers.error_reports import ask, assert_tells_no_secret, failing, mailing


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("pattern", [pytest.param(each, id=each.name) for each in urlpatterns])
@pytest.mark.django_db
def test_a_report_says_nothing_that_was_sent(pattern: URLPattern, method: str) -> None:
    arguments = dict.fromkeys(pattern.pattern.converters, "one")
    with mailing(), failing(pattern):
        assert ask(reverse(f"oauth_binding_api:{pattern.name}", kwargs=arguments), method).status_code == 500

        assert_tells_no_secret(of="The database is gone")
