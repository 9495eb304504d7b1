"""What Django's error reports say about a request to an endpoint: no token, secret, code or binding value."""

from __future__ import annotations

import functools
from types import FrameType
from typing import Any

from django.http import HttpRequest, QueryDict
from django.http.request import HttpHeaders
from django.urls import URLPattern
from django.views.debug import SafeExceptionReporterFilter, get_default_exception_reporter_filter
from django.views.decorators.debug import sensitive_post_parameters

from oauth_binding.core.settings import binding_settings


def without_secrets(pattern: URLPattern) -> URLPattern:
    """Keep the secrets that are sent to a view out of Django's error reports, including those with HTML.

    A report has the names in the form and the query string, without values, and the frames of the traceback
    without their variables: those of django-oauth-toolkit and oauthlib hold tokens and passwords under many
    names.

    :param pattern: a view with its address.
    """
    view = sensitive_post_parameters()(pattern.callback)

    @functools.wraps(view)
    def reported(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        # Also for what fails later, such as a template or a middleware of the site.
        of_site: Any = type(get_default_exception_reporter_filter())
        request.exception_reporter_filter = _filter(of_site)
        return view(request, *args, **kwargs)

    return URLPattern(pattern.pattern, reported, pattern.default_args, pattern.name)


class _Filter(SafeExceptionReporterFilter):
    def get_traceback_frame_variables(self, request: HttpRequest, tb_frame: FrameType) -> Any:
        if not self.is_active(request):
            return super().get_traceback_frame_variables(request, tb_frame)
        return dict.fromkeys(tb_frame.f_locals, self.cleansed_substitute).items()

    def get_safe_request_meta(self, request: Any) -> dict[str, Any]:
        if not self.is_active(request):
            return super().get_safe_request_meta(request)
        self._hide_query(request)
        meta = {
            # RAW_URI, REQUEST_URI, HTTP_REFERER and others have the query string, too.
            name: value.partition("?")[0] if isinstance(value, str) else value
            for name, value in super().get_safe_request_meta(request).items()
        }
        # A site may have named it so that Django does not notice that it has to be hidden.
        binding_header = HttpHeaders.to_wsgi_name(binding_settings.binding_header)
        return {**meta, **dict.fromkeys(meta.keys() & {binding_header}, self.cleansed_substitute)}

    def _hide_query(self, request: HttpRequest) -> None:
        # A report does not ask the filter about the query string, but takes it from the request; and it asks
        # for the headers first. Nobody else needs it any more.
        query = QueryDict(mutable=True)
        for name in request.GET:
            query[name] = self.cleansed_substitute
        request.GET = query  # type: ignore[assignment]
        request.META["QUERY_STRING"] = query.urlencode(safe="*")


@functools.cache
def _filter(of_site: type) -> Any:
    """Return the filter, which also hides what the site's own filter hides."""
    return type("ErrorReportFilter", (_Filter, of_site), {})()
