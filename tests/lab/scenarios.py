"""What is tried upon a small fleet in crash tests: the scenarios of the guide, and their steps.

Each lists its steps by hand; a test compares the list with the journal of an undisturbed run.
"""

from __future__ import annotations

from dataclasses import dataclass

from tests.lab.crash import Crash
from tests.lab.oracle import Fleet

OMS = {"init": "always"}  # new containers are initialised at once, to save time

NODE = ("line", "docker", "clock", "zone", "habits", "one-oms", "keeps", "metadb-way")
FRESH = (*NODE, "advice", "ready", "place", "tag", "metadb-login")
OLD = (
    *NODE,
    "init-runs",
    "kept",
    "seen",
    "omsflow",
    "supervisord",
    "metadb-login",
    "guarded",
    "runs",
)
ROWS = ("metadb-quick", "metadb-version")
BACKEND = ("vip", "vip-own", "vip-oms", "vip-healthy")
ALIKE = {*NODE[1:], *FRESH[len(NODE) + 1 :], *OLD[len(NODE) + 1 :], *ROWS, *BACKEND[1:]}
ALIKE |= {"vip-own-last"}
"""Questions that are asked by one loop, side by side, before anything changes: a run is killed at
one of each kind of node, and not at all of them."""
STAGED = ("directories", "image", "config")
JOINED = ("container", "initialise")
PROVEN = ("image-id", "init-runs-last", "programs", "programs-all", "health", "host", "vip-last")

EFFECTS = {
    "directories": 1,
    "image": 3,
    "config": 1,
    "container": 1,
    "initialise": 1,
    "refresh": 2,
    "stop-processes": 2,
    "start-processes": 2,
    "clear-rows": 1,
    "rows-quiet": 1,
    "save-rows": 1,
}
"""Steps that change something: how many effects each has; all others only ask."""


def on(node: str, *steps: str) -> tuple[str, ...]:
    return tuple(f"{step}@{node}" for step in steps)


@dataclass(frozen=True)
class Scenario:
    """A task, whether OMS runs on oms1 before, and every step of it."""

    name: str
    task: str
    first: str
    steps: tuple[str, ...]

    def ready(self, fleet: Fleet) -> Crash:
        """Write hosts.yaml, and bring the fleet to what is so before."""
        _WRITE[self.name](fleet)
        return Crash.deployed(fleet) if self.first else Crash.bare(fleet)

    @property
    def once_more(self) -> dict[str, int]:
        """Executions of docker_init.sh where taking back needs one more than the run had."""
        return {"oms1": 2} if "clear-rows@metadb" in self.steps else {}

    @property
    def changing(self) -> set[str]:
        return {step for step in self.steps if step.split("@")[0] in EFFECTS}

    @property
    def points(self) -> tuple[str, ...]:
        """Before, inside and after each effect; of a step that only asks: before it is done."""
        return tuple(f"{step}:{place}" for step in self.steps for place in _places(step))


def _places(step: str) -> tuple[str, ...]:
    if step.split("@")[0] in ALIKE:
        return ()
    effects = EFFECTS.get(step.split("@")[0], 0)
    mids = ("mid", *(f"mid{number}" for number in range(2, effects + 1)))
    return ("before", *mids, "after") if effects else ("after",)


def _deploy(fleet: Fleet) -> None:
    fleet.write("hosts.yaml", f"http://{fleet.lab.node('oms1').ip}:8088", ["oms1"], oms=OMS)


def _physical(fleet: Fleet) -> None:
    fleet.write("initial.yaml", f"http://{fleet.lab.node('oms1').ip}:8088", ["oms1"], oms=OMS)
    fleet.write("hosts.yaml", f"http://{fleet.lab.vip}:8088", ["oms1", "oms2"], oms=OMS)


def _vip(fleet: Fleet) -> None:
    fleet.write("initial.yaml", f"http://{fleet.lab.vip}:8088", ["oms1"], oms=OMS)
    fleet.write("hosts.yaml", f"http://{fleet.lab.vip}:8088", ["oms1", "oms2"], oms=OMS)


def _region(fleet: Fleet) -> None:
    """The first region's config.yaml is to change, too: it has a key less."""
    lab = fleet.lab
    own = f"http://{lab.node('oms1').ip}:8088"
    vip = lab.vip.rsplit(".", 1)[0] + ".101"
    lab.enter("oms2", ["ip", "addr", "replace", f"{vip}/24", "dev", "eth0"])
    fleet.write("initial.yaml", own, ["oms1"], oms=OMS)
    second = {
        "location": 2,
        "default": False,
        "cm_url": f"http://{vip}:8088",
        "heartbeat_db": "oms_cm_heartbeat_2",
        "nodes": {"oms2": lab.node("oms2").ip},
    }
    fleet.write(
        "hosts.yaml",
        own,
        ["oms1"],
        oms=OMS | {"extra": {"a_key": 1}},
        regions={"cn-jiangsu": second},
    )


_WRITE = {"deploy": _deploy, "physical": _physical, "vip": _vip, "region": _region}

SCENARIOS = {
    one.name: one
    for one in (
        Scenario(
            "deploy",
            "oms.deploy",
            "",
            (
                *on("metadb", *ROWS),
                *on("oms1", *FRESH, *STAGED),
                *on("metadb", "save-rows"),
                *on("oms1", *JOINED, *PROVEN),
                *on("metadb", "cm-url-last"),
            ),
        ),
        Scenario(
            "physical",
            "scale.out",
            "oms1",
            (
                *on("metadb", *ROWS),
                *on("oms1", *OLD, *BACKEND),
                *on("oms2", *FRESH, "vip", "vip-member", *STAGED),
                *on("metadb", "rows-shown"),
                *on("oms1", "stop-processes", "left-over"),
                *on("metadb", "clear-rows"),
                *on("oms1", "config"),
                *on("metadb", "rows-quiet"),
                *on("oms1", "initialise"),  # after it start-processes finds that all of them run
                *on("metadb", "cm-url", "other-regions"),
                *on("oms2", *JOINED, *PROVEN),
                *on("oms1", *PROVEN, "vip-own-last"),
                *on("metadb", "cm-url-last", "rows-back", "whole-tables", "urls"),
            ),
        ),
        Scenario(
            "vip",
            "scale.out",
            "oms1",
            (
                *on("metadb", *ROWS),
                *on("oms1", *OLD, *BACKEND),
                *on("oms2", *FRESH, "vip", "vip-member", *STAGED),
                *on("metadb", "save-rows"),
                *on("oms2", *JOINED),
                *on("oms1", "config", "refresh", *PROVEN, "vip-own-last"),
                *on("oms2", *PROVEN),
                *on("metadb", "cm-url-last"),
            ),
        ),
        Scenario(
            "region",
            "scale.out",
            "oms1",
            (
                *on("metadb", *ROWS),
                *on("oms1", *OLD),
                *on("oms2", *FRESH, "vip-held", *STAGED),
                *on("metadb", "save-rows"),
                *on("oms1", "config", "refresh", "health"),
                *on("oms2", *JOINED, *PROVEN),
                *on("metadb", "cm-url-last", "other-regions-last"),
            ),
        ),
    )
}
