"""Answers on a monitor's socket, in one thread that nobody waits for.

The thread reads and writes without blocking, and asks the engine as any thread of the host would.
A client that sends too much, or does not read its answer, is closed; all of them together get a
fifth of its time and no more.
"""

import contextlib
import json
import logging
import os
import selectors
import socket
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import field

from prefetch_scheduler.actors.log_fields import log_fields
from prefetch_scheduler.engine.monitor import place
from prefetch_scheduler.engine.monitor.place import MonitorError
from prefetch_scheduler.policies.errors import PrefetchError
from prefetch_scheduler.policies.values import define

logger = logging.getLogger("prefetch_scheduler.monitor")

MOST_CLIENTS = 16
LONGEST_REQUEST = 16 * 1024
"""Bytes that a client may have sent and not been answered."""
STALL_S = 5.0
"""Real seconds in which a client must have taken something of its answer."""
IDLE_S = 300.0
"""Real seconds after which a client that asks nothing is closed."""
SPACING_S = 0.02
"""Real seconds between two answers, to whomever, at the least."""
REST, LONGEST_REST_S = 4.0, 1.0
"""It pauses for so many times what an answer took, so that all clients together cannot keep the
interpreter busy; but not for longer than this, in real seconds.
"""
CHUNK = 64 * 1024

_LISTENING: "weakref.WeakSet[MonitorServer]" = weakref.WeakSet()


def _after_fork() -> None:
    """A fork copies the sockets and not the thread that answers on them."""
    for server in list(_LISTENING):
        server.forked()


os.register_at_fork(after_in_child=_after_fork)


@define(eq=False)
class _Client:
    """One connection: what it has sent and not been answered yet, and what it has not read yet."""

    socket: socket.socket
    touched: float
    asked: bytearray = field(factory=bytearray)
    owed: bytearray = field(factory=bytearray)
    ended: bool = False
    """It sends no more; what it has asked is still answered."""

    @property
    def has_request(self) -> bool:
        return b"\n" in self.asked and not self.owed


class MonitorServer:
    """Answers requests on a socket from `start` to `stop`.

    Args:
        setting: `monitor.socket` of the configuration.
        engine: the engine's name.
        answer: makes an answer of a request; may raise.
    """

    def __init__(self, setting: str, engine: str, answer: Callable[[object], Any]) -> None:
        self.path: Path | None = None
        """Where it listens; None: it does not."""
        self.reason = "not open yet"
        """Why it does not."""
        self._setting = setting
        self._engine = engine
        self._answer = answer
        self._clients: dict[int, _Client] = {}
        self._next_at = 0.0
        self._inode: tuple[int, int] | None = None
        self._ending = False
        name = f"prefetch-{engine}-monitor"
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Open the socket. Where that fails it is logged, and the engine runs without."""
        fields = log_fields(engine=self._engine)
        try:
            path = place.socket_path(self._setting, self._engine)
            if self._setting == place.AUTO:
                place.private_folder(path.parent)
                place.forget_dead(path.parent)
            self._listener = place.listening(path)
            found = path.lstat()
        except (MonitorError, OSError) as error:
            self.reason = str(error)
            logger.warning("no monitor: %s", error, extra=fields)
            return
        self.path, self._inode = path, (found.st_dev, found.st_ino)
        self._wake, self._woken = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._thread.start()
        _LISTENING.add(self)
        logger.info("the monitor listens on %s", path, extra=fields)

    def end(self) -> None:
        """Remove the socket and let the thread end; does not wait for it."""
        if self.path is None or self._ending:
            return
        self._ending = True
        self._remove(self.path)
        self._wake.send(b"x")

    def stop(self, timeout: float) -> tuple[str, ...]:
        """End, and wait for the thread.

        Returns:
            The thread's name, where it has not ended within `timeout` real seconds.
        """
        if self.path is None:
            return ()
        self.end()
        self._thread.join(timeout)
        if self._thread.is_alive():
            return (self._thread.name,)
        for each in (self._wake, self._woken):
            each.close()
        self._selector.close()
        self.path, self.reason = None, "the engine has been stopped"
        return ()

    def _remove(self, path: Path) -> None:
        """Remove its own socket, and not one that another engine has made in its place."""
        with contextlib.suppress(OSError):
            found = path.lstat()
            if (found.st_dev, found.st_ino) == self._inode:
                path.unlink()

    def forked(self) -> None:
        """In a forked child: let go of what is the parent's, and leave its file alone."""
        self.path, self.reason = None, "it is that of the process that this one was forked from"
        for each in (self._listener, *(client.socket for client in self._clients.values())):
            each.close()

    # ---- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while not self._ending:
                self._turn()
        except Exception:
            logger.exception("the monitor failed and has ended; the engine runs on")
        finally:
            for client in list(self._clients.values()):
                self._close(client)
            self._listener.close()
            if self.path is not None:
                self._remove(self.path)

    def _turn(self) -> None:
        for key, events in self._selector.select(self._patience()):
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is not self._woken:
                client: _Client = key.data
                if events & selectors.EVENT_READ:
                    self._read(client)
                if events & selectors.EVENT_WRITE and client.socket.fileno() >= 0:
                    self._write(client)
        now = time.monotonic()
        for client in list(self._clients.values()):
            if client.touched + (STALL_S if client.owed else IDLE_S) < now:
                self._close(client)
            elif client.has_request and now >= self._next_at:
                self._respond(client)
                if self._ending:
                    return
                took = time.monotonic() - now
                now += took
                self._next_at = now + max(SPACING_S, min(REST * took, LONGEST_REST_S))

    def _patience(self) -> float:
        """Real seconds that it may wait for something to come."""
        if any(client.has_request for client in self._clients.values()):
            return max(0.0, self._next_at - time.monotonic())
        return 1.0 if self._clients else IDLE_S

    def _accept(self) -> None:
        try:
            accepted, _ = self._listener.accept()
        except OSError:
            return
        if len(self._clients) >= MOST_CLIENTS or not place.peer_is_ours(accepted):
            accepted.close()
            return
        accepted.setblocking(False)
        client = _Client(accepted, time.monotonic())
        self._clients[accepted.fileno()] = client
        self._selector.register(accepted, selectors.EVENT_READ, client)

    def _read(self, client: _Client) -> None:
        try:
            more = client.socket.recv(CHUNK)
        except BlockingIOError:
            return
        except OSError:
            more = b""
        if not more:
            client.ended = True
            self._watch(client)
            return
        client.touched = time.monotonic()
        client.asked += more
        if len(client.asked) > LONGEST_REQUEST:
            self._refuse(client, f"more than {LONGEST_REQUEST} bytes wait to be answered")

    def _respond(self, client: _Client) -> None:
        line, _, rest = bytes(client.asked).partition(b"\n")
        client.asked = bytearray(rest)
        self._owe(client, self._answered(line))

    def _answered(self, line: bytes) -> dict[str, Any]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"ok": False, "error": "expected a line of JSON"}
        try:
            return {"ok": True, "result": self._answer(request)}
        except PrefetchError as error:
            return {"ok": False, "error": str(error), "type": type(error).__name__}
        except Exception as error:
            logger.exception("the monitor could not answer")
            return {"ok": False, "error": f"internal error: {type(error).__name__}"}

    def _refuse(self, client: _Client, error: str) -> None:
        """Say why, as far as it goes without waiting, and close."""
        with contextlib.suppress(OSError):
            client.socket.send(_line({"ok": False, "error": error}))
        self._close(client)

    def _owe(self, client: _Client, answer: dict[str, Any]) -> None:
        client.owed += _line(answer)
        client.touched = time.monotonic()
        self._write(client)

    def _write(self, client: _Client) -> None:
        try:
            sent = client.socket.send(client.owed[:CHUNK])
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(client)
            return
        if sent:
            client.touched = time.monotonic()
            del client.owed[:sent]
        self._watch(client)

    def _watch(self, client: _Client) -> None:
        """Wait for what it may do next: while it is owed something it must take that first."""
        if client.socket in self._selector.get_map():
            self._selector.unregister(client.socket)
        if client.owed:
            self._selector.register(client.socket, selectors.EVENT_WRITE, client)
        elif not client.ended:
            self._selector.register(client.socket, selectors.EVENT_READ, client)
        elif not client.has_request:
            self._close(client)

    def _close(self, client: _Client) -> None:
        number = client.socket.fileno()
        if number >= 0:
            self._clients.pop(number, None)
            if client.socket in self._selector.get_map():
                self._selector.unregister(client.socket)
            client.socket.close()


def _line(answer: dict[str, Any]) -> bytes:
    return json.dumps(answer, allow_nan=False, separators=(",", ":")).encode() + b"\n"
