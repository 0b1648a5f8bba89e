"""HttpSource against a real server on loopback."""

import asyncio
import gzip
import threading
from functools import partial

import pytest

from prefetch_scheduler.engine import ConfigError, Prediction, PrefetchEngine, ResourceUnavailable
from prefetch_scheduler.engine.sources.http import HttpSource
from support.web import Web, closing, redirect, text

WAIT_S = 10.0


@pytest.fixture
def web():
    made = Web()
    yield made
    made.stop()


@pytest.fixture
def source():
    made = HttpSource(private_hosts=["127.0.0.1"], max_bytes=1000)
    yield made
    made.close()


def load(source: HttpSource, name: str):
    return asyncio.run(source.load(source.normalise(name)))


# ---- names ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "spelt"),
    [
        ("https://Example.org/A?b=c#d", "https://example.org/A?b=c"),
        ("https://example.org:443", "https://example.org/"),
        ("http://example.org.:80/a b", "http://example.org/a%20b"),
        ("http://example.org:8080/", "http://example.org:8080/"),
        ("https://bücher.example/", "https://xn--bcher-kva.example/"),
    ],
)
def test_a_url_has_one_spelling(source, name, spelt):
    assert source.normalise(name) == spelt
    assert source.normalise(spelt) == spelt


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("ftp://example.org/", "no URL that begins"),
        ("example.org/a", "no URL that begins"),
        ("http:///a", "no URL that begins"),
        ("https://user:word@example.org/", "holds a user or password"),
        ("https://example.org:99999/", "no URL"),
        ("https://exa mple.org/", "no URL"),
    ],
)
def test_a_name_that_is_no_url_is_refused(source, name, why):
    with pytest.raises(ValueError, match=why):
        source.normalise(name)
    with pytest.raises(ResourceUnavailable, match=why):
        asyncio.run(source.load(name))


# ---- what it refuses ------------------------------------------------------------------------


def test_hosts_off_the_list_are_refused_before_anything_is_sent(web, source):
    web.answers["/"] = text("secret")
    for host in ("localhost", "127.0.0.2", "127.1"):
        with pytest.raises(ResourceUnavailable, match="is not on the list of allowed hosts"):
            load(source, web.url("/", host))
        assert "not on the list" in source.excluded(web.url("/", host))
    assert web.requests == []


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "2130706433", "0.0.0.0"])
def test_an_allowed_name_that_leads_to_loopback_is_refused(web, host):
    web.answers["/"] = text("secret")
    source = HttpSource([host])
    with pytest.raises(ResourceUnavailable, match=r"(a loopback|an unspecified) address"):
        load(source, web.url("/", host))
    source.close()
    assert web.requests == []


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "224.0.0.1"),
        *("[::1]", "[fc00::1]", "[fe80::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"),
        *("[2002:7f00:1::]", "[::]", "0.0.0.0"),
    ],
)
def test_addresses_that_are_not_public_are_refused(address):
    source = HttpSource([address])
    with pytest.raises(ResourceUnavailable, match="address; hosts that may be there"):
        load(source, f"http://{address}:9/")
    source.close()


def test_redirects_are_held_to_the_list_and_to_public_addresses(web):
    source = HttpSource(["localhost", "10.0.0.1"], private_hosts=["127.0.0.1"])
    web.answers["/secret"] = text("secret")
    for to, why in (
        (web.url("/secret", "localhost"), "'localhost' is at .*, a loopback address"),
        ("http://10.0.0.1/", "'10.0.0.1' is at 10.0.0.1, a private address"),
        ("http://169.254.169.254/latest", "'169.254.169.254' is not on the list"),
        ("http://192.168.0.1/", "not on the list"),
        (f"//localhost:{web.port}/secret", "a loopback address"),
        ("file:///etc/passwd", "a redirect to file:///etc/passwd: it is no URL"),
        ("http://user:word@127.0.0.1/", "holds a user or password"),
    ):
        web.answers["/"] = redirect(to)
        with pytest.raises(ResourceUnavailable, match=why):
            load(source, web.url("/"))
    assert web.asked("/secret") == []
    web.answers["/"] = redirect("/secret")
    assert load(source, web.url("/")).value == "secret"
    source.close()


def test_redirects_that_lead_nowhere_end(web, source):
    web.answers["/"] = redirect("/")
    with pytest.raises(ResourceUnavailable, match="more than 5 redirects"):
        load(source, web.url("/"))


def test_bodies_above_the_limit_are_refused_stated_unstated_and_packed(web, source):
    web.answers["/stated"] = text("x" * 1001)
    web.answers["/unstated"] = closing(_without_length(b"x" * 5000))
    packed = gzip.compress(b"x" * 500_000)
    assert len(packed) < 1000
    web.answers["/packed"] = text(packed, content_encoding="gzip")
    web.answers["/just"] = text("x" * 1000)
    with pytest.raises(ResourceUnavailable, match=r"a body of 1001 bytes; at most 1000 are read"):
        load(source, web.url("/stated"))
    for path in ("/unstated", "/packed"):
        with pytest.raises(ResourceUnavailable, match="a body of more than 1000 bytes"):
            load(source, web.url(path))
    assert load(source, web.url("/just")).value == "x" * 1000


def _without_length(raw: bytes):
    def answer(handler):
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(raw)

    return answer


def test_truncated_bodies_are_an_error(web, source):
    web.answers["/length"] = closing(text("only this", content_length="100"))
    web.answers["/chunks"] = closing(
        _chunked(b"5\r\nhello\r\n"),
    )
    for path, read in (("/length", 9), ("/chunks", 5)):
        with pytest.raises(ResourceUnavailable, match=f"the body ended early, after {read} bytes"):
            load(source, web.url(path))


def _chunked(raw: bytes):
    def answer(handler):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(raw)

    return answer


def test_other_answers_are_clear_errors(web, source):
    web.answers["/busy"] = text("", status=503, retry_after="7")
    web.answers["/garbled"] = text("not packed", content_encoding="gzip")
    for path, why in (
        ("/none", "the host answered 404 Not Found"),
        ("/busy", "503 Service Unavailable; it asks to try again after 7"),
        ("/garbled", "the body cannot be unpacked"),
    ):
        with pytest.raises(ResourceUnavailable, match=why):
            load(source, web.url(path))
    web.stop()
    with pytest.raises(ResourceUnavailable, match="the host cannot be reached"):
        load(source, web.url("/"))


# ---- freshness ------------------------------------------------------------------------------


def test_text_comes_in_its_encoding_and_bytes_as_bytes(web, source):
    web.answers["/latin"] = text("é".encode("latin-1"), content_type="text/plain; charset=latin-1")
    web.answers["/utf8"] = text("é漢", content_type="text/plain")
    web.answers["/bytes"] = text(b"\x00\x01\xff\xfe")
    assert load(source, web.url("/latin")).value == "é"
    assert load(source, web.url("/utf8")).value == "é漢"
    assert load(source, web.url("/bytes")).value == b"\x00\x01\xff\xfe"


@pytest.mark.parametrize(
    ("headers", "age"),
    [
        ({}, 60.0),
        ({"cache_control": "max-age=10"}, 10.0),
        ({"cache_control": 'public, Max-Age="10", x'}, 10.0),
        ({"cache_control": "max-age=10", "age": "4"}, 6.0),
        ({"cache_control": "max-age=10", "age": "40"}, 0.0),
        ({"cache_control": "no-cache, max-age=10"}, 0.0),
        ({"cache_control": "no-store"}, 0.0),
        ({"cache_control": "max-age=soon"}, 0.0),
        ({"pragma": "no-cache"}, 0.0),
        ({"expires": "0"}, 0.0),
        ({"expires": "Wed, 21 Oct 2015 07:29:00 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}, 60),
        ({"expires": "Wed, 21 Oct 2015 07:28:00 GMT", "date": "Wed, 21 Oct 2015 07:29:00 GMT"}, 0),
    ],
)
def test_a_response_says_how_long_it_may_be_served(web, source, headers, age):
    web.answers["/"] = _dated(headers)
    assert load(source, web.url("/")).max_age_s == age


def _dated(headers: dict[str, str]):
    def answer(handler):
        handler.send_response_only(200)
        for name, value in ({"content_length": "2"} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(b"ok")

    return answer


@pytest.mark.parametrize(
    ("validator", "condition"),
    [
        ({"etag": '"one"'}, ("if-none-match", '"one"')),
        (
            {"last_modified": "Wed, 21 Oct 2015 07:28:00 GMT"},
            ("if-modified-since", "Wed, 21 Oct 2015 07:28:00 GMT"),
        ),
    ],
)
def test_what_is_past_its_age_is_confirmed_and_not_transferred(web, source, validator, condition):
    web.answers["/"] = text("body", cache_control="max-age=0", **validator)
    assert load(source, web.url("/")).value == "body"
    web.answers["/"] = text("", status=304, cache_control="max-age=30")
    confirmed = load(source, web.url("/"))
    assert (confirmed.value, confirmed.max_age_s) == ("body", 30.0)
    name, value = condition
    assert [headers.get(name) for headers in web.asked("/")] == [None, value]
    web.answers["/"] = text("new", etag='"two"')
    assert load(source, web.url("/")).value == "new"


def test_what_must_not_be_stored_is_not_kept(web, source):
    web.answers["/"] = text("body", cache_control="no-store", etag='"one"')
    for _ in range(2):
        assert load(source, web.url("/")).value == "body"
    assert ["if-none-match" in headers for headers in web.asked("/")] == [False, False]


def test_what_is_kept_to_be_confirmed_is_bounded(web):
    source = HttpSource(private_hosts=["127.0.0.1"], kept_bytes=100)
    for path in ("/a", "/b", "/c"):
        web.answers[path] = text(path * 20, etag='"one"')
        load(source, web.url(path))
    assert source._kept_bytes == 80
    load(source, web.url("/a"))
    assert "if-none-match" not in web.asked("/a")[-1]
    source.close()


# ---- connections ----------------------------------------------------------------------------


def test_connections_are_used_again_from_one_loop_to_the_next(web, source):
    web.answers["/"] = text("body")
    for _ in range(5):
        assert load(source, web.url("/")).value == "body"
    assert len(web.requests) == 5
    assert len(web.connections) == 1


def test_a_kept_connection_that_the_server_has_closed_is_not_noticed(web, source):
    web.answers["/"] = closing(text("body"))  # without a word of it in the headers
    for _ in range(3):
        assert load(source, web.url("/")).value == "body"


def test_headers_go_to_their_host_alone_and_cookies_nowhere(web):
    source = HttpSource(
        private_hosts=["127.0.0.1", "localhost"],
        headers={"127.0.0.1": {"Authorization": "Bearer x"}},
    )
    web.answers["/"] = redirect(web.url("/there", "localhost"))
    web.answers["/there"] = text("body", set_cookie="a=b")
    for _ in range(2):
        assert load(source, web.url("/")).value == "body"
    assert {headers.get("authorization") for headers in web.asked("/")} == {"Bearer x"}
    assert {headers.get("authorization") for headers in web.asked("/there")} == {None}
    assert all("cookie" not in headers for _, headers in web.requests)
    source.close()


def test_a_cancelled_load_ends_its_request(web, source):
    begun, gone = threading.Event(), threading.Event()

    def answer(handler):
        handler.send_response(200)
        handler.end_headers()
        begun.set()
        handler.connection.settimeout(WAIT_S)
        try:
            left = not handler.connection.recv(1)
        except ConnectionError:
            left = True  # closed before it had read the headers
        if left:
            gone.set()
        handler.close_connection = True

    web.answers["/slow"] = answer

    async def cancel() -> None:
        task = asyncio.ensure_future(source.load(web.url("/slow")))
        await asyncio.to_thread(begun.wait, WAIT_S)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert gone.wait(WAIT_S)


# ---- in an engine ---------------------------------------------------------------------------


def test_it_is_loaded_ahead_only_where_the_host_has_opted_in(web):
    web.answers["/a"] = text("body", cache_control="max-age=600")
    key = f"url:{web.url('/a')}"
    for opted in (False, True):
        source = HttpSource(private_hosts=["127.0.0.1"])
        settings = {"execution": {"prefetch_remote": opted}}
        with PrefetchEngine(settings, sources=[source]) as engine:
            handle = engine.submit([Prediction(key, "main_file", 0.9)])
            assert handle.plan(WAIT_S).items[0].lane == ("immediate" if opted else "skipped")
            assert handle.wait_immediate(WAIT_S) is opted
            assert len(web.requests) == (1 if opted else 0)
            assert engine.get(key).value == "body"
            assert len(web.requests) == 1
            assert engine.get(f"{key}#part").value == "body"
        web.requests.clear()


def test_reads_and_stop_go_on_while_a_host_hangs(web):
    release, begun = threading.Event(), threading.Event()

    def hangs(handler):
        begun.set()
        release.wait(WAIT_S)

    web.answers["/hangs"] = hangs
    web.answers["/a"] = text("body")
    engine = PrefetchEngine(sources=[HttpSource(private_hosts=["127.0.0.1"])]).start()
    reader = threading.Thread(
        target=partial(_ignoring_errors, lambda: engine.get(f"url:{web.url('/hangs')}"))
    )
    reader.start()
    assert begun.wait(WAIT_S)
    assert engine.get(f"url:{web.url('/a')}").value == "body"
    engine.stop(timeout=WAIT_S)
    reader.join(WAIT_S)
    assert not reader.is_alive()
    release.set()


def _ignoring_errors(action) -> None:
    try:
        action()
    except Exception:  # noqa: BLE001 - the engine is stopped under it
        return


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ({}, "hosts: it is empty"),
        ({"hosts": "example.org"}, "expected a list of hosts"),
        ({"hosts": ["https://example.org/"]}, "is not a host"),
        ({"hosts": ["*"]}, "is not a host"),
        ({"hosts": ["example.org:x"]}, "is not a host"),
        ({"hosts": ["example.org"], "max_bytes": -1}, "max_bytes: -1"),
        ({"hosts": ["example.org"], "assumed_max_age_s": float("nan")}, "assumed_max_age_s: nan"),
    ],
)
def test_wrong_arguments_are_named(arguments, why):
    with pytest.raises(ConfigError, match=why):
        HttpSource(**arguments)


def test_a_pattern_stands_for_the_hosts_below():
    source = HttpSource(["*.example.org", "one.test:8080"])
    for url, allowed in (
        ("https://a.example.org/", True),
        ("https://a.b.EXAMPLE.org/", True),
        ("https://example.org/", False),
        ("https://badexample.org/", False),
        ("https://example.org.evil.test/", False),
        ("http://one.test:8080/", True),
        ("http://one.test/", False),
    ):
        assert (source.excluded(url) is None) is allowed, url
