"""django-oauth-toolkit's ``OAUTH2_VALIDATOR_CLASS``."""

from __future__ import annotations

import hashlib
import uuid
from collections import OrderedDict
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from django.db import router, transaction
from jwcrypto.common import JWException
from oauth2_provider.models import (
    AbstractApplication,
    get_access_token_model,
    get_device_grant_model,
    get_refresh_token_model,
)
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauthlib.oauth2 import RequestValidator
from oauthlib.oauth2.rfc6749.errors import CustomOAuth2Error, InvalidGrantError
from oauthlib.oauth2.rfc8628.errors import ExpiredTokenError
from oauthlib.openid.connect.core.grant_types.base import GrantTypeBase

from oauth_binding import issuance
from oauth_binding.access_tokens import is_jwt_access_token
from oauth_binding.issuance import BoundPlan
from oauth_binding.revocation import revoke_bound_token
from oauth_binding.semantics import TokenType

if TYPE_CHECKING:
    from oauthlib.common import Request

    from oauth_binding.models import BoundAccessToken, BoundRefreshToken

# Kept in vars(request); see oauth_binding.issuance.
_UNSIGNED: Final = "unsigned_id_token"


class BindingOAuth2Validator(OAuth2Validator):
    """django-oauth-toolkit's validator with token types and token binding.

    A site with a validator of its own derives it from this one. For bound tokens :meth:`save_bearer_token`
    does not call ``_save_bearer_token``, because it needs the transaction for itself; the rows of all tokens
    are made by ``_create_access_token`` and ``_create_refresh_token``.
    """

    def get_additional_access_token_claims(self, request: Request) -> dict[str, Any]:
        """Return a site's own claims for JWT access tokens.

        Registered claims (:data:`~oauth_binding.access_tokens.REGISTERED_CLAIMS`) can't be set.

        :param request: the token request, whose ``user``, ``client`` and ``scopes`` are known.
        """
        return {}

    # Requests

    def _load_application(self, client_id: str, request: Request) -> Any:
        if client_id and "\x00" in client_id:
            return None  # psycopg refuses it, not as django-oauth-toolkit expects
        # The first moment at which the application is known, and the last before any credential is checked.
        client = super()._load_application(client_id, request)
        if client is not None and issuance.is_token_request(request):
            issuance.read_binding_value(request)
        return client

    def validate_user(
        self, username: str, password: str, client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        if "\x00" in username:
            return False  # as above
        return bool(super().validate_user(username, password, client, request, *args, **kwargs))

    def validate_refresh_token(
        self, refresh_token: str, client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        if not super().validate_refresh_token(refresh_token, client, request, *args, **kwargs):
            return False
        issuance.check_refresh_binding(request)
        return True

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        if not super().validate_grant_type(client_id, grant_type, client, request, *args, **kwargs):
            return False
        is_device_grant = grant_type == AbstractApplication.GRANT_DEVICE_CODE
        if is_device_grant and not hasattr(RequestValidator, "validate_device_code"):
            # oauthlib 4 asks validate_device_code() next; oauthlib 3.3 asks nobody.
            status = self.validate_device_code(client.client_id, request.device_code, request)
            if status == ExpiredTokenError.error:
                raise ExpiredTokenError(request=request)
            if status is None:
                raise InvalidGrantError(request=request)
        return True

    def validate_device_code(
        self, client_id: str, device_code: str, request: Request, *args: Any, **kwargs: Any
    ) -> str | None:
        """Return the status of a device grant (RFC 8628 section 3.5), or None: the client has no such one."""
        grants = get_device_grant_model().objects.select_related("user")
        grant = grants.filter(device_code=device_code, client_id=client_id).first()
        if grant is None:
            return None
        if grant.is_expired():
            return str(ExpiredTokenError.error)
        if grant.status == grant.AUTHORIZED:
            request.user = grant.user
            request.scopes = grant.scope.split()
            return "authorized"
        return {grant.DENIED: "access_denied"}.get(grant.status, "authorization_pending")

    def _validate_resource_uris(self, request: Request, resources: list[str]) -> None:
        try:
            super()._validate_resource_uris(request, resources)
        except ValueError:
            # urlsplit() could not parse one, for instance "https://[".
            raise CustomOAuth2Error(
                error="invalid_target", description="A resource is not a valid URI.", request=request
            ) from None

    # Issuing

    def save_bearer_token(self, token: dict[str, Any], request: Request, *args: Any, **kwargs: Any) -> None:
        if issuance.carry_out(self, request, token):
            return
        plan = issuance.get_plan(request)
        with transaction.atomic(using=router.db_for_write(get_access_token_model())):
            super().save_bearer_token(token, request, *args, **kwargs)
            if not token["access_token"]:
                # A replay within the grace period, of which redacted storage has kept nothing to answer.
                raise InvalidGrantError(request=request)
            if plan.token_type is TokenType.JWT and request.grant_type == "refresh_token":
                # Without rotation django-oauth-toolkit rewrites the row, with an expiry of its own reckoning.
                checksum = hashlib.sha256(plan.access.text.encode()).hexdigest()
                rows = get_access_token_model().objects.filter(token_checksum=checksum)
                rows.update(expires=plan.expires)

    def _create_access_token(
        self,
        expires: datetime,
        request: Request,
        token: dict[str, Any],
        source_refresh_token: BoundRefreshToken | None = None,
    ) -> BoundAccessToken:
        plan = issuance.get_plan(request)
        if plan.token_type is TokenType.JWT:
            expires = plan.expires  # what the exp claim says
        if not isinstance(plan, BoundPlan):
            row: BoundAccessToken = super()._create_access_token(
                expires, request, token, source_refresh_token
            )
            return row
        row = get_access_token_model()(
            user_id=plan.binding.user_id,
            scope=token["scope"],
            expires=expires,
            id_token=self._load_id_token(token["id_token"]) if "id_token" in token else None,
            application=request.client,
            source_refresh_token=source_refresh_token,
            resource=request.resource,
            binding=plan.binding,
            slot=plan.slot,
            token_seed=plan.access.seed,
        )
        if plan.token_type is TokenType.JWT:
            # It is never answered again, so only its checksum is kept (see TokenChecksumField).
            row._raw_token = plan.access.text
        else:
            self._set_token_value(row, plan.access.text)
        row.save()
        return row

    def _create_refresh_token(
        self,
        request: Request,
        refresh_token_code: str,
        access_token: BoundAccessToken,
        previous_refresh_token: BoundRefreshToken | None,
    ) -> BoundRefreshToken:
        plan = issuance.get_plan(request)
        if not isinstance(plan, BoundPlan):
            row: BoundRefreshToken = super()._create_refresh_token(
                request, refresh_token_code, access_token, previous_refresh_token
            )
            return row
        family = uuid.uuid4() if previous_refresh_token is None else previous_refresh_token.token_family
        row = get_refresh_token_model()(
            user_id=plan.binding.user_id,
            application=request.client,
            access_token=access_token,
            token_family=family,
            resource=request.resource,
            binding=plan.binding,
            token_seed=plan.refresh.seed,
        )
        self._set_token_value(row, refresh_token_code)
        row.save()
        return row

    # ID tokens

    def finalize_id_token(
        self, id_token: dict[str, Any], token: dict[str, Any], token_handler: Any, request: Request
    ) -> str:
        vars(request)[_UNSIGNED] = dict(id_token), token_handler
        return super().finalize_id_token(id_token, token, token_handler, request)  # type: ignore[no-any-return]

    def sign_id_token_again(self, token: dict[str, Any], request: Request) -> None:
        """Replace the ID token of a token response whose access token has changed.

        :param token: the token response; its ``access_token`` is the one to be answered.
        """
        if _UNSIGNED in vars(request):
            claims, token_handler = vars(request)[_UNSIGNED]
            claims["at_hash"] = GrantTypeBase().id_token_hash(token["access_token"])
            request.id_token.delete()
            token["id_token"] = self.finalize_id_token(claims, token, token_handler, request)

    def invalidate_authorization_code(
        self, client_id: str, code: str, request: Request, *args: Any, **kwargs: Any
    ) -> None:
        if "code_is_consumed" not in vars(request):
            super().invalidate_authorization_code(client_id, code, request, *args, **kwargs)

    # Revoking

    def revoke_token(
        self, token: str, token_type_hint: str, request: Request, *args: Any, **kwargs: Any
    ) -> None:
        if not revoke_bound_token(token, request.client):
            super().revoke_token(token, token_type_hint, request, *args, **kwargs)

    # Protected resources

    def validate_jwt_bearer_token(self, token: str, scopes: list[str], request: Request) -> bool:
        """Validate an access or ID token that came as a bearer token and looks like a JWT.

        With OIDC on, oauthlib takes everything that looks like a JWT here, and django-oauth-toolkit looks for
        it among the ID tokens only.
        """
        if is_jwt_access_token(token):
            return bool(self.validate_bearer_token(token, scopes, request))
        try:
            return bool(super().validate_jwt_bearer_token(token, scopes, request))
        except (JWException, ValueError, KeyError, TypeError):
            # django-oauth-toolkit's own reading of the token is not guarded against junk.
            request.oauth2_error = OrderedDict(
                error="invalid_token", error_description="The access token is invalid."
            )
            return False
