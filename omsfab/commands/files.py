"""Words for any Linux node with bash and coreutils: files, facts, ports, pages.

A script is a constant; data arrives as "$1", "$2", …; its first line says what it does.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from omsfab.command import Command, command, script
from omsfab.commands.scripts import script_text
from omsfab.secret import Secret

# --- files -----------------------------------------------------------------------------------


_PRIVATE_DIRECTORY = script_text("private_directory")
_READ_BYTES = script_text("read_bytes")
_FILES_BELOW = script_text("files_below")
_EXTEND = script_text("extend")
_COPIES = script_text("copies")
_REMOVE_COPIES = script_text("remove_copies")


def private_directory(path: str) -> Command:
    return script(_PRIVATE_DIRECTORY, path)


def extend(path: str, content: bytes) -> Command:
    """Write a file that may only grow, and print its digest; ends with AHEAD if what is there is no
    beginning of the content."""
    return script(_EXTEND, path, stdin=Secret(base64.b64encode(content).decode()), limit=60)


def copies(path: str) -> Command:
    """Print a line per copy of a run below ``path``: ``RUN INTENTS UNDOES LAST``.

    How many steps it has begun, which run it undoes (``-`` for none), and the last event of kind
    "run", as base64: where the run has ended, it says how.
    """
    return script(_COPIES, path)


def remove_copies(path: str, runs: Sequence[str]) -> Command:
    """Remove the copies of these runs below ``path``."""
    return script(_REMOVE_COPIES, path, *runs)


def read_bytes(path: str, offset: int, most: int) -> Command:
    """Print at most so many bytes from the offset on, as base64."""
    return script(_READ_BYTES, path, str(offset), str(most))


def files_below(path: str) -> Command:
    """Print the files below a directory, relative to it, one a line."""
    return script(_FILES_BELOW, path)


def list_names(path: str) -> Command:
    return command("ls", "-1", "--", path)


def mkdir(path: str) -> Command:
    return command("mkdir", "-p", "--", path)


def read_file(path: str) -> Command:
    return command("cat", "--", path)


def remove(path: str) -> Command:
    return command("rm", "-f", "--", path)


def disk_usage(path: str) -> Command:
    """Print df's table for the path: evidence when it was full."""
    return command("df", "-P", "--", path)


# --- writing in place ------------------------------------------------------------------------

_STAGE = script_text("stage")
_WRITE_IN_PLACE = script_text("write_in_place")
_STILL_WRITTEN = script_text("still_written")
_PUT_BACK = script_text("put_back")

NOT_OURS = 47
"""Exit status of ``put_back`` when the file is not what the run wrote."""

IS_DIRECTORY, NOT_STAGED, NOT_BACKED_UP, NOT_WRITTEN = 41, 42, 43, 44
"""Exit statuses of ``stage`` and ``write_in_place``."""


def stage(new: str, path: str, content: Secret) -> Command:
    """Write the content to ``new`` (0600, on disk) and print its digest."""
    return script(_STAGE, new, path, stdin=content, limit=60)


def write_in_place(new: str, path: str, mode: int | None, backup: str) -> Command:
    """Copy ``new`` into ``path``, keep what was there at ``backup``, print the digest of ``path``.

    Without a ``mode`` owner, group, mode and the like stay as they are, and a new file is 0600.
    When that fails, the former content is put back.
    """
    text = "found" if mode is None else f"{mode:o}"
    return script(_WRITE_IN_PLACE, new, path, text, backup, limit=60)


def still_written(path: str, backup: str) -> Command:
    """End with 0 if the file is what the run of this backup wrote, or what it was before it."""
    return script(_STILL_WRITTEN, path, backup)


def put_back(path: str, backup: str, *, aside: bool = False) -> Command:
    """Copy ``backup`` into ``path`` in place; remove ``path`` if it was not there before.

    A file that somebody else has written since ends it with NOT_OURS; or, with ``aside``, is kept
    as ``BACKUP.aside``.
    """
    return script(_PUT_BACK, path, backup, "aside" if aside else "", limit=60)


# --- sending a file --------------------------------------------------------------------------

_PUT_WHOLE = script_text("put_whole")
_PART_STATE = script_text("part_state")
_APPEND = script_text("append")
_FINISH = script_text("finish_part")
_DROP = script_text("drop_part")
_OFFER, _READ, _PULL = map(script_text, ("relay_offer", "relay_read", "relay_pull"))

AHEAD = 46
"""Exit status of ``extend`` when the file there is another one, or goes further."""


READERS_PATIENCE = 1800
"""Seconds from the end of the input until a reader is given up."""

LONGEST_PULL = 24 * 3600
"""Seconds until a file that comes from another node is given up."""

OURS = "ours"
"""What ``part_state`` prints for the digest of a part of our own sending."""

_USE_COPY = script_text("use_copy")


def use_copy(copy: str, dest: str, size: int) -> Command:
    """Give a file of this size that is there already a second name, ``dest``; what is in it is
    proven when it is sent."""
    return script(_USE_COPY, copy, dest, str(size))


def put_whole(dest: str, sha256: str) -> Command:
    """Write standard input to ``dest`` if that is its digest; print the digest of what came."""
    return script(_PUT_WHOLE, dest, sha256, limit=120)


def part_state(dest: str, size: int, ours: int = 0) -> Command:
    """Print ``dest SHA256 SIZE`` if it is all there, else ``part SHA256 SIZE`` if some is.

    A part of at most ``ours`` bytes, and not whole, is not hashed: OURS stands there instead.
    """
    return script(_PART_STATE, dest, str(size), str(ours), limit=900)


def append(
    dest: str, offset: int, size: int = 0, sha256: str = "", reader: Sequence[str] = ()
) -> Command:
    """Append standard input to the part, which has ``offset`` bytes; 0 begins anew.

    Prints ``SHA256 SIZE`` of the whole part.  What was there is read again: at 20 MB/s at least.
    ``reader`` are words that read the file meanwhile; it comes to its end for them only if it has
    this size and digest, and their end is waited for, whatever it is.
    """
    words = (dest, str(offset), str(size), sha256, *reader)
    appended = replace(script(_APPEND, *words, limit=120 + offset / 20e6), bulk=True)
    return replace(appended, most=READERS_PATIENCE) if reader else appended


def offer(dest: str, size: int) -> Command:
    """Pass ``dest``, which may still be arriving, on to who has the private half of the key that
    is the first line of the input; until the input ends.  Prints ``USER PORT HOSTKEY``."""
    return script(_OFFER, dest, str(size), _READ, limit=60)


def pull(
    dest: str, offset: int, size: int, sha256: str, source: tuple[str, str, int],
    identity: Secret, reader: Sequence[str] = (),
) -> Command:  # fmt: skip
    """Append to the part what another node offers there (user, address, port); else as ``append``.

    ``identity`` is a line of known_hosts, and the private key.  Prints how long the part is, each
    second, and ``SHA256 SIZE`` in the end.
    """
    user, address, port = source
    words = (dest, str(offset), str(size), sha256, address, str(port), user, *reader)
    pulled = script(_PULL, *words, stdin=identity, limit=120 + offset / 20e6)
    return replace(pulled, most=LONGEST_PULL)


def finish_part(dest: str) -> Command:
    return script(_FINISH, dest)


def drop_part(dest: str) -> Command:
    return script(_DROP, dest)


# --- facts -----------------------------------------------------------------------------------

_MACHINE_ID = script_text("machine_id")
_CLOCK = script_text("clock")
_HOST_FACTS = script_text("host_facts")
_ADDRESSES = script_text("addresses")


def machine_id() -> Command:
    return script(_MACHINE_ID)


def clock() -> Command:
    """Print the node's time, e.g. ``1795341432.517000000 +0000``."""
    return script(_CLOCK)


def host_facts() -> Command:
    """Print what a support case asks of a host: system, memory, disks, ports, containers."""
    return script(_HOST_FACTS, limit=120)


def machine_name() -> Command:
    """Print the host name of this node."""
    return command("uname", "-n")


def addresses() -> Command:
    """Print the addresses of this node, one a line."""
    return script(_ADDRESSES)


# --- reaching others from a node -------------------------------------------------------------

_HTTP = script_text("http_get")


def http_get(url: str, seconds: int = 10) -> Command:
    """Print the body of the page; ends with 44 if its status is 404, with 22 from 400 on.

    By curl, or by bash alone where there is none.  Certificates are not checked: OMS signs its own.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
    return script(
        _HTTP, url, str(seconds), parts.hostname or "", str(port), path, limit=seconds + 10
    )
