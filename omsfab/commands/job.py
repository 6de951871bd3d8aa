"""Words for docker_init.sh as a detached job: its wrapper, and questions about it.

The wrapper travels as an argument, for users of the image may write on the logs mount.  What it
leaves lies there all the same, in the attempt's own directory, so that node and container see one
claim, process id, output and status; no link is followed there.  ``docker exec -d`` leaves no
terminal and no session behind that could end it, and `docker_init.sh` "must not be interrupted"
(OMS CE guide, Scale out); only who says so (``--stop-init``) ends it.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from omsfab.commands.command import Command, command, script

FLAG = "/root/init_flag.txt"
"""Written, and not empty, when an initialisation succeeded (images from about 4.2.13)."""

STARTED = "OMS service start successfully"
"""The last line of ``docker logs`` once an image that initialises itself has done so."""

MARK = "OMSFAB_ATTEMPT"
"""In the environment of an attempt's processes, however far they have gone from their parent."""

# The processes that run the script NAME or a step of it (STEPS, a python module): one line each,
# `PID since WHEN`, those that run a step only at the end, with `, unit`.  Only interpreters count:
# somebody may be reading the script in an editor.
_RUNNING = r"""
running() {
  found=$(grep -lasF -e "$1" -e "$2" /proc/[0-9]*/cmdline 2>/dev/null | while IFS= read -r file; do
    pid=${file#/proc/}; pid=${pid%/cmdline}
    tr '\0' '\n' <"$file" 2>/dev/null | {
      IFS= read -r first; IFS= read -r second; IFS= read -r third
      case ${first##*/} in sh | bash | dash | ash | busybox | sudo | python* | "$1") ;; *) exit 1 ;;
      esac
      what=1
      for word in "$first" "$second" "$third"; do
        case $word in "$1" | */"$1") exit 0 ;; "$2"*) what=2 ;; esac
      done
      exit "$what"
    }
    case $? in 0) unit= ;; 2) unit=', unit' ;; *) continue ;; esac
    printf '%s since %s%s\n' "$pid" "$(ps -o lstart= -p "$pid" 2>/dev/null)" "$unit"
  done)
  [ -n "$found" ] || return 0
  printf '%s\n' "$found" | grep -v ', unit$'
  printf '%s\n' "$found" | grep ', unit$'
}
started() { sed 's/.*) //' "/proc/$1/stat" 2>/dev/null | cut -d ' ' -f 20; }
"""

WRAPPER = (
    rf"""# omsfab: run one command in this container once, whoever starts this how often
# DIRECTORY OWNER LOCK NAME STEPS WORD...
dir=$1; owner=$2; lock=$3; name=$4; steps=$5; shift 5
mask=$(umask); umask 077
{MARK}=${{dir##*/}}; export {MARK}
"""
    + _RUNNING
    + r"""
# Users of the image may have put something else in its place.
[ ! -L "${dir%/*}" ] && [ ! -L "$dir" ] && [ ! -L "$lock" ] && cd -P -- "$dir" || exit 73
[ "$(stat -c %u .)" = "$owner" ] || exit 73
# Who made the directory reads what is in it, also where that is not root.
ours() { chown -h "$(stat -c %u:%g .)" "$1" 2>/dev/null; }
say() {
  rm -f "$1.new"
  (set -C; printf '%s\n' "$2" >"$1.new")
  ours "$1.new"; mv -f "$1.new" "$1"
}
refuse() { [ -L refused ] || printf '%s\n' "$1" >>refused; ours refused; exit 75; }
locked_out() {
  sleep 1  # the one who holds the lock may be this very attempt, about to claim
  refuse "lock $(running "$name" "$steps" | head -n 1)"
}

[ -d claim ] && refuse "this attempt was started before"
if command -v flock >/dev/null 2>&1; then
  exec 9>>"$lock"
  flock -n 9 || locked_out
else
  holder=$(cat "$lock.d/owner" 2>/dev/null)
  [ -n "$holder" ] && [ "$(started "${holder% *}")" != "${holder#* }" ] && rm -rf "$lock.d"
  mkdir "$lock.d" 2>/dev/null || locked_out
  printf '%s %s\n' "$$" "$(started $$)" >"$lock.d/owner"
  trap 'rm -rf "$lock.d"' EXIT
fi
other=$(running "$name" "$steps" | head -n 1)
[ -z "$other" ] || refuse "$other"
mkdir claim 2>/dev/null || refuse "this attempt was started before"

say pid "$$ $(started $$)"
rm -f output
(set -C; : >output) || exit 73
ours output
# The script finds its modules from /root only.
(umask "$mask"; cd /root && exec "$@") >>output 2>&1 </dev/null 9>&-
say status "$?"
"""
)

_PREPARE = r"""# make the attempt directory
dir=$1; umask 077
for place in "${dir%/*}" "$dir"; do
  [ ! -L "$place" ] || { printf '%s is a link\n' "$place" >&2; exit 73; }
done
mkdir -p -- "$dir" || exit
id -u
[ -d "$dir/claim" ] && exit
rm -f -- "$dir/refused"
"""

# The status is read before the size: if it is there, the size is the last one.  What is a link is
# not read: an attempt's files are written by no one but its wrapper.
_POLL = r"""# what an attempt has said so far
dir=$1; offset=$2; most=$3
[ ! -L "${dir%/*}" ] && [ ! -L "$dir" ] && cd -P -- "$dir" 2>/dev/null || exit 0
there() { [ -f "$1" ] && [ ! -L "$1" ] && [ -s "$1" ]; }
[ -d claim ] && [ ! -L claim ] && echo "claimed $(($(date +%s) - $(stat -c %Y claim)))"
there refused && printf 'refused %s\n' "$(head -n 1 refused)"
there pid && printf 'pid %s\n' "$(head -n 1 pid)"
there status && printf 'status %s\n' "$(head -n 1 status)"
[ -f output ] && [ ! -L output ] || exit 0
printf 'size %s\n' "$(wc -c <output)"
printf 'bytes %s\n' "$(tail -c "+$((offset + 1))" output | head -c "$most" | base64 | tr -d '\n')"
"""

# ATTEMPT: a flag file that is younger than its claim is its own.
_LOOK = (
    "# is the attempt's wrapper alive, does the script run"
    + _RUNNING
    + r"""
[ -n "$1" ] && [ "$(started "$1")" = "$2" ] && echo alive
running "$3" "$4" | sed 's/^/running /'
[ -s "$5" ] && printf 'flag %s\n' "$(stat -c %Y "$5")"
[ -n "$6" ] && [ -s "$5" ] && [ "$5" -nt "$6/claim" ] && echo fresh
for word in $(tr '\0' ' ' </proc/1/cmdline 2>/dev/null); do
  [ -f "$word" ] && grep -aqsF -e "$3" -- "$word" && echo entry
done
grep -raqsF -e "$3" /etc/supervisord.conf /etc/supervisor* 2>/dev/null && echo entry
true
"""
)

# Lines of an output that decide.
_DECIDE = "-e 'init failed!' -e '初始化步骤' -e 'initialization steps' -e 'Traceback (most recent'"

_ITSELF = rf"""# has this container initialised itself
state=$(docker inspect --type container --format '{{{{.State.Running}}}} {{{{.State.StartedAt}}}}' "$1") || exit
printf 'state %s\n' "$state"
printf 'now %s\n' "$(date +%s)"
docker logs --since "${{state#* }}" --tail 200 "$1" 2>&1 | tr -d '\r' | grep -aF -e "$6" | tail -n 1 |
  sed 's/^/log /'
# Only what is a plain file; the image's users may write here.
newest=$(ls -t -- "$7"/docker_init*.log* 2>/dev/null | head -n 1)
if [ -n "$newest" ] && [ -f "$newest" ] && [ ! -L "$newest" ]; then
  printf 'initlog %s\n' "$(stat -c %Y -- "$newest")"
  grep -aiF {_DECIDE} -- "$newest" | tail -n 50 | sed 's/^/said /'
fi
exec docker exec "$1" sh -c "$2" omsfab '' '' "$3" "$4" "$5" ''
"""  # noqa: E501

# A unit alone may be the entry script's, at each start: its end is waited for.
_OVER = r"""# no initialisation runs in the container
for again in $(seq 30) last; do
  running=$(docker inspect --type container --format '{{.State.Running}}' "$1" 2>/dev/null)
  [ "$running" = true ] || exit 0
  found=$(docker exec -i "$1" sh -s '' '' "$2" "$3" '' '') || exit "$4"
  found=$(printf '%s\n' "$found" | sed -n 's/^running /pid /p')
  [ -n "$found" ] || exit 0
  printf '%s\n' "$found" | grep -qv ', unit$' && break
  [ "$again" = last ] || sleep 2
done
printf '%s\n' "$found" >&2
exit 1
"""

# Those of an attempt: by the mark in their environment, by the lock they hold, by their parents and
# sessions.  supervisord and its programs are not, whoever started it.
_END = (
    rf"""# end the initialisation that omsfab began, and all that belongs to it
lock=$1
marked() {{
  for p in /proc/[0-9]*; do
    pid=${{p#/proc/}}
    [ "$pid" != 1 ] && [ "$pid" != $$ ] || continue
    if tr '\0' '\n' <"$p/environ" 2>/dev/null | grep -q '^{MARK}='; then echo "$pid"; continue; fi
    for f in "$p"/fd/*; do
      [ "$f" -ef "$lock" ] && {{ echo "$pid"; break; }}
    done
  done 2>/dev/null
}}
"""
    + r"""
tree() {
  all=" $* "
  [ -n "$*" ] || return 0
  while :; do
    more=
    for p in /proc/[0-9]*; do
      IFS= read -r line <"$p/stat" || continue
      pid=${p#/proc/}
      set -- ${line##*) }
      case $all in *" $pid "*) continue ;; esac
      case $all in *" $2 "* | *" $4 "*) more="$more$pid " ;; esac
    done 2>/dev/null
    [ -n "$more" ] || break
    all="$all$more"
  done
  echo $all
}
daemons() {
  for p in /proc/[0-9]*; do
    tr '\0' '\n' <"$p/cmdline" | head -n 2 | grep -qxE '(.*/)?supervisord' && echo "${p#/proc/}"
  done 2>/dev/null
}
ours() {
  keep=" 1 $$ $(tree $(daemons)) "
  for pid in $(tree $(marked)); do
    case $keep in *" $pid "*) ;; *) echo "$pid" ;; esac
  done
}
alive() {
  for pid in "$@"; do
    case $(sed 's/.*) //' "/proc/$pid/stat" 2>/dev/null) in '' | Z* | X*) ;; *) echo "$pid" ;; esac
  done
}
pids=$(alive $(ours))
[ -z "$pids" ] || echo "ended $(echo $pids)"
for signal in TERM KILL KILL KILL; do
  [ -n "$pids" ] || break
  kill -s "$signal" $pids 2>/dev/null
  for _ in 1 2 3 4 5 6 7 8 9 10; do
    pids=$(alive $pids)
    [ -n "$pids" ] || break
    sleep 0.5
  done
  pids=$(alive $(ours))
done
[ -z "$pids" ] || echo "left $(echo $pids)"
if command -v flock >/dev/null 2>&1; then
  [ ! -e "$lock" ] || flock -n "$lock" true && echo free
else
  holder=$(cat "$lock.d/owner" 2>/dev/null)
  [ -n "$(alive ${holder% *})" ] || { rm -rf "$lock.d"; echo free; }
fi
true
"""
)

_ENDED = """# seconds since the attempt ended
[ ! -L "$1" ] && there=$(stat -c %Y -- "$1/status") && echo "$(($(date +%s) - there))"
"""

_MARKS = rf"""# lines of an output that decide
[ -L "$1" ] || [ -L "$1/output" ] ||
  grep -aiF {_DECIDE} -- "$1/output" | tail -c 100000
true
"""

_NEWEST = r"""# the last line of the newest attempt
cd -P -- "$1" 2>/dev/null || exit 0
newest=$(ls -td -- */claim 2>/dev/null | head -n 1)
[ -n "$newest" ] && [ ! -L "${newest%/claim}" ] && cd -P -- "${newest%/claim}" || exit 0
[ ! -s status ] && [ -f output ] && [ ! -L output ] || exit 0
printf 'claimed %s\n' "$(($(date +%s) - $(stat -c %Y claim)))"
printf 'last %s\n' "$(tail -c 4000 output | tr '\r' '\n' | grep -a . | tail -n 1)"
"""


def script_name(argv: tuple[str, ...]) -> str:
    """The script the job runs, e.g. ``docker_init.sh``."""
    return PurePosixPath(argv[-1]).name


def signs(argv: tuple[str, ...]) -> tuple[str, str]:
    """Return name of the script and of the module whose parts are its steps."""
    name = script_name(argv)
    return name, "omsflow.scripts.units" if name == "docker_init.sh" else name


def prepare(directory: str) -> Command:
    """Make the attempt directory, and print the id of its owner."""
    return script(_PREPARE, directory)


def start(container: str, inside: str, owner: str, lock: str, argv: tuple[str, ...]) -> Command:
    """Start the wrapper in the container; it ends at once and says nothing about success.

    A directory that does not belong to ``owner`` (a user id) is not used.
    """
    return command(
        "docker", "exec", "-d", container,
        "sh", "-c", WRAPPER, "omsfab", inside, owner, lock, *signs(argv), *argv,
        limit=60,
    )  # fmt: skip


def poll(directory: str, offset: int, most: int) -> Command:
    """Print ``claimed AGE``, ``refused WHY``, ``pid PID START``, ``status N``, ``size N``, ``bytes BASE64``.

    Each only if there is one.  Bytes stand in base64: a character may be cut in two.
    """  # noqa: E501
    return script(_POLL, directory, str(offset), str(most))


def look(
    container: str, pid: str, start: str, argv: tuple[str, ...], *, attempt: str = ""
) -> Command:
    """Print ``alive`` if the wrapper is, and ``running PID since …`` for each init there.

    ``fresh`` if there is a flag file that is younger than the ``attempt`` (its directory).
    """
    return command(
        "docker", "exec", container,
        "sh", "-c", _LOOK, "omsfab", pid, start, *signs(argv), FLAG, attempt,
    )  # fmt: skip


def itself(container: str, argv: tuple[str, ...], logs: str) -> Command:
    """Print what tells whether the container has initialised itself since its start.

    ``state RUNNING STARTED_AT``, ``now SECONDS``, ``log LINE`` (the one that says so),
    ``initlog MTIME`` and ``said LINE`` of the newest docker_init.log in ``logs``,
    ``running PID since …``, ``flag MTIME``, and ``entry`` when what runs as process 1 mentions the
    script.
    """
    return script(_ITSELF, container, _LOOK, *signs(argv), FLAG, STARTED, logs)


def end(container: str, lock: str) -> Command:
    """End every process of omsfab's attempts in the container: TERM, then KILL.

    Prints ``ended PID…``, ``left PID…`` (who outlives KILL), and ``free`` if nobody holds the lock.
    """
    return command("docker", "exec", container, "sh", "-c", _END, "omsfab", lock, limit=120)


def newest(directory: str) -> Command:
    """Print ``claimed AGE`` and ``last LINE`` of the newest attempt, unless it has ended."""
    return script(_NEWEST, directory)


def over(container: str, argv: tuple[str, ...], *, unasked: bool = False) -> Command:
    """Succeed if no initialisation runs in the container, or the container does not run itself.

    A mere unit of one, as some images run at each start, is waited for, a minute at most.

    ``unasked``: also if the container cannot be asked, where another question tells that.
    """
    return script(_OVER, container, *signs(argv), "0" if unasked else "1", stdin=_LOOK, limit=120)


def marks(directory: str) -> Command:
    """Print the lines that decide, of an output that was not read as a whole."""
    return script(_MARKS, directory, limit=120)


def ended(directory: str) -> Command:
    """Print for how many seconds the attempt has been over, by the node's clock."""
    return script(_ENDED, directory)
