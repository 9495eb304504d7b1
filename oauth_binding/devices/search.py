"""Finding devices and browsers by what their page says about them."""

from __future__ import annotations

from typing import Final

from django.db.models import Q
from django.utils.translation import gettext

#: The least number of characters of a reference that is searched for.
_SHORTEST_REFERENCE: Final = 8


def words_of(search: str) -> list[str]:
    """Return the words of a search, each of which has to be found.

    :param search: what somebody has typed.
    """
    words = search.split()
    # "Firefox on Windows" is put together where it is shown: no column has the word "on".
    between = gettext("%(browser)s on %(machine)s") % {"browser": "", "machine": ""}
    left_out = between.casefold().split()
    return [word for word in words if word.casefold() not in left_out] or words


def named_or_called(word: str, *names: str) -> Q:
    """Return the condition of rows with a word in their looks or in a name.

    :param word: one of ``words_of``.
    :param names: the columns of names, in addition to those of ``oauth_binding.models.sightings.Sighted``.
    """
    found = Q()
    for column in (*names, "last_browser", "last_os", "last_device", "last_place"):
        found |= Q(**{f"{column}__icontains": word})
    return found


def has_reference(word: str) -> Q:
    """Return the condition of bindings whose reference begins with a word."""
    # Shorter words are meant for names, and would match references by chance.
    return Q(reference__istartswith=word) if len(word) >= _SHORTEST_REFERENCE else Q(pk__in=[])


def names_application(word: str, application: str) -> Q:
    """Return the condition of rows with a word in the name of their application.

    :param word: one of ``words_of``.
    :param application: the column of the application.
    """
    # As str() names applications: by their id if they have no name.
    unnamed = Q(**{f"{application}__name": "", f"{application}__client_id__icontains": word})
    return Q(**{f"{application}__name__icontains": word}) | unnamed
