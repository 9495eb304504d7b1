"""Access tokens at an API: reading them, refusing them, and what an API may ask of them.

They are presented as bearer tokens (RFC 6750), or with a proof of the key that they are bound to (RFC 9449).

A ``BearerAuthenticator`` knows where to look tokens up: in the database of this project, or at another server
in a project that has the setting ``OAUTH_RESOURCE_SERVER``.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.cache import patch_vary_headers
from django.utils.module_loading import import_string
from django.views.decorators.debug import sensitive_variables

from oauth_binding.binding.confirmation import Confirmation
from oauth_binding.binding.presented import find_fault
from oauth_binding.core import audit
from oauth_binding.core.audit import Event, Outcome
from oauth_binding.core.reasons import Reason
from oauth_binding.core.toolkit_paths import build_bearer_challenge
from oauth_binding.proof.constraint import ProofRules, RequestFacts
from oauth_binding.proof.dpop import DPOP
from oauth_binding.proof.dpop_proof import Proof
from oauth_binding.proof.errors import (
    InvalidProofError,
    NonceError,
    ProofError,
    ReplayedProofError,
    StoreUnavailableError,
)
from oauth_binding.resource_server.resources import covers, get_address, get_metadata_url, takes_tokens

#: What challenges call the API (RFC 9110 section 11.5).
REALM: Final = "api"

#: The longest token that is looked at, in characters.
MAX_TOKEN_LENGTH: Final = 16 * 1024

#: RFC 6750 section 2.1, RFC 9449 section 7.1; the scheme is compared without case (RFC 9110 section 11.1).
_SCHEME: Final = re.compile(r"(?:bearer|dpop)(?: |$)", re.IGNORECASE)
_CREDENTIALS: Final = re.compile(r"(bearer|dpop) +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)


class BearerError(Exception):
    """A request that is refused for its access token, or for having none (RFC 6750 section 3.1).

    :param description: the ``error_description``, in ASCII; nothing that the client has sent.
    :param scopes: the scopes that the resource asks for, if the client should get a token, or another one.
    """

    #: The HTTP status.
    status: ClassVar[int] = 401
    #: The error code; empty if RFC 6750 section 3 wants none.
    error: ClassVar[str] = ""
    #: Further headers of the answer.
    headers: ClassVar[dict[str, str]] = {}

    def __init__(self, description: str = "", *, scopes: Sequence[str] = ()) -> None:
        super().__init__(description)
        self.description = description
        self.scopes = list(scopes)
        #: Whether the resource takes no bearer tokens, and so has no challenge for them.
        self.takes_proofs_alone = False

    def challenge(self, request: HttpRequest) -> str:
        """Return the ``WWW-Authenticate`` header, with the address of the API's RFC 9728 metadata, if any.

        It is the challenge of the scheme that the request tried. If the request tried none, or may have to
        come with a proof, it is told of both (RFC 9449 section 7.2), unless the resource takes no bearer
        tokens.
        """
        attributes = {
            "error": self.error,
            "error_description": self.description,
            "scope": " ".join(self.scopes),
        }
        present = {name: value for name, value in attributes.items() if value}
        metadata = _find_metadata(request)
        rules = get_authenticator().proof_rules
        if self.takes_proofs_alone or is_proof_tried(request):
            return DPOP.challenge(rules, {**present, **({"resource_metadata": metadata} if metadata else {})})
        challenge: str = build_bearer_challenge(
            request, oauth2_error=present, realm=REALM, resource_metadata_url=metadata
        )
        return f"{challenge}, {DPOP.challenge(rules, {})}" if self.status == 401 else challenge

    def response(self, request: HttpRequest) -> HttpResponse:
        """Return the answer of a view without Django REST framework."""
        body = {"error": self.error, "error_description": self.description} if self.error else {}
        response = JsonResponse(body, status=self.status, headers=self.headers)
        if self.status < 500:
            response["WWW-Authenticate"] = self.challenge(request)
        add_proof_headers(request, response)
        patch_vary_headers(response, ["Authorization"])
        return response


class MissingTokenError(BearerError):
    """There is no token: a challenge without an error code (RFC 6750 section 3)."""


class MalformedRequestError(BearerError):
    """``invalid_request``: the Authorization header can't be read."""

    status = 400
    error = "invalid_request"


class InvalidTokenError(BearerError):
    """``invalid_token``: expired, revoked, malformed, or not for this resource."""

    error = "invalid_token"


class InsufficientScopeError(BearerError):
    """``insufficient_scope``: the token is valid, but not for this."""

    status = 403
    error = "insufficient_scope"


class UnavailableError(BearerError):
    """It is unknown whether the token is valid: the server that knows does not answer."""

    status = 503
    error = "temporarily_unavailable"
    headers = {"Retry-After": "10"}


class InvalidDPoPProofError(BearerError):
    """``invalid_dpop_proof``: there is no proof, or it is not valid, or it was used before (RFC 9449)."""

    error = "invalid_dpop_proof"


class DPoPNonceError(BearerError):
    """``use_dpop_nonce``: the proof needs the nonce of the ``DPoP-Nonce`` header (RFC 9449 section 9)."""

    error = "use_dpop_nonce"


#: How an API refuses a proof.
_REFUSALS: Final[dict[type[ProofError], type[BearerError]]] = {
    InvalidProofError: InvalidDPoPProofError,
    ReplayedProofError: InvalidDPoPProofError,
    NonceError: DPoPNonceError,
    StoreUnavailableError: UnavailableError,
}

#: Where a request keeps how its token was presented.
_PRESENTED: Final = "_oauth_binding_proof"

#: Where it keeps the proof that was recorded for it.
_RECORDED: Final = "_oauth_binding_recorded_proof"


@dataclass(frozen=True, slots=True)
class Credentials:
    """An access token as a request presents it."""

    token: str = field(repr=False)
    #: The proof that it is the sender's own; None for a bearer token.
    proof: Proof | None = None

    @property
    def proven(self) -> Confirmation | None:
        """The key that is proven."""
        return None if self.proof is None else self.proof.confirmation


def is_proof_tried(request: HttpRequest) -> bool:
    """Return whether a request presents its token with a proof (RFC 9449 section 7.1), valid or not."""
    scheme = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")[0]
    return bool(scheme.lower() == DPOP.scheme.lower())


def read_credentials(request: HttpRequest, rules: ProofRules, origin: str = "") -> Credentials | None:
    """Return the access token of a request with its proof, or None if it presents none.

    The proof is verified, but not yet recorded. Tokens in the body or in the query string are not looked for.

    :param rules: what is asked of proofs.
    :param origin: the scheme and host that clients know, if they differ from those of the request.
    :raises MalformedRequestError: the Authorization header announces a token but does not have exactly one.
    :raises InvalidTokenError: the token is longer than any real one.
    :raises BearerError: the proof is missing or not valid.
    """
    header = request.META.get("HTTP_AUTHORIZATION", "")
    if not _SCHEME.match(header):
        return None
    found = _CREDENTIALS.fullmatch(header)
    if found is None:
        scheme = DPOP.scheme if is_proof_tried(request) else "bearer"
        raise MalformedRequestError(f"The Authorization header does not have exactly one {scheme} token.")
    if len(found[2]) > MAX_TOKEN_LENGTH:
        raise InvalidTokenError("The access token is invalid.")
    if not is_proof_tried(request):
        return Credentials(found[2])
    setattr(request, _PRESENTED, rules)
    try:
        proof = DPOP.read(RequestFacts.of(request, origin), rules, found[2])
    except ProofError as error:
        raise _refusal(request, error) from error
    if proof is None:
        tell_refusal(request.META, InvalidDPoPProofError.error, Reason.PROOF_MISSING)
        raise InvalidDPoPProofError(f"The {DPOP.header} header is missing.")
    return Credentials(found[2], proof)


def record(request: HttpRequest, credentials: Credentials, rules: ProofRules) -> None:
    """Note that the proof of a request, if any, is used; call it once the token is known to be good.

    It is noted once, even if a middleware has asked for the token before the view.

    :raises BearerError: it was used before, or that can't be found out.
    """
    if credentials.proof is None or getattr(request, _RECORDED, None) == credentials.proof:
        return
    try:
        rules.store.record(credentials.proof)
    except ProofError as error:
        raise _refusal(request, error) from error
    setattr(request, _RECORDED, credentials.proof)


def _refusal(request: HttpRequest, error: ProofError) -> BearerError:
    refusal = _REFUSALS[type(error)](error.description)
    if not isinstance(error, NonceError):  # a client has to be told of the nonce before it can have one
        tell_refusal(request.META, refusal.error, error.reason)
    return refusal


def tell_refusal(meta: Mapping[str, Any], error: str, reason: Reason, token: Any = None) -> None:
    """Have the audit log say that a request is refused for its proof, or for what its token is bound to.

    :param meta: the ``META`` of the request, or a dict with the same keys.
    :param error: the error code.
    :param token: the access token, if it was found.
    """
    if audit.is_attempted():
        audit.note(error, reason)  # one of the server's endpoints, whose refusals have entries of their own
    elif audit.is_on():
        outcome = Outcome.ERROR if reason == Reason.PROOF_STORE_UNAVAILABLE else Outcome.REFUSED
        audit.refuse(Event.API_REQUEST_REFUSED, reason, audit.facts_of(token, meta), outcome)


def proof_headers(request: HttpRequest) -> dict[str, str]:
    """Return the headers of an answer for the client's next proof (RFC 9449 section 9)."""
    rules: ProofRules | None = getattr(request, _PRESENTED, None)
    return {} if rules is None else DPOP.response_headers(rules)


def add_proof_headers(request: HttpRequest, response: HttpResponseBase) -> None:
    """Add to an answer what the client's next proof needs; see ``proof_headers``."""
    for name, value in proof_headers(request).items():
        response[name] = value


class BearerAuthenticator:
    """Finds out which access token a request presents.

    The token that it returns has, like django-oauth-toolkit's, ``user`` (or None), ``scope``, ``is_valid()``,
    ``allow_scopes()`` and ``is_expired()``. Its ``binding`` is None, or what the token is bound to, with
    ``binding_type`` and ``reference``; its ``binding_confirmation`` is None, or the key that it has to be
    presented with.
    """

    @sensitive_variables()
    def authenticate(self, request: HttpRequest) -> Any:
        """Return the access token of a request, or None if the request presents none.

        :raises BearerError: what it presents is not valid here and now.
        """
        rules = self.proof_rules
        credentials = read_credentials(request, rules)
        if credentials is None:
            return None
        token = self.find_token(credentials, request)
        # By whomever it was found.
        if Confirmation.from_stored(token.binding_confirmation) != credentials.proven:
            reason = Reason.PROOF_MISSING if credentials.proven is None else Reason.KEY_MISMATCH
            tell_refusal(request.META, InvalidTokenError.error, reason, token)
            raise InvalidTokenError("The access token is not bound to the key that is proven.")
        record(request, credentials, rules)
        return token

    def find_token(self, credentials: Credentials, request: HttpRequest) -> Any:
        """Return the access token of a request.

        :raises BearerError: it is not valid here and now, or does not come with what is demanded.
        """
        raise NotImplementedError

    @property
    def proof_rules(self) -> ProofRules:
        """What is asked of the proofs of sender-constrained tokens."""
        raise NotImplementedError

    @property
    def binding_header(self) -> str:
        """The header in which a request names what its token is bound to."""
        raise NotImplementedError

    @property
    def resources(self) -> Collection[str]:
        """The identifiers of the protected resources that the site has declared (RFC 9728 section 1.2)."""
        raise NotImplementedError

    @property
    def takes_other_resources(self) -> bool:
        """Whether a token that was requested for another resource, by its address, opens that."""
        raise NotImplementedError

    @sensitive_variables()
    def check_presented_binding(self, request: HttpRequest, token: Any) -> None:
        """Check that a request names what its token is bound to, in the ``binding_header``.

        :raises InvalidTokenError: it does not, or the token is bound to nothing.
        """
        header = self.binding_header
        fault = find_fault(token, header, request.headers.get(header, ""))
        if fault:
            reason = Reason.BINDING_NOT_PRESENTED if is_bound(token) else Reason.TOKEN_NOT_BOUND
            tell_refusal(request.META, InvalidTokenError.error, reason, token)
            raise InvalidTokenError(fault)


def is_sender_constrained(token: Any) -> bool:
    """Return whether an access token is good only with a proof of its key (RFC 9449 section 6).

    :param token: the access token of a request, as ``authorize`` returns it.
    """
    return token.binding_confirmation is not None


def require_sender_constrained(request: HttpRequest, token: Any) -> None:
    """Refuse a bearer token where only sender-constrained ones are accepted.

    :raises InvalidTokenError: it is one.
    """
    if not is_sender_constrained(token):
        tell_refusal(request.META, InvalidTokenError.error, Reason.TOKEN_NOT_CONSTRAINED, token)
        raise InvalidTokenError("This resource takes only sender-constrained access tokens.")


def is_bound(token: Any, binding_types: Collection[str] = ()) -> bool:
    """Return whether an access token is bound; a token of the shared slot is not.

    :param token: the access token of a request, as ``authorize`` returns it.
    :param binding_types: those that count; empty for any.
    """
    binding = token.binding
    if binding is None or not binding.reference:
        return False
    return not binding_types or binding.binding_type in binding_types


def find_resource(request: HttpRequest, path: str) -> str | None:
    """Return the identifier of the protected resource at a path (RFC 9728 section 1.2), or None.

    It is one that the site has declared and that covers the path, or else the address itself, if what is
    there takes tokens. The root stands for the whole host.

    :param request: any of this site.
    :param path: from the root of the host, not escaped.
    """
    authenticator = get_authenticator()
    address = get_address(request, path)
    covering = [resource for resource in authenticator.resources if covers(resource, address)]
    if covering:
        return max(covering, key=len)
    is_resource = authenticator.takes_other_resources and (path == "/" or takes_tokens(request, path))
    return address if is_resource else None


def _find_metadata(request: HttpRequest) -> str | None:
    # A view that calls authorize() itself can't be told from other views.
    resource = find_resource(request, request.path) or find_resource(request, "/")
    return None if resource is None else get_metadata_url(request, resource)


def attach_token(request: Any, token: Any) -> None:
    """Let a view find a request's access token at ``access_token``, and its user at ``resource_owner``."""
    request.access_token = token
    request.resource_owner = token.user


def get_authenticator() -> BearerAuthenticator:
    """Return what finds out the access tokens of this project's requests."""
    is_elsewhere = hasattr(settings, "OAUTH_RESOURCE_SERVER")
    module = "elsewhere" if is_elsewhere else "database"
    authenticator: BearerAuthenticator = import_string(
        f"oauth_binding.resource_server.{module}.Authenticator"
    )()
    return authenticator
