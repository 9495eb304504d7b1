"""Reading all rows of a table, a page at a time."""

from __future__ import annotations

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone

from oauth_binding.storage.chunks import in_pages

#: Primary keys are texts here, some of which come before any number.
KEYS = ["-a", "+b", "0", "5", "a", "b", "c"]


@pytest.fixture(autouse=True)
def sessions(db: None) -> None:
    Session.objects.bulk_create(Session(session_key=key, expire_date=timezone.now()) for key in KEYS)


@pytest.mark.parametrize("newest_first", [False, True])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 8])
def test_each_row_comes_once(size: int, newest_first: bool) -> None:
    pages = list(in_pages(Session.objects.all(), size, newest_first=newest_first))

    order = "-pk" if newest_first else "pk"
    assert [row.pk for page in pages for row in page] == [
        *Session.objects.order_by(order).values_list("pk", flat=True)
    ]
    assert {len(page) for page in pages[:-1]} <= {size}


def test_primary_keys_alone_do_as_well_and_rows_may_go_meanwhile() -> None:
    found = []
    for page in in_pages(Session.objects.values_list("pk", flat=True), 2):
        found += page
        Session.objects.filter(pk__in=page).delete()

    assert sorted(found) == sorted(KEYS)
    assert not Session.objects.exists()
