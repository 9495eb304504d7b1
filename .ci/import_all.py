"""Import each module of the app but those of Django REST framework, which is not there."""

import importlib
import pkgutil

import django

django.setup()

import oauth_binding  # noqa: E402

for module in pkgutil.walk_packages(oauth_binding.__path__, "oauth_binding."):
    if not module.name.startswith("oauth_binding.contrib.rest_framework"):
        importlib.import_module(module.name)
