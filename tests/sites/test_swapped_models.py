"""Sites with models of their own: their migrations are made and run, and the flows work.

Such a site makes the first migration of its models without this app, because they come before
django-oauth-toolkit's tables, and its second one with it: this app's table comes between the two.
"""

from __future__ import annotations

import pytest

from tests.helpers.project import ROOT, Project

pytestmark = pytest.mark.slow

SETTINGS = """
from tests.settings import *
from tests.settings import DATABASES, INSTALLED_APPS

INSTALLED_APPS = [*INSTALLED_APPS, "swapped"]
DATABASES["default"]["NAME"] = DATABASES["default"]["NAME"].replace("oauth_binding", {name!r})
"""

WITHOUT_BINDING = """
from with_binding import *

INSTALLED_APPS.remove("oauth_binding")
del OAUTH2_PROVIDER
ROOT_URLCONF = "tests.sites.plain_urls"
"""

_ALL_MODELS = [
    "AUTH_USER_MODEL = 'swapped.User'",
    "OAUTH2_PROVIDER_APPLICATION_MODEL = 'swapped.Application'",
    "OAUTH2_PROVIDER_ACCESS_TOKEN_MODEL = 'swapped.AccessToken'",
    "OAUTH2_PROVIDER_REFRESH_TOKEN_MODEL = 'swapped.RefreshToken'",
    "OAUTH2_PROVIDER_GRANT_MODEL = 'swapped.Grant'",
    "OAUTH2_PROVIDER_ID_TOKEN_MODEL = 'swapped.IDToken'",
]

#: models.py -> the settings that name its models
SITES = {
    "application_only": ["OAUTH2_PROVIDER_APPLICATION_MODEL = 'swapped.Application'"],
    "all_models": _ALL_MODELS,
    "own_keys": [*_ALL_MODELS, "OAUTH2_PROVIDER_DEVICE_GRANT_MODEL = 'swapped.DeviceGrant'"],
}

MAKE_MIGRATION = ["-m", "django", "makemigrations", "swapped"]


@pytest.mark.parametrize("site", SITES)
def test_a_site_with_models_of_its_own(project: Project, site: str) -> None:
    project.write("with_binding.py", SETTINGS.format(name=site) + "\n".join(SITES[site]))
    project.write("without_binding.py", WITHOUT_BINDING)
    models = (ROOT / "tests" / "sites" / "swapped" / f"{site}.py").read_text()

    project.write(
        "swapped/models.py", models.replace("oauth_binding", "oauth2_provider").replace("Bound", "Abstract")
    )
    project.write("swapped/migrations/__init__.py", "")
    project.run("without_binding", *MAKE_MIGRATION, TEST_DATABASE="sqlite")
    # As django-oauth-toolkit's documentation has it.
    (first,) = (project.directory / "swapped" / "migrations").glob("0001_*.py")
    first.write_text(f"{first.read_text()}\n    run_before = [('oauth2_provider', '0001_initial')]\n")

    project.write("swapped/models.py", models)
    project.run("with_binding", *MAKE_MIGRATION, TEST_DATABASE="sqlite")

    project.run(
        "with_binding", "-m", "pytest", "-n", "0", "-p", "no:cacheprovider", "tests/sites/swapped/flows.py"
    )
