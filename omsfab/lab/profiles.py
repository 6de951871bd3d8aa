"""Profiles of the stand-in image: versions of OMS as the evidence has them, read at its strictest.

A profile is a set of knobs that is baked into the image, so that a knob on a node still overrides
it, and the way its container begins.  Each knob stands with where it is known from:

guide 3.3.1   OMS documents V3.2.2 to V3.3.1, deployment pages, which print docker_init.sh's output
notes 3.3.0   a public notebook of a test with OMS 3.3.0, with its config files and an init log
blog 4.2.0    the blog "deploy OMS" of oceanbase.github.io, two screenshots of CE 4.2.0
guide 4.x     OMS documents V4.0.0 to V4.2.2: no output, the closing sentence alone
obd           obdeploy, plugins/oms/1.0.0, for CE 4.2.11 and newer
none          nothing public; read in the way that is hardest for omsfab
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from omsfab.errors import Next
from omsfab.lab.system import LabError

QUICK = "0.2"
"""startsecs where only the order of things is tested; the image itself has the real ten."""

SUPERVISORD = "/usr/bin/supervisord -c /etc/supervisor/supervisord.conf --nodaemon"


DS = ("1", "notes 3.3.0: user=ds in the ini file of oms_drc_supervisor; what it reads: none")


@dataclass(frozen=True, slots=True)
class Profile:
    """``knobs`` maps a knob to its value and the source of that; README of the image lists them."""

    name: str
    tag: str
    cmd: tuple[str, ...]
    cmd_source: str
    knobs: dict[str, tuple[str, str]]

    @property
    def has_health(self) -> bool:
        """Whether the console has a health page."""
        return self.knobs["HEALTH"][0] == "1"

    def text(self, start_secs: str = "") -> str:
        """The lines of the image's profile file."""
        values = {name: value for name, (value, _) in self.knobs.items()}
        if start_secs:
            values["START_SECS"] = start_secs
        return "".join(f"{name}={value}\n" for name, value in values.items())


PROFILES = {
    one.name: one
    for one in (
        Profile(
            "3.3.1",
            "reg.docker.alibaba-inc.com/oceanbase/oms:feature_3.3.1-ce",
            ("/bin/bash", "/root/docker_cmd.sh"),
            "notes 3.3.0",
            {
                "ENTRY_UNITS": (
                    "1",
                    "notes 3.3.0: the entry script runs python for config",
                ),
                "UNIT_SECONDS": ("1", "notes 3.3.0: python 2 with sqlalchemy takes its time"),
                "CROND": ("1", "guide 3.3.1: in step 4's command line, there alone"),
                "BRACKETS": ("full", "guide 3.3.1: step 4's header, there alone"),
                "BANNER": ("zh", "guide 3.3.1"),
                "HEALTH": ("404", "none: first in obd, for 4.2.11"),
                "INIT_FLAG": ("0", "none: first in obd, for 4.2.13"),
                "INIT_EXIT": ("0", "none"),
                "DS_READS_CONFIG": DS,
            },
        ),
        Profile(
            "4.2.0",
            "reg.docker.alibaba-inc.com/oceanbase/oms:feature_4.2.0-ce",
            ("/bin/sh", "-c", SUPERVISORD),
            "blog 4.2.0: COMMAND of docker ps begins /bin/sh -c '/usr/",
            {
                "BANNER": ("bare", "guide 4.x: the sentence, no output around it"),
                "HEALTH": ("html", "none: first in obd, for 4.2.11"),
                "INIT_FLAG": ("0", "none: first in obd, for 4.2.13"),
                "INIT_EXIT": ("0", "none"),
                "DS_READS_CONFIG": DS,
            },
        ),
        Profile(
            "4.2.7",
            "reg.docker.alibaba-inc.com/oceanbase/oms:feature_4.2.7_ce",
            ("/bin/sh", "-c", SUPERVISORD),
            "blog 4.2.0",
            {
                "BANNER": ("bare", "guide 4.x: the sentence, no output around it"),
                "HEALTH": ("html", "none: first in obd, for 4.2.11"),
                "INIT_FLAG": ("0", "none: first in obd, for 4.2.13"),
                "INIT_EXIT": ("1", "obd: online_upgrade.py does not trust the status"),
                "INIT_SECRET": ("1", "notes 3.3.0: an init log with the password in clear"),
                "DS_READS_CONFIG": DS,
            },
        ),
        Profile(
            "4.2.11+",
            "reg.docker.alibaba-inc.com/oceanbase/oms-ce:feature_4.2.11_ce",
            ("/bin/sh", "-c", SUPERVISORD),
            "blog 4.2.0",
            {
                "SELF_INIT": ("1", "obd: docker run, then the last line of docker logs is polled"),
                "BANNER": ("bare", "guide 4.x"),
                "HEALTH": ("1", "obd: health_check.py"),
                "INIT_FLAG": ("1", "obd: online_upgrade.py"),
                "INIT_EXIT": ("0", "none"),
                "DS_READS_CONFIG": DS,
            },
        ),
    )
}

DEFAULT = "4.2.7"
"""The harshest reading of what is known: what a lab has unless its caller or OMSFAB_LAB_PROFILE
says another."""


def chosen(name: str = "") -> Profile:
    """The profile of that name, of the environment, or the default."""
    wanted = name or os.environ.get("OMSFAB_LAB_PROFILE") or DEFAULT
    if wanted not in PROFILES:
        known = ", ".join(PROFILES)
        raise LabError(
            f"{wanted} is no profile of the stand-in image; there are {known}",
            next=Next(f"unset OMSFAB_LAB_PROFILE; fab lab.up --profile={DEFAULT}"),
        )
    return PROFILES[wanted]
