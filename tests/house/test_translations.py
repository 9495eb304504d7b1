"""The pages in another language, and catalogues that leave nothing out."""

from __future__ import annotations

import gettext
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client

import oauth_binding
from tests.helpers.client import Site

PACKAGE = Path(oauth_binding.__file__).parent
LANGUAGES = sorted(path.name for path in (PACKAGE / "locale").iterdir())

needs_gettext = pytest.mark.skipif(shutil.which("msgfmt") is None, reason="gettext is not installed")


def signed_in(user: User, language: str) -> Client:
    client = Client(headers={"Accept-Language": language})
    client.force_login(user)
    return client


def test_users_see_their_devices_in_their_language(make_bound: Callable[..., Site], user: User) -> None:
    make_bound().bound("phone")

    german = signed_in(user, "de").get("/oauth2/devices/").content.decode()
    english = signed_in(user, "en").get("/oauth2/devices/").content.decode()

    assert "Ihre Geräte" in german
    assert 'lang="de"' in german
    assert "Abmelden" in german
    assert "Your devices" in english
    assert "Ihre Geräte" not in english


def test_operators_see_the_console_in_their_language(make_bound: Callable[..., Site], db: None) -> None:
    application = make_bound("jwt").application
    operator = User.objects.create_superuser("operator", password="password")

    page = signed_in(operator, "de").get(f"/admin/oauth2_provider/application/{application.pk}/change/")

    for shown in ("Erlaubte Grant-Typen", "Art der Token-Bindung", "Was das bewirkt", "widerruft das vorige"):
        assert shown in page.content.decode()


@needs_gettext
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalogue_is_complete(language: str, tmp_path: Path) -> None:
    messages = PACKAGE / "locale" / language / "LC_MESSAGES"
    compiled = tmp_path / "django.mo"

    checked = subprocess.run(
        ["msgfmt", "--check-format", "--statistics", "-o", compiled, messages / "django.po"],
        capture_output=True,
        text=True,
        check=True,
    )

    assert re.fullmatch(r"\d+ translated messages\.\s*", checked.stderr)
    assert _catalogue(messages / "django.mo") == _catalogue(compiled)


@needs_gettext
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalogue_has_what_the_code_says(language: str, tmp_path: Path) -> None:
    copy = tmp_path / "oauth_binding"
    shutil.copytree(PACKAGE, copy)
    command = ["-m", "django", "makemessages", "--locale", language, "--no-location", "--no-obsolete"]

    subprocess.run([sys.executable, *command], cwd=copy, check=True, capture_output=True)

    catalogue = Path("locale", language, "LC_MESSAGES", "django.po")
    assert _message_ids(copy / catalogue) == _message_ids(PACKAGE / catalogue)


def _catalogue(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        return dict(gettext.GNUTranslations(file)._catalog)  # type: ignore[attr-defined]


def _message_ids(path: Path) -> set[str]:
    joined = re.sub(r'"\n"', "", path.read_text())
    return set(re.findall(r'^msgid "(.*)"$', joined, re.MULTILINE))
