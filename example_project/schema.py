"""What drf-spectacular can't tell from the classes of the API."""

from typing import Any

from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.utils import extend_schema, extend_schema_view

from example_project.api import UserSerializer
from oauth_binding.contrib.rest_framework.schema import REFUSALS


class WhoAmIExtension(OpenApiViewExtension):  # type: ignore[no-untyped-call]
    """Adds the errors."""

    target_class = "example_project.api.WhoAmI"

    def view_replacement(self) -> Any:
        documented = extend_schema_view(get=extend_schema(responses={200: UserSerializer, **REFUSALS}))
        return documented(type(self.target.__name__, (self.target,), {"__doc__": self.target.__doc__}))
