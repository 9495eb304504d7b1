"""PostgreSQL servers and pgbouncer, started from Debian's packages on ports of this machine."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.cluster.machine import TIMEOUT, servers_user, wait_until
from tests.helpers.ports import free_port

HOST: Final = "127.0.0.1"

#: Neither PostgreSQL nor pgbouncer runs as root.
USER: Final = servers_user("postgres")

_PROGRAMS: Final = next(
    (
        path.parent
        for path in sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), reverse=True)
        if (path.parent / "pg_basebackup").exists()
    ),
    None,
)

_PGBOUNCER: Final = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

#: Which of Debian's packages are missing; empty if none is.
MISSING: Final = ", ".join(
    name for name, program in (("postgresql", _PROGRAMS), ("pgbouncer", _PGBOUNCER)) if program is None
)

#: Small and quick: the machine does not crash, only the processes do.
_SETTINGS: Final = {
    "listen_addresses": HOST,
    "max_connections": "100",
    "shared_buffers": "32MB",
    "fsync": "off",
    "dynamic_shared_memory_type": "mmap",  # what is killed leaves nothing outside its folder
    "wal_keep_size": "256MB",
    "log_min_messages": "log",
}


@dataclass
class Server:
    """A PostgreSQL server that takes all connections from this machine."""

    folder: Path
    port: int
    _process: subprocess.Popen[bytes]

    @property
    def log(self) -> str:
        """What it has logged."""
        return (self.folder / "log").read_text()

    def ask(self, statement: str, *parameters: Any, database: str = "postgres") -> Any:
        """Execute a statement in autocommit, and return the first value of its first row, or None."""
        import psycopg  # the suite runs without it, too

        where = f"host={HOST} port={self.port} user=postgres dbname={database}"
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters or None)
            row = cursor.fetchone() if cursor.description else None
        return None if row is None else row[0]

    def is_ready(self) -> bool:
        arguments = ["pg_isready", "-q", "-h", HOST, "-p", str(self.port)]
        return subprocess.run(arguments, check=False).returncode == 0

    def position(self) -> str:
        """Return where the log of the primary is; a replica is behind it until it has replayed that."""
        return str(self.ask("SELECT pg_current_wal_lsn()"))

    def catch_up(self, primary: Server) -> None:
        """Wait until this replica has replayed all that was committed on its primary by now."""
        position = primary.position()
        wait_until(
            lambda: self.ask("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", position),
            f"a replica that replays {position}:\n{self.log}",
        )

    def promote(self) -> None:
        """Make this replica the primary; when this returns, it takes writes."""
        assert self.ask("SELECT pg_promote(true, %s)", TIMEOUT)

    def kill(self) -> None:
        """End it as a machine ends that loses its power: nobody is told, and nothing is finished."""
        # The postmaster must not start others meanwhile.
        self._process.send_signal(signal.SIGSTOP)
        children = subprocess.run(
            ["pgrep", "-P", str(self._process.pid)], check=False, capture_output=True, text=True
        ).stdout
        for pid in [*map(int, children.split()), self._process.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
        # What tells a server that another one is at its data is the kernel's, and would stay.
        shared = re.fullmatch(
            r"\s*\d+\s+(\d+)", (self.folder / "data/postmaster.pid").read_text().split("\n")[6]
        )
        assert shared is not None
        subprocess.run(["ipcrm", "-m", shared[1]], check=True)

    def hear_nothing(self) -> None:
        """Have this replica lose its connection to the primary."""
        self.ask("ALTER SYSTEM SET primary_conninfo = ''")
        self.ask("SELECT pg_reload_conf()")
        wait_until(
            lambda: self.ask("SELECT count(*) FROM pg_stat_wal_receiver") == 0, "a replica that hears nothing"
        )

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)  # a fast shutdown
            self._process.wait(timeout=TIMEOUT)


@contextmanager
def empty_server(folder: Path, **settings: str) -> Iterator[Server]:
    """Run an empty server.

    :param folder: its own; it is made.
    :param settings: those of PostgreSQL that are not as always.
    """
    _make(folder)
    _run("initdb", "--pgdata", folder / "data", "--auth=trust", "--username=postgres", "--no-sync",
         "--encoding=UTF8", "--locale=C.UTF-8")  # fmt: skip
    with _running(folder, settings) as server:
        yield server


@contextmanager
def copied_server(folder: Path, origin: Server, **settings: str) -> Iterator[Server]:
    """Run a server that has all that another one has had when it was copied.

    :param folder: its own; it is made.
    :param settings: those of PostgreSQL that are not as always.
    """
    _copy(folder, origin)
    with _running(folder, settings) as server:
        yield server


@contextmanager
def replica_server(folder: Path, primary: Server, **settings: str) -> Iterator[Server]:
    """Run a streaming replica of a server, which answers reads.

    :param folder: its own; it is made.
    :param settings: those of PostgreSQL that are not as always.
    """
    _copy(folder, primary, "--write-recovery-conf")
    with _running(folder, settings) as server:
        yield server


def _copy(folder: Path, origin: Server, *options: str) -> None:
    _make(folder)
    _run("pg_basebackup", "--pgdata", folder / "data", "--host", HOST, "--port", str(origin.port),
         "--username=postgres", "--checkpoint=fast", "--no-sync", *options)  # fmt: skip


@contextmanager
def _running(folder: Path, settings: dict[str, str]) -> Iterator[Server]:
    port = free_port()
    options = {**_SETTINGS, "port": str(port), "unix_socket_directories": str(folder), **settings}
    arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    process = _start(folder, [_program("postgres"), "-D", folder / "data", *arguments])
    server = Server(folder, port, process)
    try:
        wait_until(lambda: process.poll() is not None or server.is_ready(), f"PostgreSQL:\n{server.log}")
        assert process.poll() is None, server.log
        yield server
    finally:
        server.stop()


#: Fewer connections to the server than workers have to it, so that a worker gets now this, now that one.
POOL_SIZE: Final = 3


@dataclass(frozen=True)
class Pool:
    """A pgbouncer in transaction mode: a connection is a client's for one transaction."""

    port: int
    _folder: Path
    _process: subprocess.Popen[bytes]

    def lead_to(self, server: Server) -> None:
        """Let its connections be to another server from now on, without a restart."""
        _write_pool(self._folder, self.port, server)
        self._process.send_signal(signal.SIGHUP)


@contextmanager
def pgbouncer(folder: Path, server: Server) -> Iterator[Pool]:
    """Run a pgbouncer.

    :param folder: its own; it is made.
    :param server: what its connections lead to.
    """
    _make(folder)
    port = free_port()
    _write_pool(folder, port, server)
    process = _start(folder, [_PGBOUNCER, folder / "pgbouncer.ini"])
    try:
        wait_until(lambda: process.poll() is not None or _answers(port), (folder / "log").read_text())
        assert process.poll() is None, (folder / "log").read_text()
        yield Pool(port, folder, process)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=TIMEOUT)


def _write_pool(folder: Path, port: int, server: Server) -> None:
    (folder / "pgbouncer.ini").write_text(
        f"""[databases]
* = host={HOST} port={server.port} user=postgres
[pgbouncer]
listen_addr = {HOST}
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {POOL_SIZE}
server_login_retry = 1
"""
    )


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex((HOST, port)) == 0


def _make(folder: Path) -> None:
    folder.mkdir(parents=True)
    if USER is not None:
        shutil.chown(folder, USER)


def _program(name: str) -> Path:
    assert _PROGRAMS is not None
    return _PROGRAMS / name


def _run(name: str, *arguments: str | Path) -> None:
    done = subprocess.run(
        [_program(name), *arguments], user=USER, check=False, capture_output=True, text=True, cwd="/"
    )
    assert done.returncode == 0, done.stderr


def _start(folder: Path, arguments: list[Any]) -> subprocess.Popen[bytes]:
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            arguments, user=USER, cwd="/", stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
