"""Where this server's endpoints are, and what it is called: found among the URLs of the site.

django-oauth-toolkit asks for names in the namespace ``oauth2_provider`` alone. A site may include the URLs in
a namespace of its own, or mount views one by one, and only some of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache, lru_cache
from typing import Any, Final
from urllib.parse import urlsplit

from django.http import HttpRequest
from django.urls import (
    NoReverseMatch,
    URLPattern,
    URLResolver,
    get_resolver,
    get_script_prefix,
    get_urlconf,
    reverse,
)
from django.views.generic import View
from oauth2_provider.settings import oauth2_settings

#: django-oauth-toolkit's, and so this app's.
NAMESPACE: Final = "oauth2_provider"

#: The documents of an issuer: what stands before it in their addresses is the issuer.
_WELL_KNOWN: Final = {
    "oidc-connect-discovery-info": "/.well-known/openid-configuration",
    "oauth-server-metadata": "/.well-known/oauth-authorization-server",
}


def endpoint_path(name: str, view: type[Any] | None = None, **kwargs: Any) -> str | None:
    """Return the path of an endpoint, or None where the site does not serve it.

    :param name: its name in the URLs of this app.
    :param view: its view; not needed for those that django-oauth-toolkit has, too.
    :param kwargs: what its path holds.
    """
    try:
        return reverse(f"{NAMESPACE}:{name}", kwargs=kwargs)
    except NoReverseMatch:
        pass
    wanted: Any = view or _toolkit_views()[name]
    for names in _find(get_resolver(get_urlconf()), wanted):
        try:
            return reverse(names, kwargs=kwargs)
        except NoReverseMatch:
            continue
    return None


def endpoint_url(request: HttpRequest, name: str, **kwargs: Any) -> str | None:
    """Return the address of an endpoint, at the issuer's host where ``OIDC_ISS_ENDPOINT`` is set.

    It is None where the site does not serve the endpoint. The parameters are those of :func:`endpoint_path`.
    """
    path = endpoint_path(name, **kwargs)
    if path is None:
        return None
    if oauth2_settings.OIDC_ISS_ENDPOINT:
        issuer = urlsplit(oauth2_settings.OIDC_ISS_ENDPOINT)
        return f"{issuer.scheme}://{issuer.netloc}{path}"
    return request.build_absolute_uri(path)


def get_issuer(request: Any) -> str:
    """Return the issuer: the ``iss`` of tokens and authorization responses, the ``issuer`` of the metadata.

    It is ``OIDC_ISS_ENDPOINT``; where that is not set, what stands before ``/.well-known/`` in the address of
    a metadata document, or without any the root of the site.

    :param request: Django's or oauthlib's.
    """
    if oauth2_settings.OIDC_ISS_ENDPOINT:
        return str(oauth2_settings.OIDC_ISS_ENDPOINT)
    asked = request if isinstance(request, HttpRequest) else _AskedByOAuthlib(request.headers)
    # Without a slash at the end, as no path of an issuer has one here.
    return asked.build_absolute_uri(_mount_path() or "/").rstrip("/")


def get_issuer_path() -> str:
    """Return the path of the issuer, without a slash at its end: empty where it is that of a whole host."""
    if oauth2_settings.OIDC_ISS_ENDPOINT:
        return urlsplit(str(oauth2_settings.OIDC_ISS_ENDPOINT)).path.rstrip("/")
    return _mount_path()


def without_script_prefix(path: str) -> str:
    """Return a path that ``reverse()`` has made as ``resolve()`` takes it."""
    return "/" + path.removeprefix(get_script_prefix()).lstrip("/")


def _mount_path() -> str:
    for name, suffix in _WELL_KNOWN.items():
        path = endpoint_path(name)
        if path is not None and path.endswith(suffix):
            return path.removesuffix(suffix)
    return get_script_prefix().rstrip("/")


class _AskedByOAuthlib(HttpRequest):
    """What an oauthlib request knows of the address that was asked: django-oauth-toolkit's META."""

    def __init__(self, headers: dict[str, Any]) -> None:
        super().__init__()
        self.META = headers

    def _get_scheme(self) -> str:
        return "https" if self.META.get("X_DJANGO_OAUTH_TOOLKIT_SECURE") else "http"


@cache
def _toolkit_views() -> dict[str, type[View]]:
    """Return django-oauth-toolkit's views by their names. This app's derive from them."""
    from oauth2_provider.urls import urlpatterns  # needs the models

    return {pattern.name: pattern.callback.view_class for pattern in urlpatterns}


@lru_cache(maxsize=128)
def _find(resolver: URLResolver, view: Any) -> list[Any]:
    """Return what ``reverse()`` finds the patterns of a view by."""
    return [
        ":".join([*namespaces, str(pattern.name)]) if namespaces else pattern.callback
        for namespaces, pattern in _patterns(resolver)
        if issubclass(getattr(pattern.callback, "view_class", object), view)
        and (pattern.name or not namespaces)
    ]


def _patterns(resolver: URLResolver, namespaces: tuple[str, ...] = ()) -> Iterator[tuple[Any, URLPattern]]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            inner = (pattern.namespace,) if pattern.namespace else ()
            yield from _patterns(pattern, (*namespaces, *inner))
        else:
            yield namespaces, pattern
