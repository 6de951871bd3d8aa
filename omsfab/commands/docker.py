"""Words for docker on a node.  The flags of ``docker run`` are the guide's, all in FLAGS below.

Source: OMS CE guide "Scale out OMS Community Edition", `docker run` of both scenarios.  Its sample
cannot be pasted (a comment stands behind a backslash, two lines lack theirs), hence words here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from omsfab.commands.command import Command, command, script
from omsfab.fleet.model import Install, Node

CONFIG = "/home/admin/conf/config.yaml"
LOGS = "/home/admin/logs"
STORE = "/home/ds/store"
RUN = "/home/ds/run"
CERTIFICATE = "/etc/pki/nginx/oms_server.crt"
KEY = "/etc/pki/nginx/oms_server.key"

SPEC_LABEL, RUN_LABEL = "omsfab.spec", "omsfab.run"

BY_RUN = f"{RUN_LABEL}=RUN"
"""A word of a plan: which run makes the container is known only when it is made."""


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
        "docker", "run", "-dit", *never, "--label", label, "--label", BY_RUN,
        *flags(node, install), image,
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


def by_run(cmd: Command, run_id: str) -> Command:
    """Return the command with the run's id in the label that says who has made the container."""
    words = (f"{RUN_LABEL}={run_id}" if word == BY_RUN else word for word in cmd.argv)
    return replace(cmd, argv=tuple(words))


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


# oms_drc_supervisor runs as user `ds`: a config.yaml that root alone may read is closed to it.
_SHARE_CONFIG = r"""# config.yaml can be read by the image's own user, and by nobody else
name=$1; path=$2
[ "$(stat -Lc %a -- "$path")" = 600 ] || exit 0  # another mode is the operator's choice
group=$(docker exec "$name" id -g ds 2>/dev/null)
case $group in '' | 0 | *[!0-9]*) exit 0; esac
chgrp -- "$group" "$path" && chmod -- 640 "$path"
"""


def share_config(install: Install) -> Command:
    """Let the group of the image's user read a config.yaml that only its owner may read."""
    return script(_SHARE_CONFIG, install.container, install.mounts.config)


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


# A container has one spec however often it is made: whose it is, says the label of the run; that of
# an earlier omsfab has none, and is known by the id that docker said when it was made.
_WHOSE = r"""
show='{{.Id}} s={{index .Config.Labels "omsfab.spec"}} r={{index .Config.Labels "omsfab.run"}}'
said=$(docker inspect --type container --format "$show" "$1" 2>/dev/null)
id=${said%% *}; by=${said##* r=}; [ "$by" != '<no value>' ] || by=
ours=
case $said in "$id s=$2 r="*)
  if [ -n "$by" ]; then [ "$by" != "$3" ] || ours=yes
  else case " $4 " in *" $id "*) ours=yes ;; esac; fi ;;
esac
other="this container is another one: $(printf %.12s "$id"), made by ${by:-nobody known}"
"""

# One that somebody else made stays.  -v is not given: data is kept.  By its id, so that none that
# comes in between is meant.
_REMOVE_OURS = (
    "# stop and remove the container, if it is the one that the run made"
    + _WHOSE
    + r"""
[ -n "$said" ] || exit 0
[ -n "$ours" ] || { printf '%s: left alone\n' "$other"; exit 0; }
docker stop -t 60 "$id" && docker rm "$id"
"""
)

_GONE_OR_OTHERS = (
    "# the container that the run made is not there\ndocker version >/dev/null || exit"
    + _WHOSE
    + '[ -z "$ours" ]\n'
)

_NONE_OF_OTHERS = (
    "# there is no container, or the one that the run made\ndocker version >/dev/null || exit"
    + _WHOSE
    + """[ -z "$said" ] || [ -n "$ours" ] || { printf '%s\\n' "$other"; exit 1; }\n"""
)

_ABSENT = r"""# there is no such container
docker version >/dev/null || exit
! docker inspect --type container --format '{{.State.Status}}' "$1" 2>/dev/null
"""


def remove_ours(container: str, spec: str, run_id: str, ids: Sequence[str] = ()) -> Command:
    """Stop and remove the container that this run made; one that is gone is no error, and one that
    another run or a person made is left alone.  ``ids`` are those docker named in the run."""
    return script(_REMOVE_OURS, container, spec, run_id, " ".join(ids), limit=240)


def gone_or_others(container: str, spec: str, run_id: str, ids: Sequence[str] = ()) -> Command:
    """End with 0 unless the container that this run made is there."""
    return script(_GONE_OR_OTHERS, container, spec, run_id, " ".join(ids))


def none_of_others(container: str, spec: str, run_id: str, ids: Sequence[str] = ()) -> Command:
    """End with 0 if there is no container of that name but the one that this run made."""
    return script(_NONE_OF_OTHERS, container, spec, run_id, " ".join(ids))


def absent(container: str) -> Command:
    """End with 0 if there is no container of that name."""
    return script(_ABSENT, container)


_DOWN = r"""# the container does not run
docker version >/dev/null || exit
[ "$(docker inspect --type container --format '{{.State.Running}}' "$1" 2>/dev/null)" != true ]
"""


def down(container: str) -> Command:
    """End with 0 if the container does not run, or is not there."""
    return script(_DOWN, container)


def logs(container: str, lines: int = 50) -> Command:
    return command("docker", "logs", "--tail", str(lines), container)
