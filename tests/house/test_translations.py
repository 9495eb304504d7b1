"""The pages in another language, and catalogues that leave nothing out."""

from __future__ import annotations

import gettext
import html
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client, override_settings

import oauth_binding
from oauth_binding.models import TokenBinding
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


LIST = "/oauth2/devices/"


@pytest.mark.parametrize(
    ("site", "asked", "shown", "heading"),
    [
        ("en-us", "de", "de", "Ihre Geräte"),
        ("en-us", "de-at", "de", "Ihre Geräte"),
        ("en-us", "en-gb", "en-gb", "Your devices"),
        # No catalogue of ours: Django has the texts of the site's language, or those of the code.
        ("en-us", "fr", "en", "Your devices"),
        ("en-us", "ar", "en", "Your devices"),
        ("ar", "fr", "en", "Your devices"),
        ("de", "fr", "de", "Ihre Geräte"),
        ("de", "ar", "de", "Ihre Geräte"),
        ("de", "en", "en", "Your devices"),
    ],
)
def test_the_page_says_which_language_its_texts_are_in(
    make_bound: Callable[..., Site], user: User, site: str, asked: str, shown: str, heading: str
) -> None:
    make_bound().bound("phone")
    TokenBinding.objects.update(created="2024-01-02T03:04:05Z")

    # The second has Django read the catalogues again, as in a new process.
    with override_settings(LANGUAGE_CODE=site, LOCALE_PATHS=[]):
        page = signed_in(user, asked).get(LIST).content.decode()
        question = signed_in(user, asked).get(f"{LIST}sign-out-others/").content.decode()

    assert f"{heading}</h1>" in page
    for each in (page, question):
        assert set(re.findall(r' lang="(.*?)"', each)) == {shown}
        assert set(re.findall(r'<(?:html|main)[^>]* dir="(.*?)"', each)) == {"ltr"}
    # Dates are in the language of the texts.
    month = {"de": "Januar", "en": "Jan"}[shown[:2]]
    assert month in page


@needs_gettext
def test_a_site_can_translate_the_page_itself(
    make_bound: Callable[..., Site], user: User, tmp_path: Path
) -> None:
    make_bound().bound("phone")
    messages = tmp_path / "ar" / "LC_MESSAGES"
    messages.mkdir(parents=True)
    (messages / "django.po").write_text(
        'msgid ""\nmsgstr ""\n"Content-Type: text/plain; charset=UTF-8\\n"\n\n'
        'msgctxt "the language of this catalogue, as a BCP 47 tag"\nmsgid "en"\nmsgstr "ar"\n\n'
        'msgid "Your devices"\nmsgstr "أجهزتك"\n'
    )
    subprocess.run(["msgfmt", "-o", messages / "django.mo", messages / "django.po"], check=True)

    with override_settings(LOCALE_PATHS=[tmp_path]):
        page = signed_in(user, "ar").get(LIST).content.decode()

    assert "أجهزتك</h1>" in page
    assert set(re.findall(r'<(?:html|main)[^>]* (lang="[^"]*" dir="[^"]*")', page)) == {'lang="ar" dir="rtl"'}


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


TEMPLATES = sorted((PACKAGE / "templates").rglob("*.html"))


def _untranslated(markup: str) -> set[str]:
    """Return the words of a template that stand in it as they are shown."""
    markup = re.sub(r"{% (comment|blocktranslate)\b.*?{% end\1 %}|{#.*?#}|<!--.*?-->", "", markup, flags=re.S)
    # Django's own tags have texts in quotes, and so have HTML's; of these, some are shown.
    markup = re.sub(r"{{.*?}}|{%.*?%}", "", markup, flags=re.S)
    shown = re.findall(r'\b(?:title|alt|placeholder|aria-label|aria-description|value)="([^"]*)"', markup)
    texts = html.unescape(" ".join([*shown, re.sub(r"<[^>]*>", " ", markup)]))
    return set(re.findall(r"[^\W\d_]+", texts))


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_a_template_shows_no_words_but_translated_ones(template: Path) -> None:
    assert _untranslated(template.read_text()) == set()


def test_words_that_a_template_shows_are_found() -> None:
    markup = (
        '<p title="Hover">{% translate "Fine" %} Text {{ x }}</p>{% blocktranslate %}Y{% endblocktranslate %}'
    )

    assert _untranslated(markup) == {"Hover", "Text"}


@pytest.mark.parametrize("script", sorted((PACKAGE / "static").rglob("*.js")), ids=lambda path: path.name)
def test_a_script_shows_no_words_of_its_own(script: Path) -> None:
    """They come with the page, translated: there is no catalogue for scripts."""
    code = re.sub(r"^\s*//.*$|/\*.*?\*/", "", script.read_text(), flags=re.M | re.S)

    texts = [double or single for double, single in re.findall(r'"([^"\n]*)"|\'([^\'\n]*)\'', code)]
    assert [text for text in texts if re.search(r"[A-Za-z]+ [A-Za-z]+", text) and text != "use strict"] == []
    assert "gettext" not in code


def _catalogue(path: Path) -> dict[str, str]:
    with path.open("rb") as file:
        return dict(gettext.GNUTranslations(file)._catalog)  # type: ignore[attr-defined]


def _message_ids(path: Path) -> set[str]:
    joined = re.sub(r'"\n"', "", path.read_text())
    return set(re.findall(r'^msgid "(.*)"$', joined, re.MULTILINE))
