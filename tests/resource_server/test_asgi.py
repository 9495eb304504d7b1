"""APIs under ASGI: a real server, views that are coroutines and others, and many requests at once."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from django.db import connection

from tests.concurrency.site import CLIENT_SECRET, LOGGING_IN, PASSWORD, USERNAME, RunningSite, running_site

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(connection.vendor != "sqlite", reason="the server is what matters, on any database"),
]

SETTINGS = """
from tests.concurrency.settings import *
from tests.concurrency.settings import MIDDLEWARE

ROOT_URLCONF = "tests.resource_server.apis"
MIDDLEWARE = [*MIDDLEWARE, "tests.resource_server.apis.TokenMiddleware"]
"""

APPLICATION = """
from django.core.asgi import get_asgi_application

application = get_asgi_application()
"""

#: An API of each kind that takes any token with the scope "read".
APIS = [
    "async-decorator/scoped",
    "async-mixin/scoped",
    "decorator/scoped",
    "mixin/scoped",
    "drf/any",
    "session",
]


@contextmanager
def asgi_server(site: RunningSite, directory: Path) -> Iterator[str]:
    """Serve a site by ASGI as well, and yield its address."""
    (directory / "asgi_settings.py").write_text(SETTINGS)
    (directory / "asgi_site.py").write_text(APPLICATION)
    with subprocess.Popen(
        [
            sys.executable,
            "-m",
            "uvicorn",
            "asgi_site:application",
            "--port",
            "0",
            "--app-dir",
            str(directory),
        ],
        env={**site.environment, "DJANGO_SETTINGS_MODULE": "asgi_settings"},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr
        printed = ""
        for line in process.stderr:
            printed += line
            if address := re.search(r"running on (http://[0-9.:]+)", line):
                break
        else:
            raise AssertionError(printed)
        yield address[1]
        process.terminate()
        process.stderr.read()


def test_many_requests_at_once(tmp_path: Path) -> None:
    with running_site(tmp_path) as site, asgi_server(site, tmp_path) as address:

        def log_in(device: str) -> str:
            form = {"grant_type": "password", "username": USERNAME, "password": PASSWORD}
            answer = requests.post(
                f"{address}/oauth2/token/",
                {**form, "scope": "read", "tokenBindingId": device},
                auth=(LOGGING_IN[0], CLIENT_SECRET),
                timeout=30,
            )
            return str(answer.json()["access_token"])

        def call(api: str, token: str) -> tuple[int, str]:
            answer = requests.get(
                f"{address}/{api}/", headers={"Authorization": f"Bearer {token}"}, timeout=30
            )
            return answer.status_code, answer.json().get("binding_ref", "")

        devices = ["phone", "laptop", "television"]
        tokens = {device: log_in(device) for device in devices}
        asked = [(api, device) for api in APIS for device in [*devices, "nobody"] for _again in range(5)]
        with ThreadPoolExecutor(8) as threads:
            answered = list(threads.map(lambda one: call(one[0], tokens.get(one[1], "unknown")), asked))

    for (api, device), (status, _ref) in zip(asked, answered, strict=True):
        assert status == (401 if device == "nobody" else 200), api
    refs = {
        (device, ref)
        for (api, device), (_status, ref) in zip(asked, answered, strict=True)
        if device != "nobody" and api != "session"
    }
    assert len(refs) == len({ref for _device, ref in refs}) == len(devices)
