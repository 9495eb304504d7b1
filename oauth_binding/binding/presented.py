"""Whether a request names what its access token is bound to, in a header."""

from __future__ import annotations

from hmac import compare_digest
from typing import Any

from oauth_binding.binding.semantics import binding_reference


def find_fault(token: Any, header: str, value: str) -> str:
    """Return why a request does not name what its token is bound to; empty if it does.

    :param token: what it presents; its ``binding`` is None, or has a ``reference``.
    :param header: the name of the header.
    :param value: its value as WSGI and Django hand it over: bytes as latin-1. What clients send is UTF-8.
    """
    if token.binding is None or not token.binding.reference:
        return "The access token is not bound."
    try:
        presented = value.encode("latin-1").decode()
    except UnicodeError:
        presented = ""
    if not compare_digest(binding_reference(presented), token.binding.reference):
        return f"{header} does not name what the access token is bound to."
    return ""
