"""What may go wrong with this image or this kind of MetaDB: said, never refused.

Source: OMS docs, FAQ and release notes: authentication of 3.3.0, MySQL 5 with 4.2, user forms of
OBServer and OBProxy, ports from 4.2.2 on, names of containers and of the editions' repositories.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from omsfab.fleet import values
from omsfab.fleet.model import Fleet, Ports

OWN_SCHEMA = (
    "the lock and the markers of runs stand in MetaDB: tables omsfab_lease and omsfab_marker in"
    " drc_rm_db, or in schema omsfab until there is one; docs/commands.md has the lines that remove"
    " them"
)


def of_image(fleet: Fleet) -> Iterator[str]:
    """Yield a sentence for each thing that the name of the image tells, or leaves open."""
    install = fleet.install
    usual, version = values.container_of(install.image), values.version_of(install.image)
    if not version and install.ports != Ports():
        yield (
            "oms.image does not tell its version, and images before 4.2.2 do not know the"
            " keys of oms.ports"
        )
    if usual and install.container != usual and re.fullmatch("oms_[0-9]+", install.container):
        yield (
            f"container {install.container} from an image of {'.'.join(map(str, version))}:"
            f" the guide would call it {usual}"
        )
    if install.init_parallel > 1:
        yield (
            f"oms.init_parallel is {install.init_parallel}: so many docker_init.sh write one"
            " MetaDB at once, which no document of OMS allows or forbids"
        )
    if values.name_of(install.image) == "oms-all-in-one":
        yield (
            "oms-all-in-one is the image of the Enterprise Edition, and all that is planned"
            " here is of the Community Edition's guide"
        )


ONE_BY_ONE = (
    "docker_init.sh runs on one node at a time: they write one MetaDB, and no document of OMS says"
    " that several may (oms.init_parallel)"
)


def of_metadb(fleet: Fleet, kind: str, version: str) -> Iterator[str]:
    """Yield a sentence for each thing an operator should know; ``kind`` as MetaDbEdge tells it."""
    oms = values.version_of(fleet.install.image)
    user, port = fleet.metadb.user, fleet.metadb.port
    if kind == "mysql" and version.startswith("5.") and oms >= (4, 2):
        yield (
            f"MetaDB is MySQL {version}; OMS from 4.2 wants MySQL 8 or OceanBase"
            ' (FAQ: "Conversion not supported for type java.time.LocalDateTime")'
        )
    if kind == "mysql" and not version.startswith("5.") and (0,) < oms < (3, 3, 1):
        yield (
            f"MetaDB is MySQL {version}; OMS 3.3.0 logs in only with MySQL 5.7 or"
            " mysql_native_password (error 2059, caching_sha2_password)"
        )
    major = version.partition(".")[0]
    if kind == "mysql" and major.isdigit() and int(major) > 8:
        yield f"MetaDB is MySQL {version}; the vendor's documents know MySQL 5.7 and 8"
    if kind == "mariadb":
        yield (f"MetaDB is MariaDB {version}; the vendor names MySQL and OceanBase only")
    if kind == "oceanbase" and port == 2883 and "#" not in user:
        yield "port 2883 is OBProxy's, whose user form is user@tenant#cluster"
    if kind == "oceanbase" and port == 2881 and "#" in user:
        yield "port 2881 is an OBServer's, whose user form is user@tenant"
    if kind == "oceanbase" and "@" not in user:
        yield f"user {user} names no tenant; OMS docs: user@tenant or user@tenant#cluster"
