"""What takes access tokens on this site, and how it is identified: protected resources (RFC 9728)."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, unquote, urlsplit

from django.http import HttpRequest
from django.urls import NoReverseMatch, Resolver404, ResolverMatch, get_script_prefix, resolve, reverse

from oauth_binding.core.addresses import endpoint_path

#: Where metadata is (RFC 9728 section 3), from the root of the site.
_WELL_KNOWN: Final = ".well-known/oauth-protected-resource"

#: The characters that need no escape in a path (RFC 3986 section 3.3), as reverse() writes it.
_UNESCAPED: Final = "/~:@!$&'()*+,;="

#: The names of these URLs, for a resource with a path and for one without.
AT_ROOT: Final = "oauth-protected-resource"

#: The name among the URLs of the server, which a site may include under a path.
_OF_SERVER: Final = "oauth-resource-metadata"


def get_address(request: HttpRequest, path: str) -> str:
    """Return the address of a path on the requested host; that of the root has no slash.

    :param path: from the root of the host on, not escaped.
    """
    # Not with build_absolute_uri(), which takes what comes after two slashes for a host.
    host = request.build_absolute_uri("/").removesuffix("/")
    return host + ("" if path == "/" else quote(path, safe=_UNESCAPED))


def covers(resource: str, url: str) -> bool:
    """Return whether an address is that of a resource, or lies below it (as for RFC 8707 audiences).

    :param resource: an identifier; one that is not an address covers nothing.
    """
    try:
        ours, asked = (urlsplit(each) for each in (resource, url))
    except ValueError:
        return False
    is_same_host = (ours.scheme.lower(), ours.netloc.lower()) == (asked.scheme.lower(), asked.netloc.lower())
    return is_same_host and f"{asked.path.rstrip('/')}/".startswith(f"{ours.path.rstrip('/')}/")


def takes_tokens(request: HttpRequest, path: str) -> bool:
    """Return whether access tokens open what is at a path of this site, as far as its view tells.

    :param request: any of this site; it may have gone through a ``BearerTokenMiddleware``.
    :param path: from the root of the host on, not escaped.
    """
    match = _resolve(request, path)
    if match is None:
        return False
    if any(
        getattr(each, "takes_bearer_tokens", False) for each in (match.func, *_authentication(match.func))
    ):
        return True
    middleware = getattr(request, "bearer_token_middleware", None)
    return middleware is not None and not middleware.is_for_session(match)


def takes_proofs_alone(request: HttpRequest, resource: str) -> bool:
    """Return whether a resource is a view that takes no bearer tokens, as far as the view tells.

    :param request: any of this site.
    :param resource: an identifier.
    """
    try:
        path = unquote(urlsplit(resource).path) or "/"
    except ValueError:
        return False  # it is not an address
    match = _resolve(request, path)
    if match is None or get_address(request, path) != resource:
        return False
    return getattr(match.func, "takes_proofs_alone", False) or any(
        each.takes_proofs_alone(match.func)
        for each in _authentication(match.func)
        if hasattr(each, "takes_proofs_alone")
    )


def get_metadata_url(request: HttpRequest, resource: str) -> str | None:
    """Return where the metadata of a resource is, or None if this site does not serve it.

    :param resource: an address on the requested host.
    """
    resource_path = unquote(urlsplit(resource).path).removeprefix("/")
    kwargs = {"resource_path": resource_path} if resource_path else {}
    try:
        return request.build_absolute_uri(reverse(AT_ROOT, kwargs=kwargs))
    except NoReverseMatch:
        path = endpoint_path(f"{_OF_SERVER}-path" if resource_path else _OF_SERVER, **kwargs)
    # Under a path, the metadata without a path is only that of the server.
    if path is not None and (resource_path or path == f"{get_script_prefix()}{_WELL_KNOWN}"):
        return request.build_absolute_uri(path)
    return None


def _resolve(request: HttpRequest, path: str) -> ResolverMatch | None:
    """Return what is at a path of this site, or None.

    :param path: from the root of the host on, not escaped.
    """
    prefix = get_script_prefix()
    if not path.startswith(prefix):
        return None
    try:
        return resolve("/" + path.removeprefix(prefix), getattr(request, "urlconf", None))
    except Resolver404:
        return None


def _authentication(view: Any) -> Any:
    """Return the authentication classes of a view of Django REST framework; none of other views."""
    of_class = getattr(getattr(view, "cls", None), "authentication_classes", ())
    return getattr(view, "initkwargs", {}).get("authentication_classes", of_class)
