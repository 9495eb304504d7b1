"""The page "Brute force": its settings in a site, and its nginx in front of it."""

from __future__ import annotations

import base64
import getpass
import http.client
import re
import shutil
import ssl
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session as AuthlibSession
from django.test import Client
from oauthlib.oauth2 import LegacyApplicationClient
from oauthlib.oauth2 import OAuth2Error as OAuthlibError
from requests.adapters import HTTPAdapter
from requests_oauthlib import OAuth2Session

from oauth_binding.authorization_server.toolkit.backend import TOKEN_REQUEST_PARAMETERS
from oauth_binding.binding import ClientRequestBinder
from oauth_binding.urls import urlpatterns
from tests.docs.pages import ROOT, Block, blocks
from tests.docs.prepare import ACCOUNTS
from tests.docs.site import TIMEOUT, DocumentedSite
from tests.helpers.client import make_application
from tests.helpers.ports import free_port
from tests.helpers.servers import certificate_for

PAGE: Final = ROOT / "docs/brute-force.md"

#: As the site of the pages has them.
CLIENT: Final = ("phone-app", "phone-app-secret")
PASSWORDS: Final = {"alice": "wonderland-7", "admin": "looking-glass-7"}

#: How many failures the page allows.
LIMIT: Final = 5

#: What a wrong password is answered, and what a locked user is.
REFUSED: Final = {"error": "invalid_grant", "error_description": "Invalid credentials given."}

#: What axes may keep of a token request.
NO_SECRETS: Final = {
    "actor_token_type",
    "client_assertion_type",
    "grant_type",
    "requested_token_type",
    "subject_token_type",
    "token_type_hint",
    "username",
}

#: A site whose users log in with their addresses.
EMAIL_USER: Final = """
from django.contrib.auth.models import AbstractUser
from django.db import models

class Person(AbstractUser):
    email = models.EmailField(unique=True)
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = ["username"]
"""

#: How many requests a flood has: far more than nginx lets through while they are sent.
FLOOD: Final = 200

#: From where clients ask; all of them are this machine. The last one is in the page's list.
HERE, ELSEWHERE, OWN = "127.0.0.1", "127.0.0.2", "127.0.0.3"


def block(beginning: str) -> Block:
    (found,) = [each for each in blocks(PAGE) if each.text.startswith(beginning)]
    return found


def follow(site: DocumentedSite, section: str) -> None:
    """Do with the settings and the modules of a section what a reader does."""
    for each in blocks(PAGE):
        if each.section == section and each.language == "python":
            change = site.extend if each.title == "settings.py" else site.write
            change(f"mysite/{each.title}", each.text)


def client_from(address: str) -> requests.Session:
    """Return a client that asks from an address of this machine."""

    class FromAddress(HTTPAdapter):
        def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
            super().init_poolmanager(*args, source_address=(address, 0), **kwargs)

    session = requests.Session()
    session.trust_env = False
    for scheme in ("http://", "https://"):
        session.mount(scheme, FromAddress())
    return session


def ask_for_token(
    url: str, username: str, password: str, address: str = HERE, **more: str
) -> requests.Response:
    form = {"grant_type": "password", "username": username, "password": password, **more}
    with client_from(address) as client:
        return client.post(f"{url}/oauth2/token", form, auth=CLIENT, timeout=TIMEOUT)


def log_in(url: str, username: str, password: str, address: str = HERE) -> int:
    """Send the site's login form, and return the status of the answer: 302 for who is logged in."""
    with client_from(address) as browser:
        page = browser.get(f"{url}/admin/login/", timeout=TIMEOUT)
        (token,) = re.findall(r'name="csrfmiddlewaretoken" value="([^"]+)"', page.text)
        form = {"csrfmiddlewaretoken": token, "username": username, "password": password, "next": "/admin/"}
        answer = browser.post(page.url, form, timeout=TIMEOUT, allow_redirects=False)
    return answer.status_code


def without_date(answer: requests.Response) -> tuple[int, dict[str, str], bytes]:
    headers = {name: value for name, value in answer.headers.items() if name != "Date"}
    return answer.status_code, headers, answer.content


@contextmanager
def running(site: DocumentedSite) -> Iterator[DocumentedSite]:
    site.serve()
    try:
        yield site
    finally:
        site.stop()


@pytest.fixture(scope="module")
def locking(prepared: DocumentedSite, tmp_path_factory: pytest.TempPathFactory) -> DocumentedSite:
    """Return a site with the page's settings, as Django is asked without a proxy."""
    site = prepared.copy(tmp_path_factory.mktemp("locking") / "site")
    follow(site, "Passwords: django-axes")
    site.run("python manage.py migrate --verbosity 0")
    return site


@pytest.fixture
def site(locking: DocumentedSite, tmp_path: Path) -> DocumentedSite:
    return locking.copy(tmp_path / "site")


@pytest.mark.slow
class TestAxes:
    @pytest.mark.parametrize(
        ("settings", "locks_elsewhere"),
        [
            pytest.param("", False, id="user name and address"),
            pytest.param('AXES_LOCKOUT_PARAMETERS = ["username"]', True, id="user name"),
            pytest.param('DATABASES["default"]["ATOMIC_REQUESTS"] = True', False, id="atomic requests"),
        ],
    )
    def test_wrong_passwords_lock_the_token_endpoint_and_the_login_form(
        self, site: DocumentedSite, settings: str, locks_elsewhere: bool
    ) -> None:
        site.extend("mysite/settings.py", settings)
        with running(site):
            wrong = [ask_for_token(site.address, "admin", f"guess {number}") for number in range(LIMIT)]

            locked = ask_for_token(site.address, "admin", PASSWORDS["admin"])
            assert (locked.status_code, locked.json()) == (400, REFUSED)
            # Nobody can tell that it was the right one.
            assert {*map(repr, map(without_date, wrong))} == {repr(without_date(locked))}
            assert log_in(site.address, "admin", PASSWORDS["admin"]) == 429
            elsewhere = ask_for_token(site.address, "admin", PASSWORDS["admin"], ELSEWHERE)
            assert elsewhere.status_code == (400 if locks_elsewhere else 200)
            assert ask_for_token(site.address, "alice", PASSWORDS["alice"]).status_code == 200

            site.run("python manage.py axes_reset_username admin")
            assert ask_for_token(site.address, "admin", PASSWORDS["admin"]).status_code == 200
            assert log_in(site.address, "admin", PASSWORDS["admin"]) == 302

    def test_failures_of_the_login_form_lock_the_token_endpoint(self, site: DocumentedSite) -> None:
        with running(site):
            statuses = [log_in(site.address, "admin", f"guess {number}") for number in range(LIMIT)]
            assert statuses == [*[200] * (LIMIT - 1), 429]

            locked = ask_for_token(site.address, "admin", PASSWORDS["admin"])

            assert (locked.status_code, locked.json()) == (400, REFUSED)

    def test_fewer_do_not_lock(self, site: DocumentedSite) -> None:
        with running(site):
            for number in range(LIMIT - 1):
                assert ask_for_token(site.address, "alice", f"guess {number}").status_code == 400

            assert ask_for_token(site.address, "alice", PASSWORDS["alice"]).status_code == 200

    def test_what_is_refused_without_a_look_at_the_password_does_not_count(
        self, site: DocumentedSite
    ) -> None:
        url = f"{site.address}/oauth2/token"
        form = {"grant_type": "password", "username": "alice", "password": "guess"}
        with running(site):
            for _attempt in range(LIMIT):
                refused = requests.post(url, form, auth=("phone-app", "a guess"), timeout=TIMEOUT)
                assert (refused.status_code, refused.json()["error"]) == (401, "invalid_client")

            assert ask_for_token(site.address, "alice", PASSWORDS["alice"]).status_code == 200

    def test_users_are_known_by_another_name_than_username(
        self, locking: DocumentedSite, tmp_path: Path
    ) -> None:
        site = locking.copy(tmp_path / "site")
        (site.directory / "db.sqlite3").unlink()
        site.write("people/models.py", EMAIL_USER)
        site.extend("mysite/settings.py", 'INSTALLED_APPS += ["people"]\nAUTH_USER_MODEL = "people.Person"')
        site.run(
            "python manage.py makemigrations --verbosity 0 people\npython manage.py migrate --verbosity 0"
        )
        site.python(ACCOUNTS)
        alice, password = "alice@example.com", PASSWORDS["alice"]
        with running(site):
            assert ask_for_token(site.address, alice, password).status_code == 200
            for number in range(LIMIT):
                assert ask_for_token(site.address, alice, f"guess {number}").json() == REFUSED

            assert ask_for_token(site.address, alice, password).json() == REFUSED
            site.run(f"python manage.py axes_reset_username {alice}")
            assert ask_for_token(site.address, alice, password).status_code == 200

    def test_a_name_for_which_axes_has_no_room(self, site: DocumentedSite) -> None:
        """SQLite would take it; PostgreSQL and MariaDB would not, and the answer would be a server error."""
        name = "a" * 1_000
        with running(site):
            for _attempt in range(LIMIT + 1):
                refused = ask_for_token(site.address, name, "a guess")
                assert (refused.status_code, refused.json()) == (400, REFUSED)

        ((_address, kept, failures),) = [
            line.split("\t") for line in site.run("python manage.py axes_list_attempts").text.splitlines()
        ]
        assert (kept, int(failures)) == (name[:255], LIMIT)

    def test_axes_keeps_no_secret(self, site: DocumentedSite) -> None:
        names = {*TOKEN_REQUEST_PARAMETERS, ClientRequestBinder.parameter}
        assert names > NO_SECRETS
        secrets = {name: f"secret-{name}-of-{name}" for name in names - NO_SECRETS}
        secrets["client_secret"] = CLIENT[1]
        form = {"grant_type": "password", "username": "alice", "client_id": CLIENT[0], **secrets}
        settings = "AXES_ENABLE_ACCESS_FAILURE_LOG = True"
        site.extend("mysite/settings.py", settings)
        with running(site):
            for _attempt in range(LIMIT + 1):
                refused = requests.post(f"{site.address}/oauth2/token", form, timeout=TIMEOUT)
                assert (refused.status_code, refused.json()) == (400, REFUSED)

        kept = site.run("python manage.py dumpdata axes").text
        assert f"client_id={CLIENT[0]}" in kept  # it is there to be looked at
        printed = (site.directory / "server.log").read_text()
        assert "AXES: Locking out" in printed
        for text in (kept, printed):
            assert [name for name, value in secrets.items() if value in text] == []


@dataclass
class Proxy:
    """nginx as the page has it, in a directory of its own."""

    address: str
    directory: Path
    certificate: Path

    def client(self, address: str = HERE) -> requests.Session:
        client = client_from(address)
        client.verify = str(self.certificate)
        return client

    def flood(self, path: str, address: str = HERE, **headers: str) -> list[requests.Response]:
        """Send many requests with a secret that is wrong."""
        with self.client(address) as client:
            return [
                client.post(
                    f"{self.address}{path}",
                    {"grant_type": "client_credentials"},
                    auth=(CLIENT[0], "a guess"),
                    headers=headers,
                    timeout=TIMEOUT,
                )
                for _request in range(FLOOD)
            ]

    def logged(self) -> str:
        return "".join(file.read_text() for file in self.directory.glob("*.log"))


#: Around the file of the page: what a system's nginx.conf has.
_MAIN: Final = """
daemon off;
user {user};
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/main.log;
events {{}}
http {{
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxied;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    include {directory}/mysite.conf;
}}
"""


@contextmanager
def proxied(site: str, directory: Path) -> Iterator[Proxy]:
    """Run the page's nginx in front of a site, at addresses of this machine."""
    directory.mkdir()
    port = free_port()
    certificate = directory / "mysite.pem"
    certificate.write_bytes(certificate_for("localhost"))
    configuration = block("# Your own backends and APIs").text
    for shown, here in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "server_name example.com": "server_name localhost",
        "/etc/nginx/tls/mysite.key": str(certificate),
        "/etc/nginx/tls/mysite.pem": str(certificate),
        "/var/log/nginx/": f"{directory}/",
        "127.0.0.1:8000": site.removeprefix("http://"),
        "10.20.0.0/16": f"{OWN}/32",
    }.items():
        assert configuration.count(shown) >= 1, shown
        configuration = configuration.replace(shown, here)
    (directory / "mysite.conf").write_text(configuration)
    main = directory / "nginx.conf"
    main.write_text(_MAIN.format(directory=directory, user=getpass.getuser()))
    command = ["nginx", "-p", str(directory), "-c", str(main), "-e", str(directory / "start.log")]
    process = subprocess.Popen(command)
    proxy = Proxy(f"https://localhost:{port}", directory, certificate)
    try:
        deadline = time.monotonic() + TIMEOUT
        while not (directory / "nginx.pid").exists():
            assert process.poll() is None, proxy.logged()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield proxy
    finally:
        process.terminate()
        process.wait(TIMEOUT)


@pytest.fixture(scope="module")
def behind(locking: DocumentedSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DocumentedSite]:
    """Run a site with all of the page's settings."""
    site = locking.copy(tmp_path_factory.mktemp("behind") / "site")
    follow(site, "Requests: nginx")
    with running(site):
        yield site


@pytest.fixture
def proxy(behind: DocumentedSite, tmp_path: Path) -> Iterator[Proxy]:
    with proxied(behind.address, tmp_path / "nginx") as proxy:
        yield proxy


def requests_to(site: DocumentedSite, path: str) -> int:
    """Return how many requests to a path have reached Django."""
    return (site.directory / "server.log").read_text().count(f'"POST {path} ')


def wait_until(is_so: Callable[[], bool]) -> None:
    """Wait for what is about to be so.

    :raises AssertionError: it is not.
    """
    deadline = time.monotonic() + TIMEOUT
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nginx") is None, reason="nginx is not installed")
class TestNginx:
    def test_most_of_a_flood_does_not_reach_django(self, proxy: Proxy, behind: DocumentedSite) -> None:
        before = requests_to(behind, "/oauth2/token")

        answers = proxy.flood("/oauth2/token")

        passed = [answer for answer in answers if answer.status_code == 401]
        stopped = [answer for answer in answers if answer.status_code == 429]
        assert len(passed) + len(stopped) == FLOOD
        assert len(passed) < len(stopped)
        wait_until(lambda: requests_to(behind, "/oauth2/token") - before == len(passed))
        # As the page shows it.
        head, _blank, body = block("HTTP/1.1 429").text.partition("\n\n")
        for answer in stopped:
            assert answer.text == body.strip()
            for line in head.splitlines()[1:]:
                name, _colon, value = line.partition(": ")
                assert answer.headers[name] == value

    @pytest.mark.parametrize("path", ["/oauth2/token/", "/oauth2/%74oken", "/oauth2/./token"])
    def test_another_spelling_of_the_path_is_no_way_around(self, proxy: Proxy, path: str) -> None:
        host, _colon, port = proxy.address.removeprefix("https://").partition(":")
        context = ssl.create_default_context(cafile=proxy.certificate)
        statuses = Counter[int]()
        # It sends the path as it is.
        connection = http.client.HTTPSConnection(host, int(port), timeout=TIMEOUT, context=context)
        for _request in range(FLOOD):
            connection.request("POST", path)
            answer = connection.getresponse()
            answer.read()
            statuses[answer.status] += 1
        connection.close()

        assert statuses[429] > FLOOD / 2

    def test_others_are_not_affected(self, proxy: Proxy) -> None:
        assert proxy.flood("/oauth2/token")[-1].status_code == 429

        form = {"grant_type": "password", "username": "alice", "password": PASSWORDS["alice"]}
        answer = proxy.client(ELSEWHERE).post(f"{proxy.address}/oauth2/token", form, auth=CLIENT)
        assert answer.status_code == 200, answer.text
        # Nor is the same address elsewhere.
        page = proxy.client().get(f"{proxy.address}/oauth2/device/", allow_redirects=False)
        assert page.status_code == 302
        assert proxy.client().get(f"{proxy.address}/oauth2/.well-known/jwks.json").status_code == 200

    def test_own_addresses_are_not_limited(self, proxy: Proxy) -> None:
        assert {answer.status_code for answer in proxy.flood("/oauth2/introspect/", OWN)} == {401}

    def test_who_says_to_be_somebody_else_is_not_believed(self, proxy: Proxy, behind: DocumentedSite) -> None:
        headers = {"X-Forwarded-For": OWN, "X-Real-IP": OWN, "Forwarded": f"for={OWN}"}

        answers = proxy.flood("/oauth2/token", HERE, **headers)

        stopped = [answer for answer in answers if answer.status_code == 429]
        assert len(stopped) > FLOOD / 2
        # Nor does axes believe it.
        form = {"grant_type": "password", "username": "nobody", "password": "a guess"}
        with proxy.client(ELSEWHERE) as client:
            refused = client.post(f"{proxy.address}/oauth2/token", form, auth=CLIENT, headers=headers)
        assert refused.status_code == 400
        attempts = behind.run("python manage.py axes_list_attempts").text
        assert attempts.split("\t")[:2] == [ELSEWHERE, "nobody"]
        behind.run("python manage.py axes_reset")

    def test_axes_locks_the_address_of_the_client_and_not_that_of_nginx(
        self, proxy: Proxy, behind: DocumentedSite
    ) -> None:
        def ask(address: str, password: str) -> int:
            form = {"grant_type": "password", "username": "alice", "password": password}
            with proxy.client(address) as client:
                return client.post(f"{proxy.address}/oauth2/token", form, auth=CLIENT).status_code

        assert [ask(ELSEWHERE, "a guess") for _attempt in range(LIMIT)] == [400] * LIMIT

        assert [ask(ELSEWHERE, PASSWORDS["alice"]), ask(HERE, PASSWORDS["alice"])] == [400, 200]
        behind.run("python manage.py axes_reset")

    @pytest.mark.parametrize("path", ["/oauth2/device/", "/admin/login/"])
    def test_users_are_told_on_a_page(self, proxy: Proxy, path: str) -> None:
        stopped = proxy.flood(path)[-1]

        assert stopped.status_code == 429
        assert stopped.headers["Content-Type"] == "text/html"

    def test_libraries_raise_the_error_that_it_is(self, proxy: Proxy) -> None:
        assert proxy.flood("/oauth2/token")[-1].status_code == 429
        url, user = f"{proxy.address}/oauth2/token", {"username": "alice", "password": PASSWORDS["alice"]}
        certificate = str(proxy.certificate)
        authlib = AuthlibSession(*CLIENT)
        authlib.trust_env = False
        requests_oauthlib = OAuth2Session(client=LegacyApplicationClient(CLIENT[0]))
        requests_oauthlib.trust_env = False

        def asked_with_authlib() -> str:
            with pytest.raises(OAuthError) as raised:
                authlib.fetch_token(url, grant_type="password", verify=certificate, **user)
            return str(raised.value.error)

        def asked_with_requests_oauthlib() -> str:
            with pytest.raises(OAuthlibError) as raised:
                requests_oauthlib.fetch_token(url, auth=CLIENT, verify=certificate, **user)
            return str(raised.value.error)

        for ask in (asked_with_authlib, asked_with_requests_oauthlib):
            errors = set()
            for _attempt in range(FLOOD):
                # One that is let through in the meantime gets its token.
                with suppress(pytest.fail.Exception):
                    errors.add(ask())
                    break
            assert errors == {"temporarily_unavailable"}

    def test_the_logs_have_no_secrets(self, tmp_path: Path) -> None:
        """Nor where something goes wrong: nobody is behind this one."""
        secret = "a-secret-that-nobody-may-read"
        headers = {"Referer": f"https://app.example/?code={secret}", "Cookie": f"sessionid={secret}"}
        with proxied(f"http://127.0.0.1:{free_port()}", tmp_path / "nginx") as proxy:
            with proxy.client() as client:
                for path in ("/oauth2/token", "/oauth2/authorize/"):
                    statuses = set()
                    for _request in range(FLOOD):
                        answer = client.post(
                            f"{proxy.address}{path}?password={secret}",
                            {"password": secret, "client_secret": secret},
                            headers=headers,
                            auth=("phone-app", secret),
                            timeout=TIMEOUT,
                        )
                        statuses.add(answer.status_code)
                    assert statuses == ({502, 429} if path == "/oauth2/token" else {502})
            logged = proxy.logged()

        assert '"POST /oauth2/token" 429 ' in logged
        assert '"POST /oauth2/authorize/" 502 ' in logged
        assert secret not in logged


@pytest.mark.django_db
def test_nginx_limits_wherever_the_secret_of_a_client_can_be_guessed(client: Client) -> None:
    """What refuses a client's secret is in the page's pattern, and nothing else is."""
    make_application("opaque")
    wrong = "Basic " + base64.b64encode(b"opaque:a guess").decode()
    form = {"token": "x", "grant_type": "client_credentials"}
    (pattern,) = re.findall(r"location ~ (\S*token\S*) \{", block("# Your own backends and APIs").text)
    paths = {f"/oauth2/{each.pattern}" for each in urlpatterns if "<" not in str(each.pattern)}

    refusing = set()
    for path in paths:
        answer = client.post(path, form, headers={"Authorization": wrong})
        if answer.status_code == 401 and answer.json().get("error") == "invalid_client":
            refusing.add(path)

    assert "/oauth2/token" in refusing
    assert refusing == {path for path in paths if re.search(pattern, path)}
