"""What this app keeps on oauthlib's request: one typed object, under one name.

For attributes it does not have, oauthlib's ``Request`` returns what the client sent, and its ``grant_type``
is set by the client or by another package. So what belongs to the server is kept here, and this is the place
to ask whether something was loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from oauth_binding.binding.confirmation import Confirmation
from oauth_binding.binding.semantics import TokenType
from oauth_binding.core.device_facts import DeviceFacts
from oauth_binding.models import (
    BoundAccessToken,
    BoundRefreshToken,
    CodeContext,
    LoginSession,
    TokenBinding,
    TokenExchange,
)
from oauth_binding.proof.dpop_proof import Proof
from oauth_binding.storage.slots import SlotToken
from oauth_binding.storage.token_values import TokenValue

if TYPE_CHECKING:
    from oauthlib.common import Request

#: What the backend adds to the headers of a token request; in WSGI, no HTTP header has a dot.
ISSUING: Final = "oauth_binding.issuing"

#: Where the authorization endpoint keeps Confirmation.stored of the key that a code is requested for.
REQUESTED_KEY: Final = "oauth_binding.requested_key"

#: Where it keeps the browser's login session.
LOGIN_SESSION: Final = "oauth_binding.login_session"

_STATE: Final = "oauth_binding_state"


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a token exchange request (RFC 8693) may get, as far as issuing needs to know."""

    #: Saved when the tokens are.
    record: TokenExchange
    #: The new token expires no later than this; None for no limit.
    expires: datetime | None
    #: When the login that it stands for began; None if it begins with the new token.
    login_started: datetime | None
    #: The audiences and resources of the new token.
    targets: list[str]
    #: The access and refresh tokens of this server that are presented, by the parameter that they are in.
    presented: dict[str, BoundAccessToken | BoundRefreshToken]


@dataclass(slots=True)
class Plan:
    """How a request is going to be answered.

    If this is not a ``BoundPlan``, the token is saved as django-oauth-toolkit saves it.
    """

    token_type: TokenType
    expires: datetime
    access: TokenValue
    refresh: TokenValue
    #: What the tokens are exchanged from, even if that was long ago.
    exchange: TokenExchange | None = field(default=None, kw_only=True)
    #: The key that the tokens are confirmed by; None for bearer tokens.
    confirmation: Confirmation | None = field(default=None, kw_only=True)
    #: When the token must have expired, if that matters.
    latest_expiry: datetime | None = field(default=None, kw_only=True)
    #: When the login that the tokens continue began; None if it begins with them.
    login_started: datetime | None = field(default=None, kw_only=True)
    #: The primary key of the browser's login session that the tokens come from; None for none.
    session_id: int | None = field(default=None, kw_only=True)
    #: How long the login of a token that is returned again may last, and how much of both has to be left.
    login_lifetime: timedelta | None = field(default=None, kw_only=True)
    least_left: timedelta = field(default=timedelta(0), kw_only=True)

    @property
    def stored_confirmation(self) -> str | None:
        """The value of the tokens' column ``binding_confirmation``."""
        return None if self.confirmation is None else self.confirmation.stored


@dataclass(slots=True)
class BoundPlan(Plan):
    """How a request is going to be answered with a bound token, and where that token is kept."""

    binding: TokenBinding
    slot: str = ""
    #: Whether no access token had the slot. Its unique constraint tells whether another request has taken it
    #: since.
    is_free: bool = False
    #: The live access token that is returned again.
    reused: SlotToken | None = None
    #: The primary key of the refresh token that is returned again, or goes on along with a new access token.
    kept_refresh: Any = None
    #: The successor of an already consumed refresh token, whose row gets a new token.
    successor: SlotToken | None = None


@dataclass(slots=True)
class RequestState:
    """What is known about a token or authorization request."""

    #: Whether it came to the token endpoint, whatever parameters it has.
    is_token_request: bool
    #: Whether what the request presents to be bound to was looked at.
    has_read_binding: bool = False
    #: What it presents, if anything; a secret.
    binding_value: str | None = field(default=None, repr=False)
    #: What it calls the device that it comes from, once that was looked at; empty for no name.
    device_name: str = ""
    #: What it says about that device, once it is about to be saved.
    facts: DeviceFacts | None = None
    #: The proof that it presents, if its tokens are to be confirmed by the proven key.
    proof: Proof | None = field(default=None, repr=False)
    #: Whether the proof is noted as used, if there is one.
    is_proof_recorded: bool = False
    #: What it lacks although that is going to be demanded: the fields of the token policy that report it.
    missed_demands: set[str] = field(default_factory=set)
    #: The refresh token that was found to be valid, in a refresh request.
    refresh_token: BoundRefreshToken | None = None
    #: Whether that is returned again, and goes on.
    keeps_refresh_token: bool = False
    #: The authorization code that was found to be valid.
    code: str | None = field(default=None, repr=False)
    #: What the code was requested with.
    code_context: CodeContext | None = None
    #: The device code that was found to be approved.
    device_code: str | None = field(default=None, repr=False)
    #: Whether the authorization code was redeemed in the transaction that issued.
    is_code_redeemed: bool = False
    #: Whether another request was first with the authorization code.
    is_code_replayed: bool = False
    #: Whether the user's row has changed since the password was checked.
    is_user_changed: bool = False
    #: Whether the user has as many devices as allowed, so that it has to look again under an exclusive lock.
    signs_devices_out: bool = False
    #: Whether a slot that was taken for free was not.
    is_slot_contended: bool = False
    #: What the request may exchange, in a token exchange request.
    exchange: Exchange | None = None
    #: The scopes that the site's own code has left of those granted, where it has changed them.
    site_scopes: list[str] | None = None
    #: What the application's policy lets the token be for, once that is settled.
    audiences: list[str] | None = None
    #: What the application's policy lets a JWT say about the user, once that was asked.
    user_claims: dict[str, Any] | None = field(default=None, repr=False)
    #: How it is going to be answered, once that is planned.
    plan: Plan | None = field(default=None, repr=False)
    #: The claims of the ID token before they are completed and signed, and what signs them.
    unsigned_id_token: tuple[dict[str, Any], Any] | None = field(default=None, repr=False)


def state_of(request: Request) -> RequestState:
    """Return what is known about a request.

    :param request: oauthlib's.
    """
    attributes = vars(request)
    if _STATE not in attributes:
        attributes[_STATE] = RequestState(is_token_request=ISSUING in request.headers)
    state: RequestState = attributes[_STATE]
    return state


def browser_session(request: Request) -> LoginSession | None:
    """Return the login session of the browser that an authorization request came from.

    None for a token request, and if the site signs users in without Django's sessions.
    """
    session: LoginSession | None = request.headers.get(LOGIN_SESSION)
    return session


def user_of(request: Request) -> Any:
    """Return whom a request's token is for; None if the client acts for itself (RFC 6749 section 4.4)."""
    # This is how django-oauth-toolkit decides when it saves a token.
    return None if request.grant_type == "client_credentials" else request.user
