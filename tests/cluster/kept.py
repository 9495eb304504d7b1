"""What clients were told is so, whichever servers have ended since."""

from __future__ import annotations

import hashlib
from collections import defaultdict

from tests.concurrency.load import Event, Sender
from tests.concurrency.site import RunningSite

_STORED = """
from oauth2_provider.models import AccessToken
stored = AccessToken.objects.filter(token_checksum__in=%r)
result = list(stored.values_list("token_checksum", flat=True))
"""


def assert_kept(site: RunningSite, events: list[Event]) -> None:
    """Make sure that a site has all that clients were told."""
    # Requests with one refresh token have one row, which has the JWT that was signed last.
    told: dict[tuple[str, str], set[str]] = defaultdict(set)
    for event in events:
        if event.status == 200 and event.kind in {"login", "refresh"}:
            digest = hashlib.sha256(event.access.encode()).hexdigest()
            told[event.kind, event.sent or event.access].add(digest)
    assert {kind for kind, _sent in told} == {"login", "refresh"}
    stored = set(site.run(_STORED % sorted(set().union(*told.values()))))
    assert [row for row, any_of in told.items() if not any_of & stored] == []
    revoked = [event for event in events if (event.kind, event.status) == ("revoke", 200)]
    assert revoked
    for event in revoked:
        assert not Sender(site.address, event.client_id).is_active(event.sent)
