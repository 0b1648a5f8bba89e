"""Which hosts an HTTP source may speak to, and at which addresses.

A name on the list says nothing of where it leads: its owner, or whoever answers for the name
service, may have it lead to this machine or into its network. So every address is looked at, of
each request and of each redirect, and the connection goes to an address that has been looked at.
"""

import ipaddress
from collections.abc import Iterable

from prefetch_scheduler.policies.errors import ConfigError
from prefetch_scheduler.policies.values import frozen

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@frozen
class _Pattern:
    host: str
    """In lower case; of `*.example.org`, `.example.org`."""
    port: int | None
    below: bool
    """Whether it is any host below `host`."""

    def matches(self, host: str, port: int) -> bool:
        if self.port is not None and self.port != port:
            return False
        return host.endswith(self.host) if self.below else host == self.host


class HostList:
    """An allow-list.

    Args:
        hosts: names or addresses, `host` or `host:port`; `*.example.org` is every host below.
        private_hosts: those that may also be at loopback, private and link-local addresses; they
            need not stand in `hosts`, too.

    Raises:
        ConfigError: one is no host.
    """

    def __init__(self, hosts: Iterable[str], private_hosts: Iterable[str]) -> None:
        self._private = tuple(_pattern("private_hosts", host) for host in _listed(private_hosts))
        public = tuple(_pattern("hosts", host) for host in _listed(hosts))
        self._all = public + self._private
        if not self._all:
            raise ConfigError("hosts: it is empty, so nothing could be loaded; name the hosts")

    def allows(self, host: str, port: int) -> bool:
        """Whether requests to it are allowed at all."""
        return any(pattern.matches(host, port) for pattern in self._all)

    def allows_private(self, host: str, port: int) -> bool:
        """Whether it may be at an address that is not public."""
        return any(pattern.matches(host, port) for pattern in self._private)


def not_public(address: str) -> str | None:
    """What an address is instead of public: `loopback`, `private`...; None: it is public."""
    found: _Address = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and found in _NAT64:
            inner = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if found.teredo is not None:
            return "a tunnel's"
        found = inner if inner is not None else found
    for word, holds in (
        ("unspecified", found.is_unspecified),
        ("loopback", found.is_loopback),
        ("link-local", found.is_link_local),
        ("multicast", found.is_multicast),
        ("private", not found.is_global),
    ):
        if holds:
            return f"a {word}" if word[0] not in "aeiou" else f"an {word}"
    return None


def _listed(hosts: Iterable[str]) -> Iterable[str]:
    if isinstance(hosts, str):
        raise ConfigError(f"hosts: expected a list of hosts, got {hosts!r}; write [{hosts!r}]")
    return hosts


def _pattern(where: str, written: str) -> _Pattern:
    if not isinstance(written, str) or not written:
        raise ConfigError(f"{where}: {written!r} is not a host")
    host, port = _cut(written.lower())
    below = host.startswith("*.")
    host = host[1:] if below else host.rstrip(".")
    wrong = not host.strip(".") or any(mark in host for mark in "*/@?#[] ")
    if wrong or (port is not None and not (port.isdigit() and 0 < int(port) < 65536)):
        raise ConfigError(
            f"{where}: {written!r} is not a host; write 'example.org', 'example.org:8080' or "
            "'*.example.org'"
        )
    return _Pattern(host, None if port is None else int(port), below)


def _cut(written: str) -> tuple[str, str | None]:
    if written.startswith("["):  # an IPv6 address, as it stands in a URL
        host, _, port = written[1:].partition("]")
        return host, port[1:] if port else None
    if written.count(":") > 1:
        return written, None
    host, colon, port = written.partition(":")
    return host, port if colon else None
