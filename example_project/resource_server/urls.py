from django.urls import path

from example_project.resource_server.api import Private, WhoAmI, plain
from oauth_binding.resource_server.urls import metadata_urlpatterns

urlpatterns = [
    path("api/me/", WhoAmI.as_view()),
    path("api/private/", Private.as_view()),
    path("api/plain/", plain),
    *metadata_urlpatterns,
]
