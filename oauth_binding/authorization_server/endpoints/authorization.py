"""The authorization endpoint (RFC 6749 section 3.1)."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from django import forms
from django.contrib.auth.decorators import login_not_required
from django.core import signing
from django.db import OperationalError
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.decorators import method_decorator
from oauth2_provider import views
from oauth2_provider.models import get_application_model, get_grant_model
from oauth2_provider.settings import oauth2_settings
from oauthlib.oauth2.rfc6749.errors import InvalidClientIdError, MismatchingRedirectURIError
from oauthlib.openid.connect.core.exceptions import ConsentRequired

from oauth_binding.authorization_server.endpoints.responses import check_repetition
from oauth_binding.authorization_server.issuing.audiences import check_asked, could_be_for, inherit
from oauth_binding.authorization_server.issuing.presented_proof import takes_proofs
from oauth_binding.authorization_server.issuing.request_state import LOGIN_SESSION, REQUESTED_KEY
from oauth_binding.binding.confirmation import JWK_THUMBPRINT, Confirmation, is_thumbprint
from oauth_binding.core import audit
from oauth_binding.core.addresses import get_issuer
from oauth_binding.core.audit import Event, Facts
from oauth_binding.core.databases import write_alias
from oauth_binding.core.errors import (
    AccessDeniedError,
    InvalidRequestError,
    InvalidScopeError,
    InvalidTargetError,
    SlotContendedError,
)
from oauth_binding.core.reasons import BY_ERROR, Reason
from oauth_binding.core.toolkit_paths import FatalClientError, OAuthToolkitError
from oauth_binding.models import OFFLINE_ACCESS, policy_of
from oauth_binding.sessions.browser import LoggedOutError, begin_or_continue
from oauth_binding.sessions.given_up import undo_request
from oauth_binding.storage.attempts import is_given_up
from oauth_binding.storage.liveness import live_access_tokens
from oauth_binding.storage.tokens import access_tokens

#: The errors of requests with prompt=none: no user was asked (OpenID Connect Core section 3.1.2.6).
_SILENT: Final = frozenset({"consent_required", "interaction_required", "login_required"})

#: Why oauthlib refuses, by the class of the error, where the error code does not tell.
_BY_CLASS: Final = {
    "InvalidClientIdError": Reason.CLIENT_UNKNOWN,
    "InvalidRedirectURIError": Reason.REDIRECT_URI_MISMATCH,
    "MismatchingRedirectURIError": Reason.REDIRECT_URI_MISMATCH,
    "MissingClientIdError": Reason.CLIENT_UNKNOWN,
    "MissingCodeChallengeError": Reason.CODE_CHALLENGE_MISSING,
    "MissingRedirectURIError": Reason.REDIRECT_URI_MISMATCH,
}

_SALT: Final = "oauth_binding.authorization.dpop_jkt"

#: The parameters of an error at the end of a query: oauthlib and django-oauth-toolkit put ``error`` first.
_ERROR: Final = re.compile(r"^([^#]*)[?&](error=[^#]*)$")


class ConsentForm(views.AuthorizationView.form_class):
    """The form of the consent page, with the signed key that the code is requested for."""

    dpop_jkt = forms.CharField(required=False, widget=forms.HiddenInput())


# Overriding dispatch() drops what the overridden class was decorated with, so it stands here again.
@method_decorator(login_not_required, name="dispatch")
class AuthorizationView(views.AuthorizationView):
    """The authorization endpoint (RFC 6749 section 3.1).

    With ``approval_prompt=auto``, django-oauth-toolkit does not ask a user whose live tokens for the
    application cover what is asked for. Here, only a token that came from the user's consent counts, and its
    resources count, too.
    """

    form_class = ConsentForm

    #: The value of the form's field ``dpop_jkt``; empty if the application takes no proofs.
    signed_key = ""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            check_repetition(request.GET)
            # The form of the page is sent to the address of the page. A site's own may have check boxes.
            check_repetition(request.POST, among=ConsentForm.base_fields)
            self.get_oauthlib_core().check_query_string(request)
        except InvalidRequestError as error:
            # Nobody is redirected: what came twice may be the client that is meant, or its address.
            return self.error_response(FatalClientError(error=error), application=None)
        request.GET = _with_values(request.GET)  # type: ignore[assignment]
        response: HttpResponse = super().dispatch(request, *args, **kwargs)
        return response

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        response: HttpResponse = super().get(request, *args, **kwargs)
        if response.status_code == 200 and self._is_silent():
            # The consent page, which must not be shown (OpenID Connect Core section 3.1.2.1).
            asked = self.oauth2_data
            error = OAuthToolkitError(ConsentRequired(state=asked["state"]), asked["redirect_uri"])
            return self.error_response(error, asked["application"])
        return response

    def validate_authorization_request(self, request: HttpRequest) -> Any:
        scopes, credentials = super().validate_authorization_request(request)
        asked = " ".join(request.GET.getlist("resource"))
        _check_resources(asked, credentials["redirect_uri"], credentials.get("state"))
        application = self._find_application(credentials["client_id"])
        _check_audiences(application, asked, credentials)
        self._take_key(application, credentials["redirect_uri"], credentials.get("state"))
        prompt = request.GET.get("approval_prompt", oauth2_settings.REQUEST_APPROVAL_PROMPT)
        resources = {*asked.split()}
        if not resources and application is not None:
            resources = could_be_for(policy_of(application), credentials["response_type"])
        if prompt == "auto" and not _has_consented(request, credentials["client_id"], set(scopes), resources):
            query = request.GET.copy()
            query["approval_prompt"] = "force"
            request.GET = query  # type: ignore[assignment]
        return scopes, credentials

    def form_valid(self, form: Any) -> HttpResponse:
        # django-oauth-toolkit redirects with some errors before it checks where to (RFC 9700 section 4.11).
        if not self._is_registered(form.cleaned_data["client_id"], form.cleaned_data["redirect_uri"]):
            mismatch = FatalClientError(error=MismatchingRedirectURIError())
            return self.error_response(mismatch, application=None)
        try:
            given = form.cleaned_data
            _check_resources(given["resource"] or "", given["redirect_uri"], given["state"])
            application = self._find_application(given["client_id"])
            _check_audiences(application, given["resource"] or "", given)
            self._take_key_of_form(application, given)
            response: HttpResponse = super().form_valid(form)
        except OAuthToolkitError as error:
            applications = get_application_model().objects
            application = applications.filter(client_id=form.cleaned_data["client_id"]).first()
            response = self.error_response(error, application)
        except get_application_model().DoesNotExist:
            # Deleted since the page was shown.
            response = self.error_response(OAuthToolkitError(error=InvalidClientIdError()), application=None)
        return response

    def error_response(self, error: Any, application: Any, **kwargs: Any) -> HttpResponse:
        if not (self.request.user.is_authenticated or self._is_silent()):
            # With prompt=create: nobody is sent to a client before they sign in (RFC 9700 section 4.11.2).
            error = FatalClientError(error=error.oauthlib_error)
        self._tell_refused(error.oauthlib_error, application)
        return super().error_response(error, application, **kwargs)  # type: ignore[no-any-return]

    def _tell_refused(self, error: Any, application: Any) -> None:
        """Have the audit log say that a request was refused, by its user or by the server."""
        if error.error in _SILENT or not audit.is_on():
            return
        by_library = _BY_CLASS.get(type(error).__name__) or BY_ERROR.get(error.error, Reason.OTHER)
        client_id = self._asked("client_id") if application is None else application.client_id
        facts = Facts(client_id=client_id, user=self.request.user.pk, meta=self.request.META)
        audit.refuse(Event.AUTHORIZATION_REFUSED, getattr(error, "reason", by_library), facts)

    def redirect(self, redirect_to: str, application: Any) -> HttpResponse:
        """Redirect with a response, which names the issuer, errors included (RFC 9207 section 2).

        django-oauth-toolkit puts errors into the query even where tokens would be in the fragment (RFC 6749
        section 4.2.2.1).
        """
        asked = {*self._asked("response_type").split()}
        if not asked.isdisjoint({"token", "id_token"}) or self._asked("response_mode") == "fragment":
            redirect_to = _ERROR.sub(r"\1#\2", redirect_to)
        if oauth2_settings.COMPLIANT_BCP_RFC9700_AUTHZ_RESPONSE_ISS:
            redirect_to = _with_issuer(redirect_to, get_issuer(self.request))
        return super().redirect(redirect_to, application)  # type: ignore[no-any-return]

    def get_initial(self) -> dict[str, Any]:
        initial: dict[str, Any] = super().get_initial()
        return initial | {"dpop_jkt": self.signed_key}

    def create_authorization_response(
        self, request: HttpRequest, scopes: str, credentials: dict[str, Any], allow: bool
    ) -> Any:
        """Answer an authorization request, as part of the browser's login session.

        :raises OAuthToolkitError: the user has been logged out in the browser meanwhile, or the request is
            refused for another reason; also if the database gives it up and nobody would see a page.
        """
        try:
            return self._create_authorization_response(request, scopes, credentials, allow)
        except OperationalError as error:
            if not (self._is_silent() and is_given_up(error)):
                raise
            undo_request(error)
            given_up = SlotContendedError(Reason.SLOT_CONTENDED, state=credentials.get("state"))
            raise OAuthToolkitError(error=given_up, redirect_uri=credentials["redirect_uri"]) from error

    def _create_authorization_response(
        self, request: HttpRequest, scopes: str, credentials: dict[str, Any], allow: bool
    ) -> Any:
        if allow:
            try:
                request.META[LOGIN_SESSION] = begin_or_continue(request)
            except LoggedOutError as error:
                denied = AccessDeniedError(
                    Reason.SESSION_ENDED, description=str(error), state=credentials.get("state")
                )
                raise OAuthToolkitError(error=denied, redirect_uri=credentials["redirect_uri"]) from error
            scopes = self._without_offline_access(scopes, credentials)
        answer = super().create_authorization_response(request, scopes, credentials, allow)
        self._tell_granted(request, credentials["client_id"])
        return answer

    @staticmethod
    def _tell_granted(request: HttpRequest, client_id: str) -> None:
        """Have the audit log say that a request was granted: by its user, or without asking."""
        session = request.META[LOGIN_SESSION]
        facts = Facts(
            client_id=client_id,
            user=request.user.pk,
            sid=None if session is None else session.sid,
            meta=request.META,
        )
        audit.tell(Event.AUTHORIZATION_GRANTED, write_alias(get_grant_model()), facts)

    def _without_offline_access(self, scopes: str, credentials: dict[str, Any]) -> str:
        """Return scopes without the one that outlasts a logout, if no user is asked.

        OpenID Connect Core section 11 asks for that. It matters only for applications whose tokens end with a
        logout.

        :raises OAuthToolkitError: none is left.
        """
        application = self._find_application(credentials["client_id"])
        if self.request.method == "POST" or application is None or not application.skip_authorization:
            return scopes
        if not policy_of(application).ends_with_session:
            return scopes
        left = [scope for scope in scopes.split() if scope != OFFLINE_ACCESS]
        if not left and scopes:
            error = InvalidScopeError(
                Reason.SCOPE_NOT_ALLOWED,
                description="offline_access: this client's users are not asked for consent.",
                state=credentials.get("state"),
            )
            raise OAuthToolkitError(error=error, redirect_uri=credentials["redirect_uri"])
        return " ".join(left)

    def _take_key(self, application: Any, redirect_uri: str, state: str | None) -> None:
        """Keep the ``dpop_jkt`` of a request (RFC 9449 section 10), for the code or for the consent page.

        :raises OAuthToolkitError: it is not a thumbprint.
        """
        if application is None or not takes_proofs(application):
            return
        thumbprint = self.request.GET.get("dpop_jkt", "")
        if thumbprint and not is_thumbprint(thumbprint):
            error = InvalidRequestError(
                Reason.PARAMETER_INVALID, description="dpop_jkt is not a JWK thumbprint.", state=state
            )
            raise OAuthToolkitError(error=error, redirect_uri=redirect_uri)
        # Also that there is none: otherwise, one that is lost on the way could not be told from none.
        self.signed_key = signing.dumps([application.client_id, thumbprint], salt=_SALT)
        self._note_key(thumbprint)

    def _take_key_of_form(self, application: Any, given: dict[str, Any]) -> None:
        """Keep the ``dpop_jkt`` that the consent page was shown for.

        :raises OAuthToolkitError: the form has lost it, which can happen with a site's own template.
        """
        if application is None or not takes_proofs(application):
            return
        try:
            signed_for, thumbprint = signing.loads(given["dpop_jkt"], salt=_SALT)
        except signing.BadSignature:
            signed_for = None
        if signed_for != application.client_id:
            error = InvalidRequestError(
                Reason.PARAMETER_MISSING,
                description="The dpop_jkt of the request is lost: the form has no such field.",
                state=given["state"],
            )
            raise OAuthToolkitError(error=error, redirect_uri=given["redirect_uri"])
        self._note_key(thumbprint)

    def _find_application(self, client_id: str) -> Any:
        """Return the application of a request, or None: it was deleted meanwhile."""
        return self.get_oauthlib_core().server.request_validator.find_application(client_id)

    def _note_key(self, thumbprint: str) -> None:
        if thumbprint:
            self.request.META[REQUESTED_KEY] = Confirmation(JWK_THUMBPRINT, thumbprint).stored

    def _asked(self, name: str) -> str:
        """Return a parameter of the request, or of the page's form once that is sent."""
        return str(self.request.POST.get(name) or self.request.GET.get(name, ""))

    def _is_silent(self) -> bool:
        return "none" in self.request.GET.get("prompt", "").split()

    def _is_registered(self, client_id: str, redirect_uri: str) -> bool:
        core = self.get_oauthlib_core()
        request, validator = core.oauthlib_request(self.request), core.server.request_validator
        if not redirect_uri or not validator.validate_client_id(client_id, request):
            return True  # for those, there is another message
        return bool(validator.validate_redirect_uri(client_id, redirect_uri, request))


def _with_issuer(redirect_to: str, issuer: str) -> str:
    """Return the address of an authorization response with its ``iss``.

    django-oauth-toolkit adds it when a request is granted, but not to errors.
    """
    address = urlsplit(redirect_to)
    query = parse_qsl(address.query, keep_blank_values=True)
    fragment = parse_qsl(address.fragment, keep_blank_values=True)
    if ("iss", issuer) in [*query, *fragment]:
        return redirect_to
    # A client takes any ``iss`` that it finds for ours, even one that is part of its redirect URI.
    query, fragment = ([pair for pair in pairs if pair[0] != "iss"] for pairs in (query, fragment))
    (fragment if address.fragment else query).append(("iss", issuer))
    return urlunsplit(address._replace(query=urlencode(query), fragment=urlencode(fragment)))


def _with_values(query: QueryDict) -> QueryDict:
    """Return a query without parameters that have no value: they count as omitted (RFC 6749 section 3.1)."""
    given = QueryDict(mutable=True)
    for name, values in query.lists():
        if any(values):
            given.setlist(name, values)
    return given


def _check_resources(resources: str, redirect_uri: str, state: str | None) -> None:
    """Refuse a resource that django-oauth-toolkit can't parse, for instance ``https://[``.

    :param resources: those of a request, separated by spaces, as the consent page has them.
    :raises OAuthToolkitError: ``invalid_target`` (RFC 8707 section 2), for the client.
    """
    try:
        for resource in resources.split():
            urlsplit(resource)
    except ValueError:
        error = InvalidTargetError(
            Reason.PARAMETER_INVALID, description="A resource is not a valid URI.", state=state
        )
        raise OAuthToolkitError(error=error, redirect_uri=redirect_uri) from None


def _check_audiences(application: Any, resources: str, asked: dict[str, Any]) -> None:
    """Refuse what the application's tokens may not be for, before the user is asked.

    :param resources: those of a request, separated by spaces.
    :param asked: the other parameters of the request.
    :raises OAuthToolkitError: ``invalid_target`` (RFC 8707 section 2), for the client.
    """
    if application is None:
        return
    policy, state = policy_of(application), asked.get("state")
    try:
        check_asked(policy, resources.split(), state=state)
        if not resources.split() and "token" in (asked.get("response_type") or "").split():
            inherit(policy, [], state=state)
    except InvalidTargetError as error:
        raise OAuthToolkitError(error=error, redirect_uri=asked["redirect_uri"]) from None


def _has_consented(request: HttpRequest, client_id: str, scopes: set[str], asked: set[str]) -> bool:
    """Return whether a live token of the user and a client covers scopes and resources.

    A token that a client got by exchange is not the user's consent.

    :param asked: the resources; empty for a token for anything.
    """
    user: Any = request.user
    tokens = access_tokens().filter(
        live_access_tokens(), user=user.pk, application__client_id=client_id, exchange__isnull=True
    )
    return any(
        scopes <= set(scope.split()) and (not resources or (bool(asked) and asked <= set(resources)))
        for scope, resources in tokens.values_list("scope", "resource").iterator()
    )
