"""The demo, run as a new user runs it: as a process of its own, against the server that it starts."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]

#: How long a demo may take, in seconds.
TIMEOUT = 300

#: The example project's settings, with a hash that is cheap on purpose.
SETTINGS = """
import os
import sys
from example_project.settings import *
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
"""

FORGETFUL_BINDER = """
from oauth_binding.binding import ClientRequestBinder

class ForgetfulBinder(ClientRequestBinder):
    def get_binding_value(self, request):
        return None
"""


class Demo:
    """The command line of the demo, with a directory for its database."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.database = directory / "db.sqlite3"
        self.settings = "example_project.settings"

    def use_settings(self, extra: str = "") -> None:
        """Run with cheap password hashes, and with further settings."""
        (self.directory / "site_settings.py").write_text(SETTINGS + extra)
        self.settings = "site_settings"

    @contextmanager
    def start(self, *options: str) -> Iterator[subprocess.Popen[str]]:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": self.settings,
            "DJANGO_SQLITE_PATH": str(self.database),
            "PYTHONPATH": str(self.directory),
            "PYTHONUNBUFFERED": "1",
        }
        with subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "demo", *options],
            env=environment,
            cwd=self.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)

    def run(self) -> Run:
        """Run the demo to its end."""
        with self.start() as process:
            output, errors = process.communicate(timeout=TIMEOUT)
            assert_nothing_is_left(process)
        return Run(process.returncode, output, errors, self.database)


@dataclass
class Run:
    """What a demo did."""

    status: int
    output: str
    errors: str
    database: Path


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Return a run as a new user has it: without a database, and with the example project's own settings."""
    return Demo(tmp_path_factory.mktemp("first_run")).run()


@pytest.fixture
def demo(tmp_path: Path, first_run: Run) -> Demo:
    """Return a demo on the database that an earlier run has left."""
    demo = Demo(tmp_path)
    shutil.copy(first_run.database, demo.database)
    return demo


def assert_nothing_is_left(process: subprocess.Popen[str]) -> None:
    # The demo leads a process group, which its server is in too.
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def read_until(process: subprocess.Popen[str], start: str) -> str:
    """Return what a process prints, up to a line with a certain start."""
    assert process.stdout is not None
    output = ""
    for line in process.stdout:
        output += line
        if line.startswith(start):
            return output
    raise AssertionError(output)


def send(curl: str) -> requests.Response:
    """Send what a curl line of the demo sends."""
    words = shlex.split(curl)
    options = dict(zip(words[1:-1:2], words[2:-1:2], strict=True))
    name, _, value = options["-H"].partition(": ")
    return requests.request(
        options.get("-X", "GET"),
        words[-1],
        auth=tuple(options["-u"].split(":")) if "-u" in options else None,  # type: ignore[arg-type]
        headers={name: value},
        data=options.get("-d"),
        timeout=TIMEOUT,
    )


def test_every_step_is_as_documented(first_run: Run) -> None:
    output = first_run.output
    assert (first_run.status, first_run.errors) == (0, "")
    assert "80 steps: 80 as documented, 0 not." in output
    assert output.count("✓ as documented") == 80
    assert "✗" not in output
    assert "\x1b" not in output  # no colours where nobody looks
    addresses = re.findall(r"\$ curl -X POST .* http://127\.0\.0\.1:\d+(/\S+)$", output, re.MULTILINE)
    assert "grant-type%3Atoken-exchange" in output
    site, api = re.findall(r"^The .* is at (http://127\.0\.0\.1:\d+)/,", output, re.MULTILINE)
    assert site != api
    statuses = re.findall(rf"^   \$ curl .* {api}(/\S+)\n   (\d+) ", output, re.MULTILINE)
    # What a key protects: without and with a nonce.
    protected = [("/api/me/", "401"), ("/api/me/", "200")]
    # With JWTs one call more, as a new token supersedes the old one.
    assert statuses == [
        *protected,
        *[("/api/me/", "200"), ("/api/plain/", "200"), ("/api/me/", "401")],
        *[("/api/private/", "401"), ("/api/private/", "401"), ("/api/private/", "200")],
        *[("/api/plain/", "401"), ("/api/me/", "200")],
        *protected,
        *[("/api/me/", "200"), ("/api/plain/", "200")],
        *[("/api/private/", "401"), ("/api/private/", "401"), ("/api/private/", "200")],
        *[("/api/plain/", "401"), ("/api/me/", "200")],
    ]
    assert set(addresses) == {"/oauth2/token", "/oauth2/introspect", "/oauth2/revoke_token"}


def test_it_can_be_run_again_and_leaves_the_server_up_on_request(demo: Demo) -> None:
    demo.use_settings()
    with demo.start("--serve") as process:
        output = read_until(process, "Password:")
        assert "80 steps: 80 as documented, 0 not." in output

        facts = dict(re.findall(r"^(Admin|Login|Password): +(\S+)$", output, re.MULTILINE))
        with requests.Session() as browser:
            login = f"{facts['Admin']}login/"
            assert browser.get(login, timeout=TIMEOUT).status_code == 200
            form = {
                "username": facts["Login"],
                "password": facts["Password"],
                "csrfmiddlewaretoken": browser.cookies["csrftoken"],
                "next": facts["Admin"],
            }
            page = browser.post(login, form, timeout=TIMEOUT)
            assert page.url == facts["Admin"]
            applications = browser.get(f"{facts['Admin']}oauth2_provider/application/", timeout=TIMEOUT)
            assert "Demo JWT" in applications.text

        curl_lines = re.findall(r"\$ (curl .*)$", output, re.MULTILINE)
        answer = send(next(line for line in curl_lines if line.endswith("/oauth2/token")))
        assert answer.json()["token_type"] == "Bearer"
        answer = send(next(line for line in curl_lines if line.endswith("/oauth2/introspect")))
        assert answer.json() == {"active": False}
        answer = send([line for line in curl_lines if line.endswith("/api/me/")][-1])
        assert answer.json()["binding_type"] == "client-request"

        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=TIMEOUT)
        assert (process.returncode, output, errors) == (0, "Stopped.\n", "")
        assert_nothing_is_left(process)


def test_a_server_that_forgets_the_binding_is_found_out(demo: Demo) -> None:
    (demo.directory / "forgetful.py").write_text(FORGETFUL_BINDER)
    demo.use_settings('OAUTH_BINDING = {"BINDERS": ["forgetful.ForgetfulBinder"]}')

    run = demo.run()

    assert run.status == 1
    assert "The server does not behave as documented." in run.errors
    steps = re.findall(r"^(\d+)\. (?:.*\n)+?   ([✓✗]) ", run.output, re.MULTILINE)
    assert len(steps) == 80
    found = [index for index, (_number, mark) in enumerate(steps, start=1) if mark == "✗"]
    assert {3, 5} <= set(found)
    assert not {1, 2} & set(found)
    assert f"{len(found)} not." in run.output


def test_an_interrupted_story_takes_the_server_along(demo: Demo) -> None:
    demo.use_settings()
    with demo.start() as process:
        read_until(process, "1. ")
        process.send_signal(signal.SIGTERM)
        _output, errors = process.communicate(timeout=TIMEOUT)
        assert (process.returncode, errors) == (130, "CommandError: Interrupted.\n")
        assert_nothing_is_left(process)


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        ("if 'runserver' in sys.argv: sys.exit('No server today.')", "did not start"),
        (
            "def die(get_response): return lambda request: os.write(1, b'No server today.') and os._exit(1)\n"
            "MIDDLEWARE.append('site_settings.die')",
            "did not answer",
        ),
    ],
)
def test_a_server_in_trouble_is_reported_with_what_it_printed(demo: Demo, trouble: str, message: str) -> None:
    demo.use_settings(trouble)

    run = demo.run()

    assert run.status == 1
    assert f"The server {message}" in run.errors
    assert "No server today." in run.errors
