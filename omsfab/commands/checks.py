"""Questions to a node before and after a change: each prints nothing and ends with 0 if all is
well, or says on standard output what is not.  They change nothing."""

from __future__ import annotations

from omsfab.commands.command import Command, command, script

# With --net host docker does not notice a taken port, hence this question (OMS docs, ports in use).
_PORTS_FREE = r"""# no other program listens on the ports of OMS
bad=0
for port; do
  row=$(ss -Hltnp "sport = :$port" 2>/dev/null | head -n 1)
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

_SAME_INSIDE = r"""# the container sees this very file
here=$(sha256sum <"$2") || exit 1
there=$(docker exec "$1" sha256sum "$3") || exit 1
[ "${here%% *}" = "${there%% *}" ] && exit 0
printf 'the container still sees the former file: its bind mount holds another inode\n'
exit 1
"""

_SPACE = r"""# room for the package and the image
need_here=$(($2 / 1024)); need_docker=$(($3 / 1024)); bad=0
dir=$1; while [ ! -d "$dir" ]; do dir=$(dirname "$dir"); done
free=$(df -Pk "$dir" | awk 'NR==2 {print $4}')
[ "$free" -ge "$need_here" ] || { printf '%s: %s KiB free, %s needed\n' "$dir" "$free" "$need_here"; bad=1; }
root=$(docker info --format '{{.DockerRootDir}}' 2>/dev/null); [ -d "$root" ] || exit $bad
free=$(df -Pk "$root" | awk 'NR==2 {print $4}')
[ "$free" -ge "$need_docker" ] || { printf '%s: %s KiB free, %s needed\n' "$root" "$free" "$need_docker"; bad=1; }
exit $bad
"""  # noqa: E501

_CONNECT = r"""# a TCP connection can be opened
timeout 5 bash -c '</dev/tcp/"$1"/"$2"' bash "$1" "$2" 2>/dev/null && exit 0
printf 'no connection to %s port %s within 5 s\n' "$1" "$2"
exit 1
"""

_HELD = r"""# a host holds the address: it accepts the connection or refuses it
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


def space(directory: str, here: int, docker_root: int) -> Command:
    """Both sizes are in bytes."""
    return script(_SPACE, directory, str(here), str(docker_root))


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
