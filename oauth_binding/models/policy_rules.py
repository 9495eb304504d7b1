"""What an application's token policy demands, and what of that can't be met."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import AbstractApplication

from oauth_binding.models.token_policy import NO_CONSTRAINT, Demand, TokenPolicy


def policy_problems(application: Any, policy: TokenPolicy) -> Iterator[tuple[str, ValidationError]]:
    """Yield what can't work of a token policy, each with the field of the policy that it is said at.

    :param application: the application as it is going to be; it need not be saved.
    :param policy: its policy, likewise.
    """
    if policy.sender_constraint == NO_CONSTRAINT and policy.require_sender_constraint != Demand.NO:
        message = _("Without a sender constraint there is no proof that a request could have.")
        yield "require_sender_constraint", ValidationError(message, code="nothing_to_prove")
    if policy.demands_proof and application.allows_grant_type(AbstractApplication.GRANT_IMPLICIT):
        message = _("This application demands a proof, and gets no access tokens by the implicit grant.")
        yield "require_sender_constraint", ValidationError(message, code="unmet_demand")
