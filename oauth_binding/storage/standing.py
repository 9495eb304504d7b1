"""Standing: whether those that a credential stands for may use it. Each door asks; nothing is written."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

from oauth2_provider.settings import oauth2_settings

from oauth_binding.core.databases import written
from oauth_binding.core.settings import binding_settings
from oauth_binding.core.toolkit_paths import get_scopes_backend
from oauth_binding.models import TOKEN_EXCHANGE, TokenExchange, TokenExchangeRule
from oauth_binding.storage.liveness import is_live, live_refresh_tokens
from oauth_binding.storage.presented import is_presented
from oauth_binding.storage.tokens import access_tokens, refresh_tokens

if TYPE_CHECKING:
    from oauth_binding.models import BoundAccessToken, BoundRefreshToken


def has_standing(user: Any, application: Any, request: Any) -> bool:
    """Return whether a user is active, and an application usable.

    A user who was deactivated, be it by SQL alone, is so at once. What may never be used again, also when the
    user is active again, has to be ended.

    :param user: None where the client acts for itself.
    :param application: None for what belongs to none.
    :param request: oauthlib's, for the application's ``is_usable()``.
    """
    return (user is None or bool(user.is_active)) and (
        application is None or bool(application.is_usable(request))
    )


def token_has_standing(token: BoundAccessToken | BoundRefreshToken, request: Any) -> bool:
    """Return whether a token's user and application have standing, and those of what it was exchanged from.

    :param token: an access token, or a refresh token, for which the exchange rule has to allow those, too.
    :param request: as for :func:`has_standing`.
    """
    return is_backed(token) and applications_are_usable(token, request)


def is_backed(token: BoundAccessToken | BoundRefreshToken) -> bool:
    """Return whether a token's user is active, and the rule is there that it was exchanged by.

    :param token: as for :func:`token_has_standing`.
    """
    if token.user is not None and not token.user.is_active:
        return False
    exchange = _exchange_of(token)
    if exchange is None:
        return token.exchange_id is None
    rule = TokenExchangeRule.find(exchange.client_id, exchange.subject_client_id, exchange.subject_issuer)
    is_allowed = rule is not None and (rule.refresh_tokens or not hasattr(token, "revoked"))
    is_known = exchange.subject_issuer in {"", *binding_settings.token_exchange_issuers}
    return bool(is_known and is_allowed and exchange.client.allows_grant_type(TOKEN_EXCHANGE))


def applications_are_usable(token: BoundAccessToken | BoundRefreshToken, request: Any) -> bool:
    """Return whether a token's application is usable, and those of the exchange that it came from.

    :param request: as for :func:`has_standing`.
    """
    exchange = _exchange_of(token)
    clients = [token.application]
    clients += [] if exchange is None else [exchange.client, exchange.subject_client]
    return all(has_standing(None, client, request) for client in clients)


def ask_when_validated(model: Any) -> None:
    """Let the access tokens of a model be valid only as long as they are backed, and as they are presented.

    Every door of django-oauth-toolkit asks them, also its decorators, which know no other validator than its
    own.

    :param model: the model of access tokens.
    """
    is_valid = model.is_valid

    @functools.wraps(is_valid)
    def is_valid_here_and_now(token: Any, scopes: Any = None) -> bool:
        if not (is_valid(token, scopes) and is_backed(token)):
            return False
        return is_presented(token) or _manages_registration(token, scopes)

    model.is_valid = is_valid_here_and_now


def _manages_registration(token: BoundAccessToken, scopes: Any) -> bool:
    """Return whether a token is asked as what manages a registration, and is good for no more (RFC 7592).

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
    """Return those of some scopes that the server still offers an application; it ends no token.

    :param scopes: what was granted.
    :param request: oauthlib's, for the site's scopes backend.
    """
    available = set(get_scopes_backend().get_available_scopes(application=application, request=request))
    return [scope for scope in scopes if scope in available]


#: What a login's token is read with.
_LOGIN: Final = ("user", "application", "binding", "exchange")


def find_login(id_token: Any) -> BoundAccessToken | BoundRefreshToken | None:
    """Return the access or refresh token of the login that an ID token stands for, as long as that goes on.

    None where the login was ended or has expired, or where the ID token was issued without an access token.

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
