"""What an application's settings mean, in words for operators, from the decision table that issuing uses."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from oauth_binding.binding.semantics import NO_BINDING, Decision, TokenType, decide
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import (
    NO_CONSTRAINT,
    SSO_SESSION,
    Demand,
    DeviceLimitAction,
    RevokeOnLogout,
    TokenPolicy,
    binding_is_public,
    binding_type_choices,
    site_value,
)


def explain(token_type: TokenType, binding_type: str, demand: str) -> str:
    """Return what happens to an application's token requests, in the active language.

    :param token_type: the form of its access tokens.
    :param binding_type: ``none``, or the type of a binder; for one that is not installed there is nothing to
        explain.
    :param demand: the ``require_binding`` of its ``TokenPolicy``.
    """
    if binding_type == NO_BINDING:
        return _("Every request is answered with a new token. Earlier tokens stay valid until they expire.")
    binder = binding_settings.binders.get(binding_type)
    if binder is None:
        return _("This token binding type is not installed: token requests are refused.")
    reuses = decide(token_type, live=True) is Decision.REUSE
    sentences = [str(binder.description)] if binder.description else []
    if reuses:
        holds = _("Each %(binding)s holds one token, which is returned again until it expires.")
    else:
        holds = _("Each %(binding)s holds one token; a new request replaces it and revokes the one before.")
    sentences.append(holds % {"binding": binder.parameter or binder.label})
    if demand == Demand.YES or binder.required:
        sentences.append(_("A request without one is refused."))
        return " ".join(sentences)
    if reuses:
        sentences.append(_("Requests without one are all answered with the same shared token."))
    else:
        sentences.append(_("A request without one replaces the shared token."))
    if demand == Demand.REPORT:
        sentences.append(_("This page says how many users sent none."))
    return " ".join(sentences)


def explain_choices() -> dict[str, str]:
    """Return all explanations; token type, binding type and ``require_binding`` make one key."""
    return {
        f"{token_type.value} {binding_type} {demand}": explain(token_type, binding_type, demand)
        for token_type in TokenType
        for binding_type, _label in binding_type_choices()
        for demand in Demand.values
    }


def explain_presented_binding(demand: str, binding_type: str) -> str:
    """Return what happens to API requests that name what their token is bound to, and to those that don't.

    :param demand: the ``require_presented_binding`` of the application's ``TokenPolicy``.
    :param binding_type: the application's own.
    """
    if demand == Demand.NO:
        return _("APIs take its tokens without being told what they are bound to.")
    if binding_type == NO_BINDING:
        return _("Without a token binding type there is nothing that a request could name.")
    if binding_is_public(binding_type):
        return _("What tokens of this binding type are bound to is public: naming it proves nothing.")
    named = _("APIs of this project want the header %(header)s to name what a token is bound to.")
    sentences = [named % {"header": binding_settings.binding_header}]
    if demand == Demand.YES:
        sentences.append(_("A request without it, or with a token that is bound to nothing, is refused."))
    else:
        sentences += [
            _("A request without it, or with a token that is bound to nothing, is answered all the same."),
            _("This page says how many devices made such requests."),
        ]
    return " ".join(sentences)


def explain_presented_bindings() -> dict[str, str]:
    """Return all explanations of what APIs are told; the demand and the binding type make one key."""
    return {
        f"{demand} {binding_type}": explain_presented_binding(demand, binding_type)
        for demand in Demand.values
        for binding_type, _label in binding_type_choices()
    }


def explain_policy(sender_constraint: str, demand: str, binding_type: str) -> str:
    """Return what happens to an application's token requests with and without a proof.

    :param sender_constraint: that of the application's ``TokenPolicy``.
    :param demand: its ``require_sender_constraint``.
    :param binding_type: the application's own.
    """
    if sender_constraint == NO_CONSTRAINT:
        if demand != Demand.NO:
            return _("Without a sender constraint there is no proof that a request could have.")
        if binding_is_public(binding_type):
            return _(
                "Tokens that are bound to a key are of no use without it. All others are bearer tokens: "
                "whoever has one can use it."
            )
        return _(
            "Access tokens are bearer tokens: whoever has one can use it. A proof that comes with a token "
            "request is ignored."
        )
    sentences = [
        _("A token request with a proof gets tokens that are of no use without the key."),
        _("An invalid proof is refused."),
    ]
    if demand == Demand.YES:
        sentences += [
            _("A request without one is refused."),
            _("Earlier bearer tokens stay valid until they expire; refreshing them takes a proof."),
        ]
    else:
        sentences += [
            _("A request without one gets bearer tokens, and refreshing them with a proof protects them."),
        ]
    if demand == Demand.REPORT:
        sentences.append(_("This page says how many devices sent none."))
    return " ".join(sentences)


def explain_lifetimes(policy: TokenPolicy, application: Any) -> str:
    """Return how long an application's tokens and logins last, by its policy and the site's settings.

    :param policy: the application's.
    :param application: None for one that is about to be created.
    """
    sentences = [
        _("An access token of a user is valid for %(time)s."),
        _("One of the client's own is valid for %(time)s."),
        _("A sender-constrained one is valid for %(time)s."),
    ]
    kinds: list[dict[str, bool]] = [
        {"is_clients_own": False, "is_constrained": False},
        {"is_clients_own": True, "is_constrained": False},
        {"is_clients_own": False, "is_constrained": True},
    ]
    times: list[Any] = []
    for kind in kinds:
        seconds = policy.token_lifetime(**kind)
        times.append(site_value("access_token_lifetime") if seconds is None else seconds)
    said = [
        sentence % {"time": _("as long as the site's own code says") if time is None else _in_words(time)}
        for sentence, time, kind in zip(sentences, times, kinds, strict=True)
        if not kind["is_constrained"] or policy.sender_constraint != NO_CONSTRAINT
    ]
    idle = policy.refresh_token_lifetime or site_value("refresh_token_lifetime")
    if idle is None:
        said.append(_("A refresh token that nobody uses does not expire."))
    else:
        said.append(
            _("A refresh token that nobody uses expires %(time)s after its access token.")
            % {"time": _in_words(idle)}
        )
    if policy.login_lifetime is None:
        said.append(_("A login goes on as long as it is refreshed."))
    else:
        said.append(
            _("A login ends after %(time)s, however often it is refreshed.")
            % {"time": _in_words(policy.login_lifetime)}
        )
    if policy.reuse_min_lifetime and (application is None or application.token_type != TokenType.JWT.value):
        said.append(
            _("An opaque token is returned again as long as %(time)s of it are left.")
            % {"time": _in_words(policy.reuse_min_lifetime)}
        )
    return " ".join(said)


def _in_words(seconds: int) -> str:
    """Return a time in its two largest units."""
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    words = [
        (days, ngettext("%(number)d day", "%(number)d days", days)),
        (hours, ngettext("%(number)d hour", "%(number)d hours", hours)),
        (minutes, ngettext("%(number)d minute", "%(number)d minutes", minutes)),
        (rest, ngettext("%(number)d second", "%(number)d seconds", rest)),
    ]
    said = [text % {"number": number} for number, text in words if number]
    return " ".join(said[:2])


def explain_policies() -> dict[str, str]:
    """Return all explanations of token policies; sender constraint, demand and binding type make one key."""
    constraints: Any = TokenPolicy._meta.get_field("sender_constraint").choices
    return {
        f"{constraint} {demand} {binding_type}": explain_policy(constraint, demand, binding_type)
        for constraint, _label in constraints
        for demand in Demand.values
        for binding_type, _type_label in binding_type_choices()
    }


def explain_audiences(allowed: bool, default: bool) -> str:
    """Return what happens to token requests with and without a resource.

    :param allowed: whether the application's ``TokenPolicy`` has ``allowed_audiences``.
    :param default: whether it has ``default_audiences``.
    """
    if allowed:
        sentences = [_("A request for anything else is refused, and refreshing leaves it out.")]
    else:
        sentences = [_("A client may ask for any resource.")]
    if default:
        sentences.append(_("A request that asks for none gets tokens for the default ones."))
    elif allowed:
        sentences.append(_("A request that asks for none is refused, too."))
    else:
        sentences.append(_("A request that asks for none gets tokens that APIs here take for any resource."))
    return " ".join(sentences)


def explain_all_audiences() -> dict[str, str]:
    """Return all explanations of audiences, by whether there are allowed and default ones (1 or 0)."""
    return {
        f"{int(allowed)} {int(default)}": explain_audiences(allowed, default)
        for allowed in (False, True)
        for default in (False, True)
    }


def explain_device_limit(action: str, binding_type: str) -> str:
    """Return what happens to a new device of a user who has as many as an application allows.

    :param action: the ``device_limit_action`` of the application's ``TokenPolicy``.
    :param binding_type: the application's own.
    """
    if binding_type == NO_BINDING:
        return _("Without a token binding type devices can't be told apart, and there is no limit.")
    if action == DeviceLimitAction.REFUSE:
        return _(
            "A user who is signed in on that many devices has to sign out of one first: token requests "
            "of another one are refused. All requests without a binding are one device."
        )
    return _(
        "A new device takes the place of the one that was used least recently, which is signed out. All "
        "requests without a binding are one device."
    )


def explain_device_limits() -> dict[str, str]:
    """Return all explanations of device limits; action and binding type make one key."""
    return {
        f"{action} {binding_type}": explain_device_limit(action, binding_type)
        for action in DeviceLimitAction.values
        for binding_type, _label in binding_type_choices()
    }


def explain_logout(choice: str, binding_type: str) -> str:
    """Return which of an application's tokens a logout ends.

    :param choice: the ``revoke_on_logout`` of the application's ``TokenPolicy``; empty for null.
    :param binding_type: the application's own.
    """
    if choice == RevokeOnLogout.SESSION:
        text = _(
            "Logging out in a browser ends the tokens that came from that browser. Those of other browsers "
            "and devices go on, and so do those with the scope offline_access."
        )
    elif choice == RevokeOnLogout.NO:
        text = _("A logout ends no tokens.")
    else:
        text = _(
            "Logging out of the site ends no tokens. Where an application asks for the logout (RP-initiated "
            "logout), all tokens of the user end, on all devices, of each application that has this choice."
        )
    if binding_type == SSO_SESSION:
        text += " " + _("Tokens that are bound to a login session end with it in any case.")
    return text


def explain_logouts() -> dict[str, str]:
    """Return all explanations of logouts; choice and binding type make one key."""
    return {
        f"{choice} {binding_type}": explain_logout(choice, binding_type)
        for choice in ("", *RevokeOnLogout.values)
        for binding_type, _label in binding_type_choices()
    }


def explain_sites_device_limit() -> str:
    """Return the limit of devices that the site has."""
    limit = binding_settings.max_devices
    if limit is None:
        return _("The site has no limit.")
    return _("The site's limit is %(number)d.") % {"number": limit}
