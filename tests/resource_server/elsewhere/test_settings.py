"""The table of ``OAUTH_RESOURCE_SERVER``: as it is documented, and its rules."""

from __future__ import annotations

import re
from ast import literal_eval
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

import oauth_binding
from oauth_binding.resource_server import checks
from oauth_binding.resource_server.settings import (
    BOTH,
    INTROSPECTION,
    LOCAL,
    SETTINGS,
    VALIDATIONS,
    Setting,
    resource_server_settings,
)

DOCUMENTATION = (Path(oauth_binding.__file__).parents[1] / "docs/resource-server.md").read_text()

#: What is said of a setting that can't be left out.
REQUIRED = {
    VALIDATIONS: "required",
    (LOCAL, BOTH): "required for JWTs",
    (INTROSPECTION, BOTH): "required for introspection",
}


def is_as_documented(setting: Setting, said: str) -> bool:
    if setting.needed_by:
        return said == REQUIRED[tuple(setting.needed_by)]
    return said == "none" if setting.default == "" else literal_eval(said.strip("`")) == setting.default


def test_every_setting_is_documented_with_its_default() -> None:
    _before, _heading, section = DOCUMENTATION.partition("\n| Key | Default | Meaning |\n")
    table, _blank, _after = section.partition("\n\n")
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.+?) \|", table, re.MULTILINE)

    assert [key for key, _said in rows] == list(SETTINGS)
    assert [(key, said) for key, said in rows if not is_as_documented(SETTINGS[key], said)] == []


def test_every_check_is_documented() -> None:
    ids = re.findall(r'"(E\d{3})"', Path(checks.__file__).read_text())
    rows = re.findall(r"^\| `oauth_binding_resource_server\.(E\d{3})` \|", DOCUMENTATION, re.MULTILINE)

    assert rows == sorted(set(ids))


def test_the_defaults_are_right_by_their_own_rules() -> None:
    wrong = [key for key, setting in SETTINGS.items() if not setting.rule[0](setting.default)]
    without = [key for key, setting in SETTINGS.items() if setting.needed_by]

    assert wrong == [*without, "REVOCATION_FEED_URL"]  # which stands for none


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("LEEWAY", 10),
        ("INTROSPECTION_CACHE_SECONDS", 5),
        ("REVOCATION_FEED_URL", "https://issuer.example/revoked-tokens/"),
        ("REVOCATION_INTERVAL", 0.5),
        ("REVOCATION_MAX_STALE", 60),
        ("BINDING_HEADER", "X-Device"),
        ("REQUIRE_PRESENTED_BINDING", True),
        ("ALGORITHMS", ["ES256"]),
        ("DPOP_ALGORITHMS", ["RS256"]),
        ("DPOP_NONCES", True),
        ("DPOP_REPLAY_CACHE", "shared"),
    ],
)
def test_settings_are_read_live(settings: Any, key: str, value: Any) -> None:
    settings.OAUTH_RESOURCE_SERVER = {}
    assert getattr(resource_server_settings, key.lower()) == SETTINGS[key].default
    settings.OAUTH_RESOURCE_SERVER = {key: value}
    assert getattr(resource_server_settings, key.lower()) == value


@pytest.mark.parametrize("key", [key for key, setting in SETTINGS.items() if setting.needed_by])
def test_a_setting_that_is_needed_and_missing(settings: Any, key: str) -> None:
    settings.OAUTH_RESOURCE_SERVER = {"VALIDATION": BOTH}

    with pytest.raises(ImproperlyConfigured, match=f"'{key}'\\] is missing"):
        getattr(resource_server_settings, key.lower())


@pytest.mark.parametrize("value", ["remote", None, ["local"]])
def test_a_validation_that_there_is_not(settings: Any, value: Any) -> None:
    settings.OAUTH_RESOURCE_SERVER = {"VALIDATION": value}

    with pytest.raises(ImproperlyConfigured, match="VALIDATION"):
        _introspects = resource_server_settings.introspects
