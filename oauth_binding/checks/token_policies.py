"""Checks of the token policies of applications."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db.models import Q
from oauth2_provider.models import AbstractApplication
from oauth2_provider.settings import oauth2_settings

from oauth_binding.binding.semantics import NO_BINDING
from oauth_binding.checks.application_table import MAX_NAMED, DatabaseOutOfReachError, get_applications, named
from oauth_binding.models import TokenExchangeRule, policy_of, policy_problems

#: By the code of what policy_problems() finds: what the applications do, a hint, and the check's id.
_MESSAGES: Final[dict[str, tuple[type[Error | Warning], str, str, str]]] = {
    "nothing_to_prove": (
        Error,
        "demand or report a proof without a sender constraint, which has no effect",
        "Choose a sender constraint for them, or take the demand away.",
        "oauth_binding.E033",
    ),
    "nothing_to_name": (
        Error,
        "demand or report a binding without a token binding type, so that no request could name one",
        "Choose a token binding type for them, or take the demand away.",
        "oauth_binding.E033",
    ),
    "public_binding": (
        Error,
        "have APIs ask for what their tokens are bound to, although it is public",
        "Take 'require the binding at APIs' away from them: APIs ask for a proof of the key anyway.",
        "oauth_binding.E033",
    ),
    "unmet_demand": (
        Warning,
        "demand a binding or a proof and may use the implicit grant, which gives them no access tokens",
        "Take the demand or the implicit grant away from them.",
        "oauth_binding.W014",
    ),
    "nothing_to_count": (
        Error,
        "limit the devices of a user, but have no token binding type to tell devices apart",
        "Choose a token binding type for them, or take the limit away.",
        "oauth_binding.E033",
    ),
    "malformed_audience": (
        Error,
        "have audiences in their token policy that are too many, too long, or have control characters",
        "Correct the audiences on their pages in the admin.",
        "oauth_binding.E035",
    ),
    "default_not_allowed": (
        Error,
        "have default audiences in their token policy that are not among the allowed ones",
        "Allow these, too, or take them out of the default ones.",
        "oauth_binding.E035",
    ),
    "rule_of_nothing": (
        Error,
        "have a token exchange rule with none of the audiences that their token policy allows",
        "Give the rule audiences that are allowed, or allow those that it has.",
        "oauth_binding.E035",
    ),
    "unknown_claim": (
        Error,
        "have claims in their token policy that OAUTH_BINDING['CLAIM_SOURCES'] does not have, and get no "
        "JWT access tokens",
        "Name the sources of these claims, or untick them on the pages of the applications in the admin.",
        "oauth_binding.E036",
    ),
    "malformed_logout_uri": (
        Error,
        "have a back-channel logout URI that is not valid, so that they are told of no logout",
        "Correct it on their pages in the admin: https, with a host, without a user and without a fragment.",
        "oauth_binding.E042",
    ),
    "inner_logout_uri": (
        Error,
        "have a back-channel logout URI inside the network, to which nothing is sent",
        "Add the address to OAUTH_BINDING['BACKCHANNEL_LOGOUT_NETWORKS'], or correct the URI.",
        "oauth_binding.E042",
    ),
    "no_logout_uri": (
        Error,
        "need a session id in logout tokens, but have no back-channel logout URI to receive them at",
        "Give them a back-channel logout URI on their pages in the admin, or take the need away.",
        "oauth_binding.E042",
    ),
    # Warnings, as clients that register themselves can bring this about.
    "no_signing_algorithm": (
        Warning,
        "have a back-channel logout URI and no algorithm to sign logout tokens with, nor ID tokens",
        "Choose an algorithm on their pages in the admin, or take the URI away.",
        "oauth_binding.W026",
    ),
    "no_openid": (
        Warning,
        "have a back-channel logout URI on a site without OpenID Connect, which has no logout tokens",
        "Set OIDC_ENABLED of OAUTH2_PROVIDER, or take the URI away.",
        "oauth_binding.W026",
    ),
}


@register(Tags.models)
def check_token_policies(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E033, E035, E036, E042, W014, W025 and W026: the token policies of applications can work."""
    try:
        applications = get_applications()
    except DatabaseOutOfReachError:
        return []  # I001 says so
    if applications is None:
        return []
    # None of the other grant types has the word in its name.
    implicit = AbstractApplication.GRANT_IMPLICIT
    allowed = Q(authorization_grant_type=implicit) | Q(additional_grant_types__contains=implicit)
    bound = ~Q(token_binding_type=NO_BINDING)  # a binding type may demand one itself
    asked = applications.filter(Q(token_policy__isnull=False) | (allowed & bound))
    found: dict[str, dict[str, None]] = {}
    contradictory: dict[str, dict[str, None]] = {}
    for application in asked.select_related("token_policy").order_by("pk").iterator():
        for field, error in policy_problems(application, policy_of(application)):
            if error.code in _MESSAGES:
                found.setdefault(str(error.code), {})[application.client_id] = None
            else:
                contradictory.setdefault(f"{field}: {error.messages[0]}", {})[application.client_id] = None
    rules = TokenExchangeRule.objects.using(applications.db).select_related("client__token_policy")
    for rule in rules.exclude(client__token_policy__isnull=True).order_by("client").iterator():
        if not rule.allows_any_target:
            found.setdefault("rule_of_nothing", {})[rule.client.client_id] = None
    messages: list[CheckMessage] = [
        Error(
            f"There are applications with a token policy that can't work: {named([*client_ids])}. {problem}",
            hint="Change the token policy on the admin page of the application, or the site's setting.",
            id="oauth_binding.E033",
        )
        for problem, client_ids in contradictory.items()
    ]
    messages += [
        kind(f"There are applications that {what}: {named([*found[code]])}.", hint=hint, id=check_id)
        for code, (kind, what, hint, check_id) in _MESSAGES.items()
        if code in found
    ]
    return messages + list(_check_reuse_protection(applications))


def _check_reuse_protection(applications: Any) -> Iterator[CheckMessage]:
    if oauth2_settings.REFRESH_TOKEN_REUSE_PROTECTION:
        return
    forgetful = applications.filter(token_policy__refresh_token_reuse_protection=True).order_by("pk")
    client_ids = list(forgetful.values_list("client_id", flat=True)[: MAX_NAMED + 1])
    if client_ids:
        yield Warning(
            "There are applications with refresh token reuse protection on a site that has none, where "
            f"cleartokens forgets the used tokens: {named(client_ids)}.",
            hint="Set REFRESH_TOKEN_REUSE_PROTECTION of OAUTH2_PROVIDER, and switch it off for the others.",
            id="oauth_binding.W025",
        )
