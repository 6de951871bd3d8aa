"""A small web server for the programs, light to start: http.server alone takes half of the time
that a program needs until it listens, and labs start some thousands."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import TYPE_CHECKING, Any

from omslab import settings
from omslab.services import orphan

if TYPE_CHECKING:
    import ssl

Answer = tuple[int, Any]
REASONS = {200: "OK", 404: "Not Found", 501: "Unsupported method", 502: "Bad Gateway"}


class Server(ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Silent: a client that hangs up, or says nothing for too long, is no matter."""


def serve(
    port: int, answer: Callable[[str], Answer], context: ssl.SSLContext | None = None
) -> None:
    """Answer GET and POST for ever, JSON or, of text, HTML; ``answer`` gets the path."""

    class Handler(StreamRequestHandler):
        timeout = 20

        def handle(self) -> None:
            method, path, *_ = self.rfile.readline(65536).decode("latin-1").split()
            length = 0
            while line := self.rfile.readline(65536).strip():
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            self.rfile.read(length)
            status, body = answer(path) if method in ("GET", "POST") else (501, "")
            page = isinstance(body, str)
            said = body if page else json.dumps(body, ensure_ascii=False, separators=(",", ":"))
            data = said.encode()
            kind = "text/html" if page else "application/json"
            head = (
                f"HTTP/1.0 {status} {REASONS.get(status, 'Unavailable')}\r\n"
                f"Content-Type: {kind};charset=UTF-8\r\nContent-Length: {len(data)}\r\n\r\n"
            )
            self.wfile.write(head.encode() + data)

    time.sleep(float(settings.knob("START_SECONDS") or 0))
    server = Server(("0.0.0.0", port), Handler)
    if context:
        # The handshake belongs to the thread of the request: a silent client must not block all.
        server.socket = context.wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
    orphan.leave(server.socket.fileno())
    print(f"listening on {port}", flush=True)
    server.serve_forever()


def fetch(port: int, path: str) -> tuple[int, str]:
    """Status and body of what another program of this container answers; OSError if it does not."""
    with socket.create_connection(("127.0.0.1", port), 4) as connection:
        connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        with connection.makefile("rb") as answer:
            head, _, body = answer.read().partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/"):
        raise ConnectionError("no answer")
    return int(head.split()[1]), body.decode()
