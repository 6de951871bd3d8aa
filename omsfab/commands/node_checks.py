"""Questions to a node before and after a change: each prints nothing and ends with 0 if all is
well, or says on standard output what is not.  They change nothing."""

from __future__ import annotations

from collections.abc import Mapping

from omsfab.command import Command, command, script
from omsfab.commands.scripts import script_text

_PORTS_FREE = script_text("ports_free")
_HAS_ADDRESS = script_text("has_address")
_CONFIG_PLACE = script_text("config_place")
_WRITABLE = script_text("writable")
_MACHINE = script_text("machine")
_SAME_INSIDE = script_text("same_inside")
_SPACE = script_text("space")
_CONNECT = script_text("connects")
_HELD = script_text("address_held")
_FILE_IS = script_text("file_is")
_HTTPS_ONLY = script_text("https_only")
_HOLD = script_text("hold")
_CONNECTIONS = script_text("connections")
_DOCKER_FITS = script_text("docker_fits")

UNFIT = 46
"""Exit status of ``docker_fits`` where docker answers and yet cannot run OMS."""

STALE = 48
"""Exit status of ``same_inside`` where the container sees another file; any other: not asked."""

_STAYS_UP = script_text("stays_up")
_ADVICE = script_text("advice")
_DIRECTORIES = script_text("directories")
_FILES = script_text("files")


def ports_free(*ports: int) -> Command:
    return script(_PORTS_FREE, *(str(port) for port in ports))


def has_address(ip: str) -> Command:
    return script(_HAS_ADDRESS, ip)


def config_place(path: str) -> Command:
    return script(_CONFIG_PLACE, path)


def same_inside(container: str, here: str, there: str) -> Command:
    return script(_SAME_INSIDE, container, here, there)


def space(image: int, directories: Mapping[str, int]) -> Command:
    """Say where there is less room than is needed: ``image`` bytes in docker's root directory, and
    in each of the directories as many as stand there."""
    words = (word for path, size in directories.items() for word in (path, str(size)))
    return script(_SPACE, str(image), *words)


def hold(host: str, port: int) -> Command:
    """Open a connection, print ``held ADDRESS:PORT`` of this side, and keep it for 2 seconds."""
    return script(_HOLD, host, str(port))


def connections(port: int) -> Command:
    """Print the peers of established connections to this port, one a line."""
    return script(_CONNECTIONS, str(port))


def docker_fits(*, package: bool = False) -> Command:
    """Print the engine's version; fail where the daemon is silent, or is none that OMS runs on.

    With a ``package`` it must also know an image by the id that the package tells.
    """
    return script(_DOCKER_FITS, *(("package",) if package else ()))


def stays_up(container: str, seconds: int = 3) -> Command:
    """Prove that the container still runs after a while; else print the end of its log."""
    return script(_STAYS_UP, container, str(seconds), limit=seconds + 30)


def writable(path: str) -> Command:
    return script(_WRITABLE, path)


def machine(architecture: str) -> Command:
    """``architecture`` as images name it: amd64, arm64."""
    return script(_MACHINE, architecture)


def mode(path: str) -> Command:
    """Print the permission bits of the file, e.g. ``600``."""
    return command("stat", "-c", "%a", "--", path)


def advice(*paths: str) -> Command:
    """Say what OMS may not like on this node; the vendor's tools only warn of these, too."""
    return script(_ADVICE, *paths)


def connects(host: str, port: int) -> Command:
    return script(_CONNECT, host, str(port))


def held(host: str, port: int) -> Command:
    """An address without any host is silent (or has no route); one with a host refuses at least."""
    return script(_HELD, host, str(port))


def file_is(path: str, sha256: str, mode: int) -> Command:
    return script(_FILE_IS, path, sha256, f"{mode:o}")


def https_only(ip: str, port: int, certificate: str = "") -> Command:
    """``certificate`` is the sha256 of its DER form; without it any will do."""
    return script(_HTTPS_ONLY, ip, str(port), certificate)


def directories(*paths: str) -> Command:
    return script(_DIRECTORIES, *paths)


def files(*paths: str) -> Command:
    return script(_FILES, *paths)


def make_directories(*paths: str) -> Command:
    return command("mkdir", "-p", "--", *paths)


def remove_file(path: str) -> Command:
    return command("rm", "-f", "--", path)
