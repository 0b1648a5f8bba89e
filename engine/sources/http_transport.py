"""Sends requests to addresses that have been looked at, over connections that are used again."""

import asyncio
import socket
import ssl
from collections.abc import Sequence

from prefetch_scheduler.engine.sources.http_hosts import HostList, not_public
from prefetch_scheduler.engine.sources.http_library import httpx2
from prefetch_scheduler.policies.errors import ResourceUnavailable

MAX_HOSTS = 128
"""Hosts whose connections are kept; past it those of the one used least recently are closed."""
_NO_TLS = False
"""In place of a context, for pools that only ever open plain connections."""
_LIMITS = httpx2.Limits(max_connections=16, max_keepalive_connections=8, keepalive_expiry=30.0)


class CheckedTransport(httpx2.AsyncBaseTransport):
    """Resolves a request's host, looks at every address, and connects to one that was looked at.

    A pool of connections for each host: what is verified for one host's certificate must serve no
    other that happens to have the same address.

    Args:
        hosts: the allow-list.
        context: how certificates are verified; None: against those that the system trusts.
    """

    def __init__(self, hosts: HostList, context: ssl.SSLContext | None) -> None:
        self._hosts = hosts
        self._context = context
        self._pools: dict[str, httpx2.AsyncHTTPTransport] = {}
        self._chosen: dict[str, str] = {}

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request.

        Raises:
            ResourceUnavailable: its host is not on the list, has no address, or one that is not
                public.
            httpx2.TransportError: as any transport.
        """
        url = request.url
        addresses = await self._addresses(url)
        pool = await self._pool(url)
        extensions = {**request.extensions, "sni_hostname": url.host}
        failure: httpx2.ConnectError | None = None
        for address in addresses:
            sent = httpx2.Request(
                request.method,
                url.copy_with(host=address),
                headers=request.headers,
                stream=request.stream,
                extensions=extensions,
            )
            try:
                response = await pool.handle_async_request(sent)
            except httpx2.ConnectError as error:
                failure = failure or error
                continue
            self._chosen[url.host] = address
            return response
        raise failure or httpx2.ConnectError("no address")

    async def aclose(self) -> None:
        """Close all connections."""
        pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            await pool.aclose()

    async def _addresses(self, url: httpx2.URL) -> Sequence[str]:
        host, port = url.host, port_of(url)
        if not self._hosts.allows(host, port):
            raise ResourceUnavailable(f"the host {host!r} is not on the list of allowed hosts")
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as error:
            raise ResourceUnavailable(f"the host {host!r} has no address: {error}") from error
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        if not self._hosts.allows_private(host, port):
            for address in addresses:
                what = not_public(address)
                if what is not None:
                    raise ResourceUnavailable(
                        f"the host {host!r} is at {address}, {what} address; hosts that may be "
                        "there are named in private_hosts"
                    )
        # The one connected to before comes first: its connection can be used again.
        before = self._chosen.get(host)
        return sorted(addresses, key=lambda address: address != before)

    async def _pool(self, url: httpx2.URL) -> httpx2.AsyncHTTPTransport:
        origin = f"{url.scheme}://{url.host}"
        pool = self._pools.pop(origin, None)
        if pool is None:
            pool = httpx2.AsyncHTTPTransport(
                verify=self._verifying() if url.scheme == "https" else _NO_TLS,
                limits=_LIMITS,
                trust_env=False,
            )
        self._pools[origin] = pool  # the one used last is last
        if len(self._pools) > MAX_HOSTS:
            oldest = next(iter(self._pools))
            self._chosen.pop(oldest.partition("://")[2], None)
            await self._pools.pop(oldest).aclose()
        return pool

    def _verifying(self) -> ssl.SSLContext:
        # Made when first needed: to read all that the system trusts takes a fifth of a second.
        if self._context is None:
            self._context = ssl.create_default_context()
        return self._context


def port_of(url: httpx2.URL) -> int:
    """The port that a request goes to."""
    return url.port or (443 if url.scheme == "https" else 80)
