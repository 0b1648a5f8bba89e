"""Resources of the web, from hosts on a list. Needs the extra `http`."""

import re
import ssl
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

from prefetch_scheduler.engine.sources.file_backed import require_sizes
from prefetch_scheduler.engine.sources.http_freshness import freshness
from prefetch_scheduler.engine.sources.http_hosts import HostList
from prefetch_scheduler.engine.sources.http_library import httpx2
from prefetch_scheduler.engine.sources.http_transport import CheckedTransport, port_of
from prefetch_scheduler.engine.sources.own_loop import OwnLoop
from prefetch_scheduler.engine.sources.text import decode
from prefetch_scheduler.engine.sources.validation import require_source
from prefetch_scheduler.policies.config_rules import LARGEST
from prefetch_scheduler.policies.content import Content
from prefetch_scheduler.policies.errors import ConfigError, ResourceUnavailable
from prefetch_scheduler.policies.figures import is_number, shown, within
from prefetch_scheduler.policies.tokens import suffix_of, tokens_of_size
from prefetch_scheduler.policies.values import frozen
from prefetch_scheduler.policies.yaml_text import printable

MAX_BYTES = 8 << 20
KEPT_BYTES = 16 << 20
ASSUMED_MAX_AGE_S = 60.0
TIMEOUT_S = 20.0
MAX_REDIRECTS = 5
_HOST = re.compile(rb"[A-Za-z0-9._:-]+")


@frozen
class _Kept:
    """A response that a later request may confirm."""

    content: Content
    url: str
    etag: str | None
    modified: str | None

    def conditions(self, url: httpx2.URL) -> dict[str, str]:
        """The headers that ask whether it still holds; none for another URL of the way there."""
        if str(url) != self.url:
            return {}
        asked = {"If-None-Match": self.etag, "If-Modified-Since": self.modified}
        return {name: value for name, value in asked.items() if value is not None}


class HttpSource:
    """Serves `url:https://host/path` by GET, from hosts on a list.

    A response is served for as long as its `Cache-Control` or `Expires` says, and then confirmed
    by its `ETag` or `Last-Modified`, which costs no transfer where nothing changed. Every redirect
    is held to the same list, and no name leads to an address that is not public, unless it is
    named in `private_hosts`. Connections are kept and used again; they end with the engine.
    Proxies of the environment are not used.

    Args:
        hosts: `host`, `host:port`, or `*.example.org` for every host below.
        private_hosts: further hosts, which may also be at loopback, private and link-local
            addresses.
        kind: the kind of key that it serves.
        name: what logs and reports call it; None: its kind.
        headers: by host, what is sent along, to that host alone: `{"api.example.org":
            {"Authorization": "..."}}`.
        max_bytes: larger bodies are refused.
        assumed_max_age_s: seconds for which a response that states nothing may be served; None:
            until it is invalidated or evicted.
        kept_bytes: of all responses that are kept to be confirmed.
        timeout_s: seconds for each step: connecting, sending, and waiting for the next bytes.
        ssl_context: how certificates are verified; None: against those that the system trusts.
        private: content is kept apart for each user; wise where `headers` hold one user's rights.
        stale_if_error_s: seconds past its age for which content is served while its host fails.
        stale_while_revalidate_s: seconds past its age for which content is served while it is
            loaded anew.
        max_concurrency: loads at once; None: the engine's limits.
        load_timeout_s: seconds after which a load is given up; None: the configuration's.

    Raises:
        ConfigError: an argument is wrong; says which, and what is allowed.
    """

    read_only = True
    remote = True

    def __init__(
        self,
        hosts: Iterable[str] = (),
        *,
        private_hosts: Iterable[str] = (),
        kind: str = "url",
        name: str | None = None,
        headers: Mapping[str, Mapping[str, str]] | None = None,
        max_bytes: int = MAX_BYTES,
        assumed_max_age_s: float | None = ASSUMED_MAX_AGE_S,
        kept_bytes: int = KEPT_BYTES,
        timeout_s: float = TIMEOUT_S,
        ssl_context: ssl.SSLContext | None = None,
        private: bool = False,
        stale_if_error_s: float | None = None,
        stale_while_revalidate_s: float | None = None,
        max_concurrency: int | None = None,
        load_timeout_s: float | None = None,
    ) -> None:
        require_sizes(max_bytes=max_bytes, kept_bytes=kept_bytes)
        for word, seconds in (("assumed_max_age_s", assumed_max_age_s), ("timeout_s", timeout_s)):
            good = is_number(seconds) and within(seconds, LARGEST["seconds"])
            if seconds is not None and not good:
                raise ConfigError(f"{word}: {shown(seconds)} is not a number of at least 0")
        self.kind = kind
        self.name = kind if name is None else name
        self.private = private
        self.max_concurrency = max_concurrency
        self.load_timeout_s = load_timeout_s
        self.stale_if_error_s = stale_if_error_s
        self.stale_while_revalidate_s = stale_while_revalidate_s
        self.max_bytes = max_bytes
        self.assumed_max_age_s = assumed_max_age_s
        self._hosts = HostList(hosts, private_hosts)
        self._headers = {host.lower(): dict(sent) for host, sent in (headers or {}).items()}
        self._timeout_s = timeout_s
        self._context = ssl_context
        self._kept: OrderedDict[str, _Kept] = OrderedDict()  # of the loop's thread alone
        self._kept_bytes = 0
        self._most_kept = kept_bytes
        self._client: httpx2.AsyncClient | None = None
        self._loop = OwnLoop(self.name, self._finish)
        require_source(self, type(self).__name__)

    def __repr__(self) -> str:
        return f"HttpSource(kind={self.kind!r})"

    def open(self, changed: object) -> None:  # noqa: ARG002 - no host tells of its changes
        """Be ready to connect."""
        self._loop.hold()
        self._loop.begin(self._ready())

    def close(self) -> None:
        """Close all connections. A later load opens them again."""
        self._loop.release()

    # ---- names ------------------------------------------------------------------------------

    def normalise(self, name: str) -> str:
        """The URL with its host in lower case, and without a default port and a fragment.

        Raises:
            ValueError: it is no URL of the web, or holds a user or password.
        """
        return str(_parsed(name))

    def excluded(self, name: str) -> str | None:
        """Why this URL is not loaded ahead; None: it may be."""
        url = _parsed(name)
        if self._hosts.allows(url.host, port_of(url)):
            return None
        return f"the host {url.host!r} is not on the list of allowed hosts"

    # ---- loading ----------------------------------------------------------------------------

    async def load(self, name: str) -> Content:
        """Get a URL, or have what is kept of it confirmed.

        Raises:
            ResourceUnavailable: its host is not allowed, does not answer, answers with another
                status than 200, or with a body that is too large or cut short; the message says
                which.
        """
        return await self._loop.run(self._load(name))

    async def _load(self, name: str) -> Content:
        try:
            return await self._get(_parsed(name), name)
        except ValueError as error:
            raise ResourceUnavailable(str(error)) from error
        except (httpx2.HTTPError, httpx2.InvalidURL, httpx2.StreamError) as error:
            raise ResourceUnavailable(_why(error)) from error

    async def _get(self, url: httpx2.URL, name: str) -> Content:
        kept = self._kept.get(name)
        for _ in range(MAX_REDIRECTS + 1):
            response = await self._send(url, kept.conditions(url) if kept is not None else {})
            try:
                if response.has_redirect_location:
                    url = _redirected(url, response)
                    continue
                if response.status_code == 304 and kept is not None:
                    return self._keep(name, url, response, kept.content)
                if response.status_code != 200:
                    raise ResourceUnavailable(_answered(response))
                return self._keep(name, url, response, await self._content(url, response))
            finally:
                await response.aclose()
        raise ResourceUnavailable(f"more than {MAX_REDIRECTS} redirects")

    async def _send(self, url: httpx2.URL, conditions: Mapping[str, str]) -> httpx2.Response:
        client = await self._ready()
        headers = {**self._headers.get(url.host, {}), **conditions}
        for last in (False, True):
            try:
                response = await client.send(
                    client.build_request("GET", url, headers=headers),
                    stream=True,
                    follow_redirects=False,
                )
            except (httpx2.RemoteProtocolError, httpx2.ReadError):
                if last:  # else a kept connection had been closed by the other side meanwhile
                    raise
            else:
                client.cookies.clear()  # one reader's cookies are not another's
                return response
        raise AssertionError("the last attempt returns or raises")

    async def _content(self, url: httpx2.URL, response: httpx2.Response) -> Content:
        stated = response.headers.get("content-length", "")
        if stated.isascii() and stated.isdigit() and int(stated) > self.max_bytes:
            raise self._too_large(f"a body of {int(stated)} bytes")
        chunks: list[bytes] = []
        length = 0
        try:
            async for chunk in response.aiter_bytes():
                length += len(chunk)
                if length > self.max_bytes:  # counted unpacked: little may become much
                    raise self._too_large(f"a body of more than {self.max_bytes} bytes")
                chunks.append(chunk)
        except httpx2.RemoteProtocolError as error:
            raise ResourceUnavailable(
                f"the body ended early, after {length} bytes: {error}"
            ) from error
        raw = b"".join(chunks)
        decoded = decode(raw, encoding=response.charset_encoding)
        return Content(
            decoded.value,
            tokens=tokens_of_size(len(raw), suffix_of(url.path)),
            media_type=response.headers.get("content-type", decoded.media_type),
        )

    def _too_large(self, what: str) -> ResourceUnavailable:
        return ResourceUnavailable(
            f"{what}; at most {self.max_bytes} are read (max_bytes of its source)"
        )

    # ---- freshness --------------------------------------------------------------------------

    def _keep(
        self, name: str, url: httpx2.URL, response: httpx2.Response, content: Content
    ) -> Content:
        """The content with the age that this response allows; kept where it can be confirmed."""
        said = freshness({word.lower(): value for word, value in response.headers.items()})
        before = self._kept.pop(name, None)
        if before is not None:
            self._kept_bytes -= before.content.size
        # A 304 need not repeat what it confirms.
        etag = response.headers.get("etag") or (before.etag if before else None)
        modified = response.headers.get("last-modified") or (before.modified if before else None)
        if response.status_code != 304:
            etag, modified = response.headers.get("etag"), response.headers.get("last-modified")
        age = self.assumed_max_age_s if said.max_age_s is None else said.max_age_s
        content = Content(
            content.value,
            tokens=content.tokens,
            version=etag or modified,
            media_type=content.media_type,
            max_age_s=age,
        )
        if said.may_keep and (etag or modified):
            self._kept[name] = _Kept(content, str(url), etag, modified)
            self._kept_bytes += content.size
            while self._kept_bytes > self._most_kept:
                _, oldest = self._kept.popitem(last=False)
                self._kept_bytes -= oldest.content.size
        return content

    # ---- connections ------------------------------------------------------------------------

    async def _ready(self) -> httpx2.AsyncClient:
        if self._client is None:
            self._client = httpx2.AsyncClient(
                transport=CheckedTransport(self._hosts, self._context),
                timeout=self._timeout_s,
                trust_env=False,
            )
        return self._client

    async def _finish(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()


def _parsed(name: str) -> httpx2.URL:
    try:
        url = httpx2.URL(name)
    except (httpx2.InvalidURL, UnicodeError) as error:
        raise ValueError(f"it is no URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("it is no URL that begins with 'https://' or 'http://' and a host")
    if not _HOST.fullmatch(url.raw_host) or not (url.port is None or 0 < url.port < 65536):
        raise ValueError("it is no URL: its host or port cannot be one")
    if url.userinfo:
        raise ValueError("it holds a user or password; send them with `headers` of the source")
    plain: dict[str, Any] = {
        "fragment": None,
        "host": url.host.rstrip("."),
        "path": url.path or "/",
    }
    return url.copy_with(**plain)


def _redirected(url: httpx2.URL, response: httpx2.Response) -> httpx2.URL:
    location = response.headers["location"]
    try:
        target = _parsed(str(url.join(location)))
    except (ValueError, httpx2.InvalidURL) as error:
        raise ResourceUnavailable(f"a redirect to {printable(location)}: {error}") from error
    if url.scheme == "https" and target.scheme != "https":
        raise ResourceUnavailable(f"a redirect from https to {printable(str(target))}")
    return target


def _answered(response: httpx2.Response) -> str:
    after = response.headers.get("retry-after")
    hint = f"; it asks to try again after {printable(after)}" if after else ""
    return f"the host answered {response.status_code} {response.reason_phrase}{hint}"


def _why(error: Exception) -> str:
    match error:
        case httpx2.ConnectTimeout():
            return "the host could not be reached in time"
        case httpx2.TimeoutException():
            return "the host did not answer in time"
        case httpx2.ConnectError():
            return f"the host cannot be reached: {error}"
        case httpx2.DecodingError():
            return f"the body cannot be unpacked: {error}"
        case _:
            return str(error) or type(error).__name__
