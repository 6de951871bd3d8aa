"""Exit 0 when the console of this container calls itself healthy."""

from __future__ import annotations

import sys
from urllib.request import urlopen

from omslab import settings

if __name__ == "__main__":
    try:
        url = f"http://127.0.0.1:{settings.port('ghana_server_port')}/oms/health"
        with urlopen(url, timeout=4) as answer:
            sys.exit(0 if answer.status == 200 else 1)
    except OSError:
        sys.exit(1)
