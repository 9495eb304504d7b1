"""The address that a proof is for, in a form to compare (RFC 9449 section 4.3, RFC 3986 section 6.2.2)."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

from django.http import HttpRequest
from django.utils.encoding import repercent_broken_unicode

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

#: The characters that need no escape in a path (RFC 3986 section 3.3).
_UNESCAPED: Final = "/~:@!$&'()*+,;="


def normalise(uri: str) -> str:
    """Return an address without what does not matter: case, default port, escapes, query and fragment.

    :param uri: an absolute http or https URI.
    :raises ValueError: it is not such a URI, or names a user.
    """
    if not uri.isprintable() or " " in uri or "\\" in uri:
        raise ValueError("it has characters that no URI has")
    try:
        parts = urlsplit(uri)
        host, port = parts.hostname, parts.port
    except ValueError:
        # Python's message quotes parts of it.
        raise ValueError("it is not an http or https URI") from None
    if parts.scheme not in _DEFAULT_PORTS or not host or "@" in parts.netloc:
        raise ValueError("it is not an http or https URI")
    name = f"[{host}]" if ":" in host else host
    authority = name if port in (None, _DEFAULT_PORTS[parts.scheme]) else f"{name}:{port}"
    # Once, as Django decodes the path of a request.
    path = repercent_broken_unicode(unquote_to_bytes(parts.path)).decode()
    return f"{parts.scheme}://{authority}{_without_dots(path or '/')}"


def _without_dots(path: str) -> str:
    """Return a path without its dot segments (RFC 3986 section 5.2.4)."""
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == "..":
            kept = kept[:-1] if len(kept) > 1 else kept
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/".join(kept)


def address_of(request: HttpRequest, origin: str = "") -> str:
    """Return the address that was requested, without its query.

    :param origin: the public scheme and host, if these are known; otherwise those of the request.
    """
    # Not with build_absolute_uri(), which takes what comes after two slashes for a host.
    origin = origin or f"{request.scheme}://{request.get_host()}"
    return origin + quote(request.path, safe=_UNESCAPED)
