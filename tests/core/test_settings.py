"""The table of ``OAUTH_BINDING``: as it is documented, and its rules."""

from __future__ import annotations

import re
from ast import literal_eval
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest

import oauth_binding
from oauth_binding.binding import ClientRequestBinder
from oauth_binding.core.settings import SETTINGS, binding_settings
from oauth_binding.proof import DPoPKeyBinder
from oauth_binding.sessions import SSOSessionBinder

DOCUMENTATION = Path(oauth_binding.__file__).parents[1] / "docs/settings.md"


def test_every_setting_is_documented_with_its_default() -> None:
    _before, _heading, text = DOCUMENTATION.read_text().partition("\n## `OAUTH_BINDING`\n")
    section, _heading, _after = text.partition("\n## ")
    rows = re.findall(r"^\| `([A-Z_]+)` \| `(.+?)` \|", section, re.MULTILINE)

    assert [(key, literal_eval(default)) for key, default in rows] == [
        (key, setting.default) for key, setting in sorted(SETTINGS.items())
    ]


def test_the_defaults_are_right_by_their_own_rules() -> None:
    for setting in SETTINGS.values():
        assert list(setting.problems(setting.default)) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("AUDIT_LOG", True),
        ("BINDING_HEADER", "X-Device"),
        ("DEVICE_ADDRESSES", "shortened"),
        ("DEVICE_PLACES", "mysite.geo.place_of"),
        ("DPOP_ALGORITHMS", ["RS256"]),
        ("DPOP_REPLAY_CACHE", "default"),
        ("LAST_USED_INTERVAL", 60),
        ("LAST_USED_INTERVAL", None),
        ("MAX_DEVICES", 5),
        ("MAX_DEVICES", None),
        ("NEW_SIGN_IN_MAIL", True),
        ("REGISTRATION_LIMITS", {"login_lifetime": 60}),
        ("RETRY_SECONDS", 3),
        ("REVOCATION_FEED", True),
        ("SIGNING_ALGORITHM", "EdDSA"),
        ("SIGNING_KEYS", Path("/srv/signing-keys.json")),
        ("TOKEN_EXCHANGE_CASCADE", False),
        ("TOKEN_EXCHANGE_ISSUERS", {"https://idp.example": {}}),
        ("TOKEN_EXCHANGE_PUBLIC_CLIENTS", True),
    ],
)
def test_settings_are_read_live(settings: Any, key: str, value: Any) -> None:
    settings.OAUTH_BINDING = {}
    assert getattr(binding_settings, key.lower()) == SETTINGS[key].default
    settings.OAUTH_BINDING = {key: value}
    assert getattr(binding_settings, key.lower()) == value
    del settings.OAUTH_BINDING
    assert getattr(binding_settings, key.lower()) == SETTINGS[key].default


def test_networks_are_read_live(settings: Any) -> None:
    for value, networks in (
        (["10.0.0.0/8", "::1"], [IPv4Network("10.0.0.0/8"), IPv6Network("::1")]),
        # E041 says so.
        (["10.0.0.0/8", "localhost"], [IPv4Network("10.0.0.0/8")]),
        ("10.0.0.0/8", []),
    ):
        settings.OAUTH_BINDING = {"BACKCHANNEL_LOGOUT_NETWORKS": value}
        assert binding_settings.backchannel_logout_networks == networks
    settings.OAUTH_BINDING = {}
    assert binding_settings.backchannel_logout_networks == []


def test_binders_are_read_live(settings: Any) -> None:
    settings.OAUTH_BINDING = {}
    assert list(binding_settings.binders) == [
        ClientRequestBinder.type,
        DPoPKeyBinder.type,
        SSOSessionBinder.type,
    ]
    settings.OAUTH_BINDING = {"BINDERS": []}
    assert binding_settings.binders == {}


@pytest.mark.parametrize(
    ("value", "at_token_endpoint", "at_apis"),
    [("off", False, False), ("token_endpoint", True, False), ("everywhere", True, True)],
)
def test_where_nonces_are_wanted(settings: Any, value: str, at_token_endpoint: bool, at_apis: bool) -> None:
    settings.OAUTH_BINDING = {"DPOP_NONCES": value}

    assert binding_settings.dpop_nonces_at_token_endpoint is at_token_endpoint
    assert binding_settings.dpop_nonces_at_apis is at_apis
