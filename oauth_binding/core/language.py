"""The language that a page's texts are in, which need not be the one that is active."""

from __future__ import annotations

from django.conf import settings
from django.utils.translation import get_language, pgettext


def language_of_texts() -> str:
    """Return the language of the app's texts as they are shown (BCP 47).

    A site's language may be one that this app has no catalogue of. Django shows texts in that of
    ``LANGUAGE_CODE`` then, or as the code has them. So each catalogue says what its own is.
    """
    active = get_language() or settings.LANGUAGE_CODE
    shown = pgettext("the language of this catalogue, as a BCP 47 tag", "en")
    # A regional variant, which dates are written by, is shown in the texts of its language.
    return active if active.split("-")[0] == shown.split("-")[0] else shown
