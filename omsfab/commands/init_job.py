"""Words for docker_init.sh as a detached job: its wrapper, and questions about it.

The wrapper travels as an argument, for users of the image may write on the logs mount.  What it
leaves lies there all the same, in the attempt's own directory, so that node and container see one
claim, process id, output and status; no link is followed there.  ``docker exec -d`` leaves no
terminal and no session behind that could end it, and `docker_init.sh` "must not be interrupted"
(OMS CE guide, Scale out); only who says so (``--stop-init``) ends it.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from omsfab.command import Command, command, script
from omsfab.commands.scripts import script_text

FLAG = "/root/init_flag.txt"
"""Written, and not empty, when an initialisation succeeded (images from about 4.2.13)."""

STARTED = "OMS service start successfully"
"""The last line of ``docker logs`` once an image that initialises itself has done so."""


LOOK = 0.2
"""Seconds between two looks of a poll that is held back."""

WRAPPER = script_text("init_wrapper")
_PREPARE = script_text("init_prepare")
_POLL = script_text("init_poll")
_LOOK = script_text("init_look")
_ITSELF = script_text("init_itself")
_OVER = script_text("init_over")
_END = script_text("init_end")
_ENDED = script_text("init_ended")
_MARKS = script_text("init_marks")
_NEWEST = script_text("init_newest")


def script_name(argv: tuple[str, ...]) -> str:
    """The script the job runs, e.g. ``docker_init.sh``."""
    return PurePosixPath(argv[-1]).name


def signs(argv: tuple[str, ...]) -> tuple[str, str]:
    """Return name of the script and of the module whose parts are its steps."""
    name = script_name(argv)
    return name, "omsflow.scripts.units" if name == "docker_init.sh" else name


def prepare(directory: str) -> Command:
    """Make the attempt directory, and print the id of its owner."""
    return script(_PREPARE, directory)


def start(container: str, inside: str, owner: str, lock: str, argv: tuple[str, ...]) -> Command:
    """Start the wrapper in the container; it ends at once and says nothing about success.

    A directory that does not belong to ``owner`` (a user id) is not used.
    """
    return command(
        "docker", "exec", "-d", container,
        "sh", "-c", WRAPPER, "omsfab", inside, owner, lock, *signs(argv), *argv,
        limit=60,
    )  # fmt: skip


def poll(directory: str, offset: int, most: int, hold: float = 0) -> Command:
    """Print ``claimed AGE``, ``refused WHY``, ``pid PID START``, ``status N``, ``size N``, ``bytes BASE64``.

    Each only if there is one.  Bytes stand in base64: a character may be cut in two.  The answer
    is held back for ``hold`` seconds, or until there is more than ``offset`` bytes, or an end.
    """  # noqa: E501
    return script(_POLL, directory, str(offset), str(most), str(round(hold / LOOK)))


def look(
    container: str, pid: str, start: str, argv: tuple[str, ...], *, attempt: str = ""
) -> Command:
    """Print ``alive`` if the wrapper is, and ``running PID since …`` for each init there.

    ``fresh`` if there is a flag file that is younger than the ``attempt`` (its directory).
    """
    return command(
        "docker", "exec", container,
        "sh", "-c", _LOOK, "omsfab", pid, start, *signs(argv), FLAG, attempt,
    )  # fmt: skip


def itself(container: str, argv: tuple[str, ...], logs: str) -> Command:
    """Print what tells whether the container has initialised itself since its start.

    ``state RUNNING STARTED_AT``, ``now SECONDS``, ``log LINE`` (the one that says so),
    ``initlog MTIME`` and ``said LINE`` of the newest docker_init.log in ``logs``,
    ``running PID since …``, ``flag MTIME``, ``entry`` when what runs as process 1 mentions the
    script, ``pending PID PATH`` for another script that runs and mentions it, and ``programs
    SECONDS``: for how long supervisord has had one.
    """
    return script(_ITSELF, container, _LOOK, *signs(argv), FLAG, STARTED, logs)


def end(container: str, lock: str) -> Command:
    """End every process of omsfab's attempts in the container: TERM, then KILL.

    Prints ``ended PID…``, ``left PID…`` (who outlives KILL), and ``free`` if nobody holds the lock.
    """
    return command("docker", "exec", container, "sh", "-c", _END, "omsfab", lock, limit=120)


def newest(directory: str) -> Command:
    """Print ``claimed AGE`` and ``last LINE`` of the newest attempt, unless it has ended."""
    return script(_NEWEST, directory)


def over(container: str, argv: tuple[str, ...], *, unasked: bool = False) -> Command:
    """Succeed if no initialisation runs in the container, or the container does not run itself.

    A mere unit of one, as some images run at each start, is waited for, a minute at most.

    ``unasked``: also if the container cannot be asked, where another question tells that.
    """
    return script(_OVER, container, *signs(argv), "0" if unasked else "1", stdin=_LOOK, limit=120)


def marks(directory: str) -> Command:
    """Print the lines that decide, of an output that was not read as a whole."""
    return script(_MARKS, directory, limit=120)


def ended(directory: str) -> Command:
    """Print for how many seconds the attempt has been over, by the node's clock."""
    return script(_ENDED, directory)
