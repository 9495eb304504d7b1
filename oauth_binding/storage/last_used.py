"""When a binding was last used, by API calls: noted while they are answered, and written afterwards.

What was read with the token tells whether there is anything to write, so that a call costs no query. Only
``last_used`` is written, once the answer is out, without waiting for anybody: whoever has the row locked
issues a token for the binding, which is a use of its own, or ends its tokens.
"""

from __future__ import annotations

import logging
import threading
from datetime import datetime, timedelta
from time import monotonic
from typing import Any, Final, NamedTuple

from django.core.signals import request_finished
from django.db import Error, close_old_connections, connections, transaction
from django.utils import timezone

from oauth_binding.core.databases import write_alias
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import TokenBinding
from oauth_binding.storage.attempts import is_given_up

logger = logging.getLogger(__name__)

#: How many bindings a thread notes at most: one that answers no HTTP requests never gets to write them.
MAX_NOTED: Final = 100

#: How long nothing is written after an error, in seconds: otherwise, each call would try again.
PAUSE: Final = 300


class _Use(NamedTuple):
    #: Alias of the database.
    using: str
    moment: datetime
    #: This is written only if the binding's last use is not later than this.
    not_after: datetime


class _Noted(threading.local):
    """What the request that a thread is answering has used, by the keys of the bindings.

    For each request, whatever asks the database runs in one thread, under ASGI, too, and so does what follows
    the request.
    """

    def __init__(self) -> None:
        self.uses: dict[str, _Use] = {}


_noted: Final = _Noted()

#: Until when nothing is written, by the monotonic clock.
_paused: Final = {"until": 0.0}


def connect() -> None:
    """Have what is noted written when a request is finished, before Django closes its connections."""
    request_finished.disconnect(close_old_connections)
    request_finished.connect(_write_noted)
    request_finished.connect(close_old_connections)


def note_use(binding: TokenBinding | None) -> None:
    """Note that the current request uses a binding, unless that was written recently.

    :param binding: what a good token is bound to, as it was read with it.
    """
    interval = binding_settings.last_used_interval
    if binding is None or interval is None:
        return
    now = timezone.now()
    not_after = now - timedelta(seconds=interval)
    if binding.last_used > not_after or len(_noted.uses) >= MAX_NOTED:
        return
    using = write_alias(TokenBinding)
    if connections[using].features.has_select_for_update_skip_locked:
        _noted.uses[binding.key] = _Use(using, now, not_after)


def _write_noted(**kwargs: Any) -> None:
    uses = [*_noted.uses.items()]
    _noted.uses.clear()
    for key, use in uses:
        if monotonic() < _paused["until"]:
            return
        try:
            _write(key, use)
        except Error as error:
            if not is_given_up(error):
                _paused["until"] = monotonic() + PAUSE
                logger.warning("Last use of a binding not written: %s", type(error).__name__)


def _write(key: str, use: _Use) -> None:
    bindings = TokenBinding.objects.using(use.using)
    outdated = bindings.filter(key=key, last_used__lte=use.not_after)
    with transaction.atomic(using=use.using):
        for pk in outdated.select_for_update(skip_locked=True).values_list("pk", flat=True):
            bindings.filter(pk=pk).update(last_used=use.moment)
