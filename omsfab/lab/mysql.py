"""A real MySQL server for the lab: Debian's, out of unstable, beside the system and not in it.

No release of Debian has MySQL, unstable has.  Its packages, signed as all of Debian's, are unpacked
into the cache with the C library they were built for, which starts the program.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from pathlib import Path

from omsfab.errors import Next
from omsfab.lab import package, places
from omsfab.lab.system import LabError, Say, only_one, private_dir, private_file, run

SOURCE = (
    "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]"
    " http://deb.debian.org/debian unstable main\n"
)
# Nothing here has to survive a power cut, and no other protocol is asked for.
LIGHT = (
    *("--user=root", "--secure-file-priv=NULL", "--skip-log-bin"),
    *("--innodb-flush-log-at-trx-commit=0", "--innodb-doublewrite=OFF", "--loose-mysqlx=OFF"),
    *("--innodb-redo-log-capacity=32M", "--innodb-buffer-pool-size=64M"),
    "--performance-schema=OFF",
)


def home() -> Path:
    """The unpacked packages, ``root``, and an empty database, ``data``."""
    return places.cache() / f"mysql-{package.BASE_FORMAT}-{os.uname().machine}"


def missing() -> str | None:
    """One sentence saying why there is no MySQL here, or None."""
    if (home() / "data").is_dir():
        return None
    return "no MySQL: scripts/setup tests has not got Debian's mysql-server-core into the cache"


def command(data: Path, port: int) -> tuple[str, ...]:
    """Words that serve ``data``, a copy of the empty database unless it is there already.

    A new one has a root without password, who may come from this machine only.
    LabError without the program.
    """
    if why := missing():
        raise LabError(why, next=Next("scripts/setup tests"))
    if not data.exists():
        shutil.copytree(home() / "data", new := data.with_suffix(".new"), dirs_exist_ok=True)
        new.rename(data)
    return (
        *(*_program(home() / "root"), *LIGHT, f"--datadir={data}", f"--port={port}"),
        *(f"--socket={data}/sock", f"--pid-file={data}/pid"),
    )


def fetch(say: Say = print) -> None:
    """Get the server into the cache unless it is there; LabError when Debian does not give it."""
    with only_one(private_dir(places.cache()) / ".lock"):
        if missing() is None:
            return
        begun = time.monotonic()
        say("fetching MySQL from Debian unstable, beside the system")
        with tempfile.TemporaryDirectory(dir=places.cache(), prefix="build-") as work:
            new = private_dir(Path(work, "new"))
            package.unpack(package.download(Path(work), ("mysql-server-core",), _apt(Path(work))),
                           new / "root")  # fmt: skip
            data = f"--datadir={new / 'data'}"
            run(*_program(new / "root"), *LIGHT, data, "--initialize-insecure")
            (new / "data" / "auto.cnf").unlink()  # each copy is a server of its own
            shutil.rmtree(home(), ignore_errors=True)
            new.rename(home())
        say(f"MySQL of the lab is there after {time.monotonic() - begun:.1f} s")


def _apt(work: Path) -> tuple[str, ...]:
    """Options of apt for one foreign source, with lists of its own."""
    sources, state = private_file(work / "sources.list", SOURCE), work / "apt"
    (state / "lists" / "partial").mkdir(parents=True)
    return (
        *("-o", f"Dir::Etc::SourceList={sources}", "-o", "Dir::Etc::SourceParts=-"),
        *("-o", f"Dir::State={state}", "-o", f"Dir::Cache={state}"),
    )


def _program(root: Path) -> tuple[str, ...]:
    """By its own loader: the C library of this machine may be too old for it."""
    loader = next((root / "usr").glob("lib*/**/ld-linux-*.so.*"))
    libraries = next((root / "usr/lib").glob("*-linux-gnu*"))
    return (
        *(str(loader), "--library-path", str(libraries), str(root / "usr/sbin/mysqld")),
        "--no-defaults",  # is obeyed as the first option only
        *(f"--basedir={root / 'usr'}", f"--lc-messages-dir={root / 'usr/share/mysql'}"),
        f"--plugin-dir={root / 'usr/lib/mysql/plugin'}",
    )
