"""The URLs of django-oauth-toolkit's own test suite, with those of this app."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [path("o/", include("oauth_binding.urls")), path("admin/", admin.site.urls)]
