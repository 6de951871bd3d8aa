"""Questions to a node before and after a change: each prints nothing and ends with 0 if all is
well, or says on standard output what is not.  They change nothing."""

from __future__ import annotations

from collections.abc import Mapping

from omsfab.commands.command import Command, command, script

# With --net host docker does not notice a taken port, hence this question (OMS docs, ports in use).
_PORTS_FREE = r"""# no other program listens on these ports
command -v ss >/dev/null || { echo 'ss is not on this node (package iproute2)'; exit 1; }
bad=0
for port; do
  row=$(ss -Hltnp "sport = :$port" 2>/dev/null) || {
    printf 'ss does not tell: %s\n' "$(ss -Hltn 2>&1 | head -n 1)"; exit 1
  }
  row=$(printf %s "$row" | head -n 1)
  if [ -n "$row" ]; then
    printf 'port %s is used: %s\n' "$port" "$(printf %s "$row" | sed -n 's/.*users:(("\([^"]*\)",pid=\([0-9]*\).*/\1 pid \2/p')"
    bad=1
  fi
done
exit $bad
"""  # noqa: E501

_HAS_ADDRESS = r"""# the address is bound on this node
ip -o addr show | awk '{sub("/.*", "", $4); print $4}' | grep -Fxq -- "$1" && exit 0
printf 'addresses here: %s\n' "$(ip -o -4 addr show | awk '{sub("/.*", "", $4); print $4}' | tr '\n' ' ')"
exit 1
"""  # noqa: E501

_CONFIG_PLACE = r"""# config.yaml is a file or may become one
if [ -d "$1" ]; then
  printf '%s is a directory (docker -v creates one when the file is missing): rmdir it\n' "$1"
  exit 1
fi
"""

# Opened for appending and closed: nothing is written, and an immutable file or a read-only file
# system says no, to root as well.
_WRITABLE = r"""# the file can be written
[ -f "$1" ] || { printf '%s is no file\n' "$1"; exit 1; }
said=$( (: >>"$1") 2>&1) && exit 0
printf '%s\n' "${said:-$1 cannot be written}"; exit 1
"""

_MACHINE = r"""# the processor is the one that the image was built for
here=$(uname -m)
case $here in x86_64) is=amd64;; aarch64) is=arm64;; *) is=$here;; esac
[ "$is" = "$1" ] && exit 0
printf 'the image is for %s, this node is %s\n' "$1" "$here"; exit 1
"""

_SAME_INSIDE = r"""# the container sees this very file
here=$(sha256sum <"$2") || exit 1
there=$(docker exec "$1" sha256sum "$3") || {
  # one that is down takes the file as it is when it starts
  [ "$(docker inspect --type container --format '{{.State.Running}}' "$1")" = false ]; exit
}
[ "${here%% *}" = "${there%% *}" ] && exit 0
printf 'the container still sees the former file: its bind mount holds another inode\n'
exit 1
"""

# Two directories of one file system share its room, hence the sum per device.  Some file systems
# have no fixed number of inodes: they show 0 of 0, or "-".
_SPACE = r"""# room and inodes, summed up per file system
root=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null); image=$1; shift
[ -d "$root" ] && set -- "$@" "$root" "$image"
while [ $# -gt 1 ]; do
  dir=$1; while [ ! -d "$dir" ]; do dir=$(dirname -- "$dir"); done
  printf '%s %s %s %s %s\n' "$(stat -Lc %d -- "$dir")" "$2" \
    "$(df -Pk -- "$dir" | awk 'NR == 2 {print $4}')" \
    "$(df -Pi -- "$dir" | awk 'NR == 2 {print $2 + 0 ? $4 : "-"}')" "$dir"
  shift 2
done | awk '
  { need[$1] += $2 / 1e6; free[$1] = $3 / 1e3; inodes[$1] = $4; dirs[$1] = dirs[$1] " " $5 }
  END {
    for (d in need) {
      if (free[d] < need[d]) {
        printf "%.0f MB free, %.0f MB needed for%s\n", free[d], need[d], dirs[d]; bad = 1
      }
      if (inodes[d] != "-" && inodes[d] + 0 < 1000) {
        printf "%s inodes free for%s\n", inodes[d], dirs[d]; bad = 1
      }
    }
    exit bad
  }'
"""

_CONNECT = r"""# a TCP connection can be opened
command -v bash >/dev/null || { echo 'bash is not on this node: nothing was asked'; exit 1; }
timeout 5 bash -c '</dev/tcp/"$1"/"$2"' bash "$1" "$2" 2>/dev/null && exit 0
printf 'no connection to %s port %s within 5 s\n' "$1" "$2"
exit 1
"""

_HELD = r"""# a host holds the address: it accepts the connection or refuses it
command -v bash >/dev/null || { echo 'bash is not on this node: nothing was asked'; exit 1; }
said=$(timeout 5 bash -c '</dev/tcp/"$1"/"$2"' bash "$1" "$2" 2>&1) && exit 0
case $said in *"Connection refused"*) exit 0;; esac
printf 'neither accepted nor refused port %s within 5 s %s\n' "$2" "${said##*: }"
exit 1
"""

# A private key is no guess, so its digest may stand in the words.
_FILE_IS = r"""# the file is this one, with this mode
[ -f "$1" ] || { printf '%s is no file\n' "$1"; exit 1; }
[ "$(stat -c %a "$1")" = "$3" ] || { printf '%s has mode %s\n' "$1" "$(stat -c %a "$1")"; exit 1; }
sum=$(sha256sum <"$1"); [ "${sum%% *}" = "$2" ] || { printf '%s is another file\n' "$1"; exit 1; }
"""

_HTTPS_ONLY = r"""# the console speaks HTTPS only, with this certificate (if openssl can look)
said=$(timeout 10 bash -c '
  exec 3<>"/dev/tcp/$1/$2" || exit 0
  printf "GET /oms/health HTTP/1.0\r\nHost: %s\r\n\r\n" "$1" >&3; head -n 1 <&3
' bash "$1" "$2" 2>/dev/null | tr -d '\0\r')
case $said in *' 200 '*) printf 'port %s answers plain HTTP\n' "$2"; exit 1;; esac
[ -n "$3" ] && command -v openssl >/dev/null || exit 0
sum=$(timeout 10 openssl s_client -connect "$1:$2" </dev/null 2>/dev/null |
  openssl x509 -outform DER 2>/dev/null | sha256sum)
[ "${sum%% *}" = "$3" ] && exit 0
printf 'port %s shows another certificate\n' "$2"; exit 1
"""

_HOLD = r"""# open a connection and hold it
exec timeout 15 bash -c '
  exec 3<>"/dev/tcp/$1/$2" || { echo "no connection to $1 port $2"; exit 1; }
  inode=$(stat -L -c %i "/proc/$$/fd/3")
  ss -Htne | grep -w "ino:$inode" | { read -r _ _ _ me _
    echo "held ${me#*ffff:}"; } | tr -d "[]"
  sleep 2
' omsfab "$1" "$2"
"""

_CONNECTIONS = r"""# who is connected to this port
ss -Htn state established "( sport = :$1 )" | awk '{print $4}' | sed 's/^.*ffff://' | tr -d '[]'
"""

# OMS docs: services never start on an engine older than 1.13.  podman answers to docker's words,
# yet its containers end with the session that started them.  Where docker remaps users, it refuses
# --privileged and --net host.  In the containerd store an image has another id than in its package.
_DOCKER_FITS = r"""# docker answers, and is one that OMS runs on
version=$(docker version --format '{{.Server.Version}}' 2>&1) || {
  printf '%s\n' "$version"; exit 1
}
version=$(printf '%s\n' "$version" | tail -n 1)
at=$(docker context inspect --format '{{.Endpoints.docker.Host}}' 2>/dev/null) || at=$DOCKER_HOST
case $at in
  tcp://127.* | tcp://localhost*) ;;
  tcp:* | ssh:* | http*)
    printf 'docker speaks to another machine here: %s\n' "$at"
    echo 'DOCKER_HOST in a profile, or docker context use default'; exit 46;;
esac
case $(docker --version 2>&1) in
  *podman*) printf 'docker is podman here (%s)\n' "$version"; exit 46;;
esac
case $version in
  1.[0-9].* | 1.1[0-2].* | 0.*) printf 'docker %s is older than 1.13\n' "$version"; exit 46;;
esac
info=$(docker info --format '{{.SecurityOptions}} {{.DriverStatus}}' 2>/dev/null)
case $info in
  *name=rootless*) echo 'docker is rootless here: it cannot give OMS its privileges'; exit 46;;
  *name=userns*)
    echo 'docker remaps users here: it cannot give OMS its privileges'
    echo 'take "userns-remap" out of daemon.json and restart docker'; exit 46;;
esac
[ -z "$1" ] || case $info in *io.containerd.snapshotter*)
  echo 'docker keeps images in the containerd store, where the id of a package is another one'
  echo 'set "features": {"containerd-snapshotter": false} in daemon.json and restart docker:' \
    'it does not show then what it keeps now'; exit 46;;
esac
printf '%s\n' "$version"
"""

UNFIT = 46
"""Exit status of ``docker_fits`` where docker answers and yet cannot run OMS."""

_STAYS_UP = r"""# the container still runs
state() { docker inspect --type container --format '{{.State.Running}} {{.RestartCount}}' "$1"; }
sleep "$2"
[ "$(state "$1")" = 'true 0' ] && exit 0
docker inspect --type container --format 'status {{.State.Status}}, exit {{.State.ExitCode}} {{.State.Error}}' "$1"
docker logs --tail 50 "$1" 2>&1 | tail -n 50
exit 1
"""  # noqa: E501

# Thresholds: OMS docs, and what the vendor's deployer warns of.
_ADVICE = r"""# what OMS may not like here
exec 2>/dev/null
advise() {
cpus=$(getconf _NPROCESSORS_ONLN); [ "$cpus" -ge 8 ] || printf '%s CPUs, 8 or more are advised\n' "$cpus"
awk '$1 == "MemTotal:" && $2 < 16000000 {printf "%.0f GB of memory, 16 or more are advised\n", $2 / 1e6}' /proc/meminfo
awk '$1 == "MemAvailable:" && $2 < 7500000 {printf "%.1f GB of memory are free, the programs of OMS take about 7\n", $2 / 1e6}' /proc/meminfo
[ "$(cat /proc/sys/net/ipv4/tcp_tw_recycle)" = 1 ] && echo 'net.ipv4.tcp_tw_recycle is 1: the console fails to fetch'
for path; do
  dir=$path; while [ ! -d "$dir" ]; do dir=$(dirname -- "$dir"); done
  type=$(stat -f -c %T -- "$dir"); case $type in nfs* | smb* | cifs) printf '%s lies on %s\n' "$dir" "$type";; esac
  options=$(findmnt -no OPTIONS -T "$dir"); case ,$options, in *,noexec,*) printf '%s is mounted noexec\n' "$dir";; esac
done
}
said=$(advise "$@")
[ -z "$said" ] || { printf '%s\n' "$said"; exit 1; }
"""  # noqa: E501

_DIRECTORIES = r"""# the directories are there
for dir; do [ -d "$dir" ] || exit 1; done
"""

_FILES = r"""# the files are there
for file; do [ -f "$file" ] || { printf '%s is not a file\n' "$file"; exit 1; }; done
"""


def ports_free(*ports: int) -> Command:
    return script(_PORTS_FREE, *(str(port) for port in ports))


def has_address(ip: str) -> Command:
    return script(_HAS_ADDRESS, ip)


def config_place(path: str) -> Command:
    return script(_CONFIG_PLACE, path)


def same_inside(container: str, here: str, there: str) -> Command:
    return script(_SAME_INSIDE, container, here, there)


def space(image: int, directories: Mapping[str, int]) -> Command:
    """Say where there is less room than is needed: ``image`` bytes in docker's root directory, and
    in each of the directories as many as stand there."""
    words = (word for path, size in directories.items() for word in (path, str(size)))
    return script(_SPACE, str(image), *words)


def hold(host: str, port: int) -> Command:
    """Open a connection, print ``held ADDRESS:PORT`` of this side, and keep it for 2 seconds."""
    return script(_HOLD, host, str(port))


def connections(port: int) -> Command:
    """Print the peers of established connections to this port, one a line."""
    return script(_CONNECTIONS, str(port))


def docker_fits(*, package: bool = False) -> Command:
    """Print the engine's version; fail where the daemon is silent, or is none that OMS runs on.

    With a ``package`` it must also know an image by the id that the package tells.
    """
    return script(_DOCKER_FITS, *(("package",) if package else ()))


def stays_up(container: str, seconds: int = 3) -> Command:
    """Prove that the container still runs after a while; else print the end of its log."""
    return script(_STAYS_UP, container, str(seconds), limit=seconds + 30)


def writable(path: str) -> Command:
    return script(_WRITABLE, path)


def machine(architecture: str) -> Command:
    """``architecture`` as images name it: amd64, arm64."""
    return script(_MACHINE, architecture)


def mode(path: str) -> Command:
    """Print the permission bits of the file, e.g. ``600``."""
    return command("stat", "-c", "%a", "--", path)


def advice(*paths: str) -> Command:
    """Say what OMS may not like on this node; the vendor's tools only warn of these, too."""
    return script(_ADVICE, *paths)


def connects(host: str, port: int) -> Command:
    return script(_CONNECT, host, str(port))


def held(host: str, port: int) -> Command:
    """An address without any host is silent (or has no route); one with a host refuses at least."""
    return script(_HELD, host, str(port))


def file_is(path: str, sha256: str, mode: int) -> Command:
    return script(_FILE_IS, path, sha256, f"{mode:o}")


def https_only(ip: str, port: int, certificate: str = "") -> Command:
    """``certificate`` is the sha256 of its DER form; without it any will do."""
    return script(_HTTPS_ONLY, ip, str(port), certificate)


def directories(*paths: str) -> Command:
    return script(_DIRECTORIES, *paths)


def files(*paths: str) -> Command:
    return script(_FILES, *paths)


def make_directories(*paths: str) -> Command:
    return command("mkdir", "-p", "--", *paths)


def remove_file(path: str) -> Command:
    return command("rm", "-f", "--", path)
