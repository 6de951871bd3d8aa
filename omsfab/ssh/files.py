"""A small file on a node, replaced in place and proven at both ends."""

from __future__ import annotations

import hashlib
import secrets

from omsfab.command import command, shown
from omsfab.commands import files
from omsfab.errors import OmsfabError, PreflightError, StepFailed
from omsfab.secret import Secret
from omsfab.ssh.protocol import Result, Shell


def write(shell: Shell, path: str, content: Secret, mode: int | None, backup: str) -> None:
    """Give the file this content and mode; its inode stays, so a bind mount sees it.

    The content goes over standard input to a new file beside it (0600), is on disk and proven there
    before the file is touched.  What was in the file is at ``backup`` (0600) then, unless there is
    a backup already: a second try must not take a half-written file for the former content.

    Raises PreflightError CFG-002 for a directory, StepFailed CFG-003 when the node holds something
    else than what was sent, CFG-004 when it cannot be written; the former content is back then.
    """
    digest = hashlib.sha256(content.reveal().encode()).hexdigest()
    new = f"{path}.omsfab-{secrets.token_hex(4)}.new"
    _prove(shell, path, digest, shell.run(files.stage(new, path, content)))
    _prove(shell, path, digest, shell.run(files.write_in_place(new, path, mode, backup)))


def _prove(shell: Shell, path: str, digest: str, done: Result) -> None:
    if done.status:
        raise _refusal(shell, path, done)
    if done.out.split()[:1] != [digest]:
        raise StepFailed(
            "CFG-003",
            f"{path} on {shell.node} does not hold what was sent",
            where=shell.node,
            evidence=f"sha256 sent {digest}, there {done.out.strip()}",
        )


def _refusal(shell: Shell, path: str, done: Result) -> OmsfabError:
    node = shell.node
    if done.status == files.IS_DIRECTORY:
        return PreflightError(
            "CFG-002",
            f"{path} is a directory (docker -v creates one when the file is missing)",
            where=node,
            next=shell.ssh_line(shown(command("rmdir", path))),
        )
    what = {
        files.NOT_STAGED: "no new file can be written beside it; it is untouched",
        files.NOT_BACKED_UP: "its backup cannot be written; it is untouched",
        files.NOT_WRITTEN: "it cannot be written; its former content was put back",
    }.get(done.status, f"status {done.status}")
    return StepFailed(
        "CFG-004",
        f"{path} on {node}: {what}",
        where=node,
        evidence=done.err.strip(),
        fix="make room or see the rights there",
    )
