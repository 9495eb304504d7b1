"""The language that a page's texts are in, which need not be the active one."""

from __future__ import annotations

from django.conf import settings
from django.utils.translation import get_language, pgettext


def language_of_texts() -> str:
    """Return the language of the app's texts as they are shown (BCP 47).

    A site's language may be one that this app has no catalogue for. Django then shows texts in that of
    ``LANGUAGE_CODE``, or as they are in the code. So each catalogue says which language it is in.
    """
    active = get_language() or settings.LANGUAGE_CODE
    shown = pgettext("the language of this catalogue, as a BCP 47 tag", "en")
    # For a regional variant, which determines how dates are written, the texts are those of its language.
    return active if active.split("-")[0] == shown.split("-")[0] else shown
