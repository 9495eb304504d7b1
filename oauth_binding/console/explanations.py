"""What an application's settings mean, in words for operators; from the decision table that issuing uses."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _

from oauth_binding.binding.semantics import NO_BINDING, Decision, TokenType, decide
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import (
    NO_CONSTRAINT,
    Demand,
    TokenPolicy,
    binding_is_public,
    binding_type_choices,
)


def explain(token_type: TokenType, binding_type: str, required: bool) -> str:
    """Return what becomes of the token requests of an application, in the active language.

    :param token_type: the form of its access tokens.
    :param binding_type: ``none``, or the type of a binder; one that is not installed has nothing to explain.
    :param required: the application's ``require_binding``.
    """
    if binding_type == NO_BINDING:
        return _("Every request is answered with a new token. Earlier tokens stay valid until they expire.")
    binder = binding_settings.binders.get(binding_type)
    if binder is None:
        return _("This token binding type is not installed: token requests are refused.")
    reuses = decide(token_type, live=True) is Decision.REUSE
    sentences = [str(binder.description)] if binder.description else []
    if reuses:
        holds = _("Each %(binding)s holds one token, which is answered again until it expires.")
    else:
        holds = _("Each %(binding)s holds one token; a new request replaces it and revokes the one before.")
    sentences.append(holds % {"binding": binder.parameter or binder.label})
    if required or binder.required:
        sentences.append(_("A request without one is refused."))
    elif reuses:
        sentences.append(_("Requests without one are all answered with the same shared token."))
    else:
        sentences.append(_("A request without one replaces the shared token."))
    return " ".join(sentences)


def explain_choices() -> dict[str, str]:
    """Return all explanations, by token type, binding type and ``require_binding`` (1 or 0) in one key."""
    return {
        f"{token_type.value} {binding_type} {int(required)}": explain(token_type, binding_type, required)
        for token_type in TokenType
        for binding_type, _label in binding_type_choices()
        for required in (False, True)
    }


def explain_policy(sender_constraint: str, demand: str, binding_type: str) -> str:
    """Return what becomes of the token requests of an application with and without a proof.

    :param sender_constraint: that of the application's :class:`TokenPolicy`.
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
            _("Bearer tokens from before are valid until they expire; refreshing them takes a proof."),
        ]
    else:
        sentences += [
            _("A request without one gets bearer tokens, and refreshing them with a proof protects them."),
        ]
    if demand == Demand.REPORT:
        sentences.append(_("This page says how many devices sent none."))
    return " ".join(sentences)


def explain_policies() -> dict[str, str]:
    """Return all explanations of token policies, by sender constraint, demand and binding type in one key."""
    constraints: Any = TokenPolicy._meta.get_field("sender_constraint").choices
    return {
        f"{constraint} {demand} {binding_type}": explain_policy(constraint, demand, binding_type)
        for constraint, _label in constraints
        for demand in Demand.values
        for binding_type, _type_label in binding_type_choices()
    }
