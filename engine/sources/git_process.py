"""The processes of git that answer for a repository: killed when they must be, started again.

One process answers one request at a time. What ends a request early, a cancellation or a limit of
time, kills the process: there is no other way to take a request back, and the next request starts
another in two milliseconds.
"""

import contextlib
import logging
import os
import selectors
import signal
import subprocess
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from prefetch_scheduler.policies.errors import ResourceUnavailable

logger = logging.getLogger(__name__)

_CHUNK = 1 << 18
_LONGEST_HEADER = 1 << 16
_END_S = 1.0
_GIT_VARIABLES = "GIT_"
_ENVIRONMENT = {
    "GIT_ALLOW_PROTOCOL": "none",  # an object that a partial clone lacks is not fetched
    "GIT_LITERAL_PATHSPECS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


class Cancel(Protocol):
    """What a request watches: a `CancelToken`."""

    @property
    def cancelled(self) -> bool: ...

    def on_cancel(self, callback: Callable[[], None], /) -> None: ...


def environment() -> dict[str, str]:
    """The host's, without what a git that has started the host may have set for itself."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_GIT_VARIABLES)}
    return {**kept, **_ENVIRONMENT}


class _Died(ResourceUnavailable):
    """The process ended before it had answered."""


class _Running:
    """One process, read with a deadline."""

    def __init__(self, command: Sequence[str]) -> None:
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
            start_new_session=True,  # a Ctrl-C in the host's terminal is the host's
        )
        self._left = b""
        self._selector = selectors.DefaultSelector()
        assert self.process.stdout is not None
        self._out = self.process.stdout.fileno()
        self._selector.register(self._out, selectors.EVENT_READ)
        self.end = weakref.finalize(self, _end, self.process, self._selector)

    def send(self, line: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()

    def some(self, deadline: float) -> bytes:
        """The next bytes; empty at the end."""
        if not self._selector.select(max(0.0, deadline - time.monotonic())):
            raise TimeoutError
        return os.read(self._out, _CHUNK)

    def line(self, deadline: float) -> bytes:
        while b"\n" not in self._left:
            more = self.some(deadline)
            if not more or len(self._left) > _LONGEST_HEADER:
                raise EOFError
            self._left += more
        line, _, self._left = self._left.partition(b"\n")
        return line

    def exactly(self, size: int, deadline: float) -> bytes:
        chunks, length = [self._left], len(self._left)
        while length < size:
            more = self.some(deadline)
            if not more:
                raise EOFError
            chunks.append(more)
            length += len(more)
        joined = b"".join(chunks)
        self._left = joined[size:]
        return joined[:size]

    def kill(self) -> None:
        with contextlib.suppress(OSError):
            self.process.kill()


def _end(process: "subprocess.Popen[bytes]", selector: selectors.BaseSelector) -> None:
    """End a process and give back what it held; git has nothing to finish."""
    selector.close()
    for pipe in (process.stdin, process.stdout):
        with contextlib.suppress(OSError):
            if pipe is not None:
                pipe.close()
    with contextlib.suppress(OSError):
        process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_END_S)


class BatchProcess:
    """One `git cat-file --batch` or `--batch-check`, for any number of threads.

    Args:
        command: the whole command.
        timeout_s: seconds for one request, the wait for its turn included.
    """

    def __init__(self, command: Sequence[str], timeout_s: float) -> None:
        self._command = tuple(command)
        self.timeout_s = timeout_s
        self._turn = threading.Lock()  # held for one request
        self._running: _Running | None = None

    @property
    def pid(self) -> int | None:
        """Of the process that answers now; None: none runs."""
        running = self._running
        return None if running is None else running.process.pid

    def header(self, name: str) -> bytes:
        """The line that answers `name`, of a process that answers with lines alone.

        Raises:
            ResourceUnavailable: git does not answer in time, or not at all.
        """
        return self._ask(name, lambda running, deadline: running.line(deadline), None)

    def contents(self, object_id: str, size: int, cancel: Cancel | None = None) -> bytes:
        """The bytes of an object of a known size.

        Raises:
            ResourceUnavailable: it is gone, or git does not answer in time, or not at all, or the
                request was cancelled.
        """

        def read(running: _Running, deadline: float) -> bytes:
            answer = running.line(deadline).split(b" ")
            if len(answer) != 3 or answer[2] != b"%d" % size:
                raise ResourceUnavailable(f"git no longer has the object {object_id}")
            return running.exactly(size + 1, deadline)[:-1]

        return self._ask(object_id, read, cancel)

    def close(self) -> None:
        """End the process, at once; a request under way fails. The next one starts another."""
        running = self._running
        if running is not None:
            running.kill()  # whoever reads from it learns of it, and puts it away
        if self._turn.acquire(timeout=_END_S):
            try:
                self._put_away()
            finally:
                self._turn.release()

    def _ask(
        self, name: str, read: Callable[[_Running, float], bytes], cancel: Cancel | None
    ) -> bytes:
        deadline = time.monotonic() + self.timeout_s
        if not self._turn.acquire(timeout=self.timeout_s):
            raise self._late()
        try:
            try:
                return self._attempt(name, read, cancel, deadline)
            except _Died as died:  # most likely before it was asked: nobody had noticed
                logger.debug("%s; started again", died)
            return self._attempt(name, read, cancel, deadline)
        finally:
            self._turn.release()

    def _attempt(
        self,
        name: str,
        read: Callable[[_Running, float], bytes],
        cancel: Cancel | None,
        deadline: float,
    ) -> bytes:
        running = self._running
        try:
            if running is None:
                running = self._running = _Running(self._command)
            with killing(running.kill, cancel):
                running.send(name.encode())
                return read(running, deadline)
        except TimeoutError:
            self._put_away()
            raise self._late() from None
        except (OSError, EOFError, ValueError) as error:
            self._put_away()
            if cancel is not None and cancel.cancelled:
                raise ResourceUnavailable("the request to git was cancelled") from None
            raise _Died(f"git ended without an answer ({_ended(running)})") from error
        except BaseException:
            self._put_away()  # the rest of its answer would be taken for the next one
            raise

    def _put_away(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running.end()

    def _late(self) -> ResourceUnavailable:
        return ResourceUnavailable(f"git did not answer within {self.timeout_s:g} s")


def run_git(
    command: Sequence[str], *, limit: int, timeout_s: float, cancel: Cancel | None = None
) -> bytes:
    """What one process of its own prints.

    Raises:
        ResourceUnavailable: it fails, takes too long, prints more than `limit` bytes, or was
            cancelled.
    """
    deadline = time.monotonic() + timeout_s
    running = _Running(command)
    try:
        chunks: list[bytes] = []
        length = 0
        with killing(running.kill, cancel):
            while chunk := running.some(deadline):
                chunks.append(chunk)
                length += len(chunk)
                if length > limit:
                    raise ResourceUnavailable(f"git printed more than {limit} bytes (max_bytes)")
            status = running.process.wait(max(0.0, deadline - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        raise ResourceUnavailable(f"git did not end within {timeout_s:g} s") from None
    finally:
        running.end()
    if cancel is not None and cancel.cancelled:
        raise ResourceUnavailable("the request to git was cancelled")
    if status:
        raise ResourceUnavailable(f"git ended with status {status}")
    return b"".join(chunks)


@contextmanager
def killing(kill: Callable[[], None], cancel: Cancel | None) -> Iterator[None]:
    """Within it, a cancellation kills; after it, no longer: the process serves somebody else."""
    within = [True]
    lock = threading.Lock()

    def kill_if_within() -> None:
        with lock:
            if within[0]:
                kill()

    if cancel is not None:
        cancel.on_cancel(kill_if_within)
    try:
        yield
    finally:
        with lock:
            within[0] = False


def _ended(running: _Running | None) -> str:
    if running is None:
        return "it could not be started"
    status = running.process.returncode
    if status is None:
        return "it closed its output"
    if status < 0:
        return f"signal {signal.Signals(-status).name}"
    return f"status {status}"
