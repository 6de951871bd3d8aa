"""What an operator may accept by its id, and what nobody may.

The rule: what protects data or proves a failure stays hard; every other refusal is a judgement
about an OMS that nobody here has seen, and the last word is the operator's (``--accept``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from omsfab.errors import InputError, Next

ACCEPTABLE: Mapping[str, str] = {
    "CERT-002": "a certificate that has expired, is not valid yet, or names other hosts",
    "CFG-005": "keys that only config.yaml on the node has are dropped; the former file is kept",
    "CFG-008": "a container keeps other data mounts or another OMS_HOST_IP than hosts.yaml has",
    "CFG-012": "config.yaml changes in more keys than those of this task",
    "CFG-013": "a file that others wrote since is kept beside it, and the former one put back",
    "CMD-001": "a command that ended with another status than 0; its outcome is asked all the same",
    "DB-006": "a node that does not reach MetaDB at the address of hosts.yaml",
    "DB-007": "a container or node that does not log in to MetaDB when it is asked to",
    "ENV-006": "a clock or a time zone that does not match MetaDB",
    "HOST-002": "a new node without the address, the ports or the disk space that OMS wants",
    "HOST-006": "a docker that OMS is not known to run on",
    "HOST-007": "another container that looks like an OMS on the same host",
    "IMG-006": "a container that runs from another image id in the end",
    "IMG-007": "running nodes with another image than the new ones get",
    "IMG-009": "another version of OMS in MetaDB than that of the image",
    "INIT-011": "docker_init.sh ended with another status than 0, and has not said that it failed",
    "INIT-015": "docker_init.sh ended without its banner; MetaDB, programs and health are asked",
    "INIT-017": "a container in which docker_init.sh or omsflow is not seen",
    "PLAN-011": "HA or projects that are at work are interrupted",
    "RUN-003": "a program that does not run",
    "RUN-005": "a health page that does not say healthy",
    "RUN-036": "a container that another run or a person made is left alone by a rollback",
    "TSDB-006": "a node that does not get into the time-series database",
    "VER-003": "a host that MetaDB does not show ONLINE, or without a fresh heartbeat",
    "VIP-001": "a VIP that does not answer where it was asked",
    "VIP-002": "a VIP behind which no OMS is seen, or that two nodes hold",
}
"""Error id -> what one accepts with it."""

HARD: Mapping[str, str] = {
    "hosts.yaml, a flag, a file or a template is wrong: correct it, there is nothing to accept": (
        "INPUT-001 INPUT-002 INPUT-003 INPUT-008 INPUT-010 INPUT-011 INPUT-012 INPUT-013 INPUT-014"
        " INPUT-020 INPUT-021 INPUT-022 INPUT-023 INPUT-024 INPUT-025 INPUT-026 INPUT-027 INPUT-028"
        " INPUT-029 INPUT-030 INPUT-031 INPUT-033 INPUT-034 INPUT-040 INPUT-041 INPUT-042"
        " INPUT-043 INPUT-044 INPUT-045"
        " TPL-001 TPL-002 TPL-003 TPL-004"
        " CERT-001"
        " CERT-004 TSDB-001 TSDB-002 TSDB-005 IMG-003 IMG-004 IMG-005 RUN-027 FAIL-001"
    ),
    "it protects secrets, and the machines that are spoken to": (
        "SEC-001 SEC-002 SEC-003 SEC-004 SSH-009 SSH-010 SSH-011 SSH-012 SSH-015 SSH-017 TSDB-004"
        " RUN-037"
    ),
    "without it nothing can be asked or done": (
        "SSH-001 SSH-002 SSH-003 SSH-004 SSH-005 SSH-006 SSH-007 SSH-008 SSH-013 SSH-014 SSH-016"
        " SSH-020 SSH-021 SSH-022 SUDO-001 SUDO-002 SUDO-003 SUDO-004 DB-001 DB-002 DB-003 DB-004"
        " DB-005 HOST-001 IMG-001 RUN-023 RUN-024 RUN-042 LAB-001 LAB-002 LAB-003 BUG-001"
        " BUG-002 ENV-003 ENV-004"
    ),
    "what fleet.discover did not find cannot be written": (
        "FIND-001 FIND-002 FIND-003 FIND-004 FIND-005"
    ),
    "it protects the rows of MetaDB": (
        "DB-010 DB-011 DB-012 DB-013 DB-014 DB-015 DB-016 DB-017 DB-018 DB-020 DB-021 DB-022 DB-023"
        " DB-024 DB-025 DB-026 DB-027 DB-028 DB-029 DB-040 DB-041 DB-042 DB-044 PLAN-003 PLAN-006"
        " PLAN-007 PLAN-009 RUN-035 RUN-040 PLAN-010 PLAN-012 CFG-011 RUN-002 VER-002 VER-004"
    ),
    "it protects another container, another file, or keys that only they hold": (
        "HOST-003 HOST-004 CFG-001 CFG-002 CFG-015"
    ),
    "it protects the record of what was done, without which nothing can be rolled back": (
        "JRN-001 JRN-002 JRN-003 JRN-004 ENV-002 ENV-005 RUN-022 PLAN-004"
    ),
    "another run, or another docker_init.sh, is under way; or this one has its own way on": (
        "DB-030 DB-031 DB-032 DB-033 LOCK-001 LOCK-002 LOCK-003 RUN-020 RUN-026 RUN-029 RUN-030"
        " RUN-031 RUN-032 RUN-033 RUN-034 RUN-038 INIT-010 INIT-021 INIT-022 INIT-030"
    ),
    "there is nothing to plan: another task is the right one": (
        "PLAN-002 PLAN-005 PLAN-008 PLAN-013"
    ),
    "it proves a failure: what the next step needs is not there": (
        "STEP-001 CFG-003 CFG-004 CFG-006 CFG-007 CFG-009 CFG-014 HOST-008 CERT-003 CERT-005"
        " IMG-002 RUN-004 TSDB-003 XFER-001 XFER-002 XFER-003 XFER-004 XFER-005 XFER-006 INIT-012"
        " INIT-013 INIT-014 INIT-016 INIT-018 RUN-039 VER-001"
    ),
    "it sums up others, which stand in it": ("RUN-010 RUN-011 RUN-012 RUN-025 RUN-028 RUN-041"),
    "it only warns, and stops nothing": (
        "HOST-010 HOST-011 NET-004 VIP-003 VIP-004 TSDB-007 RUN-006 RUN-007 DB-008 DB-043 DB-045"
        " VER-005 IMG-008 ENV-007 INIT-019 INIT-023"
    ),
}
"""Why nobody can accept them -> the ids."""

ROLLED_BACK = ("RUN-003", "RUN-005", "VER-004")
"""What a rollback only warns of, since all that it could put back is back by then."""


WITHOUT = ("node.exec", "meta.restore")
"""Tasks that carry a plan out and take no ``--accept``: what they do, nothing else hangs on."""


def parsed(text: str, again: Next) -> frozenset[str]:
    """Return the ids of ``--accept``; ``again`` is the line of the task, for the refusal."""
    wanted = {word.strip().upper() for word in text.split(",") if word.strip()}
    wrong = sorted(wanted - ACCEPTABLE.keys())
    if wrong:
        hard = {id: why for why, ids in HARD.items() for id in ids.split()}
        raise InputError(
            "INPUT-029",
            f"--accept does not take {', '.join(wrong)}",
            where="--accept",
            evidence="\n".join(
                [
                    *(f"{id}: {hard.get(id, 'there is no error of this id')}" for id in wrong),
                    "it takes:",
                    *(f"{id}  {what}" for id, what in ACCEPTABLE.items()),
                ]
            ),
            next=again,
        )
    return frozenset(wanted)


def acceptable(ids: Iterable[str], task: str) -> tuple[str, ...]:
    """Return those of the ids that can be accepted of this task, each once, in order."""
    if task in WITHOUT:
        return ()
    return tuple(dict.fromkeys(id for id in ids if id in ACCEPTABLE))
