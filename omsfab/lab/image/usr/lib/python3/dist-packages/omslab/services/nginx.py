"""The front of the console: hands requests on, with TLS if a certificate is mounted."""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

from omslab import settings
from omslab.services.web import Answer, serve

CERTIFICATE = Path("/etc/pki/nginx/oms_server.crt")
KEY = Path("/etc/pki/nginx/oms_server.key")


def forward(path: str) -> Answer:
    url = f"http://127.0.0.1:{settings.port('ghana_server_port')}{path}"
    try:
        with urlopen(url, timeout=4) as answer:
            return answer.status, read(answer)
    except HTTPError as error:
        return error.code, read(error)
    except OSError:
        return 502, {"success": False, "message": "502 Bad Gateway"}


def read(answer: Any) -> Any:
    """JSON as what it says, a page as its text."""
    text = answer.read().decode()
    return json.loads(text) if text.startswith("{") else text


def main() -> None:
    settings.may_start("nginx")
    context = None
    if CERTIFICATE.is_file() and KEY.is_file():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE, KEY)
    serve(settings.port("nginx_server_port"), forward, context)


if __name__ == "__main__":
    main()
