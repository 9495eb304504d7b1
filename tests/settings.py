"""The example project's settings, on the database that ``TEST_DATABASE`` names."""

import os
from importlib.util import find_spec
from typing import Any

from example_project.settings import *  # noqa: F403

_DATABASES: dict[str, dict[str, Any]] = {
    "sqlite": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": ":memory:",
        "OPTIONS": {"transaction_mode": "IMMEDIATE"},
    },
    "postgresql": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "oauth_binding",
        "HOST": os.environ.get("PGHOST", "127.0.0.1"),
        "USER": os.environ.get("PGUSER", "postgres"),
        "PASSWORD": os.environ.get("PGPASSWORD", ""),
    },
    "mariadb": {
        "ENGINE": "django.db.backends.mysql",
        "NAME": "oauth_binding",
        "HOST": os.environ.get("MYSQL_HOST", "127.0.0.1"),
        "USER": os.environ.get("MYSQL_USER", "root"),
        "PASSWORD": os.environ.get("MYSQL_PASSWORD", ""),
        "OPTIONS": {"charset": "utf8mb4"},
        "TEST": {"CHARSET": "utf8mb4", "COLLATION": "utf8mb4_unicode_ci"},
    },
}

if os.environ.get("TEST_PREPARED"):
    # As a site has it that lets PostgreSQL prepare its statements (docs/speed.md).
    _DATABASES["postgresql"]["OPTIONS"] = {"server_side_binding": True, "prepare_threshold": 2}

DATABASES = {"default": _DATABASES[os.environ.get("TEST_DATABASE", "sqlite")]}

if os.environ.get("TEST_USE_TZ") == "0":
    # As sites from before Django knew time zones: they keep what their own clocks say.
    USE_TZ = False
    TIME_ZONE = "Asia/Kolkata"

DEBUG = False
ALLOWED_HOSTS = ["*"]

# As a site has it from Django 6.1 on, where it mails; tests mail to memory. Older ones do not know it.
MAILERS = {"default": {"BACKEND": "django.core.mail.backends.smtp.EmailBackend"}}

# It is optional: the pages of the server log browsers out without it.
MIDDLEWARE = [item for item in MIDDLEWARE if item != "oauth_binding.sessions.LoginSessionMiddleware"]  # noqa: F405

# Cheap on purpose: the suite authenticates thousands of times.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

if find_spec("rest_framework") is None:
    # It is optional: the suite passes without it, but for the tests that are about it.
    INSTALLED_APPS = [app for app in INSTALLED_APPS if app != "rest_framework"]  # noqa: F405
    ROOT_URLCONF = "tests.sites.without_rest_framework"
