"""Words for docker_init.sh as a detached job: its wrapper, and questions about it.

The wrapper is a file in the attempt directory on the logs mount, so node and container see the same
claim, process id, output and status.  ``docker exec -d`` leaves no terminal and no session behind
that could end it, and `docker_init.sh` "must not be interrupted" (OMS CE guide, Scale out).
"""

from __future__ import annotations

from pathlib import PurePosixPath

from omsfab.commands.command import Command, command, script

FLAG = "/root/init_flag.txt"
"""Written, and not empty, when an initialisation succeeded (images from about 4.2.13)."""

STARTED = "OMS service start successfully"
"""The last line of ``docker logs`` once an image that initialises itself has done so."""

# The processes that run the script NAME or a step of it (STEPS, a python module): one line each,
# `PID since WHEN`.  Only interpreters count: somebody may be reading the script in an editor.
_RUNNING = r"""
running() {
  grep -lasF -e "$1" -e "$2" /proc/[0-9]*/cmdline 2>/dev/null | while IFS= read -r file; do
    pid=${file#/proc/}; pid=${pid%/cmdline}
    tr '\0' '\n' <"$file" 2>/dev/null | {
      IFS= read -r first; IFS= read -r second; IFS= read -r third
      case ${first##*/} in sh | bash | dash | ash | busybox | sudo | python* | "$1") ;; *) exit 1 ;;
      esac
      for word in "$first" "$second" "$third"; do
        case $word in "$1" | */"$1" | "$2"*) exit 0 ;; esac
      done
      exit 1
    } && printf '%s since %s\n' "$pid" "$(ps -o lstart= -p "$pid" 2>/dev/null)"
  done
}
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }
"""

WRAPPER = (
    r"""#!/bin/sh
# omsfab: run one command in this container once, whoever starts this how often.
# sh run.sh DIRECTORY LOCK NAME STEPS WORD...
dir=$1; lock=$2; name=$3; steps=$4; shift 4
mask=$(umask); umask 077
"""
    + _RUNNING
    + r"""
# Who made the directory reads what is in it, also where that is not root.
ours() { chown "$(stat -c %u:%g "$dir")" "$dir/$1" 2>/dev/null; }
say() { printf '%s\n' "$2" >"$dir/$1.new" ; ours "$1.new"; mv -f "$dir/$1.new" "$dir/$1"; }
refuse() { printf '%s\n' "$1" >>"$dir/refused"; ours refused; exit 75; }
locked_out() {
  sleep 1  # the one who holds the lock may be this very attempt, about to claim
  refuse "$(running "$name" "$steps" | head -n 1)"
}

[ -d "$dir/claim" ] && refuse "this attempt was started before"
if command -v flock >/dev/null 2>&1; then
  exec 9>>"$lock"
  flock -n 9 || locked_out
else
  owner=$(cat "$lock.d/owner" 2>/dev/null)
  [ -n "$owner" ] && [ "$(started "${owner% *}")" != "${owner#* }" ] && rm -rf "$lock.d"
  mkdir "$lock.d" 2>/dev/null || locked_out
  printf '%s %s\n' "$$" "$(started $$)" >"$lock.d/owner"
  trap 'rm -rf "$lock.d"' EXIT
fi
other=$(running "$name" "$steps" | head -n 1)
[ -z "$other" ] || refuse "$other"
mkdir "$dir/claim" 2>/dev/null || refuse "this attempt was started before"

say pid "$$ $(started $$)"
: >"$dir/output"; ours output
(umask "$mask"; exec "$@") >"$dir/output" 2>&1 </dev/null 9>&-
say status "$?"
"""
)

_PREPARE = r"""# make the attempt directory
dir=$1; umask 077
mkdir -p -- "$dir" || exit
[ -d "$dir/claim" ] && exit
rm -f -- "$dir/refused"
cat >"$dir/run.sh.new" && mv -f -- "$dir/run.sh.new" "$dir/run.sh"
"""

# The status is read before the size: if it is there, the size is the last one.
_POLL = r"""# what an attempt has said so far
dir=$1; offset=$2; most=$3
[ -d "$dir/claim" ] && echo "claimed $(($(date +%s) - $(stat -c %Y "$dir/claim")))"
[ -s "$dir/refused" ] && printf 'refused %s\n' "$(head -n 1 "$dir/refused")"
[ -s "$dir/pid" ] && printf 'pid %s\n' "$(cat "$dir/pid")"
[ -s "$dir/status" ] && printf 'status %s\n' "$(cat "$dir/status")"
[ -f "$dir/output" ] || exit 0
printf 'size %s\n' "$(wc -c <"$dir/output")"
printf 'bytes %s\n' "$(tail -c "+$((offset + 1))" "$dir/output" | head -c "$most" | base64 | tr -d '\n')"
"""  # noqa: E501

_LOOK = (
    "# is the attempt's wrapper alive, does the script run"
    + _RUNNING
    + r"""
[ -n "$1" ] && [ "$(started "$1")" = "$2" ] && echo alive
running "$3" "$4" | sed 's/^/running /'
[ -s "$5" ] && printf 'flag %s\n' "$(stat -c %Y "$5")"
for word in $(tr '\0' ' ' </proc/1/cmdline 2>/dev/null); do
  [ -f "$word" ] && grep -aqsF -e "$3" -- "$word" && echo entry
done
grep -raqsF -e "$3" /etc/supervisord.conf /etc/supervisor* 2>/dev/null && echo entry
true
"""
)

_ITSELF = r"""# has this container initialised itself
state=$(docker inspect --type container --format '{{.State.Running}} {{.State.StartedAt}}' "$1") || exit
printf 'state %s\n' "$state"
printf 'now %s\n' "$(date +%s)"
docker logs --tail 1 "$1" 2>&1 | tr -d '\r' | tail -n 1 | sed 's/^/log /'
exec docker exec "$1" sh -c "$2" omsfab '' '' "$3" "$4" "$5"
"""  # noqa: E501

_OVER = r"""# no initialisation runs in the container
running=$(docker inspect --type container --format '{{.State.Running}}' "$1" 2>/dev/null)
[ "$running" = true ] || exit 0
found=$(docker exec -i "$1" sh -s '' '' "$2" "$3" '') || exit "$4"
! printf '%s\n' "$found" | sed -n 's/^running /pid /p' | grep . >&2
"""

_ENDED = """# seconds since the attempt ended
there=$(stat -c %Y -- "$1/status") && echo "$(($(date +%s) - there))"
"""

_MARKS = r"""# lines of an output that decide
grep -aiE -e 'init failed!' -e '【结束】' -e '\[Completed\]' -- "$1/output" | head -c 100000
true
"""


def script_name(argv: tuple[str, ...]) -> str:
    """The script the job runs, e.g. ``docker_init.sh``."""
    return PurePosixPath(argv[-1]).name


def signs(argv: tuple[str, ...]) -> tuple[str, str]:
    """Return name of the script and of the module whose parts are its steps."""
    name = script_name(argv)
    return name, "omsflow.scripts.units" if name == "docker_init.sh" else name


def prepare(directory: str) -> Command:
    """Make the attempt directory with the wrapper in it, unless the attempt was claimed."""
    return script(_PREPARE, directory, stdin=WRAPPER)


def start(container: str, inside: str, lock: str, argv: tuple[str, ...]) -> Command:
    """Start the wrapper in the container; it ends at once and says nothing about success."""
    return command(
        "docker", "exec", "-d", container,
        "sh", f"{inside}/run.sh", inside, lock, *signs(argv), *argv,
        limit=60,
    )  # fmt: skip


def poll(directory: str, offset: int, most: int) -> Command:
    """Print ``claimed AGE``, ``refused WHY``, ``pid PID START``, ``status N``, ``size N``, ``bytes BASE64``.

    Each only if there is one.  Bytes stand in base64: a character may be cut in two.
    """  # noqa: E501
    return script(_POLL, directory, str(offset), str(most))


def look(container: str, pid: str, start: str, argv: tuple[str, ...]) -> Command:
    """Print ``alive`` if the wrapper is, and ``running PID since …`` for each init there."""
    return command(
        "docker", "exec", container, "sh", "-c", _LOOK, "omsfab", pid, start, *signs(argv), FLAG
    )


def itself(container: str, argv: tuple[str, ...]) -> Command:
    """Print what tells whether the container initialises itself.

    ``state RUNNING STARTED_AT``, ``now SECONDS``, ``log LAST LINE``, ``running PID since …``,
    ``flag MTIME``, and ``entry`` when what runs as process 1 mentions the script.
    """
    return script(_ITSELF, container, _LOOK, *signs(argv), FLAG)


def over(container: str, argv: tuple[str, ...], *, unasked: bool = False) -> Command:
    """Succeed if no initialisation runs in the container, or the container does not run itself.

    ``unasked``: also if the container cannot be asked, where another question tells that.
    """
    return script(_OVER, container, *signs(argv), "0" if unasked else "1", stdin=_LOOK)


def marks(directory: str) -> Command:
    """Print the lines that decide, of an output that was not read as a whole."""
    return script(_MARKS, directory, limit=120)


def ended(directory: str) -> Command:
    """Print for how many seconds the attempt has been over, by the node's clock."""
    return script(_ENDED, directory)
