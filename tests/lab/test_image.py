"""The stand-in image with the real figures: a scale-out as long as that of OMS, and its looks.

What is asked here is publicly known of the real image (omsfab/lab/profiles.py names the sources).
"""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from tests.lab.oracle import CONTAINER, Fleet


@pytest.fixture(scope="module")
def fleet(make_fleet) -> Fleet:
    """One node with OMS, another to come; startsecs is ten."""
    fleet = make_fleet("image", nodes=2, metadb="mariadb", start_secs="")
    said = fleet.fab("oms.deploy", "--yes", hosts="initial.yaml")
    assert said.status == 0, said
    return fleet


@pytest.fixture(scope="module")
def scaled(fleet):
    return fleet.fab("scale.out", "--yes")


def inside(fleet, *words, where="/root"):
    """Run in the container of oms1; (status, output)."""
    done = fleet.lab.enter("oms1", ["docker", "exec", "-w", where, CONTAINER, *words])
    return done.returncode, done.stdout + done.stderr


def seconds(uptime):
    hours, minutes, rest = map(int, uptime.split(":"))
    return hours * 3600 + minutes * 60 + rest


def test_a_scale_out_goes_through_with_the_real_figures(fleet, scaled):
    """Ten seconds of startsecs for each of five programs, one after another, on both nodes."""
    assert scaled.status == 0, scaled
    assert {node.ip: "ONLINE" for node in fleet.lab.nodes} == fleet.hosts()


def test_the_programs_are_restarted_one_after_another(fleet, scaled):
    """`supervisorctl restart a b c` waits for each to be RUNNING: as on real hosts."""
    _, text = inside(fleet, "supervisorctl", "status")
    up = dict(re.findall(r"^(\S+) +RUNNING +pid \d+, uptime (\S+)$", text, re.MULTILINE))
    ages = [
        seconds(up[name])
        for name in ("nginx", "oms_console", "oms_drc_cm", "oms_drc_supervisor", "sshd")
    ]

    # omsfab itself restarts console and agent at no time in a scale-out to a VIP.
    assert all(before - after >= 9 for before, after in pairwise(ages)), text


def test_supervisorctl_ends_with_0_whatever_happens(fleet, scaled):
    """Supervisor 3: only the text tells."""
    assert (0, True) == (
        (said := inside(fleet, "supervisorctl", "restart", "nobody"))[0],
        "ERROR (no such process)" in said[1],
    )


def test_supervisord_listens_where_the_real_one_does(fleet, scaled):
    """The client speaks HTTP to 8084, which is one per host; the socket is the container's own."""
    _, text = inside(fleet, "cat", "/etc/supervisor/supervisord.conf")
    own = inside(fleet, "supervisorctl", "-s", "unix:///tmp/supervisor.sock", "pid")

    assert "\nserverurl=http://127.0.0.1:8084" in text
    assert (0, True) == (own[0], own[1].strip().isdigit())


def test_the_agent_is_of_user_ds(fleet, scaled):
    """All others are root's; /home/ds is a link."""
    _, text = inside(fleet, "ps", "axo", "user,args")
    owners = {
        name: user for user, name in re.findall(r"^(\S+) .* omslab\.services\.(\S+)$", text, re.M)
    }

    assert {
        "nginx": "root",
        "console": "root",
        "cm": "root",
        "supervisor": "ds",
        "sshd": "root",
    } == (owners)
    assert (0, "/u01/ds\n") == inside(fleet, "readlink", "/home/ds")


def test_omsflow_is_found_from_root_alone(fleet, scaled):
    """Elsewhere `python -m omsflow…` has no such module."""
    words = ("python", "-c", "import omsflow")

    assert 0 == inside(fleet, *words)[0]
    assert "No module named 'omsflow'" in inside(fleet, *words, where="/tmp")[1]


def test_docker_logs_are_those_of_supervisord(fleet, scaled):
    """It runs in the foreground and logs there too."""
    said = fleet.lab.enter("oms1", ["docker", "logs", CONTAINER]).stdout

    assert "INFO success: oms_drc_cm entered RUNNING state" in said


def test_an_initialisation_prints_what_public_logs_have(fleet, scaled):
    """The prelude of each unit, its colour, the switches, and the password in clear."""
    log = max(fleet.lab.path("oms1", "/data/oms/oms_logs").glob("docker_init.log.*"))
    text = log.read_text()

    assert 4 == text.count(
        "\n/root/omsflow\n\x1b[33muse config /home/admin/conf/config.yaml\x1b[0m\n"
    )
    assert "\nno drop task\n\nno init task\n\nquery {'charset': 'utf8'} {" in text
    assert f"'password_original': {fleet.lab.metadb.password!r}" in text
