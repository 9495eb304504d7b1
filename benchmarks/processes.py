"""The processes and databases of the contenders, and the keys they share."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from tests.helpers.redis_server import PROGRAM, redis_server
from tests.helpers.servers import send, serve

_KEYS: dict[str, Any] = {
    "RS256": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "ES256": ec.generate_private_key(ec.SECP256R1()),
}


class Process:
    """A worker; see ``benchmarks.worker``."""

    def __init__(self, environment: dict[str, str], number: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.worker", str(number)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._read()

    def ask(self, command: str, **arguments: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, arguments]) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        return json.loads(self._read())

    def call(self, command: str, **arguments: Any) -> Any:
        self.ask(command, **arguments)
        return self.answer()

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _read(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"A process ended with {self._process.wait()}.")
        return line


class Site:
    """The contenders' sites on one kind of database, each started when it is first asked for.

    :param toolkit: a directory with a django-oauth-toolkit in place of the one that is installed.
    """

    def __init__(self, database: str, toolkit: Path | None = None) -> None:
        self.database = database
        self._toolkit = toolkit
        self._stack = ExitStack()
        self._processes: dict[tuple[str, bool, int], Process] = {}
        self._servers: dict[str, int] = {}
        self._made: set[str] = set()
        self._redis = ""

    def __enter__(self) -> Self:
        self._directory = Path(self._stack.enter_context(tempfile.TemporaryDirectory()))
        self._jwks_url = self._stack.enter_context(_keys(self._directory))
        if redis_problem() is None:
            self._redis = self._stack.enter_context(redis_server()).url
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def process(self, contender: str, hashes_slowly: bool = False, number: int = 0) -> Process:
        """Return a process of a contender."""
        key = (contender, hashes_slowly, number)
        if key not in self._processes:
            environment = self._environment(contender, hashes_slowly)
            if environment["BENCHMARK_NAME"] not in self._made:
                self._make_database(environment)
                self._made.add(environment["BENCHMARK_NAME"])
            process = Process(environment, number)
            self._stack.callback(process.close)
            process.call("migrate")
            self._processes[key] = process
        return self._processes[key]

    def end(self, contender: str, number: int) -> None:
        """End a process before the others."""
        self._processes.pop((contender, False, number)).close()

    def server(self, contender: str) -> int:
        """Return the port of a gunicorn with the site of a contender."""
        if contender not in self._servers:
            self.process(contender)
            self._servers[contender] = self._stack.enter_context(_gunicorn(self._environment(contender)))
        return self._servers[contender]

    def _environment(self, contender: str, hashes_slowly: bool = False) -> dict[str, str]:
        name = "".join(filter(str.isalnum, contender)).lower()
        if self._toolkit is not None:
            name += f"_{self._toolkit.name}"
        environment = {
            **os.environ,
            # Others may measure on the same server.
            "BENCHMARK_NAME": f"benchmark_{os.getpid()}_{name}{'_slow' if hashes_slowly else ''}",
            "BENCHMARK_CONTENDER": contender,
            "BENCHMARK_DATABASE": self.database,
            "BENCHMARK_DIRECTORY": str(self._directory),
            "BENCHMARK_JWKS_URL": self._jwks_url,
            "DJANGO_SETTINGS_MODULE": "benchmarks.settings",
            "PYTHONWARNINGS": "ignore",
        }
        if self._toolkit is not None:
            environment["PYTHONPATH"] = os.pathsep.join([str(self._toolkit), *sys.path])
        if self._redis:
            environment["BENCHMARK_REDIS"] = self._redis
        if hashes_slowly:
            environment["BENCHMARK_HASHER"] = "django.contrib.auth.hashers.PBKDF2PasswordHasher"
        return environment

    def _make_database(self, environment: dict[str, str]) -> None:
        if self.database == "postgresql":
            name = environment["BENCHMARK_NAME"]
            _execute(f"DROP DATABASE IF EXISTS {name}")
            _execute(f"CREATE DATABASE {name}")
            self._stack.callback(_execute, f"DROP DATABASE {name} WITH (FORCE)")
        if self.database == "mariadb":
            name = environment["BENCHMARK_NAME"]
            _execute_on_mariadb(f"DROP DATABASE IF EXISTS {name}")
            _execute_on_mariadb(f"CREATE DATABASE {name} CHARACTER SET utf8mb4")
            self._stack.callback(_execute_on_mariadb, f"DROP DATABASE {name}")
        contender = environment["BENCHMARK_CONTENDER"]
        if (
            contender.startswith(("oauth_binding", "a bare view"))
            and not (self._directory / "keys.json").exists()
        ):
            create = [sys.executable, "manage.py", "signingkeys", "create", "--announce-for", "0"]
            for algorithm in ("ES256", "EdDSA"):
                command = [*create, "--algorithm", algorithm]
                subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)


def postgresql_problem() -> str | None:
    """Return why PostgreSQL can't be measured, or None."""
    try:
        _execute("SELECT 1")
    except (ImportError, RuntimeError) as error:
        return str(error).strip()
    return None


def redis_problem() -> str | None:
    """Return why proofs can't be noted in Redis, or None."""
    if PROGRAM is None:
        return "there is no redis-server"
    return None if find_spec("django_redis") else "the package django-redis is not installed"


def mariadb_problem() -> str | None:
    """Return why MariaDB can't be measured, or None."""
    try:
        _execute_on_mariadb("SELECT 1")
    except (ImportError, RuntimeError) as error:
        return str(error).strip()
    return None


def _execute_on_mariadb(statement: str) -> None:
    import MySQLdb  # type: ignore[import-untyped]

    try:
        connection = MySQLdb.connect(
            host=os.environ.get("MYSQL_HOST", "127.0.0.1"),
            user=os.environ.get("MYSQL_USER", "root"),
            password=os.environ.get("MYSQL_PASSWORD", ""),
        )
        with closing(connection), closing(connection.cursor()) as cursor:
            cursor.execute(statement)
    except MySQLdb.Error as error:
        raise RuntimeError(str(error)) from error


def _execute(statement: str) -> None:
    import psycopg

    address = {
        "host": os.environ.get("PGHOST", "127.0.0.1"),
        "user": os.environ.get("PGUSER", "postgres"),
        "password": os.environ.get("PGPASSWORD", ""),
    }
    try:
        connection = psycopg.connect(
            psycopg.conninfo.make_conninfo(**address), dbname="postgres", autocommit=True
        )
        with connection:
            connection.execute(statement.encode())
    except psycopg.Error as error:
        raise RuntimeError(str(error)) from error


@contextmanager
def _keys(directory: Path) -> Iterator[str]:
    """Write the private keys to files, and serve the public ones; yield the address of their JWKS."""
    jwks = []
    for algorithm, key in _KEYS.items():
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (directory / f"{algorithm}.pem").write_bytes(private)
        (directory / f"{algorithm}.pub").write_bytes(public)
        jwk = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
        jwks.append({**jwk, "kid": algorithm, "key_ops": ["verify"]})
    body = json.dumps({"keys": jwks}).encode()
    with serve(lambda handler: send(handler, body)) as address:
        yield address


@contextmanager
def _gunicorn(environment: dict[str, str]) -> Iterator[int]:
    """Serve a site with two workers, and yield the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    options = ["--workers", "2", "--threads", "2", "--keep-alive", "75", "--graceful-timeout", "1"]
    application = "django.core.wsgi:get_wsgi_application()"
    server = subprocess.Popen(
        [sys.executable, "-m", "gunicorn", *options, "--bind", f"127.0.0.1:{port}", application],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait()
