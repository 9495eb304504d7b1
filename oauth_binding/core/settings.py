"""The ``OAUTH_BINDING`` setting: the table of its keys with their rules, and typed access, read live."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from oauth_binding.binding.binder import TokenBinder
from oauth_binding.core import claim_sources, installed_binders, places, trusted_issuers
from oauth_binding.core.jose.algorithms import PROOF_ALGORITHM_LIST, PROOF_ALGORITHMS, SIGNING_ALGORITHMS
from oauth_binding.core.networks import Network, network_problems, read_networks
from oauth_binding.core.setting_rules import is_flag, is_positive

#: How much is kept of the addresses of devices: nothing, the network, or all.
DEVICE_ADDRESSES: Final = ("off", "shortened", "whole")

#: Which tokens end with a password: those of applications that bind, all of the user, or none.
PASSWORD_CHANGE_ENDS: Final = ("bound", "all", "off")

#: Where a DPoP proof has to have a nonce from this server (RFC 9449 sections 8 and 9).
DPOP_NONCES: Final = ("off", "token_endpoint", "everywhere")


#: The fields of a token policy for which the site can set a limit for clients that register themselves.
REGISTRATION_LIMITS: Final = (
    "access_token_lifetime",
    "client_token_lifetime",
    "constrained_token_lifetime",
    "refresh_token_lifetime",
    "login_lifetime",
)


def _flag_problems(value: Any) -> Iterator[str]:
    if not is_flag(value):
        yield "is neither True nor False"


def _header_problems(name: Any) -> Iterator[str]:
    if not (isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9-]+", name)):
        yield f"is {name!r}, which is not a header"


def _path_problems(path: Any) -> Iterator[str]:
    if path and not (isinstance(path, str | os.PathLike) and Path(path).is_absolute()):
        yield "is not an absolute path"


def _choice_problems(choices: Collection[str], value: Any) -> Iterator[str]:
    if value not in choices:
        yield f"is {value!r}"


def _proof_algorithm_problems(value: Any) -> Iterator[str]:
    allows, wanted = PROOF_ALGORITHM_LIST
    if not allows(value):
        yield f"is not {wanted}"


def _cache_problems(alias: Any) -> Iterator[str]:
    if alias is not None and not (isinstance(alias, str) and alias in settings.CACHES):
        yield "is not the name of one of CACHES"


def _limit_problems(limits: Any) -> Iterator[str]:
    if not isinstance(limits, dict):
        yield "is not a dict"
        return
    for name, value in limits.items():
        if name not in REGISTRATION_LIMITS:
            yield f"has the unknown limit {name!r}"
        elif not is_positive(value):
            yield f"has a {name} that is not a whole number above 0"


def _positive_problems(value: Any) -> Iterator[str]:
    if not is_positive(value):
        yield f"is {value!r}"


def _count_problems(value: Any) -> Iterator[str]:
    if value is not None:
        yield from _positive_problems(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A key of ``OAUTH_BINDING``."""

    #: Its value if the site sets none.
    default: Any
    #: Yields what is wrong with a value; each text completes "OAUTH_BINDING['KEY'] ...".
    problems: Callable[[Any], Iterator[str]]
    #: The id of the system check that says so.
    check: str
    #: What to write in its place.
    hint: str


def _flag(default: bool) -> Setting:
    return Setting(
        default=default, problems=_flag_problems, check="oauth_binding.E017", hint="Give True or False."
    )


#: All the keys of ``OAUTH_BINDING``.
SETTINGS: Final[Mapping[str, Setting]] = {
    "AUDIT_LOG": _flag(default=False),
    "BACKCHANNEL_LOGOUT_NETWORKS": Setting(
        default=[],
        problems=network_problems,
        check="oauth_binding.E041",
        hint="Give a list of networks, such as ['10.1.2.0/24', '127.0.0.1/32'].",
    ),
    "BINDERS": Setting(
        default=[
            "oauth_binding.binding.ClientRequestBinder",
            "oauth_binding.proof.DPoPKeyBinder",
            "oauth_binding.sessions.SSOSessionBinder",
        ],
        problems=installed_binders.problems,
        check="oauth_binding.E006",
        hint="Give a list of the dotted paths of subclasses of oauth_binding.binding.TokenBinder.",
    ),
    "BINDING_HEADER": Setting(
        default="Token-Binding-Id",
        problems=_header_problems,
        check="oauth_binding.E014",
        hint="Give a name of letters, digits and dashes, such as 'Token-Binding-Id'.",
    ),
    "CLAIM_SOURCES": Setting(
        default={},
        problems=claim_sources.problems,
        check="oauth_binding.E037",
        hint="Give a dict from claims to the dotted path of a callable that takes the user, or the name "
        "of an attribute of the user.",
    ),
    "DEVICE_ADDRESSES": Setting(
        default="off",
        problems=partial(_choice_problems, DEVICE_ADDRESSES),
        check="oauth_binding.E043",
        hint=f"Give one of {', '.join(map(repr, DEVICE_ADDRESSES))}.",
    ),
    "DEVICE_PLACES": Setting(
        default=None,
        problems=places.problems,
        check="oauth_binding.E043",
        hint="Give the dotted path of a callable that takes an address and returns a place, or None.",
    ),
    "DPOP_ALGORITHMS": Setting(
        default=list(PROOF_ALGORITHMS),
        problems=_proof_algorithm_problems,
        check="oauth_binding.E031",
        hint=f"Give {PROOF_ALGORITHM_LIST[1]}.",
    ),
    "DPOP_NONCES": Setting(
        default="off",
        problems=partial(_choice_problems, DPOP_NONCES),
        check="oauth_binding.E031",
        hint=f"Give one of {', '.join(map(repr, DPOP_NONCES))}.",
    ),
    "DPOP_REPLAY_CACHE": Setting(
        default=None,
        problems=_cache_problems,
        check="oauth_binding.E031",
        hint="Give the name of a cache that all processes share, or None for a table of the database.",
    ),
    "LAST_USED_INTERVAL": Setting(
        default=300,
        problems=_count_problems,
        check="oauth_binding.E044",
        hint="Give a whole number of seconds, at least 1, or None for token requests alone.",
    ),
    "MAX_DEVICES": Setting(
        default=1000,
        problems=_count_problems,
        check="oauth_binding.E034",
        hint="Give a whole number, at least 1, or None for no limit.",
    ),
    "NEW_SIGN_IN_MAIL": _flag(default=False),
    "PASSWORD_CHANGE_ENDS": Setting(
        default="bound",
        problems=partial(_choice_problems, PASSWORD_CHANGE_ENDS),
        check="oauth_binding.E018",
        hint=f"Give one of {', '.join(map(repr, PASSWORD_CHANGE_ENDS))}.",
    ),
    "REGISTRATION_LIMITS": Setting(
        default={},
        problems=_limit_problems,
        check="oauth_binding.E040",
        hint=f"Give a dict of whole numbers; the limits are {', '.join(map(repr, REGISTRATION_LIMITS))}.",
    ),
    "RETRY_SECONDS": Setting(
        default=10,
        problems=_positive_problems,
        check="oauth_binding.E045",
        hint="Give a whole number of seconds, at least 1.",
    ),
    "REVOCATION_FEED": _flag(default=False),
    "SIGNING_ALGORITHM": Setting(
        default="RS256",
        problems=partial(_choice_problems, SIGNING_ALGORITHMS),
        check="oauth_binding.E016",
        hint=f"Give one of {', '.join(SIGNING_ALGORITHMS)}.",
    ),
    "SIGNING_KEYS": Setting(
        default=None,
        problems=_path_problems,
        check="oauth_binding.E016",
        hint="Give an absolute path, such as BASE_DIR / 'signing-keys.json'.",
    ),
    "TOKEN_EXCHANGE_CASCADE": _flag(default=True),
    "TOKEN_EXCHANGE_ISSUERS": Setting(
        default={},
        problems=trusted_issuers.problems,
        check="oauth_binding.E013",
        hint="Give a dict of issuers, each a dict with AUDIENCE, and with JWKS_URL or KEYS.",
    ),
    "TOKEN_EXCHANGE_PUBLIC_CLIENTS": _flag(default=False),
}


class BindingSettings:
    """Typed access to ``OAUTH_BINDING``."""

    @property
    def user_settings(self) -> dict[str, Any]:
        """The dict as the site wrote it; empty if it wrote none."""
        return getattr(settings, "OAUTH_BINDING", {})

    @property
    def audit_log(self) -> bool:
        """Whether the logger ``oauth_binding.audit`` writes lines."""
        return bool(self._get("AUDIT_LOG"))

    @property
    def backchannel_logout_networks(self) -> list[Network]:
        """The internal networks that logout tokens may be sent to (``manage.py check``: E041)."""
        return read_networks(self._get("BACKCHANNEL_LOGOUT_NETWORKS"))

    @property
    def binders(self) -> Mapping[str, TokenBinder]:
        """The installed binders by their ``type``.

        :raises ImportError: a path in ``BINDERS`` can't be imported (``manage.py check``: E006).
        """
        return installed_binders.load_binders(tuple(self._get("BINDERS")))

    @property
    def binder_parameters(self) -> list[str]:
        """The form parameters that the installed binders read."""
        return [binder.parameter for binder in self.binders.values() if binder.parameter]

    @property
    def binding_header(self) -> str:
        """The header in which an API request names what its token is bound to."""
        return str(self._get("BINDING_HEADER"))

    @property
    def claim_sources(self) -> dict[str, str]:
        """What an application's tokens may say about the user: by claim, where it comes from.

        Empty if the site did not write a dict (``manage.py check``: E037).
        """
        sources = self._get("CLAIM_SOURCES")
        return sources if isinstance(sources, dict) else {}

    @property
    def device_addresses(self) -> str:
        """How much is kept of the addresses of devices: one of ``DEVICE_ADDRESSES``."""
        return str(self._get("DEVICE_ADDRESSES"))

    @property
    def device_places(self) -> str | None:
        """The dotted path of the function that tells the place of an address; None for none."""
        path: str | None = self._get("DEVICE_PLACES")
        return path

    @property
    def dpop_algorithms(self) -> list[str]:
        """The ``alg`` values that a DPoP proof may have (RFC 9449 section 4.2)."""
        return list(self._get("DPOP_ALGORITHMS"))

    @property
    def dpop_nonces_at_token_endpoint(self) -> bool:
        """Whether proofs at the token endpoint have to have a nonce (RFC 9449 section 8)."""
        return bool(self._get("DPOP_NONCES") != "off")

    @property
    def dpop_nonces_at_apis(self) -> bool:
        """Whether proofs at APIs have to have a nonce (RFC 9449 section 9)."""
        return bool(self._get("DPOP_NONCES") == "everywhere")

    @property
    def dpop_replay_cache(self) -> str | None:
        """The name of the cache that keeps used proofs; None for a table."""
        alias: str | None = self._get("DPOP_REPLAY_CACHE")
        return alias

    @property
    def last_used_interval(self) -> int | None:
        """How old a last use has to be for an API call to count as a new one, in seconds; None for never."""
        interval: int | None = self._get("LAST_USED_INTERVAL")
        return interval

    @property
    def max_devices(self) -> int | None:
        """On how many devices a user can be signed in to an application that binds; None for any number."""
        limit: int | None = self._get("MAX_DEVICES")
        return limit

    @property
    def new_sign_in_mail(self) -> bool:
        """Whether users get a mail when they are signed in on a new device."""
        return bool(self._get("NEW_SIGN_IN_MAIL"))

    @property
    def password_change_ends(self) -> str:
        """Which of a user's tokens end when the password is changed: one of ``PASSWORD_CHANGE_ENDS``."""
        return str(self._get("PASSWORD_CHANGE_ENDS"))

    @property
    def registration_limits(self) -> dict[str, int]:
        """The upper limits for the token policy of a client that registers itself, by field."""
        limits: dict[str, int] = self._get("REGISTRATION_LIMITS")
        return limits

    @property
    def retry_seconds(self) -> int:
        """How long a transaction that the database has given up for others is retried, in seconds."""
        seconds: int = self._get("RETRY_SECONDS")
        return seconds

    @property
    def revocation_feed(self) -> bool:
        """Whether revoked JWTs are published for APIs that validate them on their own."""
        return bool(self._get("REVOCATION_FEED"))

    @property
    def signing_algorithm(self) -> str:
        """The ``alg`` of JWT access tokens whose application has not chosen one."""
        return str(self._get("SIGNING_ALGORITHM"))

    @property
    def signing_keys(self) -> Path | None:
        """The file of signing keys.

        None if the site has none, or wrote something that is not a path (``manage.py check``: E016).
        """
        path = self._get("SIGNING_KEYS")
        return Path(path) if path and isinstance(path, str | os.PathLike) else None

    @property
    def token_exchange_cascade(self) -> bool:
        """Whether revoking a token or a binding revokes what was exchanged from it."""
        return bool(self._get("TOKEN_EXCHANGE_CASCADE"))

    @property
    def token_exchange_issuers(self) -> dict[str, Any]:
        """Other servers whose tokens may be exchanged: by ``iss``, the options of an ``Issuer``.

        Empty if the site did not write a dict (``manage.py check``: E013).
        """
        issuers = self._get("TOKEN_EXCHANGE_ISSUERS")
        return issuers if isinstance(issuers, dict) else {}

    @property
    def token_exchange_public_clients(self) -> bool:
        """Whether public clients may exchange tokens."""
        return bool(self._get("TOKEN_EXCHANGE_PUBLIC_CLIENTS"))

    def _get(self, key: str) -> Any:
        return self.user_settings.get(key, SETTINGS[key].default)


binding_settings = BindingSettings()
