"""Exit 0 when the console of this container calls itself healthy."""

from __future__ import annotations

import sys

from omslab import settings
from omslab.services.web import fetch

if __name__ == "__main__":
    try:
        status, _ = fetch(settings.port("ghana_server_port"), "/oms/health")
        sys.exit(0 if status == 200 else 1)
    except OSError:
        sys.exit(1)
