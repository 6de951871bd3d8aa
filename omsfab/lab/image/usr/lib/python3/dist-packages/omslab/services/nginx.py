"""The front of the console: hands requests on, with TLS if a certificate is mounted."""

from __future__ import annotations

import json
from pathlib import Path

from omslab import settings
from omslab.services.web import Answer, fetch, serve

CERTIFICATE = Path("/etc/pki/nginx/oms_server.crt")
KEY = Path("/etc/pki/nginx/oms_server.key")


def forward(path: str) -> Answer:
    try:
        status, text = fetch(settings.port("ghana_server_port"), path)
    except OSError:
        return 502, {"success": False, "message": "502 Bad Gateway"}
    return status, json.loads(text) if text.startswith("{") else text


def main() -> None:
    settings.may_start("nginx")
    context = None
    if CERTIFICATE.is_file() and KEY.is_file():
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE, KEY)
    serve(settings.port("nginx_server_port"), forward, context)


if __name__ == "__main__":
    main()
