"""What an application's settings mean, in words for operators; from the decision table that issuing uses."""

from __future__ import annotations

from django.utils.translation import gettext as _

from oauth_binding.binding.semantics import NO_BINDING, Decision, TokenType, decide
from oauth_binding.core.settings import binding_settings
from oauth_binding.models import binding_type_choices


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
