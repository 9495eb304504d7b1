"""A client that registers itself (RFC 7591) and manages that (RFC 7592)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from django.test import Client

from tests.helpers.client import REDIRECT_URI
from tests.helpers.next_toolkit import installed_path


@dataclass
class Registrar:
    """A client that registers itself, and keeps what it was answered."""

    http: Client
    uri: str = ""
    token: str = ""

    def send(self, method: str, metadata: Any = None, **headers: str) -> Any:
        """Send client metadata, or a body as it is."""
        response = self.http.generic(
            method,
            self.uri or "/oauth2/register/",
            metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode(),
            content_type="application/json",
            headers={**({"Authorization": f"Bearer {self.token}"} if self.token else {}), **headers},
        )
        if response.status_code in {200, 201}:
            self.uri = response.json()["registration_client_uri"]
            self.token = response.json()["registration_access_token"]
        return response


OPEN = {
    "DCR_ENABLED": True,
    "DCR_REGISTRATION_PERMISSION_CLASSES": [installed_path("dcr.AllowAllDCRPermission")],
}


def metadata(*grant_types: str, **more: Any) -> dict[str, Any]:
    return {"grant_types": grant_types, "redirect_uris": [REDIRECT_URI], **more}
