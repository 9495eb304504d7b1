"""The ``OAUTH_RESOURCE_SERVER`` setting: the table of its keys, and typed access, read live."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.conf import settings
from django.core.cache import DEFAULT_CACHE_ALIAS
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from oauth_binding.core.jose.algorithms import ALGORITHM_LIST, PROOF_ALGORITHM_LIST, PROOF_ALGORITHMS
from oauth_binding.core.setting_rules import SECURE_URL, Rule, is_flag, is_number, is_text, is_text_or_list

LOCAL: Final = "local"
INTROSPECTION: Final = "introspection"
BOTH: Final = "local+introspection"

#: The values of ``VALIDATION``.
VALIDATIONS: Final = (LOCAL, INTROSPECTION, BOTH)

#: The largest ``LEEWAY``, in seconds.
MAX_LEEWAY: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A key of ``OAUTH_RESOURCE_SERVER``."""

    #: What its value has to be.
    rule: Rule
    #: Its value if the site sets none; None if the site has to set one to use it.
    default: Any = None
    #: The values of ``VALIDATION`` with which it is required.
    needed_by: Collection[str] = ()


_TEXT: Final[Rule] = (is_text, "a text")
_SECONDS: Final[Rule] = (is_number, "a number of seconds")
_FOR_JWTS: Final = (LOCAL, BOTH)
_FOR_INTROSPECTION: Final = (INTROSPECTION, BOTH)

#: All the keys of ``OAUTH_RESOURCE_SERVER``.
SETTINGS: Final[Mapping[str, Setting]] = {
    "ISSUER": Setting(rule=_TEXT, needed_by=VALIDATIONS),
    "AUDIENCE": Setting(
        rule=(is_text_or_list, "a string or a list of strings"), default=(), needed_by=_FOR_JWTS
    ),
    "VALIDATION": Setting(
        rule=(lambda value: value in VALIDATIONS, f"one of these: {', '.join(VALIDATIONS)}"), default=LOCAL
    ),
    "JWKS_URL": Setting(rule=SECURE_URL, needed_by=_FOR_JWTS),
    "ALGORITHMS": Setting(rule=ALGORITHM_LIST, default=["RS256"]),
    "LEEWAY": Setting(
        rule=(lambda value: is_number(value, MAX_LEEWAY), f"a number of seconds up to {MAX_LEEWAY}"),
        default=30,
    ),
    "INTROSPECTION_URL": Setting(rule=SECURE_URL, needed_by=_FOR_INTROSPECTION),
    "CLIENT_ID": Setting(rule=_TEXT, needed_by=_FOR_INTROSPECTION),
    "CLIENT_SECRET": Setting(rule=_TEXT, needed_by=_FOR_INTROSPECTION),
    "INTROSPECTION_CACHE_SECONDS": Setting(rule=_SECONDS, default=60),
    "REVOCATION_FEED_URL": Setting(rule=SECURE_URL, default=""),
    "REVOCATION_INTERVAL": Setting(
        rule=(lambda value: is_number(value) and value > 0, "a number of seconds above 0"), default=30
    ),
    "REVOCATION_MAX_STALE": Setting(rule=_SECONDS, default=600),
    "AUDIT_LOG": Setting(rule=(is_flag, "True or False"), default=False),
    "BINDING_HEADER": Setting(rule=(is_text, "the name of a header"), default="Token-Binding-Id"),
    "REQUIRE_PRESENTED_BINDING": Setting(rule=(is_flag, "True or False"), default=False),
    "DPOP_ALGORITHMS": Setting(rule=PROOF_ALGORITHM_LIST, default=list(PROOF_ALGORITHMS)),
    "DPOP_NONCES": Setting(rule=(is_flag, "True or False"), default=False),
    "DPOP_REPLAY_CACHE": Setting(
        rule=(lambda value: is_text(value) and value in settings.CACHES, "the name of one of CACHES"),
        default=DEFAULT_CACHE_ALIAS,
    ),
    "USER": Setting(rule=(is_text, "a dotted path"), default="oauth_binding.resource_server.get_user"),
}


class ResourceServerSettings:
    """Typed access to ``OAUTH_RESOURCE_SERVER``.

    Each property raises ``ImproperlyConfigured`` if the setting is required and missing (``manage.py check``:
    E002).
    """

    @property
    def issuer(self) -> str:
        """The ``iss`` of the server that issues the tokens (RFC 9068 section 2.2)."""
        return str(self._get("ISSUER"))

    @property
    def audience(self) -> frozenset[str]:
        """What names this API in the ``aud`` of a token, any of them; empty only for introspection alone.

        :raises ImproperlyConfigured: it is empty, and JWTs are validated here.
        """
        value = self._get("AUDIENCE")
        audience = frozenset([value] if isinstance(value, str) else value)
        if not audience and self.validates_locally:
            raise ImproperlyConfigured("OAUTH_RESOURCE_SERVER['AUDIENCE'] is missing.")
        return audience

    @property
    def validates_locally(self) -> bool:
        """Whether JWTs are validated here (RFC 9068 section 4)."""
        return self._validation in (LOCAL, BOTH)

    @property
    def introspects(self) -> bool:
        """Whether the server is asked about tokens (RFC 7662)."""
        return self._validation in (INTROSPECTION, BOTH)

    @property
    def jwks_url(self) -> str:
        """Where the JWK set of the server is."""
        return str(self._get("JWKS_URL"))

    @property
    def algorithms(self) -> Sequence[str]:
        """The ``alg`` values that are accepted; see ``oauth_binding.core.jose.algorithms.ALGORITHMS``."""
        return list(self._get("ALGORITHMS"))

    @property
    def leeway(self) -> float:
        """How far the clocks may be apart, in seconds."""
        return float(self._get("LEEWAY"))

    @property
    def introspection_url(self) -> str:
        """Where the introspection endpoint of the server is."""
        return str(self._get("INTROSPECTION_URL"))

    @property
    def client_id(self) -> str:
        """The client identifier of this API with the server."""
        return str(self._get("CLIENT_ID"))

    @property
    def client_secret(self) -> str:
        """The client secret of this API with the server."""
        return str(self._get("CLIENT_SECRET"))

    @property
    def introspection_cache_seconds(self) -> float:
        """How long an answer of the introspection endpoint is used at most, in seconds."""
        return float(self._get("INTROSPECTION_CACHE_SECONDS"))

    @property
    def revocation_feed_url(self) -> str:
        """Where the revocation feed of the server is; empty if it is not used."""
        return str(self._get("REVOCATION_FEED_URL"))

    @property
    def revocation_interval(self) -> float:
        """How old the list of revoked tokens is at most while the feed can be fetched, in seconds."""
        return float(self._get("REVOCATION_INTERVAL"))

    @property
    def revocation_max_stale(self) -> float:
        """How old the list of revoked tokens may become while the feed can't be fetched, in seconds."""
        return float(self._get("REVOCATION_MAX_STALE"))

    @property
    def binding_header(self) -> str:
        """The header in which a request names what its token is bound to."""
        return str(self._get("BINDING_HEADER"))

    @property
    def require_presented_binding(self) -> bool:
        """Whether every request has to name what its token is bound to."""
        return bool(self._get("REQUIRE_PRESENTED_BINDING"))

    @property
    def dpop_algorithms(self) -> list[str]:
        """The ``alg`` values that a DPoP proof may have (RFC 9449 section 4.2)."""
        return list(self._get("DPOP_ALGORITHMS"))

    @property
    def dpop_nonces(self) -> bool:
        """Whether a DPoP proof has to have a nonce from this API (RFC 9449 section 9)."""
        return bool(self._get("DPOP_NONCES"))

    @property
    def dpop_replay_cache(self) -> str:
        """The name of the cache that keeps used proofs."""
        return str(self._get("DPOP_REPLAY_CACHE"))

    @property
    def get_user(self) -> Callable[[Any], Any]:
        """The function that returns the user of a verified token, or None.

        :raises ImportError: it can't be imported (``manage.py check``: E005).
        """
        function: Callable[[Any], Any] = import_string(self._get("USER"))
        return function

    @property
    def _validation(self) -> str:
        value = self._get("VALIDATION")
        if value not in VALIDATIONS:
            raise ImproperlyConfigured("OAUTH_RESOURCE_SERVER['VALIDATION'] is not valid.")
        return str(value)

    def _get(self, key: str) -> Any:
        user_settings = getattr(settings, "OAUTH_RESOURCE_SERVER", {})
        if key in user_settings:
            return user_settings[key]
        default = SETTINGS[key].default
        if default is None:
            raise ImproperlyConfigured(f"OAUTH_RESOURCE_SERVER[{key!r}] is missing.")
        return default


resource_server_settings = ResourceServerSettings()
