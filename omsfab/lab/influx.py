"""The package of the time-series database: a real influxd out of Debian's package, as an image.

The vendor's is influxdb_1.8.tar.gz; Debian has 1.6, which knows the same flags and statements.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from omsfab.lab import package, places
from omsfab.lab.package import Package
from omsfab.lab.system import Say, only_one, private_dir

TAG = "influxdb:1.8"
DEBIAN_PACKAGES = ("base-files", "bash", "coreutils", "influxdb", "influxdb-client")


def build(say: Say = print) -> Package:
    """The package, from the cache if it is there."""
    cache = private_dir(places.cache())
    with only_one(cache / ".lock"):
        layers = [package.debian_layer(say, "influx", DEBIAN_PACKAGES, _finish).read_bytes()]
        text = package.configuration(TAG, layers, ("/usr/bin/influxd",))
        config = json.dumps(text, sort_keys=True).encode()
        name = hashlib.sha256(config).hexdigest()
        path = cache / f"influxdb_1.8-{name[:12]}.tar.gz"
        if not path.exists():
            say("packing the time-series database")
            package.write(path, TAG, name, config, layers)
        return Package(TAG, f"sha256:{name}", path)


def _finish(root: Path) -> None:
    (root / "var/lib/influxdb").mkdir(parents=True, exist_ok=True)
