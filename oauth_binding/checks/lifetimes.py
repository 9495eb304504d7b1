"""Checks of django-oauth-toolkit's settings that are numbers of seconds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Tags, register
from django.utils import timezone
from oauth2_provider.settings import oauth2_settings

from oauth_binding.core.setting_rules import is_number
from oauth_binding.core.toolkit_paths import IS_BY_ROLE


class _Seconds(NamedTuple):
    """What a setting may be besides a number of seconds."""

    none: bool = False
    zero: bool = False
    timedelta: bool = False
    callable: bool = False

    @property
    def expected(self) -> str:
        number = "a number of seconds that is 0 or more" if self.zero else "a number of seconds above 0"
        others = {"a timedelta": self.timedelta, "None": self.none, "a function": self.callable}
        return " or ".join([number, *(what for what, allowed in others.items() if allowed)])

    def allows(self, value: Any) -> bool:
        if value is None or callable(value):
            return self.none if value is None else self.callable
        if self.timedelta and isinstance(value, timedelta):
            value = value.total_seconds()
        return is_number(value) and (self.zero or value > 0) and _is_a_date_from_now(value)


#: The entries of ``OAUTH2_PROVIDER`` that are numbers of seconds.
LIFETIMES: Final[Mapping[str, _Seconds]] = {
    "ACCESS_TOKEN_EXPIRE_SECONDS": _Seconds(callable=True, timedelta=IS_BY_ROLE),
    "AUTHORIZATION_CODE_EXPIRE_SECONDS": _Seconds(),
    "CIMD_FAILURE_BACKOFF_SECONDS": _Seconds(zero=True),
    "CIMD_FETCH_TIMEOUT_SECONDS": _Seconds(),
    "CIMD_METADATA_MAX_AGE_SECONDS": _Seconds(zero=True),
    "CIMD_METADATA_MIN_AGE_SECONDS": _Seconds(zero=True),
    "DCR_REGISTRATION_TOKEN_EXPIRE_SECONDS": _Seconds(none=True),
    "DEVICE_FLOW_INTERVAL": _Seconds(zero=True),
    "ID_TOKEN_EXPIRE_SECONDS": _Seconds(),
    "OIDC_JWKS_MAX_AGE_SECONDS": _Seconds(zero=True),
    "REFRESH_TOKEN_EXPIRE_SECONDS": _Seconds(none=True, zero=True, timedelta=True),
    "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": _Seconds(zero=True),
    "RESOURCE_SERVER_TOKEN_CACHING_SECONDS": _Seconds(zero=True),
}


@register(Tags.security)
def check_lifetimes(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """E023: numbers of seconds in ``OAUTH2_PROVIDER`` are numbers, and not text from the environment."""
    return list(_check_lifetimes())


def _check_lifetimes() -> Iterator[CheckMessage]:
    given = [(f"[{name!r}]", name, value) for name, value in oauth2_settings.user_settings.items()]
    extra: Any = oauth2_settings.EXTRA_SERVER_KWARGS
    if "token_expires_in" in extra:  # takes precedence over the entry
        where = "['EXTRA_SERVER_KWARGS']['token_expires_in']"
        given.append((where, "ACCESS_TOKEN_EXPIRE_SECONDS", extra["token_expires_in"]))
    for where, name, value in given:
        if name in LIFETIMES and not LIFETIMES[name].allows(value):
            yield Error(
                f"OAUTH2_PROVIDER{where} is {value!r}.",
                hint=f"Give {LIFETIMES[name].expected}. What comes from the environment is text: int(...).",
                id="oauth_binding.E023",
            )


def _is_a_date_from_now(seconds: float) -> bool:
    try:
        timezone.now() + timedelta(seconds=seconds)
    except OverflowError:
        return False
    return True
