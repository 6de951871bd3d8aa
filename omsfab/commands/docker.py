"""Words for docker on a node.  The flags of ``docker run`` are the guide's, all in FLAGS below.

Source: OMS CE guide "Scale out OMS Community Edition", `docker run` of both scenarios.  Its sample
cannot be pasted (a comment stands behind a backslash, two lines lack theirs), hence words here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace

from omsfab.command import Command, command, script
from omsfab.commands.scripts import script_text
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


_OWN = script_text("supervisorctl")


def by_run(cmd: Command, run_id: str) -> Command:
    """Return the command with the run's id in the label that says who has made the container."""
    words = (f"{RUN_LABEL}={run_id}" if word == BY_RUN else word for word in cmd.argv)
    return replace(cmd, argv=tuple(words))


_RUN_OR_START = script_text("run_or_start")
_UP = script_text("up")
_LOAD = script_text("load")
_LAYERS = script_text("layers_here")
_CONFIG_SHARED = script_text("config_shared")


def config_shared(install: Install) -> Command:
    """Prove that the image's user can read config.yaml; else print why it cannot."""
    return script(_CONFIG_SHARED, install.container, install.mounts.config)


def run_or_start(node: Node, install: Install, image: str, *, pull_flag: bool = True) -> Command:
    """Run the container; one that an earlier try left with this very spec is started instead.

    The group of the image's user may then read a config.yaml that only its owner may read.
    """
    words = run(node, install, image, pull_flag=pull_flag)
    wanted = spec(node, install, image)
    return script(
        _RUN_OR_START, install.container, SPEC_LABEL, wanted, install.mounts.config, *words.argv,
        limit=words.limit,
    )  # fmt: skip


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


_RUNNING_FROM = script_text("running_from")


def running_from(container: str) -> Command:
    """Print ``true`` if the container runs, and the tags of its image, or its id without any."""
    return script(_RUNNING_FROM, container)


def image_of(container: str) -> Command:
    """Print the id of the image the container was made from."""
    return command("docker", "inspect", "--type", "container", "--format", "{{.Image}}", container)


def inspect(container: str) -> Command:
    """Print the container as JSON, by its exact name (``--filter name=`` matches substrings)."""
    return command("docker", "inspect", "--type", "container", "--format", "{{json .}}", container)


_CONTAINERS = script_text("containers")


def containers() -> Command:
    """Print all containers of the node, running or not, as one JSON list."""
    return script(_CONTAINERS)


_CONFIG_INSIDE = script_text("config_inside")


def config_inside(container: str, path: str = CONFIG) -> Command:
    """Print a config.yaml as the container sees it, running or not; it holds the password."""
    return script(_CONFIG_INSIDE, container, path)


def image_tags(image: str) -> Command:
    """Print the names of an image with their tags, a line each; none for one without."""
    form = "{{range .RepoTags}}{{println .}}{{end}}"
    return command("docker", "image", "inspect", "--format", form, image)


def image_id(reference: str) -> Command:
    """Print the id of an image, ``sha256:…``, or fail if it is not there."""
    return command("docker", "image", "inspect", "--format", "{{.Id}}", reference)


def layers(unless: str) -> Command:
    """Print the ids of the layers of each image, as JSON, a line an image; nothing where the file
    ``unless`` is there."""
    return script(_LAYERS, unless)


LOAD = ("docker", "load")
"""Words that load a package out of their standard input; .tar and .tar.gz alike."""


def load(path: str, image: str) -> Command:
    """Load a package, unless the image of this id is there."""
    return script(_LOAD, path, image, limit=1800)


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


_REMOVE_UNSTARTED = script_text("remove_unstarted")


def remove_unstarted(container: str) -> Command:
    """Remove a container that has never run; one that has, or is gone, is left alone."""
    return script(_REMOVE_UNSTARTED, container)


_REMOVE_OURS = script_text("remove_ours")
_GONE_OR_OTHERS = script_text("gone_or_others")
_NONE_OF_OTHERS = script_text("none_of_others")
_ABSENT = script_text("absent")


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


_DOWN = script_text("down")


def down(container: str) -> Command:
    """End with 0 if the container does not run, or is not there."""
    return script(_DOWN, container)


def logs(container: str, lines: int = 50) -> Command:
    return command("docker", "logs", "--tail", str(lines), container)
