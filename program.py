"""`omsfab`: the task tree as a program of its own, which works in any directory."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from fabric import Config, Executor
from fabric.main import Fab
from invoke.exceptions import ParseError
from invoke.parser.argument import Argument

from omsfab import VERSION
from omsfab.errors import InputError, OmsfabError, unforeseen
from omsfab.next_line import CALLED, fab, nearest, typed
from tasks import GROUPS, namespace

CLOSED = 141
"""The exit status where the reader has left (`omsfab … | head`): 128 and SIGPIPE."""

SCRIPT = "--print-completion-script"
SCRIPTS = Path(__file__).parent / "scripts"


class Settings(Config):  # type: ignore[misc]
    """Fabric's, without its reading of ~/.ssh/config: fabric.yaml says why."""

    @staticmethod
    def global_defaults() -> dict[str, Any]:
        return {**Config.global_defaults(), "load_ssh_configs": False}


class Omsfab(Fab):  # type: ignore[misc]
    """Fabric's program with our tasks, in groups; what is misspelt is told in our five parts."""

    def core_args(self) -> list[Argument]:
        """Fabric's options; --hosts is the file here, so that nodes are named by -H alone."""
        nodes = Argument(
            names=("H",), attr_name="hosts", help="names or addresses of nodes, for node.* tasks"
        )
        return [one for one in super().core_args() if "hosts" not in one.names] + [nodes]

    def parse_tasks(self) -> None:
        try:
            super().parse_tasks()
        except ParseError as error:
            raise self._misspelt(error) from None

    def parse_cleanup(self) -> None:
        try:
            super().parse_cleanup()
        except ParseError as error:
            raise self._misspelt(error) from None

    def print_version(self) -> None:
        print(f"omsfab {VERSION}")

    def print_help(self) -> None:
        print("Usage: omsfab TASK [--flags]         its flags: omsfab --help TASK")
        print("! marks what stops, restarts or deletes something\n")
        self.list_tasks()

    def list_flat(self) -> None:
        if self.list_root or self.list_depth:
            super().list_flat()
            return
        pairs = self._make_pairs(namespace)
        for title, groups in GROUPS.items():
            print(title)
            self.print_columns([one for one in pairs if one[0].partition(".")[0] in groups])

    def _misspelt(self, error: ParseError) -> InputError:
        """What the parser does not know, with the nearest name that it does."""
        tasks = list(namespace.task_names)
        task = error.context.name if error.context else ""
        flags = [
            name
            for context in ([self.parser.contexts[task]] if task else [])
            for name in context.flag_names()
            if name.startswith("--")
        ]
        said, word, _ = [*str(error).split("'"), "", ""][:3]
        if not said.startswith("No idea what"):
            text = str(error).replace("Flag <Argument: ", "--")
            text = text.replace("> needed value and was not given one!", " wants a value")
            return InputError("INPUT-033", text, next=fab(task, help=True) if task else ())
        known = flags if word.startswith("-") else tasks
        near = nearest(word, known)
        right = [
            near + one[len(word) :] if one.partition("=")[0] == word else one
            for one in sys.argv[1:]
        ]
        kind = f"flag of {task}" if word.startswith("-") and task else "task"
        return InputError(
            "INPUT-033",
            f"there is no {kind} {word}",
            fix=f"did you mean {near}?" if near else "look at the list",
            next=typed(right) if near else typed(["--help", task] if task else ["--list"]),
        )


program = Omsfab(
    name="omsfab",
    version=VERSION,
    namespace=namespace,
    executor_class=Executor,
    config_class=Settings,
    binary="omsfab",
    binary_names=["omsfab"],
)


def main(words: list[str]) -> int:
    """Run the line and return its exit status; no way out shows a traceback."""
    CALLED.program = "omsfab"
    try:
        return _status(_own(words))
    except BrokenPipeError:
        return _closed()
    except KeyboardInterrupt:
        return 130
    except OmsfabError as error:
        print(error.render(), file=sys.stderr)
        return error.exit_code
    except Exception as error:
        print(unforeseen(error).render(), file=sys.stderr)
        return 6


def _status(words: list[str]) -> int:
    try:
        if words[:1] == ["--complete"]:
            from omsfab.cli.completion import candidates

            print("\n".join(candidates(words[2:], contexts())))
        elif words and words[0].startswith(SCRIPT):
            shell = words[0].partition("=")[2] or "".join(words[1:2])
            print((SCRIPTS / f"completion.{shell}").read_text(), end="")
        else:
            program.run(["omsfab", *words])
        sys.stdout.flush()
    except SystemExit as end:
        sys.stdout.flush()
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


def contexts() -> dict[str, list[str]]:
    """Return the long flags of each task, those with a value with a ``=`` behind them."""
    return {
        str(task.name): [
            f"--{one.name.strip('_').replace('_', '-')}{'=' * one.takes_value}"
            for one in task.args.values()
        ]
        for task in namespace.to_contexts()
    }


def _own(words: list[str]) -> list[str]:
    """Take out --hosts, wherever it stands: `fab` itself means nodes by it."""
    kept: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            return [*kept, word, *rest]
        if word == "--hosts":
            CALLED.hosts = next(rest, "")
        elif word.startswith("--hosts="):
            CALLED.hosts = word.partition("=")[2]
        else:
            kept.append(word)
            continue
        if not CALLED.hosts:
            raise InputError("INPUT-033", "--hosts wants a file", next=fab("fleet.show"))
    return kept


def _closed() -> int:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return CLOSED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
