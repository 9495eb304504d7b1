from django.urls import path

from example_project.resource_server.api import Private, WhoAmI, plain

urlpatterns = [
    path("api/me/", WhoAmI.as_view()),
    path("api/private/", Private.as_view()),
    path("api/plain/", plain),
]
