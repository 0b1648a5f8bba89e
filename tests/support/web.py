"""A real web server on loopback, whose answers a test sets."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


class Web:
    """Serves `answers` by path; notes each request's path and headers, and each connection."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.connections: set[tuple[str, int]] = set()
        web = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                web.requests.append((self.path, headers))
                web.connections.add(self.client_address)
                web.answers.get(self.path, text("none here", status=404))(self)

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, *_: object) -> None:
                pass  # clients of these tests leave in the middle

        self._server = Server(("127.0.0.1", 0), Handler)
        self.port = self._server.server_port
        self.thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.thread.start()

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def asked(self, path: str) -> list[dict[str, str]]:
        """The headers of each request for a path."""
        return [headers for asked, headers in self.requests if asked == path]

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.thread.join()


def text(body: str | bytes, status: int = 200, **headers: str) -> Answer:
    """An answer; `_` in the names of headers stands for `-`."""
    raw = body.encode() if isinstance(body, str) else body

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in ({"content_length": str(len(raw))} | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        handler.wfile.write(raw)

    return answer


def redirect(to: str) -> Answer:
    return text("", status=302, location=to)


def closing(answer: Answer) -> Answer:
    """The same, and then the connection is closed, whatever was promised."""

    def answer_and_close(handler: BaseHTTPRequestHandler) -> None:
        answer(handler)
        handler.close_connection = True

    return answer_and_close
