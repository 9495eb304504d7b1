"""Where this server's endpoints are, and what it is called: found among the URLs of the site.

django-oauth-toolkit asks for names in the namespace ``oauth2_provider`` alone. A site may include the URLs in
a namespace of its own, or mount views one by one, and only some of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache, lru_cache, wraps
from typing import Any, Final
from urllib.parse import urlsplit

from django.apps import apps
from django.http import HttpRequest
from django.urls import (
    NoReverseMatch,
    URLPattern,
    URLResolver,
    get_resolver,
    get_script_prefix,
    get_urlconf,
    reverse,
    set_urlconf,
)
from django.urls.resolvers import RoutePattern
from oauth2_provider.settings import oauth2_settings

#: django-oauth-toolkit's, and so this app's.
NAMESPACE: Final = "oauth2_provider"

#: The documents of an issuer: what precedes their well-known path in the address is the issuer.
_WELL_KNOWN: Final = {
    "oidc-connect-discovery-info": "/.well-known/openid-configuration",
    "oauth-server-metadata": "/.well-known/oauth-authorization-server",
}


def endpoint_path(name: str, **kwargs: Any) -> str | None:
    """Return the path of an endpoint or a page, or None if the site does not serve it.

    :param name: its name in the URLs of this app.
    :param kwargs: the arguments in its path.
    """
    for urlconf in (get_urlconf, _names_of_toolkit):
        try:
            return reverse(f"{NAMESPACE}:{name}", urlconf=urlconf(), kwargs=kwargs)
        except NoReverseMatch:
            continue
    return None


def endpoint_url(request: HttpRequest | None, name: str, **kwargs: Any) -> str | None:
    """Return the address of an endpoint, at the issuer's host where ``OIDC_ISS_ENDPOINT`` is set.

    It is None if the site does not serve the endpoint. The other parameters are those of ``endpoint_path``.

    :param request: any request to the site; without one, the address is None if ``OIDC_ISS_ENDPOINT`` is not
        set.
    """
    path = endpoint_path(name, **kwargs)
    if path is None:
        return None
    if oauth2_settings.OIDC_ISS_ENDPOINT:
        issuer = urlsplit(oauth2_settings.OIDC_ISS_ENDPOINT)
        return f"{issuer.scheme}://{issuer.netloc}{path}"
    return None if request is None else request.build_absolute_uri(path)


def served_view(name: str) -> type[Any] | None:
    """Return the class that serves an endpoint or a page, or None if the site does not serve it.

    :param name: its name in the URLs of this app.
    """
    view: type[Any] | None = _names_of_toolkit().views.get(name)
    return view


@lru_cache(maxsize=1024)
def is_of_server(view: Any) -> bool:
    """Return whether a class serves an endpoint or a page of the server, or derives from one that does."""
    return issubclass(view, (*_toolkit_views().values(),)) or any(
        base.__module__.startswith(("oauth_binding.authorization_server.", "oauth_binding.devices."))
        for base in view.__mro__
    )


def get_issuer(request: Any) -> str:
    """Return the issuer: the ``iss`` of tokens and authorization responses, the ``issuer`` of the metadata.

    It is ``OIDC_ISS_ENDPOINT``; if that is not set, what precedes ``/.well-known/`` in the address of a
    metadata document, or the root of the site if there is no such document.

    :param request: Django's or oauthlib's.
    """
    if oauth2_settings.OIDC_ISS_ENDPOINT:
        return str(oauth2_settings.OIDC_ISS_ENDPOINT)
    asked = request if isinstance(request, HttpRequest) else _AskedByOAuthlib(request.headers)
    # Without a slash at the end, because here no path of an issuer has one.
    return asked.build_absolute_uri(_mount_path() or "/").rstrip("/")


def get_issuer_path() -> str:
    """Return the path of the issuer, without a slash at its end: empty if it is that of a whole host."""
    if oauth2_settings.OIDC_ISS_ENDPOINT:
        return urlsplit(str(oauth2_settings.OIDC_ISS_ENDPOINT)).path.rstrip("/")
    return _mount_path()


def without_script_prefix(path: str) -> str:
    """Return a path from ``reverse()`` in the form that ``resolve()`` takes."""
    return "/" + path.removeprefix(get_script_prefix()).lstrip("/")


def _mount_path() -> str:
    for name, suffix in _WELL_KNOWN.items():
        path = endpoint_path(name)
        if path is not None and path.endswith(suffix):
            return path.removesuffix(suffix)
    return get_script_prefix().rstrip("/")


class _AskedByOAuthlib(HttpRequest):
    """What an oauthlib request knows about the address that was requested: django-oauth-toolkit's META."""

    def __init__(self, headers: dict[str, Any]) -> None:
        super().__init__()
        self.META = headers

    def _get_scheme(self) -> str:
        return "https" if self.META.get("X_DJANGO_OAUTH_TOOLKIT_SECURE") else "http"


def with_names_of_toolkit(view: Callable[..., Any]) -> Callable[..., Any]:
    """Let a view, and what renders its answer, find this app's URLs in the namespace ``oauth2_provider``.

    If the site has included them there, nothing changes. It decorates the view of a URL pattern.
    """

    @wraps(view)
    def found(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        match = request.resolver_match
        if match is not None and match.app_names != [NAMESPACE]:
            # Until the request is finished, as Django does with a request.urlconf.
            set_urlconf(_names_of_toolkit())
        return view(request, *args, **kwargs)

    return found


class _URLs:
    """A URLconf: that of a site, and before it the namespace."""

    def __init__(self, site: URLResolver) -> None:
        self._site: Any = site.urlconf_module
        found = [*_named(site)]
        self.views = {name: view for name, view, _pattern in found}
        # If two have the same name, reverse() takes the later one.
        own = [pattern for _name, _view, pattern in reversed(found)]
        # Not with include(), which refuses i18n_patterns() inside.
        namespace = URLResolver(RoutePattern(""), own, app_name=NAMESPACE, namespace=NAMESPACE)
        self.urlpatterns = [namespace, *site.url_patterns]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._site, name)  # such as handler404


def _names_of_toolkit() -> Any:
    """Return a URLconf for ``reverse()`` with each view of this app's URLs, under the name that it has there.

    The views are found by their classes, wherever the site has them, and whatever it calls them.
    """
    urlconf = get_urlconf()
    return urlconf if isinstance(urlconf, _URLs) else _named_urls(get_resolver(urlconf))


#: Kept: a process has few URLconfs.
_named_urls: Final = lru_cache(maxsize=64)(_URLs)


def _named(resolver: URLResolver, outer: tuple[URLResolver, ...] = ()) -> Iterator[tuple[str, Any, Any]]:
    for pattern in resolver.url_patterns:
        if isinstance(pattern, URLResolver):
            yield from _named(pattern, (*outer, pattern))
            continue
        for name in _names(pattern):
            named: Any = URLPattern(pattern.pattern, pattern.callback, pattern.default_args, name)
            for around in reversed(outer):
                named = URLResolver(around.pattern, [named], around.default_kwargs)
            yield name, vars(pattern.callback)["view_class"], named


def _names(pattern: URLPattern) -> set[str]:
    view = getattr(pattern.callback, "view_class", object)
    names = {name for name, of_toolkit in _toolkit_views().items() if issubclass(view, of_toolkit)}
    if pattern.name and (pattern.name in names or (not names and is_of_server(view))):
        return {pattern.name}
    return names


@cache
def _toolkit_views() -> dict[str, type[Any]]:
    """Return django-oauth-toolkit's views by their names. This app's derive from them."""
    if not apps.is_installed(NAMESPACE):
        return {}  # the server is elsewhere
    from oauth2_provider.urls import urlpatterns  # needs the models

    return {pattern.name: pattern.callback.view_class for pattern in urlpatterns}
