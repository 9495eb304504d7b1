"""What has to be true of all answers and of what is left in the database, whatever has happened."""

from __future__ import annotations

from collections import defaultdict

from tests.concurrency.cluster import lag, settle
from tests.concurrency.load import Event, Sender
from tests.concurrency.site import RunningSite

#: Per binding, more than one access or refresh token that is live; and live refresh tokens without a slot.
_STATE = """
from django.db.models import Count, Q
from django.utils import timezone
from oauth2_provider.models import AccessToken, RefreshToken
def several(tokens):
    return list(tokens.values_list("binding").annotate(number=Count("pk")).filter(number__gt=1))
live = RefreshToken.objects.filter(revoked__isnull=True)
result = {
    "access tokens": several(AccessToken.objects.filter(expires__gt=timezone.now())),
    "refresh tokens": several(live),
    "orphans": live.filter(Q(access_token__isnull=True) | Q(access_token__slot__isnull=True)).count(),
}
"""


def assert_sound(site: RunningSite, events: list[Event]) -> None:
    """Check what was answered, and what is left in the database."""
    settle()
    owners = defaultdict(set)
    for event in events:
        for name in ("access_token", "refresh_token"):
            if name in event.data:
                owners[event.data[name]].add((event.client_id, event.binding))
    assert [found for found in owners.values() if len(found) > 1] == []

    # No answer has a token that was dead before the request began.
    dead: dict[str, float] = {}
    for event in events:
        if event.kind == "revoke" and event.status == 200:
            dead[event.sent] = min(event.ended, dead.get(event.sent, event.ended))
    late = [
        event
        for event in events
        for name in ("access_token", "refresh_token")
        if event.started > dead.get(event.data.get(name, ""), event.started) + lag()
    ]
    assert late == []

    assert site.run(_STATE) == {"access tokens": [], "refresh tokens": [], "orphans": 0}
    assert_superseded_refresh_tokens_are_dead(site, events)


def assert_superseded_refresh_tokens_are_dead(site: RunningSite, events: list[Event]) -> None:
    answered: dict[tuple[str, str | None], list[str]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event.ended):
        if "refresh_token" in event.data:
            tokens = answered[event.client_id, event.binding]
            if event.data["refresh_token"] not in tokens:
                tokens.append(event.data["refresh_token"])
    for (client_id, binding), tokens in answered.items():
        sender = Sender(site.address, client_id)
        working = [sender.refresh(binding, token).status == 200 for token in tokens[-20:]]
        # The one that works is used up by this, and its successor is not among them.
        assert sum(working) <= 1
