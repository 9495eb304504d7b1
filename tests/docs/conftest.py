"""The site that the pages of the documentation go on from."""

from __future__ import annotations

import pytest

from tests.docs.pages import ROOT, blocks
from tests.docs.prepare import ACCOUNTS, START
from tests.docs.site import DocumentedSite


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> DocumentedSite:
    """Return the site of Getting started with its tables and accounts, which other pages go on from."""
    site = DocumentedSite(tmp_path_factory.mktemp("documented") / "site")
    site.run(f"{START}\nopenssl genrsa -out signing-key.pem 2048")
    for block in blocks(ROOT / "docs/getting-started.md"):
        if block.title:
            site.extend(f"mysite/{block.title}", block.text)
    # Cheap on purpose: each request of a client checks its secret.
    site.extend("mysite/settings.py", 'PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]')
    site.run("python manage.py migrate --verbosity 0")
    site.python(ACCOUNTS)
    return site
