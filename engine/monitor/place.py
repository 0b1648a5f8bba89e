"""Where the sockets of running engines lie, and that nobody but their user can open them."""

import os
import socket
import stat
import struct
import sys
import tempfile
from pathlib import Path

from prefetch_scheduler.policies.errors import PrefetchError

PROTOCOL = 1
"""What the two ends of a monitor's socket speak; another number is another language."""
AUTO = "auto"
SUFFIX = ".sock"
LONGEST = 103
"""Bytes that a socket's path may have on every system."""
PROBE_S = 0.5
"""Real seconds for which an old socket may keep its finder waiting."""


class MonitorError(PrefetchError):
    """A monitor's socket cannot be opened, or does not answer."""


def own_folder() -> Path:
    """The folder of this user's sockets that `auto` uses; it need not be there yet."""
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    if given and _is_private(Path(given)):
        return Path(given) / "prefetch-scheduler"
    return Path(tempfile.gettempdir()) / f"prefetch-scheduler-{os.getuid()}"


def _is_private(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return (
        stat.S_ISDIR(found.st_mode)
        and found.st_uid == os.geteuid()
        and not stat.S_IMODE(found.st_mode) & 0o077
    )


def private_folder(folder: Path) -> None:
    """Make the folder, or see that only its user can look into it.

    Raises:
        MonitorError: it cannot be made, is no folder, or is open to others.
    """
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise MonitorError(f"{folder}: cannot be made: {error.strerror or error}") from None
    if not _is_private(folder):
        raise MonitorError(
            f"{folder}: expected a folder of this user that nobody else can look into;"
            f" run chmod 700 on it, or name another one in monitor.socket"
        )


def socket_path(setting: str, engine: str) -> Path:
    """The path that a setting of `monitor.socket` stands for.

    Args:
        setting: `auto` or a path.
        engine: the engine's name, which tells several of a process apart.
    """
    if setting == AUTO:
        return own_folder() / f"{os.getpid()}-{engine}{SUFFIX}"
    return Path(os.path.abspath(os.path.expanduser(setting)))


def listening(path: Path) -> socket.socket:
    """A socket at `path` that only this user can open, in a folder that only they can look into.

    A socket that a dead process has left there is replaced.

    Raises:
        MonitorError: the folder is open to others, the path is taken or too long, or the system has
            no such sockets.
    """
    if not hasattr(socket, "AF_UNIX"):
        raise MonitorError("this system has no Unix sockets; set monitor.socket to off")
    if len(os.fsencode(path)) > LONGEST:
        raise MonitorError(f"{path}: longer than the {LONGEST} bytes that a socket's path may have")
    private_folder(path.parent)
    _make_way(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        made.bind(os.fspath(path))
        path.chmod(0o600)
        made.listen(16)
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise MonitorError(f"{path}: cannot be opened: {error.strerror or error}") from None
    return made


def _make_way(path: Path) -> None:
    """Remove a socket that nobody listens on any more.

    Raises:
        MonitorError: something else is there, or somebody does.
    """
    try:
        found = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(found.st_mode):
        raise MonitorError(f"{path}: is there, and is no socket; name another path")
    if is_answered(path):
        raise MonitorError(f"{path}: another engine listens there; name another path")
    path.unlink(missing_ok=True)


def is_answered(path: Path) -> bool:
    """Whether a process listens on the socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(PROBE_S)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except OSError:
            return True  # busy, or not ours to judge
    return True


def forget_dead(folder: Path) -> None:
    """Remove the sockets of processes that are not there any more; never raises."""
    for path in folder.glob(f"*{SUFFIX}"):
        process = path.name.partition("-")[0]
        if process.isdecimal() and not _lives(int(process)):
            try:
                if stat.S_ISSOCK(path.lstat().st_mode):
                    path.unlink()
            except OSError:
                continue


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        return True
    return True


def peer_is_ours(connected: socket.socket) -> bool:
    """Whether the process at the other end is this user's; True too where the system cannot say,
    since then the folder and the socket's own mode are what keeps others out.
    """
    try:
        if sys.platform.startswith("linux"):
            size = struct.calcsize("3i")
            raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
            _, user, _ = struct.unpack("3i", raw)
        elif sys.platform == "darwin":
            raw = connected.getsockopt(0, 1, 76)  # SOL_LOCAL, LOCAL_PEERCRED: struct xucred
            user = struct.unpack_from("2I", raw)[1]
        else:
            return True
    except OSError:
        return False
    return bool(user == os.geteuid())
