"""Issuing at the token endpoint: gather the facts, decide, carry out.

A request is planned when oauthlib asks for the access token, because an ID token's ``at_hash`` is signed over
what is answered then. The plan is carried out when oauthlib saves the token, under a lock on the binding; a
plan that another request has overtaken by then is made again.
"""

from __future__ import annotations

import logging
import secrets
import unicodedata
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from django.db import IntegrityError, OperationalError, connections, router, transaction
from django.db.models import Q
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_grant_model, get_refresh_token_model
from oauth2_provider.settings import oauth2_settings
from oauthlib.common import generate_token
from oauthlib.oauth2.rfc6749.errors import InvalidGrantError, InvalidRequestError

from oauth_binding import access_tokens, prepared, slots
from oauth_binding.conf import binding_settings
from oauth_binding.errors import MisconfiguredError, SlotContendedError
from oauth_binding.models import BoundAccessToken, BoundRefreshToken, TokenBinding, TokenExchange
from oauth_binding.revocation import expire_access_tokens, list_revoked, revoke_refresh_tokens
from oauth_binding.semantics import (
    NO_BINDING,
    SHARED,
    Decision,
    TokenType,
    binding_key,
    binding_reference,
    decide,
    slot_key,
)
from oauth_binding.signals import binding_created, send_after_commit, token_reused, token_superseded
from oauth_binding.slots import SlotToken
from oauth_binding.values import TokenValue, new_value, recover

if TYPE_CHECKING:
    from oauthlib.common import Request

    from oauth_binding.binders.base import TokenBinder
    from oauth_binding.validators import BindingOAuth2Validator

logger = logging.getLogger(__name__)

#: How often a plan is made before the request is refused as ``temporarily_unavailable``.
MAX_ATTEMPTS: Final = 5

#: The longest binding value, in characters.
MAX_VALUE_LENGTH: Final = 255

#: ``TokenBinding.last_used`` is at most this much behind, so that reuse seldom writes.
LAST_USED_RESOLUTION: Final = timedelta(minutes=1)

#: What the backend adds to the headers of a request to the token endpoint; no HTTP header has a dot in WSGI.
ISSUING: Final = "oauth_binding.issuing"

# oauthlib's Request answers for attributes it does not have from what the client sent, so what belongs to the
# server is kept in vars(request).
_PLAN: Final = "token_plan"
_BINDING_VALUE: Final = "presented_binding_value"
_EXCHANGE: Final = "token_exchange"


@dataclass(frozen=True, slots=True)
class Exchange:
    """What a token exchange request (RFC 8693) may get, as far as issuing has to know."""

    #: Saved when the tokens are.
    record: TokenExchange
    #: The new token expires no later; None where that does not matter.
    expires: datetime | None
    #: The audiences and resources of the new token.
    targets: list[str]
    #: The access or refresh token that is exchanged; None where none of this server is.
    subject: BoundAccessToken | BoundRefreshToken | None


@dataclass(slots=True)
class Plan:
    """What a request is going to be answered.

    Where this is not a :class:`BoundPlan`, django-oauth-toolkit saves the token as it always does.
    """

    token_type: TokenType
    expires: datetime
    access: TokenValue
    refresh: TokenValue
    #: What the tokens are exchanged from, also long ago.
    exchange: TokenExchange | None = field(default=None, kw_only=True)
    #: When the token must have expired, if that matters.
    latest_expiry: datetime | None = field(default=None, kw_only=True)


@dataclass(slots=True)
class BoundPlan(Plan):
    """What a request is going to be answered with a bound token, and where that is kept."""

    binding: TokenBinding
    slot: str = ""
    #: Whether no access token had the slot. Its unique constraint tells who has got it meanwhile.
    is_free: bool = False
    #: The live access token that is answered again.
    reused: SlotToken | None = None
    #: The primary key of the refresh token that is answered again, or goes on beside a new access token.
    kept_refresh: Any = None
    #: The successor of an already consumed refresh token, whose row gets a new token.
    successor: SlotToken | None = None


class _OvertakenError(Exception):
    """Another request changed what the plan was made from."""


# Gathering the facts


def set_exchange(request: Request, exchange: Exchange) -> None:
    """Let a request be planned as an exchange."""
    vars(request)[_EXCHANGE] = exchange


def get_exchange(request: Request) -> Exchange | None:
    """Return the exchange that a request was found to be, or None."""
    exchange: Exchange | None = vars(request).get(_EXCHANGE)
    return exchange


def is_token_request(request: Request) -> bool:
    """Return whether a request came to the token endpoint, whatever parameters it has."""
    return ISSUING in request.headers


def read_binding_value(request: Request) -> str | None:
    """Return the binding value that a token request presents to its client's binder, or None.

    :raises OAuth2Error: the value is malformed, or is missing where it is required.
    """
    if request.grant_type != "refresh_token" and request.client.token_binding_type != NO_BINDING:
        binder = _binder(request.client.token_binding_type, request)
        value = _present(binder, request)
        if value is None and (binder.required or request.client.require_binding):
            raise InvalidRequestError(
                description=f"{binder.parameter or binder.type} is required by this client.", request=request
            )
        return value
    return None


def check_refresh_binding(request: Request) -> None:
    """Check what a refresh request says of its binding against the refresh token's own.

    :raises InvalidGrantError: it names another binding.
    """
    binding: TokenBinding | None = request.refresh_token_instance.binding
    binding_type = request.client.token_binding_type if binding is None else binding.binding_type
    if binding_type == NO_BINDING:
        return
    binder = _binder(binding_type, request)
    value = _present(binder, request)
    if value is not None and (binding is None or value != binding.binding_value):
        raise InvalidGrantError(
            description=f"{binder.parameter or binder.type} is not the one the refresh token was issued for.",
            request=request,
        )


def _binder(binding_type: str, request: Request) -> TokenBinder:
    try:
        return binding_settings.binders[binding_type]
    except KeyError:
        raise MisconfiguredError(
            description="The token binding type of this client is not installed on this server.",
            request=request,
        ) from None


def _present(binder: TokenBinder, request: Request) -> str | None:
    if _BINDING_VALUE not in vars(request):
        problem, value = _examine(binder, request)
        if problem:
            name = binder.parameter or f"The value of {binder.type}"
            raise InvalidRequestError(description=f"{name} {problem}.", request=request)
        vars(request)[_BINDING_VALUE] = value
    presented: str | None = vars(request)[_BINDING_VALUE]
    return presented


def _examine(binder: TokenBinder, request: Request) -> tuple[str, str | None]:
    """Return what is wrong with the value that a request presents, and the value."""
    if [name for name, _value in request.decoded_body or ()].count(binder.parameter) > 1:
        return "is repeated", None
    value = binder.get_binding_value(request) or None
    if value is not None and len(value) > MAX_VALUE_LENGTH:
        return f"has more than {MAX_VALUE_LENGTH} characters", None
    if value is not None and any(unicodedata.category(character) == "Cc" for character in value):
        return "has control characters", None
    return "", value


def _database() -> str:
    return router.db_for_write(get_access_token_model())


def _tokens() -> Any:
    return get_access_token_model().objects.using(_database())


def _refresh_tokens() -> Any:
    return get_refresh_token_model().objects.using(_database())


def _recover_live(token: SlotToken | None, plan: Plan) -> TokenValue | None:
    """Return the value of a token that can be answered again: a live one whose text can be brought back.

    A token that was exchanged from something else, or lives longer than what is exchanged, is none.
    """
    if token is None or not token.is_live or not _may_reuse(plan):
        return None
    if plan.latest_expiry is not None and token.expires > plan.latest_expiry:
        return None
    if not _is_exchanged_alike(token, plan):
        return None
    return recover(token.token, token.token_seed, token.token_checksum)


def _is_exchanged_alike(token: SlotToken, plan: Plan) -> bool:
    if token.exchange_id is None or plan.exchange is None:
        return token.exchange_id is None and plan.exchange is None
    exchanges = TokenExchange.objects.using(_database())
    return exchanges.filter(pk=token.exchange_id, key=plan.exchange.key).exists()


# Deciding


def get_plan(request: Request) -> Plan:
    """Return the plan for a token or authorization request, made when it is first asked for.

    :raises OAuth2Error: the request can't be answered.
    """
    if _PLAN not in vars(request):
        vars(request)[_PLAN] = _make_plan(request)
    plan: Plan = vars(request)[_PLAN]
    return plan


def _make_plan(request: Request) -> Plan:
    token_type = TokenType(request.client.token_type)
    issued = timezone.now().replace(microsecond=0)
    exchange = get_exchange(request)
    if exchange is not None:
        request.resource = exchange.targets
        if exchange.expires is not None and exchange.expires < issued + timedelta(seconds=1):
            raise InvalidGrantError(description="The subject_token has expired.", request=request)
        if exchange.expires is not None:
            request.expires_in = min(request.expires_in, int((exchange.expires - issued).total_seconds()))
    expires = issued + timedelta(seconds=request.expires_in)
    binding = _find_binding(request)
    if binding is not None or token_type is TokenType.JWT:
        # RFC 8707: normalises request.resource, and refuses what the grant does not allow.
        oauth2_settings.OAUTH2_VALIDATOR_CLASS()._check_and_set_request_resource(request)
    if binding is None:
        plan = Plan(token_type, expires, TokenValue(generate_token()), TokenValue(generate_token()))
        _set_exchange_of_plan(plan, request)
        if token_type is TokenType.JWT:
            plan.access = _sign(request, plan, issued)
        return plan

    bound = BoundPlan(token_type, expires, new_value(), new_value(), binding)
    _set_exchange_of_plan(bound, request)
    if request.grant_type == "refresh_token":
        _plan_refresh(bound, request)
    else:
        _plan_slot(bound, request)
    if bound.reused is None and token_type is TokenType.JWT:
        bound.access = _sign(request, bound, issued)
    return bound


def _set_exchange_of_plan(plan: Plan, request: Request) -> None:
    exchange = get_exchange(request)
    if exchange is not None:
        plan.exchange, plan.latest_expiry = exchange.record, exchange.expires
    elif is_token_request(request) and request.grant_type == "refresh_token":
        plan.exchange = request.refresh_token_instance.exchange


def _find_binding(request: Request) -> TokenBinding | None:
    """Return the binding of the token to come, or None for an unbound one; it may not be saved yet."""
    if not is_token_request(request):
        return None  # implicit and hybrid tokens are never bound
    if request.grant_type == "refresh_token":
        binding: TokenBinding | None = request.refresh_token_instance.binding
        return binding
    binding_type = request.client.token_binding_type
    if binding_type == NO_BINDING:
        return None
    value = read_binding_value(request) or SHARED
    user = None if request.grant_type == "client_credentials" else request.user
    subject = None if user is None else str(user.pk)
    return TokenBinding(
        application_id=request.client.pk,
        user_id=None if user is None else user.pk,
        binding_type=binding_type,
        binding_value=value,
        reference=SHARED if value == SHARED else binding_reference(value),
        key=binding_key(str(request.client.pk), subject, binding_type, value),
    )


def _plan_slot(plan: BoundPlan, request: Request) -> None:
    plan.slot = slot_key(plan.binding.key, request.scopes, request.resource)
    if not _may_reuse(plan):
        return
    held = slots.find(_database(), "slot", plan.slot)
    plan.is_free = held is None
    value = _recover_live(held, plan)
    if held is not None and value is not None:
        _reuse(plan, held, value)


def _may_reuse(plan: Plan) -> bool:
    return decide(plan.token_type, live=True) is Decision.REUSE


def _plan_refresh(plan: BoundPlan, request: Request) -> None:
    consumed: BoundRefreshToken = request.refresh_token_instance
    if consumed.revoked is None:
        plan.slot = slot_key(plan.binding.key, request.scopes, request.resource)
        if not oauth2_settings.OAUTH2_VALIDATOR_CLASS().rotate_refresh_token(request):
            plan.refresh = TokenValue(request.refresh_token, consumed.token_seed)
            plan.kept_refresh = consumed.pk
        return
    # Consumed already: by a request at the same time, or within REFRESH_TOKEN_GRACE_PERIOD_SECONDS. The
    # answer is what that request was answered, as far as it can be brought back.
    successor = slots.find(_database(), "source_refresh_token", consumed.pk)
    granted = _tokens().filter(source_refresh_token=consumed.pk).values_list("scope", "resource")
    row = next(iter(granted), None)
    if successor is None or row is None:
        raise InvalidGrantError(request=request)
    request.scopes, request.resource = row[0].split(), row[1]
    plan.slot = slot_key(plan.binding.key, request.scopes, request.resource)
    value = _recover_live(successor, plan)
    if value is not None:
        _reuse(plan, successor, value)
    else:
        plan.successor = successor
        _keep_refresh(plan, successor)


def _reuse(plan: BoundPlan, token: SlotToken, value: TokenValue) -> None:
    plan.reused = token
    plan.access = value
    plan.expires = token.expires
    _keep_refresh(plan, token)


def _keep_refresh(plan: BoundPlan, token: SlotToken) -> None:
    if not token.has_refresh_token:
        return
    value = recover(token.refresh_token, token.refresh_token_seed, token.refresh_token_checksum)
    if value is not None:
        plan.kept_refresh = token.refresh_pk
        plan.refresh = value


def _sign(request: Request, plan: Plan, issued: datetime) -> TokenValue:
    binding_claims = plan.binding.claims if isinstance(plan, BoundPlan) else {}
    exchange_claims = {} if plan.exchange is None else plan.exchange.claims
    user = None if request.grant_type == "client_credentials" else request.user
    jti = secrets.token_urlsafe(16)
    text = access_tokens.encode(
        request,
        subject=request.client.client_id if user is None else str(user.pk),
        issued_at=int(issued.timestamp()),
        expires_at=int(plan.expires.timestamp()),
        jti=jti,
        resources=request.resource,
        provenance={**binding_claims, **exchange_claims},
    )
    return TokenValue(text, jti=jti)


# Carrying out


def carry_out(validator: BindingOAuth2Validator, request: Request, token: dict[str, Any]) -> bool:
    """Save a bound token, and bring the answer in line with what was saved.

    Return whether the token is a bound one; another is not saved here.

    :param validator: makes the rows.
    :param token: the token response to be (RFC 6749 section 5.1).
    :raises InvalidGrantError: the refresh token or authorization code was revoked or redeemed meanwhile.
    :raises SlotContendedError: other requests overtook this one :data:`MAX_ATTEMPTS` times.
    """
    error: Exception | None = None
    for _attempt in range(MAX_ATTEMPTS):
        plan = get_plan(request)
        if not isinstance(plan, BoundPlan):
            return False
        _answer(validator, plan, request, token)
        if plan.reused is not None and (plan.kept_refresh is not None or "refresh_token" not in token):
            _note_reuse(plan.reused, plan.binding)
            return True
        try:
            _save(validator, plan, request, token)
            return True
        except _OvertakenError as overtaken:
            error = overtaken
        except IntegrityError as collision:
            if not _tokens().filter(slot=plan.slot).exists():
                raise
            error = collision
        except OperationalError as failure:
            # A serialization failure or deadlock; in a transaction of the site's own nothing can be retried.
            if transaction.get_connection(_database()).in_atomic_block:
                raise
            error = failure
        del vars(request)[_PLAN]
    logger.warning("A token request was overtaken %s times, last by: %r", MAX_ATTEMPTS, error)
    raise SlotContendedError(request=request) from error


def _answer(
    validator: BindingOAuth2Validator, plan: BoundPlan, request: Request, token: dict[str, Any]
) -> None:
    """Write the plan into the token response."""
    changed = token["access_token"] != plan.access.text
    token["access_token"] = plan.access.text
    if plan.reused is None:
        token["expires_in"] = request.expires_in  # what lies between iat and exp
    else:
        token["expires_in"] = int(plan.expires.timestamp()) - int(timezone.now().timestamp())
    token["scope"] = " ".join(request.scopes)
    if "refresh_token" in token:
        token["refresh_token"] = plan.refresh.text
    if changed and "id_token" in token:
        validator.sign_id_token_again(token, request)


def _save(
    validator: BindingOAuth2Validator, plan: BoundPlan, request: Request, token: dict[str, Any]
) -> None:
    save_exchange(plan)
    with transaction.atomic(using=_database()):
        _lock_binding(plan)
        check_subject(request)
        if plan.reused is not None:
            _check_reused(plan.reused)
            reused = _tokens().get(pk=plan.reused.pk)
            validator._create_refresh_token(request, plan.refresh.text, reused, _consumed(request))
            return
        source = _clear_slot(plan, request)
        access = validator._create_access_token(plan.expires, request, token, source_refresh_token=source)
        if plan.kept_refresh is not None:
            _repoint(plan.kept_refresh, access)
        elif "refresh_token" in token:
            validator._create_refresh_token(request, plan.refresh.text, access, _consumed(request))
        _consume_code(request)


def _lock_binding(plan: BoundPlan) -> None:
    """Lock the row of the plan's binding, which is made if it is not there, and note that it is used."""
    if not plan.binding._state.adding:
        there = _fetch_locked("pk", plan.binding.pk)
        if there is None:
            raise _OvertakenError
        _touch(plan.binding.key, there[1])
        return
    if not _may_reuse(plan):
        # Its slot has not been looked up yet, so it is most likely there.
        there = _fetch_locked("key", plan.binding.key)
        if there is not None:
            plan.binding.pk, last_used = there
            _touch(plan.binding.key, last_used)
            return
    bindings = TokenBinding.objects.using(_database())
    # In one statement: those that wait for who inserts the row would deadlock on MariaDB, if they then locked
    # it in another.
    has_target = connections[_database()].features.supports_update_conflicts_with_target
    bindings.bulk_create(
        [plan.binding],
        update_conflicts=True,
        unique_fields=["key"] if has_target else None,
        update_fields=["last_used"],
    )
    if not connections[_database()].features.can_return_rows_from_bulk_insert:
        plan.binding.pk = bindings.values_list("pk", flat=True).get(key=plan.binding.key)
    if binding_created.has_listeners(TokenBinding):
        # What was there before was made at another time.
        made = bindings.filter(key=plan.binding.key, created=plan.binding.created)
        if made.exists():
            send_after_commit(binding_created, TokenBinding, _database(), binding=plan.binding)


def _fetch_locked(field: str, value: Any) -> list[Any] | None:
    """Lock the row of a binding, and return its key and when it was last used."""
    return prepared.fetch(_database(), TokenBinding, field, value, ("pk", "last_used"), lock=True)


def save_exchange(plan: Plan) -> None:
    """Save what a plan's tokens are exchanged from, in a transaction of its own before that of the tokens."""
    if plan.exchange is None or not plan.exchange._state.adding:
        return
    records = TokenExchange.objects.using(_database())
    this = records.filter(key=plan.exchange.key)
    for _attempt in range(MAX_ATTEMPTS):
        records.bulk_create([plan.exchange], ignore_conflicts=True)
        # clearbindings leaves alone what was used just now, but may have deleted it before.
        if this.update(last_used=timezone.now()):
            break
    plan.exchange = this.get()


def check_subject(request: Request) -> None:
    """Check again, in the transaction that issues, that what a request exchanges was not revoked meanwhile.

    Whoever revokes it from now on waits for its row, and then finds what was issued here.

    :raises InvalidGrantError: it was revoked, or has expired.
    """
    exchange = get_exchange(request)
    if exchange is None or exchange.subject is None:
        return
    model = type(exchange.subject)
    rows: Any = model._default_manager.using(_database()).select_for_update()
    current: Any = next(iter(rows.filter(pk=exchange.subject.pk)), None)
    if current is None or (
        current.revoked is not None if model is get_refresh_token_model() else current.is_expired()
    ):
        raise InvalidGrantError(description="The subject_token is not valid.", request=request)


def _consumed(request: Request) -> BoundRefreshToken | None:
    consumed: BoundRefreshToken | None = vars(request).get("refresh_token_instance")
    return consumed


def _note_reuse(reused: SlotToken, binding: TokenBinding) -> None:
    _touch(binding.key, reused.binding_last_used)
    model = get_access_token_model()
    if token_reused.has_listeners(model):
        for token in _tokens().filter(pk=reused.pk):
            send_after_commit(token_reused, model, _database(), access_token=token)


def _check_reused(reused: SlotToken) -> None:
    """Check under the lock that the token to be answered is still there, and still lacks a refresh token."""
    current = slots.find(_database(), "pk", reused.pk)
    if current is None or current.slot != reused.slot or not current.is_live or current.has_refresh_token:
        raise _OvertakenError


def _clear_slot(plan: BoundPlan, request: Request) -> BoundRefreshToken | None:
    """End what leaves the slot, and return the refresh token that the new access token comes from."""
    if plan.is_free:
        return None
    if request.grant_type != "refresh_token":
        if _may_reuse(plan):
            held = slots.find(_database(), "slot", plan.slot)
            if held is None:
                return None
            if _recover_live(held, plan) is not None:
                raise _OvertakenError
        _empty_slot(plan)
        return None

    presented = request.refresh_token_instance
    consumed: BoundRefreshToken | None = prepared.find(
        _database(), type(presented), "pk", presented.pk, ("binding",)
    )
    if consumed is None:
        raise InvalidGrantError(request=request)
    was_consumed = presented.revoked is not None
    request.refresh_token_instance = consumed
    if (consumed.revoked is not None) is not was_consumed:
        raise _OvertakenError
    predecessor = consumed.access_token_id
    if plan.successor is not None:
        predecessor = plan.successor.pk
        if not _tokens().filter(pk=predecessor, source_refresh_token_id=consumed.pk).exists():
            raise _OvertakenError
    if predecessor is None:
        raise InvalidGrantError(request=request)  # an orphan: its access token was deleted meanwhile
    if _tokens().filter(slot=plan.slot).exclude(pk=predecessor).exists():
        _empty_slot(plan)
    if plan.kept_refresh is None:
        revoke_refresh_tokens(_refresh_tokens().filter(Q(access_token_id=predecessor) | Q(pk=consumed.pk)))
    ended = _tokens().filter(pk=predecessor)
    _announce_superseded(ended)
    if plan.successor is None:
        expire_access_tokens(ended)
    else:
        list_revoked(ended)  # its row gets the new token
    return consumed if plan.successor is not None or plan.kept_refresh is None else None


def _empty_slot(plan: BoundPlan) -> None:
    """Revoke the access token that has the slot, and its refresh token."""
    if binding_settings.revocation_feed or token_superseded.has_listeners(get_access_token_model()):
        ended = _tokens().filter(slot=plan.slot)
        _announce_superseded(ended)
        list_revoked(ended)
    # A client has no refresh tokens of its own (RFC 6749 section 4.4.3).
    slots.empty(_database(), plan.slot, has_refresh_tokens=plan.binding.user_id is not None)


def _announce_superseded(access_tokens: Any) -> None:
    if token_superseded.has_listeners(get_access_token_model()):
        for token in access_tokens.filter(expires__gt=timezone.now()):
            send_after_commit(token_superseded, type(token), _database(), access_token=token)


def _repoint(refresh_token_id: Any, access_token: BoundAccessToken) -> None:
    unrevoked = _refresh_tokens().filter(pk=refresh_token_id, revoked__isnull=True)
    if not unrevoked.update(access_token=access_token, updated=timezone.now()):
        raise _OvertakenError


def _consume_code(request: Request) -> None:
    """Redeem the authorization code together with issuing, so that two requests can't both redeem it."""
    if request.grant_type == "authorization_code":
        code = get_grant_model().objects.filter(code=request.code, application=request.client)
        if not code.delete()[0]:
            raise InvalidGrantError(request=request)
        vars(request)["code_is_consumed"] = True


def _touch(binding_key: str, last_used: datetime | None) -> None:
    now = timezone.now()
    if last_used is None or now - last_used > LAST_USED_RESOLUTION:
        TokenBinding.objects.using(_database()).filter(key=binding_key).update(last_used=now)
