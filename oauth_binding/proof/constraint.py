"""The contract of a sender constraint: how whoever presents a token proves that it is theirs.

It is private until a second one has proved it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, ClassVar

from django.http import HttpRequest

from oauth_binding.proof.dpop_proof import Proof
from oauth_binding.proof.replay import ReplayStore
from oauth_binding.proof.target_uri import address_of


@dataclass(frozen=True, slots=True)
class RequestFacts:
    """What a proof is about in a request; made where Django's request is available."""

    method: str
    #: The public address, without a query.
    uri: str
    headers: Mapping[str, str]
    form: Mapping[str, Any]

    @classmethod
    def of(
        cls, request: HttpRequest, origin: str = "", form: Mapping[str, Any] = MappingProxyType({})
    ) -> RequestFacts:
        """Return the facts of a request.

        :param origin: the public scheme and host, if these are known.
        :param form: the form of a token request; elsewhere, the body is not read for a proof.
        """
        return cls(request.method or "", address_of(request, origin), request.headers, form)


@dataclass(frozen=True, slots=True)
class ProofRules:
    """What is asked of proofs at a door."""

    #: The ``alg`` values that are accepted.
    algorithms: Sequence[str]
    #: Whether a proof has to have a nonce from this server.
    nonces: bool
    #: What remembers used proofs.
    store: ReplayStore


class SenderConstraint:
    """A way to prove that a token is presented by the client that it was issued to."""

    #: The ``sender_constraint`` of a token policy.
    name: ClassVar[str]
    #: The member of ``cnf`` (RFC 7800 section 3.1).
    member: ClassVar[str]
    #: The ``token_type``, and the HTTP authentication scheme of tokens that are presented with a proof.
    scheme: ClassVar[str]
    #: The header that has the proof.
    header: ClassVar[str]

    def read(self, facts: RequestFacts, rules: ProofRules, access_token: str | None = None) -> Proof | None:
        """Return the proof in a request, or None; it is not recorded yet.

        :param access_token: that of the request, at an API.
        :raises ProofError: it is not valid here and now.
        """
        raise NotImplementedError

    def metadata(self, rules: ProofRules) -> dict[str, Any]:
        """Return what the metadata of a server or an API says about proofs (RFC 8414, RFC 9728)."""
        raise NotImplementedError

    def challenge(self, rules: ProofRules, attributes: Mapping[str, str]) -> str:
        """Return a challenge of the scheme (RFC 9110 section 11.6.1).

        :param attributes: such as ``error``; without control characters, quotes and backslashes.
        """
        raise NotImplementedError

    def response_headers(self, rules: ProofRules) -> dict[str, str]:
        """Return the headers of an answer to a request with a proof, or to one that lacks it."""
        raise NotImplementedError
