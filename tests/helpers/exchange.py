"""Token exchange: a rule for it, and a request."""

from __future__ import annotations

from typing import Any

from oauth_binding.models import TokenExchangeRule
from tests.helpers.client import Answer, Site

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"

ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"

JWT = "urn:ietf:params:oauth:token-type:jwt"

REFRESH_TOKEN = "urn:ietf:params:oauth:token-type:refresh_token"

ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"


def allow(client: Site, subject_client: Site, **fields: Any) -> TokenExchangeRule:
    return TokenExchangeRule.objects.create(
        client=client.application,
        subject_client=subject_client.application,
        **{"impersonation": True, **fields},
    )


def exchange(client: Site, subject_token: str, **extra: Any) -> Answer:
    form = {
        "grant_type": GRANT_TYPE,
        "subject_token": subject_token,
        "subject_token_type": ACCESS_TOKEN,
        **extra,
    }
    pairs = [
        (name, value)
        for name, values in form.items()
        for value in (values if isinstance(values, list) else [values])
        if value is not None
    ]
    return client.post("/oauth2/token/", pairs)
