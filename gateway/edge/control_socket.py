"""Where the control socket is, and how to get to it: a file that only its owner may connect to.

Rules
-----
* The socket has mode 0600 before anybody can connect, in a folder that nobody else may write to.
* Who holds the lock beside it owns it: a socket found then was left by a gateway that died, and is removed. Nothing
  else is ever removed, neither a file nor a link.
* A path longer than a socket's address may be (107 bytes) is reached through its folder's descriptor (Linux).
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from gateway.edge.journal.lock import locked
from gateway.errors import ControlBlocked, JournalLocked

_LONGEST_ADDRESS = 107  # bytes of sun_path without its final NUL (unix(7))


@contextmanager
def reachable(path: Path) -> Iterator[str]:
    """Yield an address that a socket can be given for this path, however long that is, until left.

    Raises:
        OSError: its folder cannot be opened.
    """
    if len(os.fsencode(path)) <= _LONGEST_ADDRESS:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


@contextmanager
def listening(path: Path) -> Iterator[socket.socket]:
    """Listen at this path until left; the file is gone afterwards.

    Raises:
        ControlBlocked: another gateway listens there, something that is no socket stands there, or the folder is not
            private.
    """
    with ExitStack() as stack:
        try:
            listener = _open(path, stack)
        except JournalLocked as error:
            raise ControlBlocked(f"{error}: another gateway listens there") from error
        except OSError as error:
            raise ControlBlocked(f"{path} cannot be opened: {error.strerror or error}") from error
        yield listener


def _open(path: Path, stack: ExitStack) -> socket.socket:
    stack.enter_context(locked(path))
    _judge_folder(path.parent)
    _remove_stale(path)
    address = stack.enter_context(reachable(path))
    listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    listener.bind(address)
    stack.callback(Path(address).unlink, missing_ok=True)
    Path(address).chmod(0o600)  # nobody can connect before listen()
    listener.settimeout(0)
    listener.listen()
    return listener


def _judge_folder(folder: Path) -> None:
    found = folder.stat()
    if found.st_mode & stat.S_IWOTH:
        raise ControlBlocked(f"{folder} may be written to by everybody, who could then stand in for us: chmod o-w it")


def _remove_stale(path: Path) -> None:
    """Remove the socket of a gateway that died; we hold the lock, so nobody listens there any more."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise ControlBlocked(f"{path} is not a socket: move it away")
    path.unlink()
