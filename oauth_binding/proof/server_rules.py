"""What is asked of proofs in the project of the server."""

from __future__ import annotations

from urllib.parse import urlsplit

from oauth2_provider.settings import oauth2_settings

from oauth_binding.core.settings import binding_settings
from oauth_binding.proof.constraint import ProofRules
from oauth_binding.proof.replay import CacheStore, ReplayStore
from oauth_binding.proof.replay_table import TableStore


def token_endpoint_rules() -> ProofRules:
    """Return what is asked of proofs at the token endpoint (RFC 9449 section 5)."""
    return ProofRules(
        binding_settings.dpop_algorithms, binding_settings.dpop_nonces_at_token_endpoint, _store()
    )


def api_rules() -> ProofRules:
    """Return what is asked of proofs at APIs in this project (RFC 9449 section 7)."""
    return ProofRules(binding_settings.dpop_algorithms, binding_settings.dpop_nonces_at_apis, _store())


def public_origin() -> str:
    """Return the scheme and host of ``OIDC_ISS_ENDPOINT``, at which the endpoints are; empty without one."""
    issuer = urlsplit(str(oauth2_settings.OIDC_ISS_ENDPOINT or ""))
    return f"{issuer.scheme}://{issuer.netloc}" if issuer.netloc else ""


def _store() -> ReplayStore:
    alias = binding_settings.dpop_replay_cache
    return TableStore() if alias is None else CacheStore(alias)
