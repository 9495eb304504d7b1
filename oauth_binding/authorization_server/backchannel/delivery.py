"""The attempts at delivering logout tokens: which are due, who makes them, and what comes of them.

A row is claimed by one UPDATE, which moves its next attempt to the end of the claim. So only one of two
processes gets the row, and the row of a process that was killed is due again when its claim is over. No
transaction is open while something is sent.
"""

from __future__ import annotations

import logging
import random
import uuid
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any, Final

from django.core.exceptions import ImproperlyConfigured
from django.db.models import F
from django.utils import timezone
from jwcrypto.common import JWException
from oauth2_provider.models import get_application_model

from oauth_binding.authorization_server.backchannel.post import TIMEOUT, Result, post
from oauth_binding.authorization_server.signing import logout_tokens
from oauth_binding.core import audit
from oauth_binding.core.audit import Event, Facts, Outcome
from oauth_binding.core.databases import written
from oauth_binding.core.log_lines import one_line
from oauth_binding.core.reasons import Reason
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import MAX_FAILURE_LENGTH, LogoutNotification, policy_of
from oauth_binding.storage.attempts import repeat

logger = logging.getLogger(__name__)

#: How long a row belongs to its sender. Much longer than an attempt takes, so that none is made twice.
CLAIM: Final = timedelta(seconds=12 * TIMEOUT)

#: The pause after the first attempt, and the longest. Each is twice as long as the one before, and up to a
#: tenth longer or shorter.
FIRST_PAUSE: Final = timedelta(minutes=1)
LONGEST_PAUSE: Final = timedelta(hours=2)

#: How many attempts are made. The pauses between them are 22 hours and 7 minutes.
MAX_ATTEMPTS: Final = 18

#: How many rows one process sends at the same time.
SENDERS: Final = 8

#: How long one run goes on starting attempts, in seconds: it is over when the next minute's run begins,
#: however much is due.
RUN_TIME: Final = 40


@dataclass(frozen=True, slots=True)
class _Claimed:
    """A row that this process may send."""

    row: Any
    #: When anybody may claim it again.
    until: datetime
    #: Whom it is for; what names the row where the application is gone.
    client_id: str
    #: Sends it.
    send: Callable[[], Result]


@dataclass(slots=True)
class Counts:
    """The outcome of the attempts of one run."""

    delivered: int = 0
    failed: int = 0


def waiting() -> Any:
    """Return the rows that are neither delivered nor given up."""
    return written(LogoutNotification).filter(next_attempt__isnull=False)


def deliver(jti: uuid.UUID) -> datetime | None:
    """Make an attempt at one row, if it is due and nobody else has claimed it.

    :returns: when the next one is due; None where there is none.
    """
    claimed = _claim(jti)
    if claimed is not None:
        _note(claimed, claimed.send())
    moment: datetime | None = waiting().filter(jti=jti).values_list("next_attempt", flat=True).first()
    return moment


def deliver_due() -> Counts:
    """Make an attempt at each row that is due, as far as ``RUN_TIME`` goes.

    An application that does not answer is not asked again in this run, so it does not hold up the others.
    """
    counts = Counts()
    end = monotonic() + RUN_TIME
    silent: set[Any] = set()
    rows = waiting().filter(next_attempt__lte=timezone.now()).order_by("next_attempt", "pk")
    due = iter(list(rows.values_list("jti", "application_id")))
    sent: dict[Future[Result], _Claimed] = {}
    with ThreadPoolExecutor(SENDERS) as pool:
        while True:
            for jti, application in due:
                is_left = application in silent or monotonic() > end
                claimed = None if is_left else _claim(jti)
                if claimed is not None:
                    sent[pool.submit(claimed.send)] = claimed
                if len(sent) == SENDERS:
                    break
            if not sent:
                return counts
            for future in wait(sent, return_when=FIRST_COMPLETED).done:
                claimed, result = sent.pop(future), future.result()
                _note(claimed, result)
                counts.failed += bool(result.failure)
                counts.delivered += not result.failure
                if not result.answered:
                    silent.add(claimed.row.application_id)


def pause_after(attempts: int) -> timedelta:
    """Return how long to wait after a number of attempts."""
    # 2 to a power that is no larger than needed, as there may be many more claims than attempts.
    pause = min(FIRST_PAUSE * 2 ** min(attempts - 1, MAX_ATTEMPTS), LONGEST_PAUSE)
    varied: timedelta = pause * random.uniform(0.9, 1.1)  # noqa: S311
    return varied


def _claim(jti: uuid.UUID) -> _Claimed | None:
    """Claim a row, and make what is to be sent; None if it is not due, or another process was first."""
    now = timezone.now()
    until = now + CLAIM
    rows = written(LogoutNotification).filter(jti=jti)

    def claim() -> int:
        claimed: int = rows.filter(next_attempt__lte=now).update(
            next_attempt=until, attempts=F("attempts") + 1, last_attempt=now
        )
        return claimed

    if not repeat(claim):
        return None
    row: Any = rows.first()
    if row is None:
        return None
    # Not with a join, which would not find a row whose application was deleted by SQL.
    applications = written(get_application_model()).select_related("token_policy")
    application: Any = applications.filter(pk=row.application_id).first()
    client_id = str(row) if application is None else application.client_id
    return _Claimed(row, until, client_id, _prepare(row, application))


def _prepare(row: LogoutNotification, application: Any) -> Callable[[], Result]:
    uri = "" if application is None else policy_of(application).backchannel_logout_uri
    if not uri:
        return partial(Result, "the application has no address for it any more")
    try:
        token = logout_tokens.encode(row, application)
    except (ImproperlyConfigured, JWException) as error:
        return partial(Result, one_line(f"it can't be signed: {error}")[:MAX_FAILURE_LENGTH])
    except ValueError as error:
        # Not its text: that of a parser may quote the key.
        return partial(Result, f"it can't be signed: the key can't be read ({type(error).__name__})")
    return partial(post, uri, token, binding_settings.backchannel_logout_networks)


def _note(claimed: _Claimed, result: Result) -> None:
    """Note the outcome of an attempt; a failure counts only for the latest claim."""
    row, now = claimed.row, timezone.now()
    rows = written(LogoutNotification).filter(pk=row.pk)
    if not result.failure:
        repeat(lambda: rows.update(delivered_at=now, next_attempt=None, failure=""))
        return
    is_last = row.attempts >= MAX_ATTEMPTS
    following = None if is_last else now + pause_after(row.attempts)
    failed = rows.filter(next_attempt=claimed.until)
    repeat(lambda: failed.update(next_attempt=following, failure=result.failure))
    logger.warning(
        "Logout token not delivered to client %s in attempt %s: %s",
        one_line(claimed.client_id),
        row.attempts,
        result.failure,
    )
    if is_last:
        facts = Facts(client_id=claimed.client_id, sid=row.sid)
        audit.refuse(Event.LOGOUT_GIVEN_UP, Reason.NOT_DELIVERED, facts, Outcome.ERROR)
