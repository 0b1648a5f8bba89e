"""Asks a running engine through its monitor's socket."""

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from prefetch_scheduler.engine.monitor import place
from prefetch_scheduler.engine.monitor.place import MonitorError
from prefetch_scheduler.policies.errors import InvalidPrediction, UnknownKind

PATIENCE_S = 10.0
"""Real seconds that an engine may take to answer."""
LARGEST = 64 * 1024 * 1024
"""Bytes of a larger answer are not taken."""


class MonitorClient:
    """A connection to one engine.

    Args:
        path: the socket.

    Raises:
        MonitorError: nobody listens there, or it is another user's.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._rest = b""
        try:
            found = self.path.lstat()
        except OSError as error:
            raise MonitorError(f"{path}: cannot be opened: {error.strerror or error}") from None
        if not stat.S_ISSOCK(found.st_mode):
            raise MonitorError(f"{path}: is no socket")
        if found.st_uid != os.geteuid():
            raise MonitorError(f"{path}: belongs to another user")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(PATIENCE_S)
        try:
            self._socket.connect(os.fspath(path))
            if not place.peer_is_ours(self._socket):
                raise MonitorError(f"{path}: another user listens there")
        except ConnectionRefusedError:
            self._socket.close()
            raise MonitorError(f"{path}: no engine listens there any more") from None
        except OSError as error:
            self._socket.close()
            raise MonitorError(f"{path}: cannot be opened: {error.strerror or error}") from None
        except MonitorError:
            self._socket.close()
            raise

    def ask(self, do: str, **fields: Any) -> dict[str, Any]:
        """The engine's answer to one request.

        Raises:
            InvalidPrediction: there can be no such resource.
            MonitorError: it refuses, has ended, does not answer in time, or speaks otherwise.
        """
        try:
            self._socket.sendall(json.dumps({"do": do, **fields}).encode() + b"\n")
            line = self._line()
        except TimeoutError:
            raise MonitorError(f"{self.path}: no answer within {PATIENCE_S:g} s") from None
        except OSError:
            raise MonitorError(f"{self.path}: the engine has ended") from None
        try:
            answer = json.loads(line)
            if answer["ok"] is True:
                result: dict[str, Any] = answer["result"]
                return result
            error, kind = str(answer["error"]), answer.get("type")
        except (ValueError, KeyError, TypeError):
            raise MonitorError(f"{self.path}: does not speak as an engine's monitor does") from None
        if kind in (InvalidPrediction.__name__, UnknownKind.__name__):
            raise InvalidPrediction(error)  # what was asked for is to be mended
        raise MonitorError(error)

    def _line(self) -> bytes:
        pieces = [self._rest]
        size = len(self._rest)
        while b"\n" not in pieces[-1]:
            piece = self._socket.recv(256 * 1024)
            size += len(piece)
            if not piece or size > LARGEST:
                raise ConnectionError
            pieces.append(piece)
        line, _, self._rest = b"".join(pieces).partition(b"\n")
        return line

    def close(self) -> None:
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _value: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.close()


def running(folder: Path | None = None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """`(socket, what it says of itself)` of each engine of this user that listens in a folder.

    Args:
        folder: None: the one that `monitor.socket: auto` uses.
    """
    for path in sorted((place.own_folder() if folder is None else folder).glob(f"*{place.SUFFIX}")):
        try:
            with MonitorClient(path) as client:
                hello = client.ask("hello")
        except MonitorError:
            continue
        yield path, hello
