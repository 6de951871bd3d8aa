"""docs/ says what the code does: every error, and every line of the guide."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

import pytest

from omsfab import errors

ROOT = Path(__file__).parents[2]
ID = re.compile(r"[A-Z]{2,6}-\d{3}")
ROW = re.compile(r"^\| ([A-Z]{2,6}-\d{3}) \|(.*)\|$", re.MULTILINE)
ERRORS = (ROOT / "docs" / "errors.md").read_text()
GUIDE = (ROOT / "docs" / "guide.md").read_text()


def ids_in_code() -> set[str]:
    """Every error id that the program can say, by its literals."""
    return {
        node.value
        for path in (*(ROOT / "omsfab").rglob("*.py"), ROOT / "tasks.py")
        if "image" not in path.relative_to(ROOT).parts
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and ID.fullmatch(node.value)
    }


def test_every_error_is_explained_and_none_is_invented():
    """The ids of docs/errors.md are those of the code."""
    assert ids_in_code() == {id for id, _ in ROW.findall(ERRORS)}


def test_each_error_has_cause_cure_and_a_place_in_the_guide():
    """Once each, no empty cell."""
    rows = ROW.findall(ERRORS)
    twice = [id for id, count in Counter(id for id, _ in rows).items() if count > 1]
    poor = [id for id, cells in rows if not all(c.strip() for c in cells.split("|"))]

    assert ([], []) == (twice, poor)
    assert {3} == {len(cells.split("|")) for _, cells in rows}


def test_an_error_names_the_same_part_of_the_guide_as_the_docs():
    """The column of docs/errors.md and the table behind the errors; pages of the vendor's other
    documents and our own matters are told by the error itself."""
    column = {id: cells.split("|")[2].strip() for id, cells in ROW.findall(ERRORS)}

    assert errors.GUIDE == {id: p for id, p in column.items() if p not in ("–", "OMS docs")}


def test_the_part_of_the_guide_is_told_once():
    """As the last line of the evidence, unless that speaks of the guide."""
    bare, told = (errors.OmsfabError("VIP-001", "x", evidence=text) for text in ("a", "guide: b"))

    assert "a\n            guide: single node, step 1\n" in bare.render() + "\n"
    assert "step 1" not in told.render()


@pytest.mark.parametrize("family", ["CERT", "HOST", "IMG", "VIP", "TSDB", "VER", "INIT"])
def test_checks_that_stop_a_run_name_their_place_in_the_guide(family):
    """Each of these stands for something the guide or another page of the vendor asks for."""
    places = {id: cells.split("|")[2].strip() for id, cells in ROW.findall(ERRORS)}

    assert [] == [id for id, place in places.items() if id.startswith(family) and place == "–"]


PARAMETERS = """
oms_meta_host oms_meta_port oms_meta_user oms_meta_password drc_rm_db drc_cm_db drc_cm_heartbeat_db
cm_url cm_location cm_region cm_region_cn cm_nodes cm_is_default tsdb_enabled tsdb_service tsdb_url
tsdb_username tsdb_password OMS_HOST_IP CONTAINER_NAME IMAGE_TAG privileged pids-limit nproc
/data/oms/oms_logs /data/oms/oms_store /data/oms/oms_run /home/admin/logs /home/ds/store
/home/ds/run /data/oms/https_crt /data/oms/https_key
""".split()  # noqa: SIM905 - the two parameter tables of the guide, in their order

FLAGS = (
    *("-dit", "--net host", "-v", "-e OMS_HOST_IP", "--privileged=true", "--pids-limit -1"),
    *(
        "--ulimit nproc=65535:65535",
        "--name",
        "docker load -i",
        "docker exec",
        "supervisorctl stop",
    ),
    *("bash /root/docker_init.sh", "sudo sh /root/docker_init.sh", "select * from cluster_info"),
    *("delete from cluster_info", "/home/admin/conf/config.yaml", "/etc/pki/nginx/oms_server.crt"),
    *("/etc/pki/nginx/oms_server.key", "work.oceanbase-dev.com/obartifact-store/oms"),
)

NOTICES = (
    "location_cm",
    "resource_group",
    "2 to 4 minutes",
    "Multi-Site High Availability",
    "only one region",
    "must remain unchanged",
    "key: value",
    "127.0.0.1",
    "time-series database",
    "HTTPS URL",
    "[Completed] All initialization steps are executed",
    "Alibaba Cloud",
)


@pytest.mark.parametrize("word", [*PARAMETERS, *FLAGS, *NOTICES])
def test_no_line_of_the_guide_is_unmapped(word):
    """Each parameter, each flag and each notice of the guide has a row in docs/guide.md."""
    assert word in GUIDE
