"""Questions to a node before an outage: each ends with 0 if all is well, or says what is not.

They change nothing, on the node or in the container.  Data is "$1", "$2", …; secrets come by stdin.
"""

from __future__ import annotations

import json

from omsfab.command import Command, script
from omsfab.commands.claim import PLACE
from omsfab.commands.scripts import script_text
from omsfab.fleet.model import MetaDb
from omsfab.secret import Secret

# The name of the module is put together, so that no look for a running unit takes this for one.
_IMPORT = 'n = ".".join(["omsflow", "scripts", "units"]); __import__(n)'

_OMSFLOW = script_text("omsflow")
_LOGIN = script_text("metadb_login")

_PYTHON_LOGIN = """
import json, sys
a = json.load(sys.stdin)
try:
    import pymysql
except ImportError:
    sys.exit(0)
try:
    # As bytes: a text would be sent as latin-1, and a password may have any character.
    c = pymysql.connect(host=a["host"], port=a["port"], user=a["user"],
                        password=a["password"].encode("utf-8"), connect_timeout=10)
    c.cursor().execute("select 1")
except Exception:
    print(str(sys.exc_info()[1])[:300])
    sys.exit(1)
"""

_ONE_OMS = script_text("one_oms")
_TAKES = script_text("takes")
_ROOM = script_text("keeps")
_TAG = script_text("tag")
_HABITS = script_text("habits")


def omsflow(container: str) -> Command:
    """What docker_init.sh needs in a running container: itself, python, and omsflow from /root."""
    return script(_OMSFLOW, container, _IMPORT)


def metadb_login(container: str, metadb: MetaDb) -> Command:
    """Log in to MetaDB from the container, as config.yaml has it; the password is on stdin."""
    words = {
        "host": metadb.host,
        "port": metadb.port,
        "user": metadb.user,
        "password": metadb.password.reveal(),
    }
    return script(_LOGIN, container, _PYTHON_LOGIN, stdin=Secret(json.dumps(words)))


def one_oms(container: str) -> Command:
    return script(_ONE_OMS, container)


def takes(*paths: str) -> Command:
    """Say why a file, or a new file in a directory, could not be written."""
    return script(_TAKES, *paths)


def keeps(size: int) -> Command:
    """Say where there is no room for claims and copies of runs (``size`` bytes)."""
    return script(_ROOM, PLACE, str(size))


def tag(name: str, wanted: str) -> Command:
    """Say which other image has the name."""
    return script(_TAG, name, wanted)


def habits(*, old: bool) -> Command:
    return script(_HABITS, "old" if old else "new")
