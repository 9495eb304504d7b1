"""Requests with a proven token, in a form for code that knows only bearer tokens."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from django.http import HttpRequest

from oauth_binding.proof.constraint import ProofRules
from oauth_binding.proof.dpop import DPOP
from oauth_binding.proof.server_rules import api_rules, public_origin
from oauth_binding.resource_server.bearer import Credentials, is_proof_tried, read_credentials, record
from oauth_binding.storage.presented import PROVEN


@dataclass(frozen=True, slots=True)
class ProvenRequest:
    """A request whose proof is verified; the token is asked whether the proof belongs to it."""

    #: A copy in which the token is a bearer token, and which names the proven key.
    request: HttpRequest
    credentials: Credentials = field(repr=False)
    _rules: ProofRules

    def record(self) -> None:
        """Note that the proof is used, once the token is known to be good.

        :raises BearerError: it was used before, or that can't be found out.
        """
        record(self.request, self.credentials, self._rules)


def prove(request: HttpRequest) -> ProvenRequest | None:
    """Return a request to one of the server's endpoints with its proof verified, or None: it has none.

    :raises BearerError: the proof is missing or not valid.
    """
    if not is_proof_tried(request):
        return None
    rules = api_rules()
    credentials = read_credentials(request, rules, public_origin())
    assert credentials is not None  # noqa: S101
    as_bearer = copy.copy(request)
    as_bearer.META = {
        **request.META,
        "HTTP_AUTHORIZATION": f"Bearer {credentials.token}",
        PROVEN: credentials.proven,
    }
    return ProvenRequest(as_bearer, credentials, rules)


def with_proof_challenge(bearer: str) -> str:
    """Return the challenge of bearer tokens together with that of proven ones (RFC 9449 section 7.2)."""
    return f"{bearer}, {DPOP.challenge(api_rules(), {})}"
