"""Faults of docker_init.sh (README.md, section 4)."""

from __future__ import annotations

import time

from omsfab import lab as labs
from tests.faults import oracle
from tests.faults.harness import Harness, Miss
from tests.faults.inputs_vip_docker import OUT, fill, sh, small_data
from tests.faults.matrix import fault
from tests.faults.network import SLOW, in_the_init


def knob(g: Harness, code: int, id: str, **values: object) -> None:
    """The first initialisation goes wrong; with the knob back, the next line finishes the run."""
    g.lab.knob(g.first, **values)
    outcome = g.ended(g.fab(*OUT), code, id)
    if oracle.container(g.lab, g.new[0]):
        raise Miss("a new container was started all the same")
    g.lab.knob(g.first, **dict.fromkeys(values))
    g.planned[g.first] = 2
    g.ended(g.paste(outcome), 0)


@fault("C01", "docker_init.sh is killed", "kill -9 in the container of oms1")
def killed(g: Harness) -> None:
    running = in_the_init(g)
    sh(g, g.first, "docker exec oms_427 pkill -KILL -f /root/docker_init.sh")
    g.lab.knob(g.first, INIT_SECONDS=0)
    outcome = g.ended(g.note(running.end()), 6, "INIT-012", "INIT-011")
    g.planned[g.first] = 2
    g.ended(g.paste(outcome), 0)


@fault("C04", "exit 0, no banner and no flag file", "knobs BANNER=none INIT_FLAG=0 INIT_EXIT=0")
def no_banner(g: Harness) -> None:
    knob(g, 5, "INIT-015", BANNER="none", INIT_FLAG=0, INIT_EXIT=0)


@fault("C05", "the banner, and then another status than 0", "knob INIT_EXIT=3 on oms1")
def banner_then_failure(g: Harness) -> None:
    g.lab.knob(g.first, INIT_EXIT=3)
    g.says(g.ended(g.fab(*OUT), 0), "INIT-023")


@fault("C06", "a step of it fails", "knob INIT_FAIL_STEP=3")
def step_fails(g: Harness) -> None:
    knob(g, 6, "INIT-011", INIT_FAIL_STEP=3)


@fault(
    "C07",
    "the banner is split, coloured, with CR, or English",
    "knob BANNER, one run each on the three nodes",
)
def banners(g: Harness) -> None:
    for name, banner in zip(g.names, ("split", "ansi", "cr"), strict=True):
        g.lab.knob(name, BANNER=banner)
    g.ended(g.fab(*OUT), 0)


@fault(
    "C07b",
    "the banner only as the trace of an echo",
    "knobs BANNER=echo INIT_FLAG=0 INIT_EXIT=0",
)
def echoed(g: Harness) -> None:
    knob(g, 5, "INIT-015", BANNER="echo", INIT_FLAG=0, INIT_EXIT=0)


@fault("C08", "docker_init.sh runs already", "started by hand on oms1 before")
def ssh_line(g: Harness) -> None:
    g.lab.knob(g.first, INIT_SECONDS=60)  # longer than a busy machine takes to look
    sh(g, g.first, "docker exec -d oms_427 bash /root/docker_init.sh")
    if not oracle.wait(lambda: g.lab.counters(g.first)["running"], 10):
        raise RuntimeError("it does not start")
    g.planned[g.first] = 2
    outcome = g.fab(*OUT)
    if outcome.code != 4:
        raise Miss(f"exit {outcome.code}, not 4: {outcome.out[-800:]}")
    g.says(outcome, "INIT-010", "pid")
    oracle.wait(lambda: not g.lab.counters(g.first)["running"], 100)
    g.lab.knob(g.first, INIT_SECONDS=0)
    g.ended(g.paste(outcome), 0)


@fault("C10", "docker_init.sh prints the password", "knob INIT_SECRET=1 on all nodes")
def secret(g: Harness) -> None:
    for name in g.names:
        g.lab.knob(name, INIT_SECRET=1)
    outcome = g.ended(g.fab(*OUT), 0)
    if g.lab.metadb.password in outcome.out:
        raise Miss("the password is on the screen")
    for name in g.names:
        # an image that initialises itself leaves none of ours
        logs = "find /data/oms/oms_logs -path '*/omsfab/*' -name output -perm /077"
        if found := sh(g, name, logs):
            raise Miss(f"others may read {found} on {name}")


@fault(
    "C11", "cm_url is wrong after the initialisation", "knob CM_URL_OVERRIDE; then mended by hand"
)
def wrong_url(g: Harness) -> None:
    g.lab.knob(g.first, CM_URL_OVERRIDE=f"http://{g.lab.node(g.first).ip}:8088")
    outcome = g.ended(g.fab(*OUT), 5, "VER-001")
    if oracle.container(g.lab, g.new[0]):
        raise Miss("a new container was started all the same")
    g.says(outcome, g.lab.vip)
    url = f"http://{g.lab.vip}:8088"
    g.lab.sql("update oms_rm.cluster_info set cm_url = %s where code = 1", (url,))
    g.lab.sql("update oms_cm.location_cm set cm_url = %s where location = '1'", (url,))
    g.lab.knob(g.first, CM_URL_OVERRIDE=None)
    g.ended(g.paste(outcome), 0)


@fault("C12", "bytes that are no text", "knob INIT_BYTES=1 on all nodes")
def bytes_(g: Harness) -> None:
    for name in g.names:
        g.lab.knob(name, INIT_BYTES=1, INIT_XTRACE=1)
    g.ended(g.fab(*OUT), 0)


@fault("C17", "new containers initialise themselves", "knob SELF_INIT=1 on the new nodes")
def self_init(g: Harness) -> None:
    g.hosts(oms={"init": "auto"})
    for name in g.new:
        g.lab.knob(name, SELF_INIT=1)
    g.ended(g.fab(*OUT), 0)


@fault(
    "C18",
    "dockerd is restarted in the middle of docker_init.sh",
    "lab-service dockerd restart on oms1",
)
def dockerd_restarted(g: Harness) -> None:
    running = in_the_init(g)
    g.lab.enter(g.first, ["lab-service", "dockerd", "restart"])
    g.lab.knob(g.first, INIT_SECONDS=0)
    outcome = g.note(running.end())
    g.planned[g.first] = 2
    oracle.wait(lambda: g.lab.enter(g.first, ["docker", "info"]).returncode == 0, 30)
    g.ended(g.paste(g.ended(outcome, 6, "INIT-012")), 0)


@fault(
    "C24",
    "the old node loses power in the middle of docker_init.sh",
    "all processes of oms1 killed, then started: docker run has no --restart",
)
def power_cut(g: Harness) -> None:
    running = in_the_init(g)
    off_and_on(g, g.first)
    g.lab.knob(g.first, INIT_SECONDS=0)
    outcome = g.ended(g.note(running.end()), 6, "INIT-012")
    g.planned[g.first] = 2
    g.ended(g.paste(outcome), 0)


@fault(
    "C24b",
    "the old node loses power in the middle of docker_init.sh, and the run is rolled back",
    "as C24, then fab run.undo",
)
def power_cut_undone(g: Harness) -> None:
    running = in_the_init(g)
    off_and_on(g, g.first)
    g.lab.knob(g.first, INIT_SECONDS=0)
    g.ended(g.note(running.end()), 6, "INIT-012")
    g.planned[g.first] = 2
    g.ended(g.fab("run.undo", "--yes"), 8, "RUN-028")
    g.as_before()


@fault(
    "C24c",
    "the old node loses power when its processes have been stopped, and the run is rolled back",
    "SIGKILL of omsfab and of all processes of oms1, then fab run.undo",
)
def power_cut_before(g: Harness) -> None:
    g.killed_at("clear-rows:before", *OUT)
    off_and_on(g, g.first)
    g.planned[g.first] = 0
    g.ended(g.fab("run.undo", "--yes"), 8, "RUN-028")
    g.as_before()


@fault(
    "C25",
    "the old container is restarted in the middle of docker_init.sh",
    "docker restart on oms1",
)
def container_restarted(g: Harness) -> None:
    running = in_the_init(g)
    sh(g, g.first, "docker restart -t 0 oms_427")
    g.lab.knob(g.first, INIT_SECONDS=0)
    outcome = g.ended(g.note(running.end()), 6, "INIT-012")
    g.planned[g.first] = 2
    g.ended(g.paste(outcome), 0)


@fault(
    "C26",
    "what docker_init.sh said so far is removed under it",
    "rm -rf of the attempt's directory on oms1",
)
def attempt_removed(g: Harness) -> None:
    running = in_the_init(g)
    sh(g, g.first, "rm -rf /data/oms/oms_logs/omsfab")
    outcome = g.note(running.end())
    if outcome.code == 0:  # a flag file of its own proves it, where this OMS writes one
        g.says(outcome, "INIT-023")
        return
    g.ended(outcome, 6, "INIT-012")
    g.planned[g.first] = 2
    g.ended(g.paste(outcome), 0)


@fault(
    "C27",
    "a new node loses power when it has been initialised",
    "SIGKILL of omsfab and of all processes of oms2, then run.resume",
)
def new_node_off(g: Harness) -> None:
    g.killed_at("container@oms2:after", *OUT)
    off_and_on(g, g.new[0])
    g.planned[g.new[0]] = 1 + g.itself  # once more when its container starts again
    g.ended(g.fab("run.resume", "--yes"), 0)


@fault(
    "C29",
    "a new node loses power behind its initialisation",
    "SIGKILL of omsfab and of all processes of oms2, then run.resume",
)
def new_node_off_later(g: Harness) -> None:
    g.killed_at("initialise@oms2:after", *OUT)
    off_and_on(g, g.new[0])
    g.ended(g.fab("run.resume", "--yes"), 0)


def off_and_on(g: Harness, name: str) -> None:
    """Power off, power on; docker starts no container by itself."""
    labs.stop_node(g.lab, name)
    g.undo(lambda: labs.start_node(g.lab, name))
    time.sleep(2)
    labs.start_node(g.lab, name)
    if not oracle.wait(lambda: g.lab.enter(name, ["docker", "info"]).returncode == 0, 60):
        raise Miss(f"dockerd of {name} does not come back")


@fault(
    "C19",
    "no room for the logs of a new node",
    "a disk of 600 MB as /data of oms2, filled while it initialises",
)
def logs_full(g: Harness) -> None:
    node = g.new[0]
    small_data(g, node, 600)
    g.lab.knob(node, INIT_SECONDS=SLOW)
    running = g.start(*OUT)
    # An image that initialises itself is waited for instead.
    running.says(r"oms2 +initialise +· (step 2|.*waiting)", 120)
    fill(g, node)
    time.sleep(10)  # so long it writes in vain
    sh(g, node, "rm -f /data/filler")
    outcome = g.note(running.end())
    g.lab.knob(node, INIT_SECONDS=0)
    if outcome.code != 0:
        g.planned[node] = 2
        g.ended(g.paste(outcome), 0)
