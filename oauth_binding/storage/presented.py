"""What is demanded of requests with a token: the token's key, and that they name what it is bound to.

The tokens themselves are asked, by ``oauth_binding.storage.standing.ask_when_validated``. They do not know
the request, so what that presents is kept here; if nobody has put it here, a token with a demand is refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final

from django.http.request import HttpHeaders

from oauth_binding.binding.confirmation import Confirmation
from oauth_binding.binding.presented import find_fault
from oauth_binding.core.device_facts import facts_of
from oauth_binding.core.reasons import Reason
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import Demand, policy_of
from oauth_binding.storage.reports import report, was_reported_just_now

#: Where a door that has verified a proof keeps the ``Confirmation`` in the headers that it hands on; in WSGI,
#: no HTTP header has a dot.
PROVEN: Final = "oauth_binding.proven"


@dataclass
class Presentation:
    """What a request presents besides its token."""

    #: The value of the header; empty without one.
    value: str = ""
    #: The key that proves that the token is its own; None without a proof.
    proven: Confirmation | None = None
    #: Why a token that was asked meanwhile is refused; empty if it is not.
    fault: str = ""
    #: The same for the audit log, and which token that is.
    reason: Reason | None = None
    refused: Any = None
    #: The request's ``META``; None if there is no request.
    meta: Mapping[str, Any] | None = field(default=None, repr=False)

    def meets_demands_of(self, token: Any) -> bool:
        """Return whether a token's application is satisfied with it.

        :param token: an access or refresh token.
        """
        held = Confirmation.from_stored(token.binding_confirmation)
        if held != self.proven:
            if held is None or self.proven:
                description, reason = (
                    "The access token is not bound to the key that is proven.",
                    Reason.KEY_MISMATCH,
                )
            else:
                description, reason = (
                    "The access token is sender-constrained, and its key is not proven.",
                    Reason.PROOF_MISSING,
                )
            return self._refuse(token, description, reason)
        application = token.application
        demand = Demand.NO if application is None else policy_of(application).require_presented_binding
        fault = "" if demand == Demand.NO else find_fault(token, binding_settings.binding_header, self.value)
        if fault and demand == Demand.REPORT:
            self._report(token)
            return True
        if not fault:
            self.fault, self.reason, self.refused = "", None, None
            return True
        is_unbound = token.binding is None or token.binding.is_shared
        return self._refuse(
            token, fault, Reason.TOKEN_NOT_BOUND if is_unbound else Reason.BINDING_NOT_PRESENTED
        )

    def _refuse(self, token: Any, fault: str, reason: Reason) -> bool:
        self.fault, self.reason, self.refused = fault, reason, token
        return False

    def _report(self, token: Any) -> None:
        # An API is called much more often than the token endpoint, and some of its code asks more than once.
        demand = "require_presented_binding"
        if not was_reported_just_now(demand, token.binding):
            facts = None if self.meta is None else facts_of(self.meta)
            report(demand, token.application, token.user, token.binding, facts)


_current: ContextVar[Presentation | None] = ContextVar("oauth_binding_presentation", default=None)


@contextmanager
def presenting(meta: Any) -> Iterator[Presentation]:
    """Enter with what a request presents, while its token is validated.

    :param meta: its ``META``, or a dict with the same keys.
    """
    name = HttpHeaders.to_wsgi_name(binding_settings.binding_header)
    presentation = Presentation(str(meta.get(name, "")), meta.get(PROVEN), meta=meta)
    previous = _current.set(presentation)
    try:
        yield presentation
    finally:
        _current.reset(previous)


def is_presented(token: Any) -> bool:
    """Return whether an access token came with what its application demands.

    The result is kept on the token: permissions ask it again when the validator is done.
    """
    if getattr(token, "_is_presented", False):
        return True
    token._is_presented = (_current.get() or Presentation()).meets_demands_of(token)
    return bool(token._is_presented)
