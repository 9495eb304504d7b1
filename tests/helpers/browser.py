"""The example project, running, for a browser."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import requests

PEOPLE = {"operator": "the operator's password", "alice": "alice's password"}

POPULATE = f"""
from django.contrib.auth.models import User
User.objects.create_superuser("operator", password={PEOPLE["operator"]!r})
User.objects.create_user("alice", password={PEOPLE["alice"]!r})
"""


def manage(*command: str) -> None:
    """Run a command of the example project, with the settings and the database of the environment."""
    subprocess.run([sys.executable, "manage.py", *command], check=True)


def run(code: str) -> None:
    """Run Python in the example project."""
    manage("shell", "--verbosity", "0", "-c", code)


@dataclass
class Example:
    """The example project, as a client application sees it."""

    address: str
    #: What ``manage.py`` is to be run with.
    environment: dict[str, str] = field(default_factory=dict)

    def post(self, path: str, client: tuple[str, str], **form: str) -> dict[str, Any]:
        """Do what the guide does with curl."""
        session = requests.Session()
        session.trust_env = False
        response = session.post(f"{self.address}{path}", data=form, auth=client, timeout=30)
        assert response.status_code == 200, response.text
        answer: dict[str, Any] = response.json()
        return answer

    def token(self, client: tuple[str, str], binding: str) -> str:
        credentials = {"grant_type": "password", "username": "alice", "password": PEOPLE["alice"]}
        answer = self.post("/oauth2/token", client, tokenBindingId=binding, **credentials)
        return str(answer["access_token"])

    def is_active(self, client: tuple[str, str], token: str) -> bool:
        return bool(self.post("/oauth2/introspect", client, token=token)["active"])
