"""What can go wrong, as one tree.  The class owns the exit status, the id names the case.

OmsfabError            6  a step failed
├─ StepFailed          6  a step failed, and it is known how
│  ├─ NoAnswer         6  a command was silent for too long; it may still run
│  └─ Ended            6  docker_init.sh was ended on request
├─ InputError          2  hosts.yaml, a flag or a template is wrong; nothing was contacted
├─ PreflightError      3  the fleet is not ready; nothing was changed
│  └─ Unreachable      3  no SSH connection could be had
├─ Locked              4  another run changes this fleet
├─ Mismatch            5  what was verified is not what was planned
├─ OutcomeUnknown      7  the line dropped; `fab run.resume` finds out
│  ├─ LostSession      7  one SSH session ended without an exit status
│  └─ LockLost         7  the lock was lost: somebody else may have acted meanwhile
├─ RolledBack          8  failed, and everything is as before, verified
├─ RollbackIncomplete  9  failed, and the rollback too
├─ SecurityRefusal    10  host key, secret file: never skipped by a flag
├─ PartOfFleet        11  some nodes are done, others failed
└─ Detached          130  the operator let go; docker_init.sh goes on
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Literal

PLACES = {
    "docker run": "HOST-002 HOST-003 HOST-004 CFG-002 CFG-009 CFG-015 RUN-004",
    "docker run, IMAGE_TAG": "IMG-008 IMG-009 IMG-004 IMG-006 IMG-007",
    "docker run, notice": "CERT-005 VER-003",
    "docker run, notices": "CFG-008 CFG-014",
    "parameter table": "INPUT-001 INPUT-014 DB-006 DB-007 DB-001 DB-002 DB-003 CFG-011 TSDB-005",
    "parameter table, tsdb_enabled": "TSDB-007",
    "parameter table, tsdb_url": "TSDB-006",
    "parameter table, tsdb_username": "TSDB-004",
    "single node": "PLAN-003 PLAN-006",
    "single node, note": "DB-022 DB-023 DB-026 DB-041 DB-042 INPUT-031 VER-005",
    "single node, step 1": "VIP-004 VIP-001 VIP-002 VIP-003",
    "single node, step 2": "PLAN-011 RUN-002 RUN-040 RUN-042",
    "single node, step 3": "DB-010 DB-011 DB-012 DB-013 DB-015 DB-020 DB-025 DB-027"
    " DB-044 PLAN-010",
    "single node, step 3.1": "DB-014 DB-017 DB-018 DB-021 DB-024 DB-028 DB-029",
    "single node, step 4": "PLAN-007 PLAN-012 CFG-003 CFG-004 CFG-005 CFG-006",
    "single node, step 5": "DB-043 DB-045 VER-001",
    "single node, step 6": "RUN-012",
    "single node, steps 2 and 3": "DB-016",
    "single region, parameter table": "PLAN-009",
    "single region, step 2": "PLAN-013 TSDB-001 TSDB-002 TSDB-003",
    "single region, step 3": "INPUT-020 INPUT-027 DB-040 PLAN-008 VER-002",
    "single region, step 3, notice": "INPUT-003 CFG-001",
    "single region, step 4": "IMG-001 IMG-002 IMG-003 IMG-005 XFER-001"
    " XFER-003 XFER-004 XFER-005 XFER-006",
    "single region, step 5": "CERT-001 CERT-002 CERT-003 CERT-004",
    "docker_init.sh": "INIT-010 INIT-011 INIT-012 INIT-013 INIT-014 INIT-016 INIT-017 INIT-019"
    " INIT-023",
    "docker_init.sh, banner": "INIT-015",
    "docker_init.sh, notice": "INIT-018 INIT-021 INIT-022 INIT-030",
}
"""Parts of the guide "Scale out OMS Community Edition", and the ids that stand for each."""

GUIDE = {id: place for place, ids in PLACES.items() for id in ids.split()}


CURES = {
    "BUG-001": "report it, with these lines and the journal",
    "BUG-002": "report it, with these lines",
    "CERT-003": "look who else writes that file, and whether the disk is full",
    "CFG-003": "look who else writes that file, and whether the disk is full",
    "CMD-001": "correct what the command says",
    "CFG-006": "look who else writes that file",
    "DB-010": "look at the way to the MetaDB; nothing was deleted",
    "DB-011": "correct what the server says; nothing was changed",
    "DB-012": "wait until the MetaDB is reached again: its marker tells whether COMMIT arrived",
    "DB-016": "stop what writes these rows",
    "DB-017": "load the .sql beside the backup, or ask a DBA to",
    "DB-021": "look for its copy on the initial node",
    "DB-025": "look who else has worked on these rows",
    "DB-033": "wait for that run, or for its lease to expire",
    "DB-041": "look who has changed them, and plan again",
    "DB-044": "stop what writes these rows",
    "FAIL-001": "unset OMSFAB_FAILPOINT: it is for tests",
    "HOST-001": "start docker there, and let this user talk to it",
    "HOST-002": "free what is named: the port, the address or the disk space",
    "IMG-002": "fetch the package again: its image is not the one that hosts.yaml names",
    "IMG-005": "fetch the package again, and compare its checksum",
    "INIT-010": "wait for its end",
    "INIT-011": "correct what its output names",
    "INIT-012": "look why it ended: memory (dmesg), a restart of docker or of the machine",
    "INIT-015": "read its output: nothing says that it came to its end",
    "INIT-021": "bring the node back; docker_init.sh may still be running there",
    "INPUT-014": "write one line of text there",
    "RUN-002": "end what still runs in the container",
    "RUN-003": "read the log of the program, and correct what it names",
    "RUN-004": "read the log of the container, and correct what it names",
    "RUN-005": "read the logs of the programs, and correct what they name",
    "RUN-011": "correct what each of them names",
    "RUN-024": "look who has written that copy; another node may have one",
    "SSH-001": "start sshd there, or correct address and port in hosts.yaml",
    "SSH-002": "look whether the node is down, or a firewall drops what goes there",
    "SSH-003": "correct the port in hosts.yaml: what answers there is not sshd",
    "SSH-005": "correct the address in hosts.yaml, or the DNS",
    "SSH-006": "update sshd there, or omsfab: they share no algorithm",
    "SSH-008": "look at its log, at MaxStartups and MaxAuthTries of its sshd",
    "SSH-020": "look at the load of the node, and at the way there",
    "SSH-021": "look at the load of the node, and at the way there",
    "STEP-001": "correct what is there instead",
    "TPL-001": "undo the change of templates/config.yaml",
    "TPL-002": "undo the change of templates/config.yaml",
    "TPL-003": "put templates/config.yaml back, readable for this user",
    "TPL-004": "write the secret anew, as UTF-8",
    "VER-001": "compare config.yaml in the container with hosts.yaml",
    "VER-002": "compare with the .sql that was saved",
    "VER-003": "compare OMS_HOST_IP, cm_nodes and the clock of that node",
    "VER-004": "compare with the .sql that was saved",
    "VIP-001": "bind the VIP to the nodes, with the ports of CM and console",
    "VIP-002": "unbind the VIP from all but one",
    "XFER-004": "bring the node back, or the way there; it goes on where it was cut",
    "XFER-005": "give this user the right to write there",
}
"""Id -> what a person does, where the case at hand does not say it: a line that is the same again
leads on only when something was done before."""


@dataclass(frozen=True, slots=True)
class Next:
    """What an operator does next; made by next_line.py alone, which quotes.

    ``line`` can be pasted whole, ``first`` is what a person does before, ``note`` says why.
    ``task`` is the task that it calls, if it calls one.
    """

    line: str
    first: str = ""
    note: str = ""
    task: str = ""

    def __str__(self) -> str:
        return f"{self.line}   # {self.note}" if self.note else self.line


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as wanted: where, what was found, what was wanted, how to fix it.

    ``weight``: "hard" stops the run, "accepted" did until the operator accepted it.
    """

    id: str
    node: str
    what: str
    found: str
    wanted: str = ""
    fix: str = ""
    weight: Literal["hard", "accepted", "warning"] = "hard"

    def lines(self) -> list[str]:
        """A line for the finding, and one for each part of it that is known."""
        sign = {"hard": "✗", "accepted": "!", "warning": "!"}[self.weight]
        said = " (accepted)" if self.weight == "accepted" else ""
        parts = (("found", self.found), ("wanted", self.wanted), ("fix", self.fix))
        told = [f"{sign} {self.id} {self.node}: {self.what}{said}"]
        for label, text in parts:
            first, *rest = text.splitlines() or [""]
            told += [f"    {label + ':':<8}{first}"] * bool(first)
            told += [f"{'':12}{line}" for line in rest]
        return told


class OmsfabError(Exception):
    """An error an operator can act on: five parts, and the exit status of its class.

    ``changed`` is what this run had changed when it happened; the runner fills it in.
    ``evidence`` names a file or quotes a short text.  ``fix`` is what a person does, in words, and
    ``next`` the lines to paste; without any it is the task that asked, which its caller knows.
    """

    exit_code = 6

    def __init__(
        self,
        id: str,
        what: str,
        *,
        where: str = "",
        changed: str = "nothing",
        evidence: str = "",
        fix: str = "",
        next: Next | tuple[Next, ...] | None = None,
    ) -> None:
        super().__init__(f"{id} {what}")
        self.id = id
        self.what = what
        self.where = where
        self.changed = changed
        self.evidence = evidence
        self.fix = fix
        self.next = (next,) if isinstance(next, Next) else next or ()
        self.proven = False
        """It says itself that it failed: nobody can accept that."""
        self.accept: Next | None = None
        """The line that goes on all the same, where the id can be accepted (plan/acceptance.py)."""
        self.parts: tuple[OmsfabError, ...] = ()
        """The errors that this one sums up."""
        self.findings: tuple[Finding, ...] = ()
        """All that was found before a change, where this is a refusal; warnings as well."""
        self.wanted = ""
        self.node = ""
        """The node whose step it was; the runner fills it in."""
        self.outage = ""
        """What it means for production: since when OMS is down, and what brings it back."""

    @property
    def ids(self) -> tuple[str, ...]:
        """Its own id, or those of the errors that it sums up."""
        return tuple(id for part in self.parts for id in part.ids) or (self.id,)

    @property
    def open_ids(self) -> tuple[str, ...]:
        """The same, without those that say themselves that they failed."""
        if self.parts:
            return tuple(id for part in self.parts for id in part.open_ids)
        return () if self.proven else (self.id,)

    @property
    def cure(self) -> str:
        """What a person does: what the case says, or its lines have in front, or its id."""
        said = "\n".join(filter(None, (self.fix, *(line.first for line in self.next))))
        return said or CURES.get(self.id, "")

    def shown_by(self, shows: Callable[[str], str]) -> OmsfabError:
        """What it quotes, as it may be shown; the next line is ours, and stays."""
        self.what, self.where = shows(self.what), shows(self.where)
        self.changed, self.evidence = shows(self.changed), shows(self.evidence)
        self.findings = tuple(
            replace(one, what=shows(one.what), found=shows(one.found)) for one in self.findings
        )
        return self

    def render(self) -> str:
        """The error as an operator reads it; empty parts are left out, but never ``changed``.

        The part of the guide it stands for is named, where the evidence does not say it already.
        """
        place = "" if "guide" in self.evidence else GUIDE.get(self.id, "")
        found = "\n".join(line for one in self.findings for line in one.lines())
        parts = (
            ("where", self.where),
            ("changed", self.changed),
            ("findings", found),
            ("evidence", "" if found else self.evidence),
            ("see", f"guide: {place}" if place and not found else ""),
            ("fix", self.cure),
            ("next", "\n".join(map(str, self.next))),
            ("accept", str(self.accept or "")),
        )
        lines = [f"OUTAGE  {self.outage}", ""] if self.outage else []
        lines.append(f"{self.id}  {self.what}")
        for label, text in parts:
            if text:
                first, *rest = text.splitlines()
                lines.append(f"  {label + ':':<10}{first}")
                lines.extend(f"{'':12}{line}" for line in rest)
        return "\n".join(lines)


def cures(errors: Iterable[OmsfabError]) -> tuple[str, tuple[Next, ...]]:
    """Return what is to be done about all of these: in words, and the lines, each once."""
    each = list(errors)
    fixes = dict.fromkeys(error.fix or CURES.get(error.id, "") for error in each)
    return "\n".join(filter(None, fixes)), tuple(
        dict.fromkeys(line for error in each for line in error.next)
    )


class StepFailed(OmsfabError):
    """A command, a file or an initialisation came to a bad end, and it is known how."""


class NoAnswer(StepFailed):
    """A command was silent for longer than its limit, ``waited`` seconds; it may still run."""

    waited = 0.0


class Ended(StepFailed):
    """docker_init.sh was ended because the operator asked for it; another attempt may begin."""


class InputError(OmsfabError):
    """hosts.yaml, a flag or a template is wrong; nothing was contacted."""

    exit_code = 2


class PreflightError(OmsfabError):
    """The fleet is not ready for the plan; nothing was changed."""

    exit_code = 3


class Unreachable(PreflightError):
    """No SSH connection could be had; what was asked for has certainly not begun."""


class MetaDbAway(OmsfabError):
    """The MetaDB was not reached in a run: what was to be done there has certainly not begun, or
    was a question."""


class Locked(OmsfabError):
    """Another run changes this fleet; two runs must never overlap."""

    exit_code = 4


class Mismatch(OmsfabError):
    """What was verified is not what was planned."""

    exit_code = 5


class OutcomeUnknown(OmsfabError):
    """It may have happened or not; resuming the run finds out."""

    exit_code = 7


class LostSession(OutcomeUnknown):
    """An SSH session ended without an exit status: the command may still run."""


class LockLost(OutcomeUnknown):
    """The lock of this run was broken or taken over, or not renewed for its whole life: whatever is
    seen now may be somebody else's work, so nothing is done, judged or advised any more."""


class RolledBack(OmsfabError):
    """Failed, and everything is as it was before, verified."""

    exit_code = 8


class RollbackIncomplete(OmsfabError):
    """Failed, and the rollback failed too; the rest is for hands."""

    exit_code = 9


class SecurityRefusal(OmsfabError):
    """A host key or a secret file is not what it must be; no flag skips this."""

    exit_code = 10


class PartOfFleet(OmsfabError):
    """Some nodes are done, others failed; all errors are listed in ``evidence``."""

    exit_code = 11


class Detached(OmsfabError):
    """The operator let go (Ctrl-C); what runs on the nodes goes on."""

    exit_code = 130


def finding_of(error: OmsfabError) -> Finding:
    """Return an error as one of several findings."""
    return Finding(
        error.id,
        error.node or error.where,
        error.what,
        error.evidence.strip(),
        error.wanted,
        "\n".join(filter(None, (error.cure, *map(str, error.next)))),
    )


def refusal(
    errors: Iterable[OmsfabError], warnings: Iterable[Finding] = (), what: str = ""
) -> OmsfabError:
    """Return one refusal for all that was found while nothing was changed.

    A single error stays itself; its exit status and id stay where all have the same one.
    """
    parts = dict.fromkeys(part for error in errors for part in error.parts or (error,))
    each = sorted(parts, key=lambda error: error.node or error.where)
    told = sorted(warnings, key=lambda one: one.node)
    findings = (*map(finding_of, each), *told)
    if len(each) == 1:
        each[0].findings = findings if told else ()
        return each[0]
    kinds = {type(error) for error in each}
    kind = kinds.pop() if len(kinds) == 1 else PreflightError
    for held in (SecurityRefusal, Locked):
        kind = held if any(isinstance(error, held) for error in each) else kind
    ids = dict.fromkeys(error.id for error in each)
    summed = kind(
        next(iter(ids)) if len(ids) == 1 else "RUN-010",
        what or f"{len(each)} things are not as they must be, and {len(told)} are warned of",
        where=", ".join(dict.fromkeys(filter(None, (one.node for one in findings)))),
        next=cures(each)[1],
    )
    summed.parts, summed.findings = tuple(each), findings
    return summed


def unforeseen(error: Exception) -> OmsfabError:
    """What nobody has put into words, as an error all the same.

    The system's own refusals (no room, no right, no such file) are ENV-004; anything else is a
    defect of omsfab, told with the places in the code that it came from.
    """
    if isinstance(error, OSError) and error.strerror:
        return OmsfabError(
            "ENV-004",
            f"this jump host does not let us: {error.strerror}",
            where=str(error.filename or "this jump host"),
            changed="what the journal says, if a run was begun: fab run.show",
            evidence=f"{type(error).__name__}: {error}",
            next=Next(
                "fab run.list", note="an unfinished run goes on by fab run.resume", task="run.list"
            ),
        )
    places = traceback.extract_tb(error.__traceback__)[-3:]
    return OmsfabError(
        "BUG-002",
        f"omsfab itself failed: {type(error).__name__}",
        changed="what the journal says, if a run was begun: fab run.show",
        evidence="\n".join(f"{one.filename}:{one.lineno} {one.name}" for one in places),
        next=Next(
            "fab run.list",
            note="an unfinished run goes on by fab run.resume; and report this",
            task="run.list",
        ),
    )
