"""Three MariaDB nodes in one Galera cluster, started from Debian's packages on ports of this machine.

    python -m tests.cluster.galera_nodes COMMAND ...

runs a command beside such a cluster, and tells it by ``CONCURRENCY_NODES`` where the nodes are.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.cluster.machine import TIMEOUT, cluster_folder, servers_user, wait_until
from tests.helpers.ports import free_port

HOST: Final = "127.0.0.1"

NUMBER: Final = 3

#: MariaDB does not run as root.
USER: Final = servers_user("mysql")

_PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin"
_SERVER: Final = shutil.which("mariadbd", path=_PATH)
_INSTALL: Final = shutil.which("mariadb-install-db", path=_PATH)
_PROVIDER: Final = Path("/usr/lib/galera/libgalera_smm.so")

#: Which of Debian's packages are missing; empty if none is.
MISSING: Final = ", ".join(
    name
    for name, is_there in (
        ("mariadb-server", _SERVER and _INSTALL),
        ("galera-4", _PROVIDER.exists()),
        ("rsync", shutil.which("rsync")),
    )
    if not is_there
)

#: Small and quick: the machine does not crash, only the processes do.
_SETTINGS: Final = {
    "bind_address": HOST,
    "character_set_server": "utf8mb4",
    "innodb_buffer_pool_size": "64M",
    "innodb_log_file_size": "16M",
    "innodb_flush_log_at_trx_commit": "2",
    # What Galera asks for
    "binlog_format": "ROW",
    "innodb_autoinc_lock_mode": "2",
    "wsrep_on": "ON",
    "wsrep_provider": str(_PROVIDER),
    "wsrep_cluster_name": "oauth_binding",
    "wsrep_sst_method": "rsync",
}

# The servers' user can't write to that of who runs the tests.
_ENVIRONMENT: Final = {name: value for name, value in os.environ.items() if name != "TMPDIR"}


@dataclass
class Node:
    """A server that takes reads and writes, as the others do."""

    folder: Path
    port: int
    group_port: int
    _process: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> str:
        """The end of what it has logged."""
        return (self.folder / "log").read_text(errors="replace")[-8_000:]

    @contextmanager
    def connection(self) -> Iterator[Any]:
        """Connect to it as its root, in autocommit."""
        import MySQLdb  # type: ignore[import-untyped]  # the suite runs without it, too

        connection = MySQLdb.connect(host=HOST, port=self.port, user="root", connect_timeout=5)
        try:
            connection.autocommit(True)
            yield connection
        finally:
            connection.close()

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Execute a statement, and return the rows."""
        with self.connection() as connection:
            cursor = connection.cursor()
            cursor.execute(statement)
            return list(cursor.fetchall())

    def status(self, name: str) -> str:
        """Return one of its variables of status; empty if it does not answer."""
        import MySQLdb

        with suppress(MySQLdb.OperationalError):
            for _name, value in self.ask(f"SHOW GLOBAL STATUS LIKE '{name}'"):
                return str(value)
        return ""

    def start(self, *, of: int) -> None:
        """Start it, and wait until it takes requests in a cluster of so many nodes.

        :param of: how many there are with this one; the first begins the cluster.
        """
        arguments = ["--wsrep-new-cluster"] if of == 1 else []
        self._process = _start(self.folder, arguments)
        try:
            self.wait_for_cluster(of)
        except TimeoutError:
            self.stop()
            raise

    def wait_for_cluster(self, size: int) -> None:
        """Wait until it takes requests in a cluster of so many nodes.

        :raises TimeoutError: it does not, for a minute, or has ended; with its log.
        """

        def is_ready() -> bool:
            if self._process is None or self._process.poll() is not None:
                raise TimeoutError(f"the node has ended:\n{self.log}")
            return (
                self.status("wsrep_ready") == "ON"
                and self.status("wsrep_local_state_comment") == "Synced"
                and self.status("wsrep_cluster_size") == str(size)
            )

        try:
            wait_until(is_ready, "a node that is ready")
        except TimeoutError as error:
            raise TimeoutError(f"{error}:\n{self.log}") from None

    def kill(self) -> None:
        """End it as a machine ends that loses its power: nobody is told, and nothing is finished."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def come_back(self) -> None:
        """Start it again after ``kill`` as Debian's service does: it knows up to where it has heard."""
        recovered = subprocess.run(
            _command(self.folder, ["--wsrep-recover", "--skip-log-error"]),
            check=True, capture_output=True, text=True, cwd="/", env=_ENVIRONMENT,
        ).stderr  # fmt: skip
        position = re.search(r"WSREP: Recovered position: (\S+)", recovered)
        assert position is not None, recovered
        self._process = _start(self.folder, [f"--wsrep-start-position={position[1]}"])
        self.wait_for_cluster(NUMBER)

    def stop(self) -> None:
        """End it, and what it has started to copy its data, whatever state they are in."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=TIMEOUT)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)


@contextmanager
def galera_cluster(folder: Path) -> Iterator[list[Node]]:
    """Run an empty cluster.

    :param folder: its own, which is there, and where the user of the servers can go.
    """
    nodes = [Node(folder / f"node{number}", free_port(), free_port()) for number in range(NUMBER)]
    with ExitStack() as stack:
        for number, node in enumerate(nodes):
            _make(node, [other.group_port for other in nodes])
            stack.callback(node.stop)
            # The others copy what the first one has.
            node.start(of=number + 1)
        for node in nodes:
            node.wait_for_cluster(NUMBER)
        yield nodes


def _make(node: Node, group_ports: list[int]) -> None:
    node.folder.mkdir()
    (node.folder / "data").mkdir()
    options = {
        "gmcast.listen_addr": f"tcp://{HOST}:{node.group_port}",
        "ist.recv_addr": f"{HOST}:{free_port()}",
        "gcache.size": "64M",
    }
    joined = ";".join(f"{name}={value}" for name, value in options.items())
    settings = {
        **_SETTINGS,
        "datadir": str(node.folder / "data"),
        "socket": str(node.folder / "socket"),
        "log_error": str(node.folder / "log"),
        "port": str(node.port),
        "wsrep_cluster_address": "gcomm://" + ",".join(f"{HOST}:{port}" for port in group_ports),
        "wsrep_node_name": node.folder.name,
        "wsrep_node_address": f"{HOST}:{node.group_port}",
        "wsrep_sst_receive_address": f"{HOST}:{free_port()}",
        "wsrep_provider_options": f'"{joined}"',
    }
    if USER is not None:
        settings["user"] = USER
    lines = [f"{name} = {value}" for name, value in settings.items()]
    (node.folder / "my.cnf").write_text("\n".join(["[mysqld]", *lines, ""]))
    (node.folder / "log").touch()
    if USER is not None:
        for path in (node.folder, *node.folder.iterdir()):
            shutil.chown(path, USER)
    if node.group_port == group_ports[0]:
        assert _INSTALL is not None
        user = [] if USER is None else [f"--user={USER}"]
        done = subprocess.run(
            [_INSTALL, "--no-defaults", f"--datadir={node.folder / 'data'}", "--skip-test-db",
             "--auth-root-authentication-method=normal", *user],
            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd="/",
            env=_ENVIRONMENT,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout


def _command(folder: Path, arguments: list[str]) -> list[str]:
    assert _SERVER is not None
    return [_SERVER, f"--defaults-file={folder / 'my.cnf'}", *arguments]


def _start(folder: Path, arguments: list[str]) -> subprocess.Popen[bytes]:
    # What it starts in its turn is in its session, and ends with it.
    return subprocess.Popen(
        _command(folder, arguments), cwd="/", env=_ENVIRONMENT, start_new_session=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


def main() -> int:
    # The nodes end with it, also where it is told to.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    if MISSING:
        sys.exit(f"needs Debian's packages: {MISSING}")
    with cluster_folder(USER) as folder, galera_cluster(folder) as nodes:
        ports = ",".join(str(node.port) for node in nodes)
        return subprocess.run(
            sys.argv[1:], check=False, env={**os.environ, "CONCURRENCY_NODES": ports}
        ).returncode


if __name__ == "__main__":
    sys.exit(main())
