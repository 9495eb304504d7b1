"""The rows of tokens."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

from django.utils import timezone
from oauth2_provider.models import (
    get_access_token_model,
    get_refresh_token_model,
)


def expire(token: str) -> None:
    """Let an access token expire."""
    row = access_token_row(token)
    row.expires = timezone.now() - timedelta(seconds=1)
    row.save()


def access_token_row(token: str) -> Any:
    checksum = hashlib.sha256(token.encode()).hexdigest()
    return get_access_token_model().objects.get(token_checksum=checksum)


def refresh_token_row(token: str) -> Any:
    checksum = hashlib.sha256(token.encode()).hexdigest()
    rows = get_refresh_token_model().objects.filter(token_checksum=checksum)
    return rows.order_by("revoked").first()
