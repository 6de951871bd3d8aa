"""Questions to a node before an outage: each ends with 0 if all is well, or says what is not.

They change nothing, on the node or in the container.  Data is "$1", "$2", …; secrets come by stdin.
"""

from __future__ import annotations

import json

from omsfab.commands.claim import PLACE
from omsfab.commands.command import Command, script
from omsfab.fleet.model import MetaDb
from omsfab.fleet.secret import Secret

# The name of the module is put together, so that no look for a running unit takes this for one.
_IMPORT = 'n = ".".join(["omsflow", "scripts", "units"]); __import__(n)'

_OMSFLOW = r"""# docker_init.sh is in the container, and python finds omsflow from /root
docker exec "$1" sh -c '
  [ -s /root/docker_init.sh ] || { echo "/root/docker_init.sh is not there, or empty"; exit 1; }
  command -v python >/dev/null || { echo "there is no python"; exit 1; }
  cd /root && said=$(python -c "$1" 2>&1 >/dev/null) || {
    printf "%s\n" "$said" | tail -n 1; exit 1
  }
' omsfab "$2"
"""

# PyMySQL is what the initialisation itself logs in with.  Where it is not, nothing can be asked.
_LOGIN = r"""# the container logs in to MetaDB
docker exec -i "$1" sh -c '
  command -v python >/dev/null || exit 0
  cd /root && exec python -c "$1"
' omsfab "$2"
"""

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

# 8084 is one per host with --net host, and supervisorctl goes there unless told otherwise.
_ONE_OMS = r"""# no other OMS runs on this host
name=$1; bad=0
for id in $(docker ps -q --no-trunc); do
  row=$(docker inspect --type container \
    --format '{{.Name}}{{range .Mounts}} {{.Destination}}{{end}}' "$id" 2>/dev/null) || continue
  other=${row%% *}; other=${other#/}
  [ "$other" = "$name" ] && continue
  case "$row " in
    *" /home/admin/conf/config.yaml "* | *" /home/ds/store "* | *" /home/ds/run "*)
      printf 'container %s runs with the mounts of an OMS\n' "$other"; bad=1; continue;;
  esac
  docker exec "$other" sh -c '[ -f /root/docker_init.sh ]' 2>/dev/null &&
    { printf 'container %s runs, and has /root/docker_init.sh\n' "$other"; bad=1; }
done
programs() { docker exec "$name" supervisorctl "$@" status 2>/dev/null |
  sed -n 's/^\([^ ]*\).*pid \([0-9]*\),.*/\1 \2/p'; }
if docker exec "$name" test -S /tmp/supervisor.sock 2>/dev/null; then
  own=$(programs -s unix:///tmp/supervisor.sock); said=$(programs)
  if [ -n "$own" ] && [ -n "$said" ] && [ "$own" != "$said" ] && sleep 1 &&
    [ "$(programs -s unix:///tmp/supervisor.sock)" != "$(programs)" ]; then
    printf 'supervisorctl in %s speaks to the supervisord of another container\n' "$name"; bad=1
  fi
fi
exit $bad
"""

# Root is told by -w of a read-only mount, and by lsattr of what even root may not change.
_TAKES = r"""# files can be written here as omsfab writes them
bad=0
tell() { printf '%s %s\n' "$1" "$2"; bad=1; }
guarded() {
  flags=$(lsattr -d -- "$1" 2>/dev/null | awk '{print $1}')
  case $flags in *i*) tell "$1" 'is immutable (lsattr: i)';; esac
  case $flags in *a*) tell "$1" 'is append-only (lsattr: a)';; esac
}
for path; do
  [ -d "$path" ] || [ ! -e "$path" ] || { [ -f "$path" ] || tell "$path" 'is no file'
    [ ! -f "$path" ] || [ -w "$path" ] || tell "$path" 'cannot be written'
    guarded "$path"; path=$(dirname -- "$path"); }
  while [ ! -e "$path" ]; do path=$(dirname -- "$path"); done
  [ -d "$path" ] || { tell "$path" 'is no directory'; continue; }
  case ,$(findmnt -no OPTIONS -T "$path" 2>/dev/null), in
    *,ro,*) tell "$path" 'is on a read-only mount';;
    *) [ -w "$path" ] || tell "$path" "cannot be written by $(id -un)";;
  esac
  guarded "$path"
done
if command -v quota >/dev/null 2>&1; then
  over=$(quota -w 2>/dev/null | awk '$2 ~ /\*/ || $5 ~ /\*/ {print $1}')
  [ -z "$over" ] || tell "$over" "is over the quota of $(id -un)"
fi
exit $bad
"""

_ROOM = r"""# disk space and inodes for the copies of runs
dir=$1; while [ ! -d "$dir" ]; do dir=$(dirname -- "$dir"); done
free=$(df -Pk -- "$dir" | awk 'NR == 2 {print $4}')
inodes=$(df -Pi -- "$dir" | awk 'NR == 2 {print $2 + 0 ? $4 : 1000}')
[ "$free" -ge $(($2 / 1000)) ] ||
  { printf '%s: %s MB free, %s MB needed\n' "$dir" $((free / 1000)) $(($2 / 1000000)); exit 1; }
[ "$inodes" -ge 100 ] || { printf '%s: %s inodes free\n' "$dir" "$inodes"; exit 1; }
"""

_TAG = r"""# no other image has this name
is=$(docker image inspect --format '{{.Id}}' "$1" 2>/dev/null) || exit 0
[ "$is" = "$2" ] && exit 0
printf '%s is %s here\n' "$1" "$is"; exit 1
"""

# "old" = the image is older than 4.2.4, or does not tell its version.
_HABITS = r"""# what the OMS documents say of such a host
bad=0
if [ "$1" = old ] && [ -f /sys/fs/cgroup/cgroup.controllers ]; then
  echo 'cgroup version 2: OMS before 4.2.4 shows such a host as abnormal'; bad=1
fi
if [ "$(docker info --format '{{.LiveRestoreEnabled}}' 2>/dev/null)" = false ]; then
  echo 'live-restore of docker is off: a restart of dockerd ends OMS'; bad=1
fi
exit $bad
"""


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
