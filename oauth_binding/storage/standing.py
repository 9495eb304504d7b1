"""Standing: whether those that a credential stands for may use it. Every door asks; nothing is written."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from oauth2_provider.settings import oauth2_settings

from oauth_binding.core.databases import written
from oauth_binding.core.reasons import Reason
from oauth_binding.core.settings import binding_settings
from oauth_binding.core.toolkit_paths import get_scopes_backend
from oauth_binding.models import TOKEN_EXCHANGE, TokenExchange, TokenExchangeRule
from oauth_binding.storage import login_sessions
from oauth_binding.storage.liveness import is_live, live_refresh_tokens
from oauth_binding.storage.presented import is_presented
from oauth_binding.storage.tokens import access_tokens, refresh_tokens

if TYPE_CHECKING:
    from oauth_binding.models import BoundAccessToken, BoundRefreshToken


def has_standing(user: Any, application: Any, request: Any) -> bool:
    """Return whether a user is active, and an application usable.

    A user who was deactivated, even by SQL alone, loses standing at once. What may never be used again, even
    when the user is active again, has to be ended.

    :param user: None if the client acts for itself.
    :param application: None for what belongs to none.
    :param request: oauthlib's, for the application's ``is_usable()``.
    """
    return next(standing_faults(user, application, request), None) is None


def standing_faults(user: Any, application: Any, request: Any) -> Iterator[Reason]:
    """Yield why a user or an application has no standing; nothing if both have.

    The parameters are those of ``has_standing``.
    """
    if user is not None and not user.is_active:
        yield Reason.USER_INACTIVE
    if application is not None and not application.is_usable(request):
        yield Reason.CLIENT_DISABLED


def token_has_standing(token: BoundAccessToken | BoundRefreshToken, request: Any) -> bool:
    """Return whether a token's user and application have standing, and so do those it was exchanged from.

    :param token: an access token, or a refresh token; for the latter, the exchange rule has to allow refresh
        tokens.
    :param request: as for ``has_standing``.
    """
    return next(token_faults(token, request), None) is None


def token_faults(token: BoundAccessToken | BoundRefreshToken, request: Any) -> Iterator[Reason]:
    """Yield why a token has no standing; nothing if it has.

    The parameters are those of ``token_has_standing``.
    """
    yield from backing_faults(token)
    yield from application_faults(token, request)


def is_backed(token: BoundAccessToken | BoundRefreshToken) -> bool:
    """Return whether a token's user is active, its login session goes on, and its exchange rule is there.

    :param token: as for ``token_has_standing``.
    """
    return next(backing_faults(token), None) is None


def backing_faults(token: BoundAccessToken | BoundRefreshToken) -> Iterator[Reason]:
    """Yield why a token is not backed; nothing if it is. What comes first is looked up first.

    :param token: as for ``token_has_standing``.
    """
    if token.user is not None and not token.user.is_active:
        yield Reason.USER_INACTIVE
    exchange = _exchange_of(token)
    sid = login_sessions.sid_of(token, exchange)
    if sid is not None and not login_sessions.is_live(sid):
        yield Reason.SESSION_ENDED
    if exchange is None:
        if token.exchange_id is not None:
            yield Reason.EXCHANGE_ENDED
        return
    rule = TokenExchangeRule.find(exchange.client_id, exchange.subject_client_id, exchange.subject_issuer)
    if exchange.subject_issuer not in {"", *binding_settings.token_exchange_issuers}:
        yield Reason.ISSUER_NOT_TRUSTED
    if rule is None or not (rule.refresh_tokens or not hasattr(token, "revoked")):
        yield Reason.EXCHANGE_RULE_MISSING
    if not exchange.client.allows_grant_type(TOKEN_EXCHANGE):
        yield Reason.GRANT_TYPE_NOT_ALLOWED


def applications_are_usable(token: BoundAccessToken | BoundRefreshToken, request: Any) -> bool:
    """Return whether a token's application is usable, and so are those of the exchange that it came from.

    :param request: as for ``has_standing``.
    """
    return next(application_faults(token, request), None) is None


def application_faults(token: BoundAccessToken | BoundRefreshToken, request: Any) -> Iterator[Reason]:
    """Yield why an application that a token needs is not usable; nothing if all are.

    The parameters are those of ``applications_are_usable``.
    """
    exchange = _exchange_of(token)
    clients = [token.application]
    clients += [] if exchange is None else [exchange.client, exchange.subject_client]
    for client in clients:
        yield from standing_faults(None, client, request)


def ask_when_validated(model: Any) -> None:
    """Let a model's access tokens be valid only while they are backed, and if they are rightly presented.

    Every door of django-oauth-toolkit asks them, even its decorators, which know only its own validator.

    :param model: the model of access tokens.
    """
    is_valid = model.is_valid

    @functools.wraps(is_valid)
    def is_valid_here_and_now(token: Any, scopes: Any = None) -> bool:
        if not (is_valid(token, scopes) and is_backed(token)):
            return False
        return _manages_registration(token, scopes) or is_presented(token)

    model.is_valid = is_valid_here_and_now


def _manages_registration(token: BoundAccessToken, scopes: Any) -> bool:
    """Return whether a token is only asked to manage a registration, and good for nothing else (RFC 7592).

    It belongs to an application, and to none of its devices: dynamic registration has issued it.
    """
    registration = oauth2_settings.DCR_REGISTRATION_SCOPE
    is_for_it = token.scope == registration and [*(scopes or ())] == [registration]
    return is_for_it and token.binding_id is None and token.binding_confirmation is None


def _exchange_of(token: BoundAccessToken | BoundRefreshToken) -> TokenExchange | None:
    if token.exchange_id is None:
        return None
    exchanges = written(TokenExchange).select_related("client", "subject_client")
    exchange: TokenExchange | None = exchanges.filter(pk=token.exchange_id).first()
    return exchange


def offered_scopes(scopes: Iterable[str], application: Any, request: Any) -> list[str]:
    """Return those of some scopes that the server still offers an application; no token ends.

    :param scopes: what was granted.
    :param request: oauthlib's, for the site's scopes backend.
    """
    available = set(get_scopes_backend().get_available_scopes(application=application, request=request))
    return [scope for scope in scopes if scope in available]


#: The relations that a login's token is read with.
_LOGIN: Final = ("user", "application__token_policy", "binding", "exchange")


def find_login(id_token: Any) -> BoundAccessToken | BoundRefreshToken | None:
    """Return the access or refresh token of the login that an ID token stands for, as long as that goes on.

    None if the login was ended or has expired, or if the ID token was issued without an access token.

    :param id_token: the row of an ID token.
    """
    access: BoundAccessToken | None = (
        access_tokens().select_related(*_LOGIN).filter(id_token=id_token.pk).first()
    )
    if access is None or is_live(access.expires):
        return access
    refresh: BoundRefreshToken | None = (
        refresh_tokens()
        .select_related(*_LOGIN, "access_token")
        .filter(live_refresh_tokens(), access_token=access)
        .first()
    )
    return refresh
