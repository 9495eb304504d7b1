"""Which tokens can't be issued with the types that an operator chooses for an application."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import AbstractApplication

from oauth_binding.authorization_server.signing.signing_key import get_signing_key
from oauth_binding.binding.semantics import NO_BINDING, TokenType
from oauth_binding.core.settings import binding_settings


def type_problems(
    *,
    token_type: str | None,
    access_token_algorithm: str,
    token_binding_type: str,
    grant_types: Collection[str] | None,
) -> Iterator[tuple[str, ValidationError]]:
    """Yield what can't work in the types of an application, each with the field to show it at.

    :param token_type: None if it is not known, because it is not valid.
    :param grant_types: all that the application is allowed; None likewise.
    """
    if token_type == TokenType.JWT.value:
        try:
            get_signing_key(access_token_algorithm)
        except ImproperlyConfigured:
            yield (
                "access_token_algorithm" if access_token_algorithm else "token_type",
                ValidationError(
                    _("JWTs can't be signed: this server has no %(algorithm)s key in use."),
                    code="no_signing_key",
                    params={"algorithm": access_token_algorithm or binding_settings.signing_algorithm},
                ),
            )
    if token_binding_type != NO_BINDING and grant_types == [AbstractApplication.GRANT_IMPLICIT]:
        yield (
            "token_binding_type",
            ValidationError(
                _("The implicit grant does not use the token endpoint, where tokens are bound."),
                code="unused_binding",
            ),
        )
