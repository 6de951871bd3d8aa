"""Words for docker on a node.  The flags of ``docker run`` are the guide's, all in FLAGS below.

Source: OMS CE guide "Scale out OMS Community Edition", `docker run` of both scenarios.  Its sample
cannot be pasted (a comment stands behind a backslash, two lines lack theirs), hence words here.
"""

from __future__ import annotations

import hashlib

from omsfab.commands.command import Command, command, script
from omsfab.fleet.model import Install, Node

CONFIG = "/home/admin/conf/config.yaml"
LOGS = "/home/admin/logs"
STORE = "/home/ds/store"
RUN = "/home/ds/run"
CERTIFICATE = "/etc/pki/nginx/oms_server.crt"
KEY = "/etc/pki/nginx/oms_server.key"

SPEC_LABEL = "omsfab.spec"


def mounts(install: Install) -> tuple[tuple[str, str], ...]:
    """Return (path on the node, path in the container) of every mount; the right side is fixed."""
    wanted = (
        (install.mounts.config, CONFIG),
        (install.mounts.logs, LOGS),
        (install.mounts.store, STORE),
        (install.mounts.run, RUN),
        (install.mounts.https_crt, CERTIFICATE),
        (install.mounts.https_key, KEY),
    )
    return tuple((source, target) for source, target in wanted if source is not None)


def flags(node: Node, install: Install) -> tuple[str, ...]:
    """Return the guide's flags; OMS_HOST_IP is the address of *this* node (guide, notice)."""
    binds = (word for pair in mounts(install) for word in ("-v", ":".join(pair)))
    return (
        "--net", "host",
        *binds,
        "-e", f"OMS_HOST_IP={node.ip}",
        "--privileged=true",
        "--pids-limit", "-1",
        "--ulimit", "nproc=65535:65535",
        "--name", install.container,
    )  # fmt: skip


def spec(node: Node, install: Install, image: str) -> str:
    """Return the digest of everything that makes this container what it is (12 hex digits)."""
    text = "\0".join((*flags(node, install), image))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def run(node: Node, install: Install, image: str, *, pull_flag: bool = True) -> Command:
    """Start the OMS container from an image id.

    ``--pull=never`` (engines from 20.10): all OMS registries are the vendor's own, so a pull is
    always a mistake.
    """
    never = ("--pull=never",) if pull_flag else ()
    label = f"{SPEC_LABEL}={spec(node, install, image)}"
    return command(
        "docker", "run", "-dit", *never, "--label", label, *flags(node, install), image,
        limit=120,
    )  # fmt: skip


# With --net host a port is one per host, so 127.0.0.1:8084, where supervisorctl asks, may be
# another container's supervisord.  A socket is the container's own.
_OWN = (
    '[ ! -S /tmp/supervisor.sock ] || set -- -s unix:///tmp/supervisor.sock "$@"; '
    'exec supervisorctl "$@"'
)
CTL = f"""ctl() {{
name=$1; shift
docker exec "$name" sh -c '{_OWN}' supervisorctl "$@"
}}
"""

# A start that failed half way leaves the container: it has the same label, so it is the same one.
_RUN_OR_START = r"""# docker run, or docker start where this very container was left
name=$1; label=$2; spec=$3; shift 3
there=$(docker inspect --type container --format "{{index .Config.Labels \"$label\"}}" "$name" 2>/dev/null)
[ "$there" = "$spec" ] && exec docker start "$name"
exec "$@"
"""  # noqa: E501

# A node that was restarted has its container, but down: docker run had no --restart.  Its programs
# start with it, so where they were stopped on purpose they are stopped again.
_UP = (
    "# start the container if it is down, as after a power cut\n"
    + CTL
    + r"""
runs=$(docker inspect --type container --format '{{.State.Running}}' "$1" 2>/dev/null)
case $runs in true*) exit 0; esac
docker start "$1" || exit
for _ in $(seq 60); do
  case $(ctl "$1" pid 2>/dev/null) in [1-9]*) break ;; esac
  sleep 1
done
[ -z "$2" ] || ctl "$1" stop all
"""
)

_LOAD = r"""# docker load, once more if the daemon died in it
docker load -i "$1" && exit 0
docker info >/dev/null 2>&1 && exit 1
for _ in $(seq 60); do docker info >/dev/null 2>&1 && break; sleep 1; done
exec docker load -i "$1"
"""


def run_or_start(node: Node, install: Install, image: str, *, pull_flag: bool = True) -> Command:
    """Run the container; one that an earlier try left with this very spec is started instead."""
    words = run(node, install, image, pull_flag=pull_flag)
    wanted = spec(node, install, image)
    return script(
        _RUN_OR_START, install.container, SPEC_LABEL, wanted, *words.argv, limit=words.limit
    )


def inside(container: str, *words: str, limit: float = 30) -> Command:
    """Run words in the container.  Never -i or -t: there is no terminal, and one would hang."""
    return command("docker", "exec", container, *words, limit=limit)


def supervisorctl(container: str, *words: str, limit: float = 30) -> Command:
    """Ask or tell the container's own supervisord, by its socket where there is one."""
    return inside(container, "sh", "-c", _OWN, "supervisorctl", *words, limit=limit)


def state(container: str) -> Command:
    """Print spec label and running flag of the container, e.g. ``3fa9… true``."""
    show = '{{index .Config.Labels "%s"}} {{.State.Running}}' % SPEC_LABEL  # noqa: UP031
    return command("docker", "inspect", "--type", "container", "--format", show, container)


def running(container: str) -> Command:
    """Print ``true`` if the container runs."""
    return command(
        "docker", "inspect", "--type", "container", "--format", "{{.State.Running}}", container
    )


def image_of(container: str) -> Command:
    """Print the id of the image the container was made from."""
    return command("docker", "inspect", "--type", "container", "--format", "{{.Image}}", container)


def inspect(container: str) -> Command:
    """Print the container as JSON, by its exact name (``--filter name=`` matches substrings)."""
    return command("docker", "inspect", "--type", "container", "--format", "{{json .}}", container)


def image_id(reference: str) -> Command:
    """Print the id of an image, ``sha256:…``, or fail if it is not there."""
    return command("docker", "image", "inspect", "--format", "{{.Id}}", reference)


def load(path: str) -> Command:
    """Load a package; ``docker load`` reads .tar and .tar.gz alike."""
    return script(_LOAD, path, limit=1800)


def version() -> Command:
    """Print the engine's version, e.g. ``20.10.24``; fails when the daemon does not answer."""
    return command("docker", "version", "--format", "{{.Server.Version}}")


def start(container: str) -> Command:
    return command("docker", "start", container, limit=120)


def up(container: str, *, stopped: bool = False) -> Command:
    """Start the container if it is down; with ``stopped``, then without its programs."""
    return script(_UP, container, "stopped" if stopped else "", limit=480)


def stop(container: str) -> Command:
    """Stop the container; supervisord gets a minute to end its programs."""
    return command("docker", "stop", "-t", "60", container, limit=180)


def restart(container: str) -> Command:
    return command("docker", "restart", "-t", "60", container, limit=240)


_REMOVE_UNSTARTED = r"""# remove the container that a failed start left
state=$(docker inspect --type container --format '{{.State.Status}}' "$1" 2>/dev/null)
[ "$state" = created ] || exit 0
exec docker rm "$1"
"""


def remove_unstarted(container: str) -> Command:
    """Remove a container that has never run; one that has, or is gone, is left alone."""
    return script(_REMOVE_UNSTARTED, container)


# A container of that name that somebody else made stays.  -v is not given: data is kept.
_REMOVE_OURS = r"""# stop and remove the container, if it is the one that was made
label=$(docker inspect --type container --format "{{index .Config.Labels \"$3\"}}" "$1") || exit 0
[ "$label" = "$2" ] || { printf 'this container is another one: %s %s\n' "$3" "$label"; exit 1; }
docker stop -t 60 "$1" && docker rm "$1"
"""

_ABSENT = r"""# there is no such container
docker version >/dev/null || exit
! docker inspect --type container --format '{{.State.Status}}' "$1" 2>/dev/null
"""


def remove_ours(container: str, spec: str) -> Command:
    """Stop and remove the container if it bears this spec; one that is gone is no error."""
    return script(_REMOVE_OURS, container, spec, SPEC_LABEL, limit=240)


def absent(container: str) -> Command:
    """End with 0 if there is no container of that name."""
    return script(_ABSENT, container)


def logs(container: str, lines: int = 50) -> Command:
    return command("docker", "logs", "--tail", str(lines), container)
