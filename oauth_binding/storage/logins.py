"""How long a login lasts: from its first token on, through refresh, exchange and being returned again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from oauth_binding.models import TokenExchange, policy_of


def login_started(token: Any) -> datetime:
    """Return when the login that an access or refresh token belongs to began.

    :param token: its row; for one that is older than the column, the time when it was issued counts.
    """
    started: datetime = token.binding_login_started or token.created
    return started


def login_lifetime(application: Any, exchange: TokenExchange | None) -> timedelta | None:
    """Return how long a login may last: the least that its applications say, or None if none says so.

    :param application: the one that the tokens are issued to; None for none.
    :param exchange: what they were exchanged from, if anything: its login limits theirs.
    """
    limits = [] if application is None else [policy_of(application).login_lifetime]
    if exchange is not None:
        limits.append(exchange.login_lifetime)
        if exchange.subject_client is not None:
            limits.append(policy_of(exchange.subject_client).login_lifetime)
    seconds = [limit for limit in limits if limit is not None]
    return timedelta(seconds=min(seconds)) if seconds else None


def login_end(token: Any) -> datetime | None:
    """Return when the login that an access or refresh token belongs to ends; None if it does not by itself.

    :param token: its row.
    """
    lifetime = login_lifetime(token.application, token.exchange)
    return None if lifetime is None else login_started(token) + lifetime
