"""What an application's token policy demands, and which demands can't be met."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from oauth2_provider.models import AbstractApplication
from oauth2_provider.settings import oauth2_settings

from oauth_binding.binding.semantics import NO_BINDING
from oauth_binding.core.networks import is_allowed, is_inside, known_addresses
from oauth_binding.core.setting_rules import split_url
from oauth_binding.core.settings import binding_settings
from oauth_binding.models.binding import binding_is_public
from oauth_binding.models.token_policy import (
    MAX_AUDIENCES,
    MAX_AUDIENCES_LENGTH,
    NO_CONSTRAINT,
    Demand,
    TokenPolicy,
)

#: The entries of ``OAUTH2_PROVIDER`` that hold if a field of a policy is null.
SITE_ENTRIES: Final[Mapping[str, str]] = {
    "access_token_lifetime": "ACCESS_TOKEN_EXPIRE_SECONDS",
    "client_token_lifetime": "ACCESS_TOKEN_EXPIRE_SECONDS",
    "constrained_token_lifetime": "ACCESS_TOKEN_EXPIRE_SECONDS",
    "refresh_token_lifetime": "REFRESH_TOKEN_EXPIRE_SECONDS",
    "rotate_refresh_tokens": "ROTATE_REFRESH_TOKEN",
    "refresh_token_reuse_protection": "REFRESH_TOKEN_REUSE_PROTECTION",
}


def site_value(field: str) -> Any:
    """Return what holds if a field of a policy is null: a number of seconds, True or False.

    :param field: one of ``SITE_ENTRIES``.
    :returns: None if the site has no limit, or decides with code of its own.
    """
    entry = SITE_ENTRIES[field]
    value = getattr(oauth2_settings, entry)
    if entry == "ACCESS_TOKEN_EXPIRE_SECONDS":
        # As in django-oauth-toolkit.
        value = oauth2_settings.EXTRA_SERVER_KWARGS.get("token_expires_in", value)
    if isinstance(value, timedelta):
        value = int(value.total_seconds())
    return None if callable(value) or (value == 0 and value is not False) else value


def demands_at(step: Demand, application: Any, policy: TokenPolicy) -> list[str]:
    """Return what is demanded of an application's clients at one of the steps, by the policy's fields.

    Demands without effect are left out: a binding without a binding type, a proof without a sender
    constraint.

    :param policy: the application's own.
    """
    counts = {
        "require_binding": application.token_binding_type != NO_BINDING,
        "require_presented_binding": application.token_binding_type != NO_BINDING,
        "require_sender_constraint": policy.sender_constraint != NO_CONSTRAINT,
    }
    return [name for name in counts if counts[name] and getattr(policy, name) == step]


def binder_requires(application: Any) -> bool:
    """Return whether an application's binding type refuses token requests without a binding."""
    if application.token_binding_type == NO_BINDING:
        return False  # even if BINDERS is wrong, which the check E006 says
    binder = binding_settings.binders.get(application.token_binding_type)
    return binder is not None and bool(binder.required)


def takes_token_requests_alone(application: Any, policy: TokenPolicy) -> bool:
    """Return whether something is demanded that requests to the authorization endpoint can't have.

    :param policy: the application's own.
    """
    return bool(demands_at(Demand.YES, application, policy)) or binder_requires(application)


def policy_problems(application: Any, policy: TokenPolicy) -> Iterator[tuple[str, ValidationError]]:
    """Yield what can't work in a token policy, each with the field of the policy to show it at.

    :param application: the application as it is going to be; it need not be saved.
    :param policy: its policy, likewise.
    """
    if policy.sender_constraint == NO_CONSTRAINT and policy.require_sender_constraint != Demand.NO:
        message = _("Without a sender constraint there is no proof that a request could have.")
        yield "require_sender_constraint", ValidationError(message, code="nothing_to_prove")
    if application.token_binding_type == NO_BINDING:
        message = _("Without a token binding type there is nothing that a request could name.")
        for name in ("require_binding", "require_presented_binding"):
            if getattr(policy, name) != Demand.NO:
                yield name, ValidationError(message, code="nothing_to_name")
    elif binding_is_public(application.token_binding_type) and policy.require_presented_binding != Demand.NO:
        message = _("What tokens of this binding type are bound to is public: naming it proves nothing.")
        yield "require_presented_binding", ValidationError(message, code="public_binding")
    if application.allows_grant_type(AbstractApplication.GRANT_IMPLICIT):
        unmet = demands_at(Demand.YES, application, policy)
        if binder_requires(application) and "require_binding" not in unmet:
            unmet.append("require_binding")
        for name in unmet:
            if name == "require_sender_constraint":
                message = _(
                    "This application demands a proof, and gets no access tokens by the implicit grant."
                )
            else:
                message = _(
                    "This application demands a binding, and gets no access tokens by the implicit grant."
                )
            yield name, ValidationError(message, code="unmet_demand")
    yield from _lifetime_problems(policy)
    rotates = _effective(policy, "rotate_refresh_tokens")
    if policy.refresh_token_reuse_protection and not rotates:
        message = _("A refresh token that is not rotated is never used up.")
        yield "refresh_token_reuse_protection", ValidationError(message, code="no_rotation")
    if policy.max_devices is not None and application.token_binding_type == NO_BINDING:
        message = _("Without a token binding type devices can't be told apart, nor counted.")
        yield "max_devices", ValidationError(message, code="nothing_to_count")
    yield from _audience_problems(policy)
    yield from _logout_problems(application, policy)
    unknown = [name for name in policy.claims.split() if name not in binding_settings.claim_sources]
    if unknown:
        message = _("The setting CLAIM_SOURCES has no such claims: %(names)s")
        params = {"names": " ".join(unknown)}
        yield "claims", ValidationError(message, code="unknown_claim", params=params)


def _lifetime_problems(policy: TokenPolicy) -> Iterator[tuple[str, ValidationError]]:
    most, idle, login = (
        site_value("refresh_token_lifetime"),
        policy.refresh_token_lifetime,
        policy.login_lifetime,
    )
    if most is not None and idle is not None and idle > most:
        message = _("This site's refresh tokens expire after %(seconds)d seconds already.")
        yield (
            "refresh_token_lifetime",
            ValidationError(message, code="site_limit", params={"seconds": most}),
        )
    for field in ("access_token_lifetime", "constrained_token_lifetime", "refresh_token_lifetime"):
        seconds = getattr(policy, field)
        if login is not None and seconds is not None and seconds > login:
            message = _("A login lasts %(seconds)d seconds, and its tokens no longer than that.")
            yield field, ValidationError(message, code="login_limit", params={"seconds": login})
    lifetimes = [
        _effective(policy, field)
        for field in ("access_token_lifetime", "client_token_lifetime", "constrained_token_lifetime")
    ]
    known = [seconds for seconds in (*lifetimes, login) if seconds is not None]
    if known and (policy.reuse_min_lifetime or 0) > min(known) / 2:
        message = _("At most half the lifetime of an access token, which is %(seconds)d seconds.")
        yield (
            "reuse_min_lifetime",
            ValidationError(message, code="too_long", params={"seconds": min(known)}),
        )


def _effective(policy: TokenPolicy, field: str) -> Any:
    own = getattr(policy, field)
    return site_value(field) if own is None else own


def _audience_problems(policy: TokenPolicy) -> Iterator[tuple[str, ValidationError]]:
    for field in ("allowed_audiences", "default_audiences"):
        audiences: list[str] = getattr(policy, field).split()
        # The same as for those that are sent: they have to fit into rows and tokens.
        if any(unicodedata.category(character) == "Cc" for character in "".join(audiences)):
            message = _("There are control characters in it.")
            yield field, ValidationError(message, code="malformed_audience")
        if len("".join(audiences)) > MAX_AUDIENCES_LENGTH:
            message = _("These have more than %(limit)d characters in total.")
            params = {"limit": MAX_AUDIENCES_LENGTH}
            yield field, ValidationError(message, code="malformed_audience", params=params)
    default = policy.default_audiences.split()
    if len(default) > MAX_AUDIENCES:
        message = _("A token may be for %(limit)d of them at most.")
        params = {"limit": MAX_AUDIENCES}
        yield "default_audiences", ValidationError(message, code="malformed_audience", params=params)
    if not all(map(policy.allows_audience, default)):
        message = _("All of these have to be among the allowed audiences.")
        yield "default_audiences", ValidationError(message, code="default_not_allowed")


def _logout_problems(application: Any, policy: TokenPolicy) -> Iterator[tuple[str, ValidationError]]:
    uri = policy.backchannel_logout_uri
    if not uri:
        if policy.backchannel_logout_session_required:
            message = _("Without a back-channel logout URI there are no logout tokens.")
            yield "backchannel_logout_session_required", ValidationError(message, code="no_logout_uri")
        return
    problem = _logout_uri_problem(uri)
    if problem is not None:
        yield "backchannel_logout_uri", problem
    if not oauth2_settings.OIDC_ENABLED:
        message = _("OpenID Connect is off: there are no logout tokens.")
        yield "backchannel_logout_uri", ValidationError(message, code="no_openid")
    elif not application.algorithm:
        message = _("Without an algorithm of the application there is nothing to sign logout tokens with.")
        yield "backchannel_logout_uri", ValidationError(message, code="no_signing_algorithm")


def _logout_uri_problem(uri: str) -> ValidationError | None:
    parts = split_url(uri)
    longest: Any = TokenPolicy._meta.get_field("backchannel_logout_uri").max_length
    if parts is None or not uri.isascii() or "#" in uri or len(uri) > longest:
        message = _(
            "This has to be an https address of at most %(length)d characters, without a user or a fragment."
        )
        return ValidationError(message, code="malformed_logout_uri", params={"length": longest})
    networks = binding_settings.backchannel_logout_networks
    addresses = known_addresses(parts.hostname or "")
    if parts.scheme != "https" and not any(is_inside(address, networks) for address in addresses):
        message = _("This has to be https: http is only for the addresses in BACKCHANNEL_LOGOUT_NETWORKS.")
        return ValidationError(message, code="malformed_logout_uri")
    if addresses and not any(is_allowed(address, networks) for address in addresses):
        message = _("This address is inside the network, and BACKCHANNEL_LOGOUT_NETWORKS does not have it.")
        return ValidationError(message, code="inner_logout_uri")
    return None
