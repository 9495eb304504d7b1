"""Logout tokens that are going to be sent (OpenID Connect Back-Channel Logout 1.0 section 2.5)."""

from __future__ import annotations

from collections.abc import Collection

from oauth_binding.authorization_server.backchannel.scheduling import deliver_after_commit
from oauth_binding.core.databases import written
from oauth_binding.models import LoginSessionClient, LogoutNotification
from oauth_binding.storage.chunks import in_chunks


def enqueue(sessions: Collection[int]) -> None:
    """Queue a logout token for each application that has to be told, in the transaction that ends sessions.

    :param sessions: the primary keys of login sessions that have just ended.
    """
    for chunk in in_chunks(sessions):
        told = written(LoginSessionClient).filter(
            session__in=chunk, application__token_policy__backchannel_logout_uri__gt=""
        )
        rows = [
            LogoutNotification(application_id=application, sub=sub, sid=sid, issuer=issuer)
            for application, sub, sid, issuer in told.values_list(
                "application_id", "sub", "session__sid", "session__issuer"
            )
        ]
        written(LogoutNotification).bulk_create(rows)
        deliver_after_commit([row.jti for row in rows])
