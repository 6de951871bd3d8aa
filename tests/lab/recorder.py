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
    answered = SshShell._result

    def result(self: Any, cmd: Command, *more: Any) -> Result:
        said = answered(self, cmd, *more)
        with Path(file).open("a") as out:
            out.write(json.dumps([self.node, shown(cmd), said.status, said.out]) + "\n")
        return said

    SshShell._result = result  # type: ignore[method-assign]
    program.run(["fab", *words])


if __name__ == "__main__":
    main(*sys.argv[1:])
