"""`fab`, and what its nodes were asked and said: python -m tests.lab.recorder FILE fleet.status"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fabric.main import program

from omsfab.command import Command, shown
from omsfab.ssh.protocol import Result
from omsfab.ssh.shell import SshShell


def main(file: str, *words: str) -> None:
    """A line of JSON for each answer: node, command, status, output."""
    answered, carried = SshShell._result, SshShell._fed_by

    def heard(node: str, cmd: Command, said: Result) -> Result:
        with Path(file).open("a") as out:
            out.write(json.dumps([node, shown(cmd), said.status, said.out]) + "\n")
        return said

    def result(self: Any, cmd: Command, *more: Any) -> Result:
        return heard(self.node, cmd, answered(self, cmd, *more))

    def by_openssh(self: Any, process: Any, cmd: Command, chunks: Any) -> Result:
        return heard(self.node, cmd, carried(self, process, cmd, chunks))

    SshShell._result = result  # type: ignore[method-assign]
    SshShell._fed_by = by_openssh  # type: ignore[method-assign]
    program.run(["fab", *words])


if __name__ == "__main__":
    main(*sys.argv[1:])
