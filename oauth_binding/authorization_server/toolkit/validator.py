"""django-oauth-toolkit's ``OAUTH2_VALIDATOR_CLASS``."""

from __future__ import annotations

import base64
import json
import logging
import re
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, TypeGuard
from urllib.parse import unquote_plus

from django.contrib.auth.hashers import make_password
from django.core.exceptions import ImproperlyConfigured
from django.db.models import F
from django.utils import timezone
from jwcrypto.common import JWException
from oauth2_provider.models import (
    AbstractApplication,
    get_access_token_model,
    get_application_model,
    get_device_grant_model,
    get_grant_model,
    get_id_token_model,
    get_refresh_token_model,
)
from oauth2_provider.oauth2_validators import OAuth2Validator
from oauth2_provider.settings import oauth2_settings
from oauthlib.oauth2 import RequestValidator
from oauthlib.oauth2.rfc6749.errors import OAuth2Error
from oauthlib.oauth2.rfc6749.grant_types.authorization_code import (
    code_challenge_method_plain,
    code_challenge_method_s256,
)
from oauthlib.oauth2.rfc6749.utils import scope_to_list
from oauthlib.oauth2.rfc8628.errors import (
    AccessDenied,
    AuthorizationPendingError,
    ExpiredTokenError,
    SlowDownError,
)
from oauthlib.openid.connect.core.grant_types.base import GrantTypeBase

from oauth_binding.authorization_server.exchange.parameters import GRANT_TYPE
from oauth_binding.authorization_server.issuing.audiences import check_asked, inherit
from oauth_binding.authorization_server.issuing.in_flight import UserChangedError, check_user, refusal
from oauth_binding.authorization_server.issuing.lifetimes import check_login
from oauth_binding.authorization_server.issuing.limits import check_authorization_request
from oauth_binding.authorization_server.issuing.login_session import add_login_session
from oauth_binding.authorization_server.issuing.plan import get_plan
from oauth_binding.authorization_server.issuing.presented_binding import (
    announces_refresh,
    check_refresh_binding,
    read_binding_value,
)
from oauth_binding.authorization_server.issuing.presented_proof import (
    check_proof,
    check_refresh_proof,
    takes_proofs,
)
from oauth_binding.authorization_server.issuing.request_state import (
    REQUESTED_KEY,
    BoundPlan,
    Plan,
    browser_session,
    state_of,
)
from oauth_binding.authorization_server.issuing.save import renew_answer, save_token
from oauth_binding.authorization_server.revocation.revoke import revoke_bindings, revoke_family, revoke_token
from oauth_binding.authorization_server.signing.jwt_access_tokens import is_jwt_access_token, read_claims
from oauth_binding.authorization_server.toolkit.client_secrets import is_orphaned, preferred_hasher
from oauth_binding.authorization_server.toolkit.usual_refresh import (
    end_as_toolkit,
    find_good,
    is_toolkits_own,
)
from oauth_binding.binding.confirmation import Confirmation
from oauth_binding.binding.semantics import TokenType
from oauth_binding.core import audit
from oauth_binding.core.addresses import get_issuer
from oauth_binding.core.databases import read_alias, written
from oauth_binding.core.errors import (
    InvalidClientError,
    InvalidGrantError,
    InvalidRequestError,
    InvalidScopeError,
    InvalidTargetError,
    MisconfiguredError,
)
from oauth_binding.core.jose import jws
from oauth_binding.core.jose.claims import check_types
from oauth_binding.core.jose.remote_document import MALFORMED
from oauth_binding.core.log_lines import one_line
from oauth_binding.core.reasons import Reason
from oauth_binding.models import (
    SSO_SESSION,
    TOKEN_EXCHANGE,
    Demand,
    TerminationReason,
    demands_at,
    policy_of,
    protects_from_reuse,
    takes_token_requests_alone,
)
from oauth_binding.resource_server.bearer import InvalidTokenError, tell_refusal
from oauth_binding.storage import codes, prepared_sql
from oauth_binding.storage.attempts import in_transaction, repeat
from oauth_binding.storage.ending import add_to_revocation_feed
from oauth_binding.storage.insertion import save_new
from oauth_binding.storage.last_used import note_use
from oauth_binding.storage.liveness import is_live, refresh_token_expiry, repeatable_until
from oauth_binding.storage.logins import login_started
from oauth_binding.storage.presented import Presentation, presenting
from oauth_binding.storage.standing import (
    applications_are_usable,
    find_login,
    offered_scopes,
    standing_faults,
    token_faults,
    token_has_standing,
)
from oauth_binding.storage.token_values import token_checksum
from oauth_binding.storage.tokens import access_tokens, refresh_tokens, tokens_database

if TYPE_CHECKING:
    from oauthlib.common import Request

    from oauth_binding.models import BoundAccessToken, BoundRefreshToken, LoginSession

logger = logging.getLogger(__name__)

#: The loopback interface and a port, which may be any at the time of the request (RFC 8252 section 7.3).
_LOOPBACK: Final = re.compile(r"(?<=^http://)(127\.0\.0\.1|\[::1\]|localhost)(:[0-9]+)?(?=[/?]|$)")

#: The status of a device grant that a user has approved; others are error codes (RFC 8628 section 3.5).
_AUTHORIZED: Final = "authorized"
_DEVICE_ERRORS: Final = {
    str(error.error): error
    for error in (AccessDenied, AuthorizationPendingError, ExpiredTokenError, SlowDownError)
}

#: The scope that asks for an ID token (OpenID Connect Core section 3.1.2.1).
_OPENID: Final = "openid"


class BindingOAuth2Validator(OAuth2Validator):
    """django-oauth-toolkit's validator with token types and token binding.

    A site with a validator of its own derives it from this one. For bound tokens, ``save_bearer_token`` does
    not call ``_save_bearer_token``, because it needs a transaction of its own; the rows of all tokens are
    made by ``_create_access_token`` and ``_create_refresh_token``.
    """

    def get_additional_access_token_claims(self, request: Request) -> dict[str, Any]:
        """Return a site's own claims for JWT access tokens.

        Registered claims (``REGISTERED_CLAIMS`` in core/claim_sources.py) can't be set. All others override
        those of the application's policy.

        :param request: the token request, whose ``user``, ``client`` and ``scopes`` are known.
        """
        return {}

    # Requests

    def _load_application(self, client_id: str, request: Request) -> Any:
        model = get_application_model()
        if not client_id or not _could_be_client_id(client_id):
            return None
        if not isinstance(request.client, model):
            found = self.find_application(client_id)
            # django-oauth-toolkit itself loads those whose metadata document it has to read again.
            is_own = found is not None and found.registration_source != model.RegistrationSource.CIMD
            request.client = found if is_own else None
            if found is None and not oauth2_settings.CIMD_ENABLED:
                return None
        client = super()._load_application(client_id, request)
        audit.note_request(request)
        if client is not None and state_of(request).is_token_request and not announces_refresh(request):
            # Here, because this is the last moment before any credential is checked.
            check_proof(request)
            read_binding_value(request)
        return client

    def find_application(self, client_id: str) -> Any:
        """Return the application that has a client ID, or None; whether it is usable is not asked.

        :param client_id: what a client has sent as its ID (RFC 6749 section 2.2).
        """
        model = get_application_model()
        if not _could_be_client_id(client_id):
            return None
        return prepared_sql.find(read_alias(model), model, "client_id", client_id, ("token_policy",))

    def client_authentication_required(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        if not super().client_authentication_required(request, *args, **kwargs):
            return False
        self._check_one_client(request)
        # Public clients may name themselves with HTTP Basic and no secret (RFC 6749 section 2.3.1).
        client_id, secret = _basic_credentials(request) or (None, None)
        client = None if client_id is None or secret else self._load_application(client_id, request)
        if client is None or client.client_type != AbstractApplication.CLIENT_PUBLIC:
            return True
        request.client_id = client_id
        return False

    def _check_one_client(self, request: Request) -> None:
        """Refuse a request in which HTTP Basic names a different client from the body (RFC 6749 section 2.3).

        A name that belongs to no client is meant for somebody else, such as a proxy.

        :raises InvalidClientError: it does.
        """
        credentials = _basic_credentials(request)
        named = dict(request.decoded_body or ()).get("client_id")
        if credentials is None or not named or named == credentials[0]:
            return
        if self.find_application(credentials[0]) is not None:
            raise InvalidClientError(
                Reason.CLIENT_AMBIGUOUS,
                description="The Authorization header and client_id name different clients.",
                request=request,
            )

    def authenticate_client(self, request: Request, *args: Any, **kwargs: Any) -> bool:
        """Return whether a client has authenticated itself.

        :raises InvalidClientError: HTTP Basic and the body name two clients.
        """
        self._check_one_client(request)
        if super().authenticate_client(request, *args, **kwargs):
            return True
        named = vars(request).get("client")
        if named is None and not request.client_id:
            # For the audit log: the name of a client that does not exist.
            request.client_id = (_basic_credentials(request) or (None,))[0]
            audit.note_request(request)
        return _refused(
            InvalidClientError,
            Reason.CLIENT_UNKNOWN if named is None else Reason.CLIENT_AUTHENTICATION_FAILED,
        )

    def _check_secret(self, provided_secret: str, stored_secret: str) -> bool:
        if not provided_secret.strip():
            return False  # anybody can send it, whatever is stored
        if is_orphaned(stored_secret):
            return False  # django-oauth-toolkit would take the hash itself for the secret
        if not super()._check_secret(provided_secret, stored_secret):
            return False
        hasher = preferred_hasher(provided_secret, stored_secret, oauth2_settings.CLIENT_SECRET_HASHER)
        if hasher is not None:
            # By the hash that was found, which has its own salt: a secret that was changed meanwhile stays.
            found = written(get_application_model()).filter(client_secret=stored_secret)
            renewed = make_password(provided_secret, hasher=hasher)
            in_transaction(lambda: found.update(client_secret=renewed))
        return True

    def validate_user(
        self, username: str, password: str, client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        validate = super().validate_user
        # psycopg refuses NUL. The method may renew the hash, which the database may give up for another
        # transaction.
        valid = "\x00" not in username and repeat(
            lambda: validate(username, password, client, request, *args, **kwargs)
        )
        return bool(valid) or _refused(InvalidGrantError, Reason.BAD_CREDENTIALS)

    def validate_refresh_token(
        self, refresh_token: str, client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        validate, is_protected = super().validate_refresh_token, protects_from_reuse(client)
        refreshed = find_good(refresh_token, client) if is_toolkits_own(validate) else None
        if refreshed is not None:
            request.user, request.refresh_token = refreshed.user, refresh_token
            request.refresh_token_instance = refreshed
        else:
            if (
                oauth2_settings.REFRESH_TOKEN_REUSE_PROTECTION
                and not is_protected
                and _is_reused(refresh_token)
            ):
                # The overridden method would end the family.
                return _refused(InvalidGrantError, Reason.REFRESH_TOKEN_REUSE)
            # It may revoke the family, which the database may give up for another transaction.
            valid = repeat(lambda: validate(refresh_token, client, request, *args, **kwargs))
            if not valid or _is_used_up(request.refresh_token_instance):
                if audit.is_attempted():
                    _refused(InvalidGrantError, _why_not_refreshed(refresh_token, client))
                if is_protected:
                    _end_reused(refresh_token, client)
                return False
            refreshed = request.refresh_token_instance
            refreshed.application = client  # it is the same one, and comes with its policy
        fault = next(token_faults(refreshed, request), None)
        if fault is not None:
            return _refused(InvalidGrantError, fault)
        check_login(request, refreshed)
        # Once it is used, it has no access token any more, but a grace period.
        if refreshed.access_token is not None and not is_live(refresh_token_expiry(refreshed)):
            return _refused(InvalidGrantError, Reason.REFRESH_TOKEN_EXPIRED)
        state_of(request).refresh_token = refreshed
        check_refresh_proof(request, refreshed.binding_confirmation)
        check_refresh_binding(request)
        return True

    def validate_scopes(
        self, client_id: str, scopes: list[str], client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        """Return whether an application may have some scopes.

        :raises InvalidScopeError: ``openid`` is among them, and no ID token can be issued to the application.
        """
        _check_openid(scopes, client, request)
        return bool(super().validate_scopes(client_id, scopes, client, request, *args, **kwargs))

    def get_default_scopes(self, client_id: str, request: Request, *args: Any, **kwargs: Any) -> list[str]:
        """Return what a request that asks for no scope is granted: ``openid`` only if it can be used."""
        scopes = super().get_default_scopes(client_id, request, *args, **kwargs)
        return _usable_scopes(scopes, request.client)

    def rotate_refresh_token(self, request: Request) -> bool:
        """Return whether a refresh is answered with a new refresh token, as the application's policy says."""
        rotates = policy_of(request.client).rotate_refresh_tokens
        return bool(super().rotate_refresh_token(request)) if rotates is None else rotates

    def get_original_scopes(self, refresh_token: str, request: Request, *args: Any, **kwargs: Any) -> Any:
        """Return the scopes that a refresh may grant: those of the token that the server still offers."""
        _check_openid(scope_to_list(request.scope) or [], request.client, request)
        granted = super().get_original_scopes(refresh_token, request, *args, **kwargs)
        return _still_offered(scope_to_list(granted) or [], request)

    def validate_code(
        self, client_id: str, code: str, client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        if not super().validate_code(client_id, code, client, request, *args, **kwargs):
            _end_replayed(code, request)
            if audit.is_attempted():
                is_replayed = codes.find_redeemed(code, client) is not None
                _refused(InvalidGrantError, Reason.CODE_REPLAYED if is_replayed else Reason.CODE_UNKNOWN)
            return False
        fault = next(standing_faults(request.user, client, request), None)
        if fault is not None:
            return _refused(InvalidGrantError, fault)
        context = codes.find_context(code, client)
        if context is not None and context.session is not None and _follows_ended(context.session, client):
            return _refused(InvalidGrantError, Reason.SESSION_ENDED)
        request.scopes = _still_offered(request.scopes, request)
        if takes_proofs(client):
            check_proof(request, Confirmation.from_stored(None if context is None else context.confirmation))
        state_of(request).code, state_of(request).code_context = code, context
        return True

    def validate_redirect_uri(
        self, client_id: str, redirect_uri: str, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        try:
            if not super().validate_redirect_uri(client_id, redirect_uri, request, *args, **kwargs):
                return False
        except ValueError:
            return False  # urlsplit() could not parse it, for instance "https://["
        # The overridden method compares what urlsplit() makes of them, and so ignores case, for instance.
        application = request.client
        has_own_rule = (
            type(application).redirect_uri_allowed is not AbstractApplication.redirect_uri_allowed
            or oauth2_settings.ALLOW_URI_WILDCARDS
        )
        registered = application.redirect_uris.split()
        return has_own_rule or _without_port(redirect_uri) in map(_without_port, registered)

    def validate_silent_login(self, request: Request) -> bool:
        """Return whether a user is signed in, with ``prompt=none`` (OpenID Connect Core section 3.1.2.1).

        If nobody is, the authorization endpoint itself answers ``login_required``.
        """
        return True

    def validate_silent_authorization(self, request: Request) -> bool:
        """Return whether no user has to be asked, with ``prompt=none`` (the same section).

        The authorization endpoint finds it out, and answers ``consent_required``.
        """
        return True

    def get_code_challenge(self, code: str, request: Request) -> Any:
        with _while_it_is_there(code, request):
            challenge = super().get_code_challenge(code, request)
        if challenge is None and request.code_verifier:
            # RFC 9700 section 4.8.2: somebody may have taken the challenge out of the authorization request.
            raise InvalidGrantError(
                Reason.CODE_CHALLENGE_MISSING,
                description="code_verifier was sent, but the code was requested without a code_challenge.",
                request=request,
            )
        return challenge

    def get_code_challenge_method(self, code: str, request: Request) -> Any:
        # In case the answer to the next question is no; whoever refuses later gives their own reason.
        _refused(InvalidGrantError, Reason.CODE_VERIFIER_WRONG)
        with _while_it_is_there(code, request):
            return super().get_code_challenge_method(code, request)

    def confirm_redirect_uri(
        self,
        client_id: str,
        code: str,
        redirect_uri: str,
        client: Any,
        request: Request,
        *args: Any,
        **kwargs: Any,
    ) -> bool:
        confirm = super().confirm_redirect_uri
        with _while_it_is_there(code, request):
            is_same = bool(confirm(client_id, code, redirect_uri, client, request, *args, **kwargs))
        return is_same or _refused(InvalidRequestError, Reason.REDIRECT_URI_MISMATCH)

    def validate_grant_type(
        self, client_id: str, grant_type: str, client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        if grant_type == GRANT_TYPE:
            return bool(client.allows_grant_type(TOKEN_EXCHANGE))
        if not super().validate_grant_type(client_id, grant_type, client, request, *args, **kwargs):
            # An application that only exchanges tokens refreshes them, too.
            return bool(grant_type == "refresh_token" and client.allows_grant_type(TOKEN_EXCHANGE))
        is_device_grant = grant_type == AbstractApplication.GRANT_DEVICE_CODE
        if is_device_grant and not hasattr(RequestValidator, "validate_device_code"):
            # oauthlib 4 asks validate_device_code() next; oauthlib 3.3 asks nobody.
            status = self.validate_device_code(client.client_id, request.device_code, request)
            if status is None:
                raise InvalidGrantError(Reason.DEVICE_CODE_UNKNOWN, request=request)
            if status != _AUTHORIZED:
                raise _DEVICE_ERRORS[status](request=request)
        return True

    def validate_response_type(
        self, client_id: str, response_type: str, client: Any, request: Request, *args: Any, **kwargs: Any
    ) -> bool:
        # The first thing that oauthlib asks once it knows where errors go.
        check_authorization_request(request)
        if "token" in response_type.split():
            # Requests to this endpoint can't name a binding, or prove a key for an access token.
            policy = policy_of(client)
            if takes_token_requests_alone(client, policy):
                return False
            state_of(request).missed_demands.update(demands_at(Demand.REPORT, client, policy))
        valid = super().validate_response_type(client_id, response_type, client, request, *args, **kwargs)
        return bool(valid)

    def validate_device_code(
        self, client_id: str, device_code: str, request: Request, *args: Any, **kwargs: Any
    ) -> str | None:
        """Return the status of a device grant (RFC 8628 section 3.5), or None: the client has no such grant.

        :param client_id: the ID of the client that asks.
        :param device_code: what it has sent as its device code.
        :param request: oauthlib's token request, which gets the user and the scopes of an approved grant.
        """
        grants = written(get_device_grant_model()).select_related("user")
        grant = grants.filter(device_code=device_code, client_id=client_id).first()
        if grant is None:
            _refused(InvalidGrantError, Reason.DEVICE_CODE_UNKNOWN)
            return None
        if grant.status == grant.EXPIRED or not is_live(grant.expires):
            _refused(ExpiredTokenError, Reason.DEVICE_CODE_EXPIRED)
            return str(ExpiredTokenError.error)
        if grant.status == grant.AUTHORIZED:
            fault = next(standing_faults(grant.user, request.client, request), None)
            if fault is not None:
                _refused(AccessDenied, fault)
                return str(AccessDenied.error)
            request.user = grant.user
            request.scopes = _still_offered(grant.scope.split(), request)
            state_of(request).device_code = device_code
            return _AUTHORIZED
        if grant.status == grant.DENIED:
            _refused(AccessDenied, Reason.DEVICE_DENIED)
            return str(AccessDenied.error)
        # Only while nothing is decided: asking too often can't keep the answer from a device.
        in_time = codes.note_poll(grant)
        return str(AuthorizationPendingError.error if in_time else SlowDownError.error)

    def _check_and_set_request_resource(self, request: Request) -> None:
        state = state_of(request)
        if state.audiences is not None:
            request.resource = list(state.audiences)
        elif state.exchange is None:  # what an exchange asks for is checked against its rule
            super()._check_and_set_request_resource(request)

    def _validate_resource_uris(self, request: Request, resources: list[str]) -> None:
        refreshed = state_of(request).refresh_token
        if refreshed is not None:
            # What was granted needs no check; it may be an audience (RFC 8693), which need not be a URI.
            resources = [resource for resource in resources if resource not in refreshed.resource]
        try:
            super()._validate_resource_uris(request, resources)
        except ValueError:
            # urlsplit() could not parse one, for instance "https://[".
            raise InvalidTargetError(
                Reason.PARAMETER_INVALID, description="A resource is not a valid URI.", request=request
            ) from None

    # Issuing

    def save_bearer_token(self, token: dict[str, Any], request: Request, *args: Any, **kwargs: Any) -> None:
        """Save what a request is answered with.

        A token that the site's own code has made, without a token request, is saved as it is, and unbound.

        :param token: the token response to be (RFC 6749 section 5.1).
        """
        if _is_made_by_site(request):
            super().save_bearer_token(token, request, *args, **kwargs)
            return
        try:
            save_token(self, request, token)
        except InvalidGrantError:
            if state_of(request).is_code_replayed:
                _end_replayed(request.code, request)
            raise

    def save_unbound_token(self, request: Request, token: dict[str, Any]) -> None:
        self._save_bearer_token(token, request)

    def _save_bearer_token(self, token: dict[str, Any], request: Request, *args: Any, **kwargs: Any) -> None:
        if _is_made_by_site(request):
            super()._save_bearer_token(token, request, *args, **kwargs)
            return
        renew_answer(self, request, token)
        refreshed = state_of(request).refresh_token
        if refreshed is not None and state_of(request).keeps_refresh_token:
            _check_not_revoked_meanwhile(refreshed, request)
        elif (
            refreshed is not None
            and token.get("refresh_token")
            and "scope" in token
            and is_toolkits_own(super()._save_bearer_token)
            and end_as_toolkit(refreshed)
        ):
            self._save_refreshed(token, request, refreshed)
            return
        try:
            super()._save_bearer_token(token, request, *args, **kwargs)
        except (get_access_token_model().DoesNotExist, get_refresh_token_model().DoesNotExist):
            # The state when the request was validated; django-oauth-toolkit reads it again, with a lock.
            raise InvalidGrantError(Reason.TOKEN_ENDED_MEANWHILE, request=request) from None
        if not token["access_token"]:
            # A replay within the grace period, for which redacted storage has kept nothing to answer with.
            raise InvalidGrantError(Reason.TOKEN_ENDED_MEANWHILE, request=request)
        plan = get_plan(request)
        if refreshed is not None:
            _confirm_refreshed(refreshed, plan, request, token)
        if refreshed is not None and (plan.token_type is TokenType.JWT or plan.latest_expiry is not None):
            # Without rotation, django-oauth-toolkit rewrites the row, with an expiry that it computes itself.
            rows = access_tokens().filter(token_checksum=token_checksum(plan.access.text))
            rows.update(expires=plan.expires)

    def _save_refreshed(self, token: dict[str, Any], request: Request, refreshed: BoundRefreshToken) -> None:
        """Save the pair that answers a refresh, as the overridden method does; the old one has ended."""
        request.refresh_token_instance = None
        expires = timezone.now() + timedelta(
            seconds=token.get("expires_in", oauth2_settings.ACCESS_TOKEN_EXPIRE_SECONDS)
        )
        access = self._create_access_token(expires, request, token, source_refresh_token=refreshed)
        self._create_refresh_token(request, token["refresh_token"], access, refreshed)

    def authenticate_user_again(self, request: Request) -> bool:
        if request.grant_type != "password" or not state_of(request).is_token_request:
            return False
        return self.validate_user(request.username, request.password, request.client, request)

    def save_authorization_code(
        self, client_id: str, code: dict[str, Any], request: Request, *args: Any, **kwargs: Any
    ) -> None:
        save = super().save_authorization_code

        def save_with_context() -> None:
            check_user(request)
            challenge, method = request.code_challenge or "", request.code_challenge_method or ""
            confirmation = request.headers.get(REQUESTED_KEY)
            codes.note_requested(
                code["code"],
                request.client,
                request.user,
                challenge,
                method,
                confirmation,
                browser_session(request),
            )
            save(client_id, code, request, *args, **kwargs)

        try:
            in_transaction(save_with_context)
        except UserChangedError:
            raise refusal(request) from None

    def _set_token_value(self, token_instance: BoundAccessToken | BoundRefreshToken, raw_token: str) -> None:
        super()._set_token_value(token_instance, raw_token)
        if _is_access_token(token_instance):
            # Without rotation django-oauth-toolkit writes the new token over the one before.
            add_to_revocation_feed(token_instance)
            _keep_claims(token_instance, raw_token)
        if token_instance.binding_login_started is None:
            _continue_login(token_instance)

    def _create_access_token(
        self,
        expires: datetime,
        request: Request,
        token: dict[str, Any],
        source_refresh_token: BoundRefreshToken | None = None,
    ) -> BoundAccessToken:
        plan = state_of(request).plan
        if plan is not None and (plan.token_type is TokenType.JWT or plan.latest_expiry is not None):
            expires = plan.expires  # what the exp claim says
        if not isinstance(plan, BoundPlan):
            if source_refresh_token is not None and source_refresh_token.revoked is not None:
                # Revoked since it was validated, but not by a request that refreshed with it.
                raise InvalidGrantError(Reason.TOKEN_ENDED_MEANWHILE, request=request)
            row: BoundAccessToken = super()._create_access_token(
                expires, request, token, source_refresh_token
            )
            _complete(row, plan)
            return row
        row = get_access_token_model()(
            user_id=plan.binding.user_id,
            scope=token["scope"],
            expires=expires,
            id_token=self._find_saved_id_token(token["id_token"], request) if "id_token" in token else None,
            application=request.client,
            source_refresh_token=source_refresh_token,
            resource=request.resource,
            binding=plan.binding,
            exchange=plan.exchange,
            slot=plan.slot,
            token_seed=plan.access.seed,
            binding_confirmation=plan.stored_confirmation,
            binding_login_started=plan.login_started,
            binding_session_id=plan.session_id,
        )
        if plan.token_type is TokenType.JWT:
            # It is never returned again, so only its checksum is kept (see TokenChecksumField).
            row._raw_token = plan.access.text
            _keep_claims(row, plan.access.text)
        else:
            self._set_token_value(row, plan.access.text)
        if plan.successor is None:
            save_new(row)
        else:
            # In its row: a new one that refers to a revoked refresh token may meet cleartokens deleting that.
            row.pk, row.created = plan.successor.pk, timezone.now()
            # Django takes one for new whose primary key has a default, such as a UUID.
            row.save(force_update=True)
        return row

    def _create_refresh_token(
        self,
        request: Request,
        refresh_token_code: str,
        access_token: BoundAccessToken,
        previous_refresh_token: BoundRefreshToken | None,
    ) -> BoundRefreshToken:
        plan = state_of(request).plan
        if not isinstance(plan, BoundPlan):
            row: BoundRefreshToken = super()._create_refresh_token(
                request, refresh_token_code, access_token, previous_refresh_token
            )
            _complete(row, plan)
            return row
        family = uuid.uuid4() if previous_refresh_token is None else previous_refresh_token.token_family
        row = get_refresh_token_model()(
            user_id=plan.binding.user_id,
            application=request.client,
            access_token=access_token,
            token_family=family,
            resource=request.resource,
            binding=plan.binding,
            exchange=plan.exchange,
            token_seed=plan.refresh.seed,
            binding_confirmation=plan.stored_confirmation,
            binding_login_started=plan.login_started if plan.reused is None else plan.reused.login_started,
            binding_session_id=access_token.binding_session_id,
        )
        self._set_token_value(row, refresh_token_code)
        save_new(row)
        return row

    def sign_devices_out(self, bindings: Iterable[Any]) -> None:
        revoke_bindings(bindings)

    def set_resources(self, request: Request) -> None:
        state, policy = state_of(request), policy_of(request.client)
        named = getattr(request, "resource", None)
        is_asked = bool(named.strip() if isinstance(named, str) else named)
        self._check_and_set_request_resource(request)
        if state.audiences is not None or state.exchange is not None or not policy.restricts_audiences:
            return
        if is_asked:
            check_asked(policy, request.resource, request=request)
        else:
            request.resource = inherit(policy, request.resource, request=request)
        # From here on, what was asked for is no longer known.
        state.audiences = request.resource

    def create_access_token(
        self, request: Request, token: dict[str, Any], source: BoundRefreshToken | None
    ) -> BoundAccessToken:
        return self._create_access_token(get_plan(request).expires, request, token, source)

    def create_refresh_token(
        self,
        request: Request,
        text: str,
        access_token: BoundAccessToken,
        predecessor: BoundRefreshToken | None,
    ) -> BoundRefreshToken:
        return self._create_refresh_token(request, text, access_token, predecessor)

    # ID tokens

    def _find_saved_id_token(self, text: str, request: Request) -> Any:
        """Return the row of the ID token that a request is answered: signed a moment before, or by a site."""
        saved = vars(request).get("id_token")
        return self._load_id_token(text) if saved is None else saved

    def get_oidc_issuer_endpoint(self, request: Any) -> str:
        """Return the issuer, wherever the site has the URLs."""
        return get_issuer(request)

    def get_id_token_dictionary(
        self, token: dict[str, Any], token_handler: Any, request: Request
    ) -> tuple[dict[str, Any], datetime]:
        claims, expires = super().get_id_token_dictionary(token, token_handler, request)
        add_login_session(claims, request)
        return claims, expires

    def finalize_id_token(
        self, id_token: dict[str, Any], token: dict[str, Any], token_handler: Any, request: Request
    ) -> str:
        state_of(request).unsigned_id_token = dict(id_token), token_handler
        try:
            signed: str = super().finalize_id_token(id_token, token, token_handler, request)
        except (ImproperlyConfigured, JWException) as error:
            logger.error("No ID token for client %s: %s", one_line(request.client.client_id), one_line(error))
            raise MisconfiguredError(
                Reason.MISCONFIGURED, description="ID tokens are not set up for this client.", request=request
            ) from error
        return signed

    def _save_id_token(self, jti: str, request: Request, expires: datetime, *args: Any, **kwargs: Any) -> Any:
        # django-oauth-toolkit takes the scope that the request asks for; but redeeming a code asks for none.
        id_token = super()._save_id_token(jti, request, expires, *args, **kwargs)
        granted = " ".join(request.scopes)
        if id_token.scope != granted:
            id_token.scope = granted
            id_token.save(update_fields=["scope"])
        return id_token

    def sign_id_token_again(self, token: dict[str, Any], request: Request) -> None:
        """Replace the ID token of a token response whose access token has changed.

        :param token: the token response; its ``access_token`` is the one to answer with.
        :param request: oauthlib's token request, which has the code or the refresh token of the login.
        """
        unsigned = state_of(request).unsigned_id_token
        if unsigned is not None:
            claims, token_handler = unsigned
            claims["at_hash"] = GrantTypeBase().id_token_hash(token["access_token"])
            request.id_token.delete()
            token["id_token"] = self.finalize_id_token(claims, token, token_handler, request)

    def invalidate_authorization_code(
        self, client_id: str, code: str, request: Request, *args: Any, **kwargs: Any
    ) -> None:
        if not state_of(request).is_code_redeemed:
            super().invalidate_authorization_code(client_id, code, request, *args, **kwargs)

    # Revoking

    def revoke_token(
        self, token: str, token_type_hint: str, request: Request, *args: Any, **kwargs: Any
    ) -> None:
        # Unlike the overridden method, which deletes rows, and knows nothing of what is issued meanwhile.
        revoke_token(token, request.client)

    # Protected resources

    def _load_access_token(self, token: str) -> BoundAccessToken | None:
        # As the overridden method, with what the token is bound to.
        return self._find_access_token(token)

    def _find_access_token(self, token: str, *related: str) -> BoundAccessToken | None:
        model = get_access_token_model()
        row: BoundAccessToken | None = prepared_sql.find(
            read_alias(model),
            model,
            "token_checksum",
            token_checksum(token),
            ("application", "application__token_policy", "user", "binding"),
        )
        return row

    def find_access_token(self, text: str) -> BoundAccessToken | None:
        """Return the access token with a given text, whether or not it is live, or None.

        It comes with its application's policy.

        :param text: what a client has sent as a token, opaque or JWT.
        """
        return self._find_access_token(text, "application__token_policy")

    def _get_key_for_token(self, token: str) -> Any:
        # For all code that reads ID tokens. The overridden method is not guarded against junk; and whoever
        # has the key of one application could sign in the name of another, with the jti of one of the other's
        # tokens.
        try:
            header, claims = jws.unverified_header(token), jws.unverified_claims(token)
            if not jws.is_jwt(token) or not isinstance(header.get("alg"), str) or "crit" in header:
                return None
            check_types(claims, ("jti",))
            application = self._get_client_by_audience(claims["aud"])
            tokens = written(get_id_token_model()).filter(jti=uuid.UUID(claims["jti"]))
            if application is None or not tokens.filter(application=application).exists():
                return None
            return application.jwk_key
        except (ImproperlyConfigured, LookupError, *MALFORMED):
            return None

    def find_id_token(self, text: str) -> Any:
        """Return the row of an ID token that this server has signed, or None.

        :param text: what a client has sent as an ID token.
        """
        try:
            return self._load_id_token(text)
        except (JWException, ImproperlyConfigured, ValueError, KeyError):
            return None  # django-oauth-toolkit's reading of it is not guarded against junk

    def validate_bearer_token(self, token: str, scopes: list[str], request: Request) -> bool:
        # The token itself is asked whether it is backed, and presented as its application demands.
        with presenting(request.headers) as presentation:
            valid = super().validate_bearer_token(token, scopes, request)
        if not valid:
            if presentation.fault:
                _refuse_presented(request, presentation)
            return False
        if not applications_are_usable(request.access_token, request):
            _refuse_token(request)
            return False
        note_use(request.access_token.binding)
        return True

    def validate_jwt_bearer_token(self, token: str, scopes: list[str], request: Request) -> bool:
        """Validate an access or ID token that came as a bearer token and looks like a JWT.

        With OIDC on, oauthlib takes everything that looks like a JWT here, and django-oauth-toolkit looks for
        it among the ID tokens only.
        """
        if token and is_jwt_access_token(token):
            return bool(self.validate_bearer_token(token, scopes, request))
        try:
            valid = super().validate_jwt_bearer_token(token, scopes, request)
        except (JWException, ValueError, KeyError):
            # django-oauth-toolkit's own reading of the token is not guarded against junk.
            _refuse_token(request)
            return False
        if not valid:
            return False
        # Not by its exp alone, which a client can write itself if the key is its secret.
        login = find_login(request.access_token) if is_live(request.access_token.expires) else None
        if login is None or not token_has_standing(login, request):
            _refuse_token(request)
            return False
        with presenting(request.headers) as presentation:
            if not presentation.meets_demands_of(login):
                _refuse_presented(request, presentation)
                return False
        return True


def _refused(error: type[OAuth2Error], reason: Reason) -> bool:
    """Note why a request is refused, and return False, which makes oauthlib refuse it with its own error."""
    audit.note(str(error.error), reason)
    return False


def _could_be_client_id(text: str) -> bool:
    # django-oauth-toolkit would save one that is too long, as the address of a metadata document; and psycopg
    # refuses NUL with an error that it does not expect.
    longest = get_application_model()._meta.get_field("client_id").max_length or 0
    return "\x00" not in text and len(text) <= longest


def _basic_credentials(request: Request) -> tuple[str, str] | None:
    """Return the client ID and the secret of HTTP Basic, or None (RFC 6749 section 2.3.1)."""
    scheme, _space, credentials = request.headers.get("HTTP_AUTHORIZATION", "").partition(" ")
    try:
        client_id, colon, secret = base64.b64decode(credentials).decode().partition(":")
    except ValueError:
        return None
    return (unquote_plus(client_id), unquote_plus(secret)) if scheme == "Basic" and colon else None


def _without_port(redirect_uri: str) -> str:
    return _LOOPBACK.sub(r"\1", redirect_uri)


def _still_offered(granted: list[str], request: Request) -> list[str]:
    """Return the granted scopes that the server still offers.

    :raises InvalidScopeError: none is left.
    """
    scopes = _usable_scopes(offered_scopes(granted, request.client, request), request.client)
    if any(granted) and not scopes:
        raise InvalidScopeError(Reason.SCOPE_NOT_ALLOWED, request=request)
    return scopes


def _has_id_tokens(application: Any) -> bool:
    """Return whether an application can have ID tokens; with OIDC off, ``openid`` is a scope like others."""
    return not oauth2_settings.OIDC_ENABLED or application.algorithm != AbstractApplication.NO_ALGORITHM


def _usable_scopes(scopes: Iterable[str], application: Any) -> list[str]:
    has_id_tokens = _has_id_tokens(application)
    return [scope for scope in scopes if scope != _OPENID or has_id_tokens]


def _check_openid(scopes: list[str], application: Any, request: Request) -> None:
    """Refuse ``openid`` to an application without a signing algorithm.

    :raises InvalidScopeError: naming the scope.
    """
    if _OPENID in scopes and not _has_id_tokens(application):
        raise InvalidScopeError(
            Reason.SCOPE_NOT_ALLOWED,
            description="openid: no signing algorithm for ID tokens is set up for this client.",
            request=request,
        )


def _refuse_token(request: Request, description: str = "The access token is invalid.") -> None:
    request.oauth2_error = OrderedDict(error="invalid_token", error_description=description)


def _refuse_presented(request: Request, presentation: Presentation) -> None:
    _refuse_token(request, presentation.fault)
    assert presentation.reason is not None  # noqa: S101
    tell_refusal(request.headers, InvalidTokenError.error, presentation.reason, presentation.refused)


def _is_made_by_site(request: Request) -> bool:
    """Return whether a token was not asked for with a token request: the site has made the request itself."""
    state = state_of(request)
    return state.plan is None and not state.is_token_request


def _is_access_token(row: Any) -> TypeGuard[BoundAccessToken]:
    return isinstance(row, get_access_token_model())


def _keep_claims(row: BoundAccessToken, text: str) -> None:
    """Keep what has to be known about a JWT, whose text is not kept; for an opaque token, that is nothing."""
    claims = read_claims(text) or {}
    row.jti = claims.get("jti")
    may_act = claims.get("may_act")
    row.binding_may_act = None if may_act is None else json.dumps(may_act)


def _complete(row: BoundAccessToken | BoundRefreshToken, plan: Plan | None) -> None:
    """Add what django-oauth-toolkit does not know of to a row that it has made."""
    if plan is None:
        return
    fields = []
    if plan.exchange is not None or plan.confirmation is not None:
        row.exchange, row.binding_confirmation = plan.exchange, plan.stored_confirmation
        row.binding_login_started = plan.login_started
        fields = ["exchange", "binding_confirmation", "binding_login_started"]
    if plan.session_id != row.binding_session_id:
        row.binding_session_id = plan.session_id
        fields.append("binding_session")
    if fields:
        row.save(update_fields=fields)


def _confirm_refreshed(
    refreshed: BoundRefreshToken, plan: Plan, request: Request, token: dict[str, Any]
) -> None:
    """Record in the rows of a refreshed token by which key they are confirmed.

    :raises InvalidGrantError: another request was answered with the token, which belongs to that one's key.
    """
    confirmation = plan.stored_confirmation
    rows = access_tokens().filter(token_checksum=token_checksum(token["access_token"]))
    if token["access_token"] != plan.access.text:
        if rows.filter(binding_confirmation=confirmation).exists():
            return
        raise InvalidGrantError(Reason.TOKEN_ENDED_MEANWHILE, request=request)
    if state_of(request).keeps_refresh_token and confirmation != refreshed.binding_confirmation:
        rows.update(binding_confirmation=confirmation)
        refresh_tokens().filter(pk=refreshed.pk).update(binding_confirmation=confirmation)


def _continue_login(row: BoundAccessToken | BoundRefreshToken) -> None:
    """Record in a row which login it continues: when that began, and in which browser."""
    # A refresh token belongs to an access token, which was made a moment before.
    source = row.source_refresh_token if _is_access_token(row) else row.access_token
    if source is None:
        return
    row.binding_session_id = source.binding_session_id
    row.binding_login_started = (
        login_started(source) if _is_access_token(row) else source.binding_login_started
    )


def _follows_ended(session: LoginSession, application: Any) -> bool:
    """Return whether a login session has ended, and an application may get nothing more from it then.

    If it has only expired, what is bound to it ends.
    """
    if application.token_binding_type == SSO_SESSION:
        return not session.is_live
    policy = policy_of(application)
    follows = policy.ends_with_session or bool(policy.backchannel_logout_uri)
    return follows and session.termination_reason not in {"", TerminationReason.EXPIRED}


def _is_reused(refresh_token: str) -> bool:
    """Return whether a refresh token was used, and comes again after its grace period."""
    checksum = token_checksum(refresh_token)
    rows = refresh_tokens().filter(token_checksum=checksum).order_by(F("revoked").desc(nulls_first=True))
    row = rows.first()
    return row is not None and row.revoked is not None and repeatable_until(row) is None


def _why_not_refreshed(refresh_token: str, client: Any) -> Reason:
    """Return why a refresh token is not good, for the audit log, before anything is ended for it."""
    rows = refresh_tokens().filter(token_checksum=token_checksum(refresh_token))
    row: BoundRefreshToken | None = rows.order_by(F("revoked").desc(nulls_first=True)).first()
    if row is None:
        return Reason.REFRESH_TOKEN_UNKNOWN
    if row.application_id != client.pk:
        return Reason.REFRESH_TOKEN_OF_OTHER_CLIENT
    if row.revoked is None:
        return Reason.REFRESH_TOKEN_EXPIRED
    # What it was refreshed to came later.
    later = refresh_tokens().filter(token_family=row.token_family, created__gt=row.created)
    was_used = row.token_family is not None and later.exists()
    return Reason.REFRESH_TOKEN_REUSE if was_used else Reason.REFRESH_TOKEN_REVOKED


def _is_used_up(refresh_token: BoundRefreshToken) -> bool:
    """Return whether a refresh token without a grace period was used, whenever that was by any clock.

    If another host's clock is ahead, django-oauth-toolkit would think that it was used within the period.
    """
    return refresh_token.revoked is not None and not oauth2_settings.REFRESH_TOKEN_GRACE_PERIOD_SECONDS


def _end_reused(refresh_token: str, client: Any) -> None:
    """End the family of a refresh token that is used again, with what was exchanged from it."""
    checksum = token_checksum(refresh_token)
    revoked = refresh_tokens().filter(token_checksum=checksum, revoked__isnull=False)
    for user, family in set(revoked.values_list("user", "token_family")):
        if family is not None:
            revoke_family(user, family, reason=Reason.REFRESH_TOKEN_REUSE, client=client)


@contextmanager
def _while_it_is_there(code: str, request: Request) -> Iterator[None]:
    """Refuse an authorization code that is redeemed or ended while django-oauth-toolkit validates it.

    It reads the row anew for each of its checks.

    :raises InvalidGrantError: the row is gone.
    """
    try:
        yield
    except get_grant_model().DoesNotExist:
        _end_replayed(code, request)
        raise InvalidGrantError(Reason.CODE_REPLAYED, request=request) from None


def _end_replayed(code: str, request: Request) -> None:
    """End what an authorization code was redeemed for if it comes again (RFC 6749 section 4.1.2).

    Only if the client that it was issued to says so: with the right ``code_verifier``, or else its secret.
    """
    context = codes.find_redeemed(code, request.client)
    if context is None:
        return
    if context.code_challenge:
        known = {"S256": code_challenge_method_s256, "plain": code_challenge_method_plain}
        verify = known.get(context.code_challenge_method or "plain")
        verifier = request.code_verifier or ""
        is_client = verify is not None and verify(verifier, context.code_challenge)
    else:
        is_client = request.client.client_type == AbstractApplication.CLIENT_CONFIDENTIAL
    if is_client:
        revoke_family(
            context.user_id,
            context.token_family,
            context.access_token,
            reason=Reason.CODE_REPLAYED,
            client=request.client,
        )


def _check_not_revoked_meanwhile(refreshed: BoundRefreshToken, request: Request) -> None:
    """Check again, under a lock, a refresh token that is used more than once.

    :raises InvalidGrantError: it was revoked since it was validated.
    """
    current = prepared_sql.fetch(
        tokens_database(),
        get_refresh_token_model(),
        "pk",
        refreshed.pk,
        ("revoked", "binding_confirmation"),
        lock="update",
    )
    if current is None or current != [refreshed.revoked, refreshed.binding_confirmation]:
        # Revoked, or bound to a key that this request may not prove.
        raise InvalidGrantError(Reason.TOKEN_ENDED_MEANWHILE, request=request)
