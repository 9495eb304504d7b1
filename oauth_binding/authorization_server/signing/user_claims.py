"""What an application's access tokens say about the user: the claims that its operator has ticked."""

from __future__ import annotations

import logging
from typing import Any

from oauth_binding.core import claim_sources
from oauth_binding.core.errors import ClaimSourceError
from oauth_binding.core.log_lines import one_line
from oauth_binding.core.reasons import Reason
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import policy_of

logger = logging.getLogger(__name__)


def user_claims(application: Any, user: Any) -> dict[str, Any]:
    """Return the claims that an application's policy chooses, with what their sources say now.

    :param application: whose token it is.
    :param user: whose token it is; None for a client's own, which says nothing about a user.
    :raises ClaimSourceError: a source has failed.
    """
    if user is None:
        return {}
    claims = {name: _read(name, application, user) for name in policy_of(application).claims.split()}
    return {name: value for name, value in claims.items() if value is not None}


def _read(name: str, application: Any, user: Any) -> Any:
    try:
        return claim_sources.read(binding_settings.claim_sources[name], user)
    except Exception as error:
        # Not the text of the error, which may quote what is known about the user.
        logger.error(
            "The claims of a token of client %s can't be read: the source of the claim %s failed (%s)",
            one_line(application.client_id),
            one_line(name),
            type(error).__name__,
        )
        raise ClaimSourceError(Reason.CLAIM_SOURCE_FAILED) from error
