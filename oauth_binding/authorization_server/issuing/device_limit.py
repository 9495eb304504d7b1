"""How many devices of a user an application allows, and what happens to one more.

A request from a device that has a live token is never held up. Any other takes the gate (storage/devices.py)
and counts. If the limit seems to be reached, it begins again with an exclusive lock on the user's row, as
everything that ends tokens does, looks again, and signs out the devices that were used least recently.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from oauth_binding.authorization_server.issuing.request_state import BoundPlan, Exchange, state_of
from oauth_binding.core.errors import InvalidGrantError
from oauth_binding.core.log_lines import one_line
from oauth_binding.core.reasons import Reason
from oauth_binding.models import policy_of
from oauth_binding.storage import devices
from oauth_binding.storage.attempts import OutdatedError

if TYPE_CHECKING:
    from oauthlib.common import Request

    from oauth_binding.authorization_server.issuing.token_writer import TokenWriter

logger = logging.getLogger(__name__)


class DeviceLimitError(OutdatedError):
    """A user has as many devices as allowed, as far as can be told while other requests issue tokens."""


def limit_for(plan: BoundPlan, request: Request) -> int | None:
    """Return how many devices the user of a request may have, or None: it is not from a new device.

    A client that acts for itself has no devices, and a token that is refreshed or returned again is not new.
    """
    state = state_of(request)
    if plan.binding.user_id is None or state.refresh_token is not None or plan.reused is not None:
        return None
    return policy_of(request.client).device_limit


def refuse_beforehand(plan: BoundPlan, request: Request) -> None:
    """Refuse a request early if it would lose something by being refused when it is about to be saved.

    :raises InvalidGrantError: the user has as many devices as the application allows, and it refuses more.
    """
    state, limit = state_of(request), limit_for(plan, request)
    if limit is None or state.signs_devices_out or not policy_of(request.client).refuses_devices:
        return
    # Everything else is undone with the transaction, or has not been done yet.
    if state.proof is None and state.exchange is None and "openid" not in request.scopes:
        return
    if devices.count_marked(plan.binding, limit) == limit:
        _choose(plan, request, limit)


def make_room(writer: TokenWriter, plan: BoundPlan, request: Request, limit: int, number: int | None) -> None:
    """Let there be one device less than allowed, or none but others: the request's own may be among them.

    It is called before the binding is locked.

    :param limit: what ``limit_for`` has returned.
    :param number: how many were counted in this transaction under the lock on the gate; None where none were.
    :raises InvalidGrantError: there are as many as allowed, and the application refuses more.
    :raises DeviceLimitError: what was found has to be looked at under an exclusive lock.
    """
    state = state_of(request)
    if number is None:
        number = devices.lock_and_count(plan.binding, limit)
    if number < limit:
        return
    if not state.signs_devices_out and not policy_of(request.client).refuses_devices:
        # Which ones is only looked for under the lock that ending them needs.
        if devices.is_live(plan.binding):
            return
        raise DeviceLimitError
    chosen = _choose(plan, request, limit)
    if chosen is None:
        return
    if not state.signs_devices_out:
        raise DeviceLimitError
    dead, surplus = chosen
    devices.unmark([*dead, *surplus])
    if surplus:
        writer.sign_devices_out(surplus)
        logger.info(
            "%d devices of user %s were signed out of client %s, which allows %d",
            len(surplus),
            plan.binding.user_id,
            one_line(request.client.client_id),
            limit,
        )


def _choose(plan: BoundPlan, request: Request, limit: int) -> tuple[list[int], list[int]] | None:
    """Return the devices without live tokens, and those that have to give way; None for a known device.

    :raises InvalidGrantError: there is no room, and the application makes none.
    """
    marked = devices.marked_devices(plan.binding)
    own = plan.binding.key
    if any(device.is_live for device in marked if device.key == own):
        return None
    dead = [device.pk for device in marked if not device.is_live]
    live = [device.pk for device in marked if device.is_live]
    surplus = max(0, len(live) + 1 - limit)
    # A token that is being exchanged is in use, and what it is exchanged for would end with it.
    presented = _presented(state_of(request).exchange)
    giving_way = [pk for pk in live if pk not in presented][:surplus]
    if surplus and (policy_of(request.client).refuses_devices or len(giving_way) < surplus):
        raise InvalidGrantError(
            Reason.DEVICE_LIMIT,
            description=f"The user is signed in on {limit} devices, and this client allows no more.",
            request=request,
        )
    return dead, giving_way


def _presented(exchange: Exchange | None) -> set[int | None]:
    return set() if exchange is None else {row.binding_id for row in exchange.presented.values()}
