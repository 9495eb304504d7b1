"""What this app keeps on oauthlib's request: one typed object, under one name.

oauthlib's ``Request`` answers for attributes it does not have from what the client sent, and its
``grant_type`` is the client's word or another package's. So what belongs to the server is kept here, and
whether something was loaded is asked here.
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

#: What the backend adds to the headers of a request to the token endpoint; no HTTP header has a dot in WSGI.
ISSUING: Final = "oauth_binding.issuing"

#: Where the authorization endpoint keeps Confirmation.stored of the key that a code is requested for.
REQUESTED_KEY: Final = "oauth_binding.requested_key"

#: Where it keeps the login session of the browser.
LOGIN_SESSION: Final = "oauth_binding.login_session"

_STATE: Final = "oauth_binding_state"


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a token exchange request (RFC 8693) may get, as far as issuing has to know."""

    #: Saved when the tokens are.
    record: TokenExchange
    #: The new token expires no later; None where that does not matter.
    expires: datetime | None
    #: When the login began that it stands for; None where it begins with the new token.
    login_started: datetime | None
    #: The audiences and resources of the new token.
    targets: list[str]
    #: The access and refresh tokens of this server that are presented, by the parameter they are in.
    presented: dict[str, BoundAccessToken | BoundRefreshToken]


@dataclass(slots=True)
class Plan:
    """What a request is going to be answered.

    Where this is not a ``BoundPlan``, the token is saved as django-oauth-toolkit saves it.
    """

    token_type: TokenType
    expires: datetime
    access: TokenValue
    refresh: TokenValue
    #: What the tokens are exchanged from, also long ago.
    exchange: TokenExchange | None = field(default=None, kw_only=True)
    #: The key that the tokens are confirmed by; None for bearer tokens.
    confirmation: Confirmation | None = field(default=None, kw_only=True)
    #: When the token must have expired, if that matters.
    latest_expiry: datetime | None = field(default=None, kw_only=True)
    #: When the login began that the tokens go on with; None where it begins with them.
    login_started: datetime | None = field(default=None, kw_only=True)
    #: The primary key of the login session of the browser that the tokens come from; None for none.
    session_id: int | None = field(default=None, kw_only=True)
    #: How long the login may last of a token that is returned again, and how much of both has to be left.
    login_lifetime: timedelta | None = field(default=None, kw_only=True)
    least_left: timedelta = field(default=timedelta(0), kw_only=True)

    @property
    def stored_confirmation(self) -> str | None:
        """What the column ``binding_confirmation`` of the tokens has."""
        return None if self.confirmation is None else self.confirmation.stored


@dataclass(slots=True)
class BoundPlan(Plan):
    """What a request is going to be answered with a bound token, and where that is kept."""

    binding: TokenBinding
    slot: str = ""
    #: Whether no access token had the slot. Its unique constraint tells who has got it meanwhile.
    is_free: bool = False
    #: The live access token that is returned again.
    reused: SlotToken | None = None
    #: The primary key of the refresh token that is returned again, or goes on beside a new access token.
    kept_refresh: Any = None
    #: The successor of an already consumed refresh token, whose row gets a new token.
    successor: SlotToken | None = None


@dataclass(slots=True)
class RequestState:
    """What is known of a token or authorization request."""

    #: Whether it came to the token endpoint, whatever parameters it has.
    is_token_request: bool
    #: Whether it was looked at what the request presents to be bound to.
    has_read_binding: bool = False
    #: What it presents, if anything; a secret.
    binding_value: str | None = field(default=None, repr=False)
    #: What it calls the device that it comes from, once that was looked at; empty for nothing.
    device_name: str = ""
    #: What it says of that device, once it is about to be saved.
    facts: DeviceFacts | None = None
    #: The proof that it presents, if its tokens are to be confirmed by the key of that.
    proof: Proof | None = field(default=None, repr=False)
    #: Whether that is noted as used, if there is one.
    is_proof_recorded: bool = False
    #: What it lacks that is going to be demanded: the fields of the token policy that have it reported.
    missed_demands: set[str] = field(default_factory=set)
    #: The refresh token that was found to be valid, in a refresh request.
    refresh_token: BoundRefreshToken | None = None
    #: Whether that is returned again, and goes on.
    keeps_refresh_token: bool = False
    #: The authorization code that was found to be valid.
    code: str | None = field(default=None, repr=False)
    #: What that was requested with.
    code_context: CodeContext | None = None
    #: The device code that was found to be approved.
    device_code: str | None = field(default=None, repr=False)
    #: Whether the authorization code was redeemed in the transaction that issued.
    is_code_redeemed: bool = False
    #: Whether another request was first with the authorization code.
    is_code_replayed: bool = False
    #: Whether the user's row has changed since the password was checked.
    is_user_changed: bool = False
    #: Whether it found the user's devices to be as many as allowed, and has to look at them alone.
    signs_devices_out: bool = False
    #: What the request may exchange, in a token exchange request.
    exchange: Exchange | None = None
    #: The scopes that the site's own code has left of those granted, where it has changed them.
    site_scopes: list[str] | None = None
    #: What the application's policy lets the token be for, once that is settled.
    audiences: list[str] | None = None
    #: What the application's policy lets a JWT say of the user, once that was asked.
    user_claims: dict[str, Any] | None = field(default=None, repr=False)
    #: What it is going to be answered, once that is planned.
    plan: Plan | None = field(default=None, repr=False)
    #: The claims of the ID token before they are completed and signed, and what signs them.
    unsigned_id_token: tuple[dict[str, Any], Any] | None = field(default=None, repr=False)


def state_of(request: Request) -> RequestState:
    """Return what is known of a request.

    :param request: oauthlib's.
    """
    attributes = vars(request)
    if _STATE not in attributes:
        attributes[_STATE] = RequestState(is_token_request=ISSUING in request.headers)
    state: RequestState = attributes[_STATE]
    return state


def browser_session(request: Request) -> LoginSession | None:
    """Return the login session of the browser that a request to the authorization endpoint came from.

    None for a token request, and where the site signs users in without Django's sessions.
    """
    session: LoginSession | None = request.headers.get(LOGIN_SESSION)
    return session


def user_of(request: Request) -> Any:
    """Return whose token a request is for; None where the client acts for itself (RFC 6749 section 4.4)."""
    # As django-oauth-toolkit decides when it saves a token.
    return None if request.grant_type == "client_credentials" else request.user
