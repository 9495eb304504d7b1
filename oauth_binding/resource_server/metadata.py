"""The metadata of the APIs of a project that is not the server (RFC 9728)."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, HttpResponseNotFound, JsonResponse
from django.utils.decorators import method_decorator
from django.views.generic import View

from oauth_binding.proof.dpop import DPOP
from oauth_binding.resource_server.bearer import find_resource, get_authenticator
from oauth_binding.resource_server.resources import takes_proofs_alone
from oauth_binding.resource_server.settings import resource_server_settings

#: Everybody may read the metadata, programs in browsers included.
CORS = {"Access-Control-Allow-Origin": "*"}


def find_described(request: HttpRequest, resource_path: str) -> str | None:
    """Return the resource whose metadata is asked for, or None if this site has no such resource.

    :param resource_path: what follows the well-known path; clients leave out a slash at its end.
    """
    path = f"/{resource_path}"
    return find_resource(request, path) or find_resource(request, f"{path}/")


def describe_proofs(request: HttpRequest, resource: str) -> dict[str, Any]:
    """Return the members that say how tokens are proven (RFC 9728 section 2).

    Whether proofs are demanded can be said only if the resource is a single view.
    """
    members = DPOP.metadata(get_authenticator().proof_rules)
    if takes_proofs_alone(request, resource):
        members["dpop_bound_access_tokens_required"] = True
    return members


def not_found() -> HttpResponse:
    """Return the answer to a request for the metadata of a resource that does not exist."""
    return HttpResponseNotFound(headers=CORS)


@method_decorator(login_not_required, name="dispatch")
class ProtectedResourceMetadataView(View):
    """The protected resource metadata (RFC 9728 section 3), from the settings or the URLs."""

    def get(self, request: HttpRequest, resource_path: str = "") -> HttpResponse:
        resource = find_described(request, resource_path)
        if resource is None:
            return not_found()
        metadata = {
            "resource": resource,
            "authorization_servers": [resource_server_settings.issuer],
            "bearer_methods_supported": ["header"],
            **describe_proofs(request, resource),
        }
        return JsonResponse(metadata, headers=CORS)
