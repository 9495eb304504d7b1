from django.urls import path

from example_project.urls import urlpatterns as example_urlpatterns
from tests.clients.server.tools import Tools

urlpatterns = [*example_urlpatterns, path("mcp", Tools.as_view())]
