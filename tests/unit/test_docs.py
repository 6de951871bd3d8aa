"""docs/ says what the code does: every error, and every line of the guide."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from pathlib import Path

import pytest

from omsfab import errors
from omsfab.fleet.model import PARTS, keys_of
from tasks import namespace

ROOT = Path(__file__).parents[2]
ID = re.compile(r"[A-Z]{2,6}-\d{3}")
ROW = re.compile(r"^\| ([A-Z]{2,6}-\d{3}) \|(.*)\|$", re.MULTILINE)
ERRORS = (ROOT / "docs" / "errors.md").read_text()
GUIDE = (ROOT / "docs" / "guide.md").read_text()


def ids_in_code() -> set[str]:
    """Every error id that the program can say, by its literals."""
    return {
        node.value
        for path in (*(ROOT / "omsfab").rglob("*.py"), ROOT / "tasks.py", ROOT / "program.py")
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
    """As a part of its own, which is no evidence, unless that speaks of the guide."""
    bare, told = (errors.OmsfabError("VIP-001", "x", evidence=text) for text in ("a", "guide: b"))

    assert "  evidence: a\n  see:      guide: single node, step 1\n" in bare.render() + "\n"
    assert "step 1" not in told.render()


@pytest.mark.parametrize("family", ["CERT", "HOST", "IMG", "VIP", "TSDB", "VER", "INIT"])
def test_checks_that_stop_a_run_name_their_place_in_the_guide(family):
    """Each of these stands for something the guide or another page of the vendor asks for."""
    places = {id: cells.split("|")[2].strip() for id, cells in ROW.findall(ERRORS)}

    assert [] == [id for id, place in places.items() if id.startswith(family) and place == "–"]


PARAMETERS = """
oms_meta_host oms_meta_port oms_meta_user oms_meta_password drc_rm_db drc_cm_db drc_cm_heartbeat_db
cm_url cm_location cm_region cm_region_cn cm_nodes cm_is_default tsdb_enabled tsdb_service tsdb_url
tsdb_username tsdb_password
""".split()  # noqa: SIM905 - the parameter table of the guide, in its order

OF_DOCKER = (
    *("OMS_HOST_IP", "CONTAINER_NAME", "IMAGE_TAG"),
    *("/data/oms/oms_logs", "/data/oms/oms_store", "/data/oms/oms_run"),
    *("/home/admin/logs", "/home/ds/store", "/home/ds/run"),
    *("/data/oms/https_crt", "/data/oms/https_key", "privileged", "pids-limit", "ulimit nproc"),
)
"""The table below `docker run`."""

FLAGS = (
    *("`-dit`", "`--net host`", "`-v` /data/config.yaml:/home/admin/conf/config.yaml"),
    "`-v` /data/oms/oms_logs:/home/admin/logs",
    "`-v` /data/oms/oms_store:/home/ds/store",
    "`-v` /data/oms/oms_run:/home/ds/run",
    "`-v` /data/oms/https_crt:/etc/pki/nginx/oms_server.crt",
    "`-v` /data/oms/https_key:/etc/pki/nginx/oms_server.key",
    *("`-e OMS_HOST_IP=${OMS_HOST_IP}`", "`--privileged=true`", "`--pids-limit -1`"),
    *("`--ulimit nproc=65535:65535`", "`--name ${CONTAINER_NAME}`"),
    "`work.oceanbase-dev.com/obartifact-store/oms:${IMAGE_TAG}`",
)

PHYSICAL = "From a single node: a physical address is in cm_url"
VIP = "From a single node: a VIP is in cm_url"
REGION = "From a single region: a new one"

NOTICES = (
    (VIP, "notice: OMS_HOST_IP is the current host"),
    (PHYSICAL, "note: `location_cm`, `host`, `resource_group`, `cluster_info` must be modified"),
    (PHYSICAL, "6. notice: OMS_HOST_IP is the current host"),
    (REGION, "3. notice: `key: value`, with a space after the colon"),
    (REGION, "6. notice: CONTAINER_NAME in the `oms_xxx` format, oms_310 for V3.1.0"),
    ("Parameter table", "note at cm_url: a single node's own address, and not 127.0.0.1"),
    (
        "Parameter table",
        "notice at cm_region: with Alibaba Cloud Multi-Site High Availability (MSHA) the region"
        " configured there",
    ),
    (
        "Parameter table",
        "notice at cm_is_default: with several regions true for only one region",
    ),
    ("docker run", "notice at the mount directories: they must remain unchanged"),
    ("docker_init.sh", "notice: 2 to 4 minutes, do not interrupt"),
)

LINES = (
    *(("Parameter table", parameter) for parameter in PARAMETERS),
    *(("docker run", word) for word in (*OF_DOCKER, *FLAGS)),
    *NOTICES,
    ("docker_init.sh", "`[Completed] All initialization steps are executed`"),
    *(
        ("MetaDB, by hand and by omsfab", f"`{verb} from cluster_info`")
        for verb in ("select *", "delete")
    ),
)


def rows_of(section: str) -> list[str]:
    """The first cells of the tables of a section."""
    text = GUIDE.split(f"\n## {section}\n")[1].split("\n## ")[0]
    return [
        line.strip("|").split(" | ")[0].strip() for line in text.splitlines() if line[:2] == "| "
    ]


STEPS = (
    *((PHYSICAL, number) for number in ("1.", "2.", "3.1", "3.2", "4.", "5.", "6.")),
    *((REGION, f"{number}.") for number in range(1, 8)),
)


@pytest.mark.parametrize(("section", "line"), LINES)
def test_no_line_of_the_guide_is_unmapped(section, line):
    """Each parameter, flag, notice and note of the guide has one row of its own."""
    assert 1 == rows_of(section).count(line)


@pytest.mark.parametrize(("section", "number"), STEPS)
def test_no_step_of_the_guide_is_unmapped(section, number):
    """By its number."""
    assert any(row.startswith(f"{number} ") for row in rows_of(section))


def test_no_notice_is_invented():
    """The rows that call themselves a notice or a note are those of the guide."""
    sections = re.findall(r"^## (.*)$", GUIDE, re.MULTILINE)
    said = [
        (one, row)
        for one in sections
        for row in rows_of(one)
        if re.match(r"(\d\. )?not(ic)?e", row)
    ]

    assert sorted(NOTICES) == sorted(said)


SPANS = re.findall(r"`([^`]+)`", GUIDE)


@pytest.mark.parametrize("line", [span for span in SPANS if span.startswith("fab ")])
def test_each_fab_line_of_the_guide_table_exists(line):
    """The task, and each of its flags."""
    _, name, *words = line.split()
    flags = {word.partition("=")[0] for word in words if word.startswith("-")}
    taken = inspect.signature(namespace[name].body).parameters

    assert set() == flags - {f"--{parameter.strip('_').replace('_', '-')}" for parameter in taken}


def test_each_step_of_the_guide_table_exists():
    """The middle column of its scenarios, and any other name of that form."""
    middle = [
        cells.split(" | ")[1]
        for section in (PHYSICAL, VIP, REGION)
        for cells in GUIDE.split(f"\n## {section}\n")[1].split("\n## ")[0].splitlines()
        if cells.startswith("| ")
    ]
    named = {span for cell in middle for span in re.findall(r"`([^`]+)`", cell)}
    named |= {span for span in SPANS if re.fullmatch(r"[a-z]+(-[a-z]+)+", span)}
    steps = {
        node.value
        for path in (ROOT / "omsfab" / "plan").glob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }

    assert 15 < len(named)
    assert set() == {
        name for name in named if name.removesuffix("-last") not in steps and "fab " not in name
    }


def test_each_error_of_the_guide_table_exists():
    """By its id."""
    assert set() == set(re.findall(r"\b[A-Z]{2,6}-\d{3}\b", GUIDE)) - ids_in_code()


KEYS = [span for span in SPANS if re.fullmatch(r"(oms|metadb|tsdb|ssh|regions)(\.[a-z_*]+)+", span)]


@pytest.mark.parametrize("key", [key for key in KEYS if key not in namespace.task_names])
def test_each_key_of_the_guide_table_is_one_of_hosts_yaml(key):
    """By its path, `*` for the name of a region."""
    *path, last = key.split(".")

    assert last in keys_of(PARTS[tuple(path)])
