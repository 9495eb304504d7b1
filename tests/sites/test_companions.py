"""Packages that others have made for django-oauth-toolkit, on a site with this app."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.helpers.project import Project

pytestmark = pytest.mark.slow

SOCIAL = """
from tests.settings import *
from tests.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "social_django", "drf_social_oauth2"]
DATABASES["default"]["NAME"] = DATABASES["default"]["NAME"].replace("oauth_binding", "social")
AUTHENTICATION_BACKENDS = [
    "tests.sites.companions.social.Provider",
    "drf_social_oauth2.backends.DjangoOAuth2",
    "django.contrib.auth.backends.ModelBackend",
]
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "oauth_binding.contrib.rest_framework.BearerAuthentication",
        "drf_social_oauth2.authentication.SocialAuthentication",
    ],
}
ROOT_URLCONF = "social_urls"
"""

SOCIAL_URLS = """
from django.urls import include, path

urlpatterns = [
    path("oauth2/", include("oauth_binding.urls")),
    path("auth/", include("drf_social_oauth2.urls", namespace="drf")),
]
"""


@pytest.mark.skipif(find_spec("drf_social_oauth2") is None, reason="drf-social-oauth2 is not installed")
def test_tokens_of_other_networks_are_converted(project: Project) -> None:
    project.write("social_settings.py", SOCIAL)
    project.write("social_urls.py", SOCIAL_URLS)

    project.run(
        "social_settings",
        *("-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "tests/sites/companions/social.py"),
    )
