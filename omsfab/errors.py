"""What can go wrong, as one tree.  The class owns the exit status, the id names the case.

OmsfabError            6  a step failed
├─ StepFailed          6  a step failed, and it is known how
├─ InputError          2  hosts.yaml, a flag or a template is wrong; nothing was contacted
├─ PreflightError      3  the fleet is not ready; nothing was changed
│  └─ Unreachable      3  no SSH connection could be had
├─ Locked              4  another run changes this fleet
├─ Mismatch            5  what was verified is not what was planned
├─ OutcomeUnknown      7  the line dropped; `fab run.resume` finds out
│  └─ LostSession      7  one SSH session ended without an exit status
├─ RolledBack          8  failed, and everything is as before, verified
├─ RollbackIncomplete  9  failed, and the way back too
├─ SecurityRefusal    10  host key, secret file: never skipped by a flag
├─ PartOfFleet        11  some nodes are done, others failed
└─ Detached          130  the operator let go; docker_init.sh goes on
"""

from __future__ import annotations

import traceback


class OmsfabError(Exception):
    """An error an operator can act on: five parts, and the exit status of its class.

    ``changed`` is what this run had changed when it happened; the runner fills it in.
    ``evidence`` names a file or quotes a short text; ``next`` is a line to paste.
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
        next: str = "",
    ) -> None:
        super().__init__(f"{id} {what}")
        self.id = id
        self.what = what
        self.where = where
        self.changed = changed
        self.evidence = evidence
        self.next = next
        self.node = ""
        """The node whose step it was; the runner fills it in."""

    def render(self) -> str:
        """The error as an operator reads it; empty parts are left out, but never ``changed``."""
        parts = (
            ("where", self.where),
            ("changed", self.changed),
            ("evidence", self.evidence),
            ("next", pasteable(self.next)),
        )
        lines = [f"{self.id}  {self.what}"]
        for label, text in parts:
            if text:
                first, *rest = text.splitlines()
                lines.append(f"  {label + ':':<10}{first}")
                lines.extend(f"{'':12}{line}" for line in rest)
        return "\n".join(lines)


PROGRAMS = (
    "fab", "docker", "ssh", "nc", "sha256sum", "scripts/", "rmdir", "df", "mount", "openssl",
    "sudo", "visudo", "ls", "git", "export", "chmod", "mkdir", "mv", "kill", "read -", "pip", "#",
    "$", "install -",
)  # fmt: skip
"""What a line to paste begins with; any other text is a sentence for the operator."""


def pasteable(next: str) -> str:
    """Return the line with what is to be done before it as a comment behind it.

    ``make room there, then: fab run.resume`` reads well in code; on the screen it is to be pasted.
    A mere sentence becomes a comment, which a shell takes without harm.
    """
    before, found, line = next.rpartition(", then: ")
    if not found or "\n" in next:
        return next if not next or next.startswith(PROGRAMS) else f"# {next}"
    return f"{line}   # first: {before}" if "#" not in line else f"{line}; first: {before}"


class StepFailed(OmsfabError):
    """A command, a file or an initialisation came to a bad end, and it is known how."""


class InputError(OmsfabError):
    """hosts.yaml, a flag or a template is wrong; nothing was contacted."""

    exit_code = 2


class PreflightError(OmsfabError):
    """The fleet is not ready for the plan; nothing was changed."""

    exit_code = 3


class Unreachable(PreflightError):
    """No SSH connection could be had; what was asked for has certainly not begun."""


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


class RolledBack(OmsfabError):
    """Failed, and everything is as it was before, verified."""

    exit_code = 8


class RollbackIncomplete(OmsfabError):
    """Failed, and the way back failed too; the rest is for hands."""

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
            next="fab run.list   # an unfinished run goes on by fab run.resume",
        )
    places = traceback.extract_tb(error.__traceback__)[-3:]
    return OmsfabError(
        "BUG-002",
        f"omsfab itself failed: {type(error).__name__}",
        changed="what the journal says, if a run was begun: fab run.show",
        evidence="\n".join(f"{one.filename}:{one.lineno} {one.name}" for one in places),
        next="fab run.list   # an unfinished run goes on by fab run.resume; and report this",
    )
