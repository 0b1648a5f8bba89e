"""One connection to an MCP server: opened ahead, opened again when it is lost.

A connection is entered and left by one task, which is also the one that waits for its end; loads
use it from tasks of their own. After a failure the next attempt waits for a back-off, or for
somebody who needs the connection now.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from math import inf

from prefetch_scheduler.engine.sources.mcp_library import Client, MCPError, anyio
from prefetch_scheduler.policies.errors import ResourceUnavailable

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.2
"""Also the shortest time between two attempts, whoever waits."""
LONGEST_PAUSE_S = 30.0

Connect = Callable[[], AbstractAsyncContextManager[Client]]
Serve = Callable[[Client], Awaitable[None]]


class McpConnection:
    """Keeps a connection. All methods are called on one event loop.

    Args:
        name: the server's, for messages.
        connect: opens a connection, as an async context manager.
        prepare: learns what the server holds; before anybody uses the connection.
        timeout_s: seconds within which a connection has to be open and prepared.
    """

    def __init__(self, name: str, connect: Connect, prepare: Serve, timeout_s: float) -> None:
        self._name = name
        self._connect = connect
        self._prepare = prepare
        self._timeout_s = timeout_s
        self._task: asyncio.Task[None] | None = None
        self._attempt: asyncio.Future[Client] | None = None
        self._lost = asyncio.Event()
        self._wanted = asyncio.Event()
        self._ending = anyio.CancelScope()
        self._failed_attempts = 0

    def begin(self) -> None:
        """Begin to connect, if that has not begun."""
        if self._task is None or self._task.done():
            self._attempt = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._keep(), name=f"mcp {self._name}")

    async def client(self) -> Client:
        """The open connection; waits for it where it is being opened.

        Raises:
            ResourceUnavailable: it cannot be opened, or not in time.
        """
        self.begin()
        self._wanted.set()
        attempt = self._attempt
        assert attempt is not None
        try:
            return await asyncio.wait_for(asyncio.shield(attempt), self._timeout_s)
        except TimeoutError:
            raise ResourceUnavailable(
                f"the MCP server {self._name!r} was not connected within {self._timeout_s:g} s"
            ) from None

    def lose(self) -> None:
        """The connection has turned out to be unusable."""
        self._lost.set()

    async def end(self) -> None:
        """Close the connection."""
        task, self._task = self._task, None
        if task is not None:
            # Not the task's own `cancel`, which would break into the library's shielded parts and
            # leave the server's process behind.
            self._ending.cancel()
            await asyncio.wait([task])

    # ---- the task ---------------------------------------------------------------------------

    async def _keep(self) -> None:
        with self._ending:
            await self._keep_on()

    async def _keep_on(self) -> None:
        while True:
            why = await self._once()
            self._fail(why)
            self._wanted.clear()
            self._attempt = asyncio.get_running_loop().create_future()
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2.0**self._failed_attempts)
            await asyncio.sleep(FIRST_PAUSE_S)
            try:
                await asyncio.wait_for(self._wanted.wait(), pause - FIRST_PAUSE_S)
            except TimeoutError:
                continue

    async def _once(self) -> str:
        """One connection from its beginning to its end; returns why it ended."""
        attempt = self._attempt
        assert attempt is not None
        self._lost.clear()
        begun = False
        try:
            with anyio.fail_after(self._timeout_s) as limit:
                async with self._connect() as client:
                    await self._prepare(client)
                    limit.deadline = inf
                    begun = True
                    self._failed_attempts = 0
                    if not attempt.done():
                        attempt.set_result(client)
                    version = client.protocol_version
                    logger.info("MCP server %r: connected, %s", self._name, version)
                    await self._lost.wait()
        except TimeoutError:
            self._failed_attempts = min(self._failed_attempts + 1, 10)
            return f"it did not answer within {self._timeout_s:g} s"
        except Exception as error:  # noqa: BLE001 - whatever the transport or the server does
            if not begun:
                self._failed_attempts = min(self._failed_attempts + 1, 10)
            return told(error)
        return "the connection was lost"

    def _fail(self, why: str) -> None:
        logger.warning("MCP server %r: %s", self._name, why)
        attempt = self._attempt
        if attempt is not None and not attempt.done():
            attempt.set_exception(
                ResourceUnavailable(f"the MCP server {self._name!r} cannot be reached: {why}")
            )
            attempt.exception()  # somebody may have asked, or nobody


def told(error: BaseException) -> str:
    """What an error says in one line, also where the library wraps it in groups."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    said = error.message if isinstance(error, MCPError) else str(error)
    return said or type(error).__name__
