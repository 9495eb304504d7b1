"""System checks: each mistake in OAUTH_RESOURCE_SERVER is named, with a hint, by ``manage.py check``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from django.core.checks import CheckMessage

from oauth_binding.resource_server.checks import check_audit_log, check_replay_cache, check_settings

LOCAL = {
    "ISSUER": "https://issuer.example",
    "AUDIENCE": "https://api.example",
    "JWKS_URL": "https://x.example",
}
FEED = {"REVOCATION_FEED_URL": "https://issuer.example/revoked-tokens/"}
ASKING = {
    "ISSUER": "https://issuer.example",
    "VALIDATION": "introspection",
    "INTROSPECTION_URL": "https://issuer.example/introspect",
    "CLIENT_ID": "api",
    "CLIENT_SECRET": "the-secret",
}
BOTH = {**LOCAL, **ASKING, "VALIDATION": "local+introspection"}


def check(settings: Any, options: Any) -> list[CheckMessage]:
    settings.OAUTH_RESOURCE_SERVER = options
    messages = check_settings(None)
    for message in messages:
        assert message.is_serious()
        assert message.hint
        assert "the-secret" not in str(message)
    return messages


def ids(messages: list[CheckMessage]) -> list[str]:
    return [str(message.id).removeprefix("oauth_binding_resource_server.") for message in messages]


def user(token: Any) -> None:
    """Return the user of a token."""


not_callable = 1


@pytest.mark.parametrize(
    "options",
    [
        LOCAL,
        {**LOCAL, **FEED},
        {**LOCAL, "JWKS_URL": "http://127.0.0.1:8000/jwks", "AUDIENCE": ["a", "b"], "LEEWAY": 0},
        {**LOCAL, "JWKS_URL": "http://localhost/jwks", "ALGORITHMS": ("ES256", "EdDSA"), "LEEWAY": 300},
        {**LOCAL, "JWKS_URL": "http://[::1]:1/jwks", "USER": f"{__name__}.user"},
        {**LOCAL, **FEED, "REVOCATION_INTERVAL": 0.5, "REVOCATION_MAX_STALE": 0.5},
        ASKING,
        {**ASKING, "AUDIENCE": "https://api.example", "INTROSPECTION_CACHE_SECONDS": 0},
        {**ASKING, "BINDING_HEADER": "X-Device", "REQUIRE_PRESENTED_BINDING": True},
        BOTH,
        {**BOTH, **FEED},
        {**LOCAL, "DPOP_ALGORITHMS": ("RS256",), "DPOP_NONCES": True, "DPOP_REPLAY_CACHE": "default"},
    ],
)
def test_right_settings(settings: Any, options: dict[str, Any]) -> None:
    assert check(settings, options) == []


@pytest.mark.parametrize("options", [None, [], "x", [("ISSUER", "x")]])
def test_no_dict(settings: Any, options: Any) -> None:
    assert ids(check(settings, options)) == ["E001"]


def test_no_setting(settings: Any) -> None:
    assert not hasattr(settings, "OAUTH_RESOURCE_SERVER")
    assert ids(check_settings(None)) == ["E001"]


@pytest.mark.parametrize("key", ["JWKS_URI", "issuer", 1, None])
def test_unknown_settings(settings: Any, key: Any) -> None:
    (message,) = check(settings, {**LOCAL, key: "the-secret"})

    assert ids([message]) == ["E001"]
    assert repr(key) in message.msg
    assert "JWKS_URL" in str(message.hint)


@pytest.mark.parametrize(
    ("options", "key"),
    [(LOCAL, key) for key in ("ISSUER", "AUDIENCE", "JWKS_URL")]
    + [(ASKING, key) for key in ("ISSUER", "INTROSPECTION_URL", "CLIENT_ID", "CLIENT_SECRET")]
    + [(BOTH, key) for key in ("ISSUER", "AUDIENCE", "JWKS_URL", "INTROSPECTION_URL", "CLIENT_SECRET")],
)
def test_missing_settings(settings: Any, options: dict[str, Any], key: str) -> None:
    (message,) = check(settings, {name: value for name, value in options.items() if name != key})

    assert ids([message]) == ["E002"]
    assert message.msg == f"OAUTH_RESOURCE_SERVER[{key!r}] is missing."


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("ISSUER", ""),
        ("ISSUER", 1),
        ("AUDIENCE", ""),
        ("AUDIENCE", []),
        ("AUDIENCE", ["a", ""]),
        ("AUDIENCE", {"a"}),
        ("VALIDATION", "remote"),
        ("VALIDATION", None),
        ("VALIDATION", ["local"]),
        ("JWKS_URL", "http://issuer.example/jwks"),
        ("JWKS_URL", "https://"),
        ("JWKS_URL", "issuer.example/jwks"),
        ("JWKS_URL", "file:///etc/passwd"),
        ("JWKS_URL", "https://name:the-secret@issuer.example/jwks"),
        ("JWKS_URL", "https://issuer.example/a b"),
        ("JWKS_URL", "https://issuer.example/\n"),
        ("JWKS_URL", "https://issuer.example:x/"),
        ("JWKS_URL", "https://[x/"),
        ("JWKS_URL", None),
        ("JWKS_URL", b"https://issuer.example/jwks"),
        ("ALGORITHMS", []),
        ("ALGORITHMS", "RS256"),
        ("ALGORITHMS", ["RS256", "HS256"]),
        ("ALGORITHMS", ["none"]),
        ("ALGORITHMS", [["RS256"]]),
        ("LEEWAY", -1),
        ("LEEWAY", 301),
        ("LEEWAY", True),
        ("LEEWAY", float("nan")),
        ("INTROSPECTION_CACHE_SECONDS", -1),
        ("INTROSPECTION_CACHE_SECONDS", float("inf")),
        ("REVOCATION_INTERVAL", 0),
        ("REVOCATION_INTERVAL", "30"),
        ("REVOCATION_MAX_STALE", None),
        ("REVOCATION_FEED_URL", "http://10.0.0.1/"),
        ("REVOCATION_FEED_URL", ""),
        ("INTROSPECTION_URL", "http://127.0.0.1.example/"),
        ("CLIENT_ID", ""),
        ("CLIENT_SECRET", b"the-secret"),
        ("BINDING_HEADER", ""),
        ("REQUIRE_PRESENTED_BINDING", "yes"),
        ("DPOP_ALGORITHMS", []),
        ("DPOP_ALGORITHMS", "ES256"),
        ("DPOP_ALGORITHMS", ["ES256", "HS256"]),
        ("DPOP_ALGORITHMS", ["none"]),
        ("DPOP_NONCES", "off"),
        ("DPOP_NONCES", None),
        ("DPOP_REPLAY_CACHE", "nothing"),
        ("DPOP_REPLAY_CACHE", None),
        ("DPOP_REPLAY_CACHE", ["default"]),
        ("USER", ""),
        ("USER", user),
    ],
)
def test_malformed_settings(settings: Any, key: str, value: Any) -> None:
    (message,) = check(settings, {**BOTH, key: value})

    assert ids([message]) == ["E003"]
    assert message.msg.startswith(f"OAUTH_RESOURCE_SERVER[{key!r}] is not ")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({**ASKING, **FEED}, "no JWTs are validated here"),
        ({**LOCAL, "INTROSPECTION_URL": "https://issuer.example/introspect"}, "the server is not asked"),
        ({**LOCAL, **FEED, "REVOCATION_MAX_STALE": 29}, "less than REVOCATION_INTERVAL"),
        ({**LOCAL, **FEED, "REVOCATION_INTERVAL": 601}, "less than REVOCATION_INTERVAL"),
    ],
)
def test_contradictions(settings: Any, options: dict[str, Any], words: str) -> None:
    (message,) = check(settings, options)

    assert ids([message]) == ["E004"]
    assert words in message.msg


@pytest.mark.parametrize(
    "path", ["nothing", "no.such.module", f"{__name__}.nothing", f"{__name__}.not_callable"]
)
def test_a_user_function_that_is_none(settings: Any, path: str) -> None:
    (message,) = check(settings, {**LOCAL, "USER": path})

    assert ids([message]) == ["E005"]
    assert path in message.msg


#: Where used proofs may be kept, and whether all processes share that.
CACHES = {
    "locmem.LocMemCache": False,
    "dummy.DummyCache": False,
    "filebased.FileBasedCache": False,
    "db.DatabaseCache": False,
    "redis.RedisCache": True,
}


@pytest.mark.parametrize(("backend", "is_shared"), CACHES.items())
@pytest.mark.parametrize("alias", ["default", "proofs"])
def test_where_used_proofs_are_kept(
    settings: Any, tmp_path: Path, backend: str, is_shared: bool, alias: str
) -> None:
    # A cache in files makes its folder.
    location = "redis://x.example" if is_shared else str(tmp_path / "proofs")
    named = {"BACKEND": f"django.core.cache.backends.{backend}", "LOCATION": location}
    settings.CACHES = {"default": {"BACKEND": "django.core.cache.backends.db.DatabaseCache"}, alias: named}
    settings.OAUTH_RESOURCE_SERVER = {**LOCAL, **({} if alias == "default" else {"DPOP_REPLAY_CACHE": alias})}

    messages = check_replay_cache(None)

    assert [message.id for message in messages] == ([] if is_shared else ["oauth_binding.E032"])
    assert all(message.is_serious() and message.hint and repr(alias) in message.msg for message in messages)


@pytest.mark.parametrize(
    "options", [None, {"DPOP_REPLAY_CACHE": "nothing"}, {"DPOP_REPLAY_CACHE": ["default"]}]
)
def test_what_is_malformed_is_for_another_check(settings: Any, options: Any) -> None:
    settings.OAUTH_RESOURCE_SERVER = options

    assert check_replay_cache(None) == []


@pytest.mark.parametrize(
    ("is_on", "level", "found"),
    [
        (True, logging.WARNING, ["oauth_binding.W033"]),
        (True, logging.INFO, []),
        (False, logging.WARNING, []),
        ("yes", logging.WARNING, []),
    ],
)
def test_where_the_audit_log_goes(
    settings: Any, caplog: pytest.LogCaptureFixture, is_on: Any, level: int, found: list[str]
) -> None:
    caplog.set_level(level, "oauth_binding.audit")
    settings.OAUTH_RESOURCE_SERVER = {**LOCAL, "AUDIT_LOG": is_on}

    messages = check_audit_log(None)

    assert [message.id for message in messages] == found
    assert all(message.hint and "OAUTH_RESOURCE_SERVER" in message.msg for message in messages)
