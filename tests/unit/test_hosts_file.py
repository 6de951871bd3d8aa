"""hosts.yaml becomes a Fleet, or is refused with every fault at once, before any contact.

Bad and good files are data: bad_hosts/*.yaml begin with ``# path:`` and ``# says:`` lines that
state what must be told, good_hosts/*.yaml with a comment that says why they are good.
"""

from __future__ import annotations

import re
import socket
import subprocess
import time
from pathlib import Path

import pytest

from omsfab.errors import InputError, SecurityRefusal
from omsfab.fleet import hosts_file, oms_config, yaml_reader
from omsfab.fleet.model import PARTS, Node, Region, keys_of
from omsfab.fleet.values import CmUrl
from omsfab.secret import Secret

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BAD = sorted((HERE / "bad_hosts").glob("*.yaml"))
GOOD = sorted((HERE / "good_hosts").glob("*.yaml"))

SHORT = (HERE / "good_hosts" / "one-region.yaml").read_text()


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    """A password in the environment, and a network that fails whoever touches it."""
    monkeypatch.setenv("OMS_META_PASSWORD", "it's $x")

    def contact(*_args, **_kwargs):
        raise AssertionError("hosts.yaml is examined before any contact")

    for name in ("socket", "create_connection", "getaddrinfo", "gethostbyname"):
        monkeypatch.setattr(socket, name, contact)
    monkeypatch.setattr(subprocess, "run", contact)


def written(directory: Path, text: str) -> Path:
    path = directory / "hosts.yaml"
    path.write_text(text)
    return path


def promises(file: Path) -> tuple[list[str], list[str]]:
    """The ``# path:`` and ``# says:`` lines at the head of a bad file."""
    head = file.read_text(errors="replace").split("\n")
    return tuple(
        [line.removeprefix(f"# {word}: ") for line in head if line.startswith(f"# {word}: ")]
        for word in ("path", "says")
    )


def refusal(path: Path) -> InputError:
    with pytest.raises(InputError) as refused:
        hosts_file.load(path)
    return refused.value


def faults(text: str, tmp_path: Path) -> list[str]:
    return refusal(written(tmp_path, text)).evidence.splitlines()


# --- bad and good files ----------------------------------------------------------------------


@pytest.mark.parametrize("file", BAD, ids=lambda file: file.stem)
def test_a_bad_file_is_refused_with_path_and_cure(file):
    """Each key by its path, what is wrong, what would be right; no fault too many."""
    paths, says = promises(file)

    with pytest.raises(InputError) as refused:
        hosts_file.load(file)

    evidence = refused.value.evidence
    assert 2 == refused.value.exit_code
    assert sorted(paths or [""]) == sorted(told_paths(evidence) if paths else [""])
    assert [] == [words for words in says if words not in evidence]
    assert str(file) in refused.value.render()


def told_paths(evidence: str) -> list[str]:
    return [row.split("  ")[0] for row in evidence.splitlines()]


def test_every_fault_says_what_would_be_right():
    """what is wrong; what would be right -- a cure in every row."""
    rows = [row for file in BAD for row in refusal(file).evidence.splitlines() if "  " in row]

    assert len(BAD) < len(rows)
    assert [] == [row for row in rows if not re.search("; |did you mean", row)]


def test_no_refusal_shows_a_secret():
    """hunter2 stands in bad files wherever a password does not belong."""
    errors = [refusal(file) for file in BAD]

    assert [] == [error for error in errors if "hunter2" in error.render() + repr(error.args)]
    assert [] == [error for error in errors if error.__context__ and not error.__suppress_context__]


def test_there_are_enough_bad_files():
    """At least 40; each states a path or says that the file is no YAML."""
    assert 45 <= len(BAD)


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.stem)
def test_a_good_file_loads(file):
    """Its first comment says why it is good."""
    fleet = hosts_file.load(file)

    assert Secret("it's $x") == fleet.metadb.password
    assert file == fleet.origin


def test_the_example_hosts_yaml_loads():
    """The hosts.yaml of the project is the reference of the format."""
    fleet = hosts_file.load(ROOT / "hosts.yaml")

    assert ("oms1", "oms2") == tuple(node.name for node in fleet.nodes)


def test_the_example_hosts_yaml_documents_every_key():
    """Each key stands in it, the optional ones as comments."""
    example = (ROOT / "hosts.yaml").read_text()
    keys = {key for part in PARTS.values() for key in keys_of(part)}

    assert set() == {key for key in keys if not re.search(rf"^[# ]*{key}:", example, re.M)}


def test_the_commented_parts_of_the_example_are_right(tmp_path, monkeypatch):
    """Whoever takes the comment signs away must get a file that loads."""
    for name in ("SLS_KEY", "SLS_SECRET", "OMS_TSDB_PASSWORD"):
        monkeypatch.setenv(name, "x")
    example = (ROOT / "hosts.yaml").read_text()
    full = re.sub(r"^( *)# ((?: *)(?:- )?[\w-]+:(?: .*)?)$", r"\1\2", example, flags=re.M)

    fleet = hosts_file.load(written(tmp_path, full))

    assert ("cn-hangzhou", "cn-jiangsu") == tuple(region.name for region in fleet.regions)
    assert "INFLUXDB" == fleet.tsdb.service
    assert fleet.install.https
    assert 5 == len(fleet.install.extra)


# --- what the model gets ---------------------------------------------------------------------


def test_all_options_reach_the_model():
    """What is written is what is in the Fleet; paths begin at the directory of hosts.yaml."""
    fleet = hosts_file.load(HERE / "good_hosts" / "all-options.yaml")
    region = fleet.regions[0]

    assert HERE / "good_hosts/packages/oms_4.2.7-ce.tar.gz" == fleet.install.package
    assert HERE / "good_hosts/keys/id_ed25519" == fleet.ssh.key
    assert Path("/etc/omsfab/known_hosts") == fleet.ssh.known_hosts
    assert (127, '杭州 "one"', True) == (region.location, region.label, region.default)
    assert Node(name="oms1", ip="10.0.0.1") == region.nodes[0]
    assert ("oms2.example", 22, "root") == (
        region.nodes[1].address,
        region.nodes[1].port,
        region.nodes[1].user,
    )
    assert Secret("it's $x") == fleet.install.extra["apsara_audit_sls_access_secret"]
    assert (7, True) == (fleet.install.extra["some_number"], fleet.install.extra["some_flag"])
    assert "code" == fleet.metadb.location_cm_column


def test_label_is_the_name_of_the_region_by_default():
    """The guide: cm_region_cn is the same as cm_region."""
    fleet = hosts_file.load(HERE / "good_hosts" / "one-region.yaml")

    assert "cn-hangzhou" == fleet.regions[0].label


def test_a_slash_at_the_end_of_cm_url_goes():
    """cm_url is compared by value with MetaDB, which has none."""
    fleet = hosts_file.load(HERE / "good_hosts" / "one-node.yaml")

    assert CmUrl("10.0.0.1", 8088) == fleet.regions[0].cm_url


@pytest.mark.parametrize(
    ("key", "at"),
    [
        ("install: {}", ()),
        ("origin: x", ()),
        ("name: x", ("regions", "cn-hangzhou")),
        ("name: x", ("regions", "cn-hangzhou", "nodes", "oms3")),
    ],
)
def test_what_only_the_model_has_is_no_key_of_the_file(tmp_path, key, at):
    """One tree for both: a name is the key of a mapping, and where the file lies is not in it."""
    text = SHORT.rstrip() + "\n      oms3: {ip: 10.0.0.3}\n"
    before, after = {
        0: ("oms:\n", f"{key}\noms:\n"),
        2: ("    location: 1\n", f"    location: 1\n    {key}\n"),
        4: ("{ip: 10.0.0.3}", f"{{ip: 10.0.0.3, {key}}}"),
    }[len(at)]

    told = faults(text.replace(before, after, 1), tmp_path)

    assert [".".join((*at, key.split(":")[0]))] == [row.split("  ")[0] for row in told]
    assert "unknown key; " in told[0]


def test_what_a_record_has_is_taken_as_it_is():
    """The run of an omsfab that was less strict must still be rolled back."""
    region = Region(
        **{"name": "r 1", "location": 400, "cm_url": "HTTP://A:1/", "heartbeat_db": "1-hb"},
        nodes=[{"name": "n_1", "ip": "127.0.0.1"}],
    )

    assert ("r 1", "HTTP://A:1/", "n_1") == (region.name, str(region.cm_url), region.nodes[0].name)


def test_nothing_of_a_fleet_shows_a_password():
    """A Fleet may be printed in a traceback."""
    fleet = hosts_file.load(HERE / "good_hosts" / "all-options.yaml")

    assert "it's $x" not in repr(fleet) + str(fleet.model_dump())


# --- the error -------------------------------------------------------------------------------


def test_all_faults_are_told_at_once_in_the_order_of_the_file(tmp_path):
    """Faults of single values and between values come together, with their lines."""
    text = SHORT.replace("location: 1", "location: 128").replace("10.0.0.2", "10.0.0.1")
    text = text.replace("cm_db: oms_cm\n", "cm_db: oms_rm\n")

    told = faults(text.replace("2881", "80"), tmp_path)

    assert [
        "metadb.port  80: is a port OMS does not take; write a number from 1025 to 65535  (line 7)",
        "metadb.cm_db  oms_rm: is also metadb.rm_db; "
        "write a database of its own; heartbeat databases are never shared  (line 11)",
        "regions.cn-hangzhou.location  128: is not in 0..127; "
        "write a whole number from 0 to 127, one per region  (line 14)",
        "regions.cn-hangzhou.nodes.oms2  10.0.0.1: is also regions.cn-hangzhou.nodes.oms1; "
        "write the address of another machine  (line 20)",
    ] == told


def test_the_error_as_a_whole(tmp_path):
    """An id, the count, where, what to do next: a line to paste."""
    path = written(tmp_path, SHORT.replace("location: 1", "location: 128"))

    with pytest.raises(InputError) as refused:
        hosts_file.load(path)

    assert (
        "INPUT-001  hosts.yaml has 1 fault\n"
        f"  where:    {path}\n"
        "  changed:  nothing\n"
        "  evidence: regions.cn-hangzhou.location  128: is not in 0..127; "
        "write a whole number from 0 to 127, one per region  (line 14)\n"
        "  see:      guide: parameter table\n"
        f"  next:     ${{EDITOR:-vi}} {path} && fab fleet.show"
    ) == refused.value.render()


def test_a_path_with_blanks_is_quoted_in_the_line_to_paste(tmp_path):
    """``next`` is pasted into a shell."""
    folder = tmp_path / "my fleet"
    folder.mkdir()

    with pytest.raises(InputError) as refused:
        hosts_file.load(written(folder, "- a\n"))

    assert f"'{folder}/hosts.yaml'" in refused.value.render()


def test_a_missing_file_begins_as_the_example(tmp_path, monkeypatch):
    """Exit 2; the next line, pasted, leaves a file that can be read, whatever its name."""
    path = tmp_path / "my fleet" / "it's.yaml"
    with pytest.raises(InputError, match="INPUT-002") as refused:
        hosts_file.load(path)
    monkeypatch.undo()
    subprocess.run(["sh", "-ec", refused.value.next[0].line], check=True)

    assert (ROOT / "hosts.yaml").read_text() == path.read_text()


def test_a_directory_is_an_input_error(tmp_path):
    """No traceback for ``fab`` in the wrong place."""
    with pytest.raises(InputError, match="INPUT-002"):
        hosts_file.load(tmp_path)


def test_a_file_of_more_than_a_megabyte_is_not_read(tmp_path):
    """Somebody named the package instead of hosts.yaml."""
    path = written(tmp_path, "#" * (yaml_reader.LIMIT + 1))

    with pytest.raises(InputError, match="INPUT-003") as refused:
        hosts_file.load(path)

    assert "more than 1,000,000 bytes" in refused.value.evidence


def test_a_deep_file_is_refused_quickly(tmp_path):
    """libyaml alone takes minutes for 500,000 brackets."""
    path = written(tmp_path, "[" * 500_000)
    begin = time.monotonic()

    with pytest.raises(InputError, match="INPUT-003"):
        hosts_file.load(path)

    assert 1 > time.monotonic() - begin


def test_a_python_tag_is_not_carried_out():
    """!!python/object/apply would have run a command."""
    with pytest.raises(InputError):
        hosts_file.load(HERE / "bad_hosts" / "yaml-python-tag.yaml")

    assert not Path("/tmp/omsfab-pwned").exists()


# --- secrets ---------------------------------------------------------------------------------


def test_all_missing_secrets_are_told_at_once(monkeypatch):
    """Two variables not set are one error with both names, and a line that sets both."""
    monkeypatch.delenv("OMS_META_PASSWORD")

    with pytest.raises(InputError) as refused:
        hosts_file.load(HERE / "good_hosts" / "all-options.yaml")

    told = [row.split("  ")[0] for row in refused.value.evidence.splitlines()]
    assert [
        "oms.extra.apsara_audit_sls_access_key",
        "oms.extra.apsara_audit_sls_access_secret",
        "metadb.password",
        "tsdb.password",
    ] == told
    assert "read -rs OMS_META_PASSWORD && export OMS_META_PASSWORD" in refused.value.render()


def test_secrets_are_fetched_only_when_the_file_is_right(tmp_path, monkeypatch):
    """Nobody types a password to be told afterwards that a port is wrong."""
    monkeypatch.delenv("OMS_META_PASSWORD")

    told = faults(SHORT.replace("2881", "80"), tmp_path)

    assert ["metadb.port"] == [row.split("  ")[0] for row in told]


def test_a_secret_file_lies_beside_hosts_yaml(tmp_path, monkeypatch):
    """Relative paths do not depend on where fab was called."""
    (tmp_path / "pw").write_text("s3cret\n")
    (tmp_path / "pw").chmod(0o600)
    monkeypatch.chdir("/")

    fleet = hosts_file.load(
        written(tmp_path, SHORT.replace("{env: OMS_META_PASSWORD}", "{file: pw}"))
    )

    assert Secret("s3cret") == fleet.metadb.password


def test_a_secret_file_that_others_read_is_a_security_refusal(tmp_path):
    """X03: exit 10, with the key that names the file."""
    (tmp_path / "pw").write_text("s3cret\n")
    (tmp_path / "pw").chmod(0o644)

    path = written(tmp_path, SHORT.replace("{env: OMS_META_PASSWORD}", "{file: pw}"))
    with pytest.raises(SecurityRefusal) as refused:
        hosts_file.load(path)

    assert 10 == refused.value.exit_code
    assert f"{path}: metadb.password" == refused.value.where


def test_a_secret_that_is_missing_is_told_with_the_file_that_names_it(tmp_path, monkeypatch):
    """Whoever forgot --hosts has read the example, and should see it."""
    monkeypatch.delenv("OMS_META_PASSWORD", raising=False)
    path = written(tmp_path, SHORT)
    with pytest.raises(InputError, match="INPUT-010") as refused:
        hosts_file.load(path)

    assert f"{path}: metadb.password" == refused.value.where


# --- the schema for editors ------------------------------------------------------------------


def test_the_schema_describes_the_file_and_not_the_model():
    """Regions and nodes are mappings by name, and a node may be a mere address."""
    schema = hosts_file.json_schema()
    region = schema["$defs"]["Region"]
    node = schema["$defs"]["Node"]
    nodes = region["properties"]["nodes"]

    assert ["oms", "metadb", "regions"] == schema["required"]
    assert "object" == schema["properties"]["regions"]["type"]
    assert {"$ref": "#/$defs/Node"} == nodes["additionalProperties"]
    assert ["string", "object"] == [form["type"] for form in node["anyOf"]]
    assert (0, 127) == (
        region["properties"]["location"]["minimum"],
        region["properties"]["location"]["maximum"],
    )
    assert schema["properties"]["regions"]["description"].startswith("The regions by name")


def test_the_schema_refuses_unknown_keys_everywhere():
    """Editors mark a misspelled key at once, as omsfab does."""
    schema = hosts_file.json_schema()
    forms = [form for part in schema["$defs"].values() for form in part.get("anyOf", [part])]
    parts = [schema, *(form for form in forms if "properties" in form)]

    assert 8 <= len(parts)
    assert [] == [part["title"] for part in parts if part["additionalProperties"] is not False]


def test_each_key_is_described_where_it_is_defined():
    """An editor shows it, and a reference can be made of it: a sentence, with its end."""
    undescribed = [
        ".".join((*path, key))
        for path, part in PARTS.items()
        for key in keys_of(part)
        if not re.fullmatch(r"[\w/(].{15,}\.", part.docstrings().get(key, ""), re.DOTALL)
    ]

    assert [] == undescribed


def test_the_schema_has_no_default_password():
    """Where a secret comes from is told in the schema, too."""
    schema = hosts_file.json_schema()
    password = schema["$defs"]["MetaDb"]["properties"]["password"]

    assert {"env", "file", "command", "prompt"} == set(password["properties"])


def test_a_spelling_of_the_field_is_passed_through(tmp_path):
    """R4: CFG-005 says to add ssh_server_port under oms.extra, so that must be taken."""
    text = SHORT.replace("oms:\n", "oms:\n  extra: {ssh_server_port: 2024}\n", 1)

    fleet = hosts_file.load(written(tmp_path, text))

    assert {"ssh_server_port": 2024} == dict(fleet.install.extra)
    assert '"ssh_server_port": 2024' in oms_config.render(fleet, fleet.regions[0]).reveal()
