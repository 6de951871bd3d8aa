"""Words for any Linux node with bash and coreutils: files, facts, ports, pages.

A script is a constant; data arrives as "$1", "$2", …; its first line says what it does.
"""

from __future__ import annotations

import base64
from urllib.parse import urlsplit

from omsfab.commands.command import Command, command, script
from omsfab.fleet.secret import Secret

# --- files -----------------------------------------------------------------------------------

# openssl uses the processor's own instructions; the common sha256sum takes 4 times as long.
_DIGEST = (
    "digest() { command -v openssl >/dev/null || { sha256sum; return; }; openssl dgst -sha256 -r; }"
)

_SHA256 = f"""# the sha256 of the file
{_DIGEST}
digest <"$1"
"""

_PRIVATE_DIRECTORY = r"""# make a directory for this user alone
umask 077; mkdir -p -- "$1"
"""

_READ_BYTES = r"""# bytes of a file, as base64
[ -r "$1" ] || { cat -- "$1"; exit; }
tail -c "+$(($2 + 1))" -- "$1" | head -c "$3" | base64
"""

_FILES_BELOW = r"""# the files below a directory
cd -- "$1" && find . -type f | sed 's,^\./,,' | sort
"""

# A journal only ever grows.  One that is there and is no beginning of what comes was written by
# somebody else, who may be ahead of us.
_EXTEND = r"""# bring a longer journal
path=$1; new=$path.$$.new; umask 077
base64 -d | dd of="$new" conv=fsync bs=64k 2>/dev/null || { rm -f -- "$new"; exit 42; }
if [ -s "$path" ]; then
  head -c "$(wc -c <"$path")" -- "$new" | cmp -s - "$path" || { rm -f -- "$new"; exit 46; }
fi
mv -f -- "$new" "$path" && sha256sum <"$path"
"""

_COPIES = r"""# the copies of runs on this node
cd -- "$1" 2>/dev/null || exit 0
for run in [0-9]*Z-*; do
  if [ -f "$run/journal.jsonl" ]; then
    undoes=$(sed -n 's/^  "run": "\([0-9A-Za-z-]*\)",*$/\1/p' "$run/run.json" | head -n 1)
    ended=$(grep '"kind": "run", "text": "ended' -- "$run/journal.jsonl" | tail -n 1)
    printf '%s %s %s %s\n' "$run" "$(grep -c '"kind": "intent"' -- "$run/journal.jsonl")" \
      "${undoes:--}" "$(printf %s "$ended" | base64 | tr -d '\n')"
  fi
done
"""

_KEEP_NEWEST = r"""# remove the copies of runs that have ended, but for the newest
cd -- "$1" || exit
ls -1r | while read -r run; do
  grep -qs '"kind": "run", "text": "ended' -- "$run/journal.jsonl" || continue
  kept=$((kept + 1)); [ "$kept" -le "$2" ] || rm -rf -- "./$run"
done
"""


def private_directory(path: str) -> Command:
    return script(_PRIVATE_DIRECTORY, path)


def extend(path: str, content: bytes) -> Command:
    """Write a file that may only grow, and print its digest; ends with AHEAD if what is there is no
    beginning of the content."""
    return script(_EXTEND, path, stdin=Secret(base64.b64encode(content).decode()), limit=60)


def copies(path: str) -> Command:
    """Print a line per copy of a run below ``path``: ``RUN INTENTS UNDOES LAST``.

    How many steps it has begun, which run it undoes (``-`` for none), and its last event, as
    base64, if it has ended.
    """
    return script(_COPIES, path)


def keep_newest(path: str, count: int) -> Command:
    """Remove copies of runs below ``path`` that have ended, but for the newest ``count``."""
    return script(_KEEP_NEWEST, path, str(count))


def read_bytes(path: str, offset: int, most: int) -> Command:
    """Print at most so many bytes from the offset on, as base64."""
    return script(_READ_BYTES, path, str(offset), str(most))


def files_below(path: str) -> Command:
    """Print the files below a directory, relative to it, one a line."""
    return script(_FILES_BELOW, path)


def list_names(path: str) -> Command:
    return command("ls", "-1", "--", path)


def sha256(path: str, *, limit: float = 900) -> Command:
    """Print the digest of the file, and then some: the first word counts."""
    return script(_SHA256, path, limit=limit)


def mkdir(path: str) -> Command:
    return command("mkdir", "-p", "--", path)


def read_file(path: str) -> Command:
    return command("cat", "--", path)


def remove(path: str) -> Command:
    return command("rm", "-f", "--", path)


def disk_usage(path: str) -> Command:
    """Print df's table for the path: evidence when it was full."""
    return command("df", "-P", "--", path)


# --- writing in place ------------------------------------------------------------------------

_STAGE = r"""# put new content beside the file
new=$1; path=$2; umask 077
[ -d "$path" ] && exit 41
dd of="$new" conv=fsync bs=64k 2>/dev/null || { rm -f "$new"; exit 42; }
sha256sum <"$new"
"""

# A container holds a bind-mounted file by its inode, hence `cat >`, not `mv`.  A backup that is
# there already is older, and so it is the true former content: it stays.  Where there was no file,
# BACKUP.none says so: putting back means removing then.
_WRITE_IN_PLACE = r"""# write the file in place
new=$1; path=$2; mode=$3; backup=$4; umask 077
[ -d "$path" ] && exit 41
if [ -f "$path" ] && [ ! -e "$backup" ] && [ ! -e "$backup.none" ]; then
  mkdir -p -- "$(dirname -- "$backup")" || exit 43
  dd if="$path" of="$backup.part" conv=fsync bs=64k 2>/dev/null &&
    cmp -s "$path" "$backup.part" && stat -Lc '%u:%g %a' -- "$path" >"$backup.owner" &&
    mv -f -- "$backup.part" "$backup" || exit 43
fi
if [ ! -e "$path" ]; then
  mkdir -p -- "$(dirname -- "$backup")" && : >"$backup.none" || exit 43
fi
sha256sum <"$new" | cut -c1-64 >>"$backup.wrote" || exit 43
[ -e "$path" ] || : >"$path" || exit 44
[ "$mode" = found ] || chmod -- "$mode" "$path" || exit 44
dd if="$new" of="$path" conv=fsync bs=64k 2>/dev/null || {
  [ -f "$backup" ] && cat "$backup" >"$path"; exit 44
}
sha256sum <"$path" && rm -f -- "$new"
"""

# A file is put back only if it is still what the run wrote (BACKUP.wrote has the digests) and no
# other run has written it since, though the same content.  One that was cut off in the middle of
# the write is empty.
_WHOSE_FILE = r"""
path=$1; backup=$2; why=
if [ -f "$backup" ]; then cmp -s -- "$backup" "$path"
elif [ -f "$backup.none" ]; then [ ! -e "$path" ]
fi || {
  for later in "$path".omsfab-*.bak.wrote; do
    [ "$later" -nt "$backup.wrote" ] && [ "$later" != "$backup.wrote" ] &&
      [ -e "$backup.wrote" ] && why="${later##*/} was written since"
  done
  [ ! -s "$path" ] || grep -qsxF -e "$(sha256sum <"$path" | cut -c1-64)" -- "$backup.wrote" ||
    why="its content is not what the run wrote"
  [ ! -f "$backup.undone" ] || why='it was put back already, and is another one again'
}
"""

_STILL_WRITTEN = (
    "# the file is what the run wrote, or what it was before"
    + _WHOSE_FILE
    + r"""
[ -z "$why" ] || { printf '%s: %s\n' "$path" "$why"; exit 1; }
"""
)

_PUT_BACK = (
    "# put the former content back, if the file is still what the run wrote"
    + _WHOSE_FILE
    + r"""
umask 077
if [ -n "$why" ]; then
  [ -n "$3" ] || { printf '%s: %s; it is left alone\n' "$path" "$why"; exit 47; }
  dd if="$path" of="$backup.aside" conv=fsync bs=64k 2>/dev/null &&
    cmp -s -- "$path" "$backup.aside" || exit
  printf '%s: %s; it is kept as %s\n' "$path" "$why" "$backup.aside"
fi
if [ -f "$backup" ]; then
  dd if="$backup" of="$path" conv=fsync bs=64k 2>/dev/null && cmp -- "$backup" "$path" || exit
  if read -r owner mode 2>/dev/null <"$backup.owner" &&
      [ "$(stat -Lc '%u:%g %a' -- "$path")" != "$owner $mode" ]; then
    chown -- "$owner" "$path" && chmod -- "$mode" "$path" || exit
  fi
elif [ -f "$backup.none" ]; then
  rm -f -- "$path" || exit
else
  echo 'nothing was written here, so nothing is put back'
  exit 0
fi
[ ! -f "$backup.wrote" ] || mv -f -- "$backup.wrote" "$backup.undone"
"""
)

NOT_OURS = 47
"""Exit status of ``put_back`` when the file is not what the run wrote."""

IS_DIRECTORY, NOT_STAGED, NOT_BACKED_UP, NOT_WRITTEN = 41, 42, 43, 44
"""Exit statuses of ``stage`` and ``write_in_place``."""


def stage(new: str, path: str, content: Secret) -> Command:
    """Write the content to ``new`` (0600, on disk) and print its digest."""
    return script(_STAGE, new, path, stdin=content, limit=60)


def write_in_place(new: str, path: str, mode: int | None, backup: str) -> Command:
    """Copy ``new`` into ``path``, keep what was there at ``backup``, print the digest of ``path``.

    Without a ``mode`` owner, group, mode and the like stay as they are, and a new file is 0600.
    When that fails, the former content is put back.
    """
    text = "found" if mode is None else f"{mode:o}"
    return script(_WRITE_IN_PLACE, new, path, text, backup, limit=60)


def still_written(path: str, backup: str) -> Command:
    """End with 0 if the file is what the run of this backup wrote, or what it was before it."""
    return script(_STILL_WRITTEN, path, backup)


def put_back(path: str, backup: str, *, aside: bool = False) -> Command:
    """Copy ``backup`` into ``path`` in place; remove ``path`` if it was not there before.

    A file that somebody else has written since ends it with NOT_OURS; or, with ``aside``, is kept
    as ``BACKUP.aside``.
    """
    return script(_PUT_BACK, path, backup, "aside" if aside else "", limit=60)


# --- sending a large file --------------------------------------------------------------------

# A writer whose session was cut may still hold the part and would append old bytes to it.
_PART_STATE = (
    f"# what is there of a file that is being sent\n{_DIGEST}"
    r"""
dest=$1; size=$2; part=$dest.part
[ -d "$dest" ] && exit 41
if read -r pid 2>/dev/null <"$part.pid"; then
  [ "$(readlink "/proc/$pid/fd/1")" = "$(readlink -f -- "$part")" ] && kill -9 "$pid"
  rm -f -- "$part.pid"
fi 2>/dev/null
if [ -f "$dest" ] && [ "$(wc -c <"$dest")" -eq "$size" ]; then
  printf 'dest %s %s\n' "$size" "$(digest <"$dest" | cut -c1-64)"
elif [ -f "$part" ]; then
  printf 'part %s %s\n' "$(wc -c <"$part")" "$(digest <"$part" | cut -c1-64)"
fi
"""
)

_APPEND = r"""# append what comes to the part
dest=$1; offset=$2; part=$dest.part; umask 077
[ "$offset" -gt 0 ] || : >"$part" || exit 1
[ "$(wc -c <"$part")" -eq "$offset" ] || exit 45
echo $$ >"$part.pid"
exec cat >>"$part"
"""

_FINISH = r"""# the part becomes the file
dest=$1; part=$dest.part
mv -f -- "$part" "$dest" && rm -f -- "$part.pid"
"""

_DROP = r"""# remove the part
rm -f -- "$1.part" "$1.part.pid"
"""

AHEAD = 46
"""Exit status of ``extend`` when the file there is another one, or goes further."""


# A package of that name may be the operator's own: it is read by a second name, and stays.
_USE_COPY = r"""# what was brought here by hand is used, by a name of our own
if [ -f "$1" ] && [ ! -e "$2" ] && [ "$(wc -c <"$1")" -eq "$3" ]; then
  ln -L -- "$1" "$2" 2>/dev/null
fi
exit 0
"""


def use_copy(copy: str, dest: str, size: int) -> Command:
    """Give a file of this size that is there already a second name, ``dest``; what is in it is
    proven when it is sent."""
    return script(_USE_COPY, copy, dest, str(size))


def part_state(dest: str, size: int) -> Command:
    """Print ``dest SIZE SHA256`` if it is all there, else ``part SIZE SHA256`` if some is."""
    return script(_PART_STATE, dest, str(size), limit=900)


def append(dest: str, offset: int) -> Command:
    """Append standard input to the part, which has ``offset`` bytes; 0 begins anew."""
    return script(_APPEND, dest, str(offset), limit=120)


def finish_part(dest: str) -> Command:
    return script(_FINISH, dest)


def drop_part(dest: str) -> Command:
    return script(_DROP, dest)


# --- facts -----------------------------------------------------------------------------------

_MACHINE_ID = r"""# the identity of this machine
cat /etc/machine-id 2>/dev/null || cat /var/lib/dbus/machine-id
"""

_CLOCK = r"""# seconds since the epoch, and the offset from UTC
date '+%s.%N %z'
"""

_ADDRESSES = r"""# the addresses of this node
ip -o addr show 2>/dev/null | awk '{sub("/.*", "", $4); print $4}' || hostname -I | tr ' ' '\n'
"""


def machine_id() -> Command:
    return script(_MACHINE_ID)


def clock() -> Command:
    """Print the node's time, e.g. ``1795341432.517000000 +0000``."""
    return script(_CLOCK)


def addresses() -> Command:
    """Print the addresses of this node, one a line."""
    return script(_ADDRESSES)


# --- reaching others from a node -------------------------------------------------------------

# `curl -f` would hide the page of an error status, and what a sick OMS says is worth reading.
# No proxy of a profile, nor one of ~/.curlrc or ~/.wgetrc, stands between a node and OMS.
_HTTP = r"""# fetch a page
url=$1; seconds=$2; host=$3; port=$4; path=$5; nl='
'
if command -v curl >/dev/null 2>&1; then
  page=$(curl -q -ksS -g --noproxy '*' -m "$seconds" -w '\n%{http_code}' -- "$url") || exit
  printf '%s\n' "${page%"$nl"*}"
  case ${page##*"$nl"} in 404) exit 44; esac
  [ "${page##*"$nl"}" -lt 400 ] || exit 22
  exit 0
fi
case $url in https:*)
  command -v wget >/dev/null 2>&1 || { echo 'https wants curl or wget here' >&2; exit 69; }
  WGETRC=/dev/null exec wget -q --no-proxy -O - -T "$seconds" -t 1 --no-check-certificate -- "$url"
esac
exec timeout "$seconds" bash -c '
  exec 3<>"/dev/tcp/$1/$2" || exit 7
  printf "GET %s HTTP/1.0\r\nHost: %s:%s\r\nConnection: close\r\n\r\n" "$3" "$1" "$2" >&3
  read -r _ status _ <&3 || exit 52
  while IFS= read -r line <&3 && [ "${line%?}" ]; do :; done
  cat <&3
  case $status in 404) exit 44; esac
  [ "${status%?}" -lt 40 ] || exit 22
' omsfab "$host" "$port" "$path"
"""


def http_get(url: str, seconds: int = 10) -> Command:
    """Print the body of the page; ends with 44 if its status is 404, with 22 from 400 on.

    By curl, or by bash alone where there is none.  Certificates are not checked: OMS signs its own.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    return script(
        _HTTP, url, str(seconds), parts.hostname or "", str(port), path, limit=seconds + 10
    )
