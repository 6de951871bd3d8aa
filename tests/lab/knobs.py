"""What each knob of the stand-in image does to a scale-out, and to the rollback.

The list of knobs is the image's own (its README); tests/unit/test_knobs.py holds that each of them
stands here, so that a new one is tried as well.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

FLOOD_MB = 100
OF_TABLES = {"ROWS", "URL_PER_NODE", "MOVING_COLUMNS", "REFERENCES", "FOREIGN_KEYS"}
OF_TABLES |= {"NO_LOCATION_CM"}


def listed(readme: str) -> list[str]:
    """The knobs that the README of the image names."""
    return re.findall(r"^([A-Z][A-Z_]+)=", readme, re.MULTILINE)


@dataclass(frozen=True)
class Case:
    """These knobs on these nodes, and what is to come of them.

    ``through``: in service, ``told`` is a warning if it is anything.  ``refused``: before anything
    was changed.  ``stopped``: production stands still, by the error ``told``.  ``apart``: OMS is in
    service without the new node.
    """

    knobs: Mapping[str, object]
    ends: Literal["through", "refused", "stopped", "apart"] = "through"
    told: str = ""
    on: tuple[str, ...] = ("oms1", "oms2")
    init: str = "always"
    hangs: bool = False
    """docker_init.sh does not end: omsfab is killed meanwhile, and it is ended on request."""
    broken: tuple[str, ...] = ()
    """Programs of oms1 that cannot run while the knob is on, also not in the rollback."""
    back: str = ""
    """What the rollback is to tell, while the knob is on."""
    quick: bool = False
    """Tried by scripts/test as well; all of them by scripts/crash."""

    @property
    def id(self) -> str:
        where = "" if len(self.on) == 2 else f"@{self.on[0]}"
        return ",".join(f"{name}={value}" for name, value in self.knobs.items()) + where

    @property
    def shapes(self) -> bool:
        """Whether the tables look otherwise."""
        return bool(OF_TABLES & self.knobs.keys())


def _stopped(told: str, quick: bool = False, **knobs: object) -> Case:
    return Case(knobs, "stopped", told, ("oms1",), quick=quick)


def _apart(told: str, **knobs: object) -> Case:
    return Case(knobs, "apart", told, ("oms2",))


def _through(told: str = "", **knobs: object) -> Case:
    return Case(knobs, told=told)


BANNERS = ("zh", "en", "split", "ansi", "cr", "bare", "excl", "dashes", "prefix", "framed")
SILENT = {"BANNER": "none", "INIT_FLAG": 0, "INIT_EXIT": 0}

CASES = (
    # docker_init.sh fails in a step, on the old node and on the new one
    *(_stopped("INIT-011", INIT_FAIL_STEP=step) for step in range(1, 6)),
    *(_apart("INIT-011", INIT_FAIL_STEP=step) for step in (1, 4)),
    # it does not say that it is well, or says it otherwise
    _stopped("INIT-015", **SILENT),
    _stopped("INIT-011", BANNER="none", INIT_FLAG=0, INIT_EXIT=3),
    _stopped("INIT-015", BANNER="echo", INIT_FLAG=0, INIT_EXIT=0),
    _apart("INIT-015", **SILENT),
    _through("INIT-023", BANNER="none", INIT_FLAG=1, INIT_EXIT=0),
    Case({"INIT_EXIT": 3}, told="INIT-023", quick=True),
    _through("INIT-023", BANNER="none", INIT_FLAG=1, INIT_EXIT=3),
    *(
        _through(BANNER=banner, INIT_FLAG=0, INIT_EXIT=0)
        for banner in BANNERS
    ),
    # it does not end
    *(
        Case({"INIT_HANG": step}, "stopped", "", ("oms1",), hangs=True, quick=step == 3)
        for step in range(1, 6)
    ),
    # it is slow, loud, or says what it should not
    _through(INIT_SECONDS=20),
    _through(INIT_FLOOD_MB=FLOOD_MB),
    _through(INIT_SECRET=1, INIT_BYTES=1, INIT_XTRACE=1, BRACKETS="full"),
    _through(UNIT_SECONDS=5, ENTRY_UNITS=1),
    _through(CROND=1),
    # programs
    *(
        Case({"INIT_FATAL": program}, on=("oms1",))
        for program in ("nginx", "oms_console", "oms_drc_cm", "oms_drc_supervisor", "sshd")
    ),
    Case({"INIT_FATAL": "oms_drc_supervisor", "INIT_FAIL_STEP": 5}, "stopped", "INIT-011",
         ("oms1",)),
    *(
        Case({knob: program}, "stopped", "RUN-003", ("oms1",), broken=(program,), back="RUN-003")
        for knob in ("PROGRAM_FATAL", "PROGRAM_NEVER")
        for program in ("oms_console", "sshd")
    ),
    *(
        _apart("RUN-003", **{knob: program})
        for knob in ("PROGRAM_FATAL", "PROGRAM_NEVER")
        for program in ("oms_drc_supervisor",)
    ),
    _through(START_SECS=10),
    _through(START_SECONDS=20),
    _through(STOP_SECONDS=20),
    # pages and beats
    *(_through(HEALTH=page) for page in ("1", "404", "html")),
    Case({"UNHEALTHY": 1, "HEALTH": 1}, "stopped", "RUN-005", ("oms1",), back="RUN-005"),
    _apart("VER-003", NO_BEAT=1),
    _through(NO_POINTS=1),
    _through("INIT-023", INIT_NO_DAEMON=1),
    # the container
    _apart("RUN-004", EXIT_AT_START=1),
    # the tag says 4.2.7, so "auto" goes by what it sees of the container's start
    Case({"SELF_INIT": 1}, on=("oms2",), init="auto"),
    Case({"SELF_INIT": 1, "INIT_FAIL_STEP": 3}, "apart", "INIT-011", ("oms2",), init="auto"),
    # other processes
    Case({"FOREIGN_INIT": 1, "INIT_SECONDS": 60}, "refused", "INIT-010", ("oms1",)),
    _through(DS_READS_CONFIG=1),
    _through(STORES=1),
    _through(STORES="survive"),
    _stopped("DB-044", LATE_WRITER=1),
    _apart("RUN-003", ORPHAN="oms_drc_supervisor"),
    # rows
    _stopped("VER-001", True, CM_URL_OVERRIDE="http://10.9.9.9:8088"),
    _stopped("VER-001", CM_URL_OVERRIDE="http://10.9.9.9:8088", ROWS="rewrite"),
    _stopped("VER-001", CM_URL_OVERRIDE="http://10.9.9.9:8088", ROWS="add"),
    *(_stopped("INIT-011", INIT_FAIL_STEP=5, ROWS=manner) for manner in ("rewrite", "add")),
    *(_through(ROWS=manner) for manner in ("keep", "rewrite", "add")),
    _through("VER-005", URL_PER_NODE=1),
    _stopped("INIT-011", URL_PER_NODE=1, INIT_FAIL_STEP=5),
    _through(MOVING_COLUMNS=1),
    _stopped("INIT-011", MOVING_COLUMNS=1, INIT_FAIL_STEP=4),
    _through("DB-043", REFERENCES=1),
    Case({"FOREIGN_KEYS": "restrict"}, "refused", "DB-042"),
    _through("the MetaDB has no table oms_cm.location_cm", NO_LOCATION_CM=1),
    _stopped("INIT-011", NO_LOCATION_CM=1, INIT_FAIL_STEP=5),
)  # fmt: skip
