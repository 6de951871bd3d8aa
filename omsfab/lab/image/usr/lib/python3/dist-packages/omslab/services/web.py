"""A small web server for the programs."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from omslab import settings
from omslab.services import orphan

Answer = tuple[int, Any]


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def serve(
    port: int, answer: Callable[[str], Answer], context: ssl.SSLContext | None = None
) -> None:
    """Answer GET and POST for ever, JSON or, of text, HTML; ``answer`` gets the path."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 20

        def do_GET(self) -> None:
            status, body = answer(self.path)
            page = isinstance(body, str)
            said = body if page else json.dumps(body, ensure_ascii=False, separators=(",", ":"))
            data = said.encode()
            kind = "text/html" if page else "application/json"
            self.send_response(status)
            self.send_header("Content-Type", f"{kind};charset=UTF-8")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Silent: health checks come several times a second."""

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
