"""`fab node.status`, `node.logs`, `diag.*`: real scripts on real files, and a docker of our own."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
import stat
import subprocess
import tarfile
import threading
import time
from types import SimpleNamespace
from urllib.parse import quote

import pytest
import yaml

from omsfab.cli import diag, nodes
from omsfab.cli import fleet as looks
from omsfab.errors import Unreachable
from omsfab.fleet import hosts_file
from omsfab.plan.observed import NodeFacts
from omsfab.plan.procedures import node as repair
from omsfab.plan.procedures import scale_out
from omsfab.run.session import home_of
from omsfab.ssh.protocol import Result
from tests.unit.test_json import MetaDb, documented, keys
from tests.unit.test_looks_only import HOSTS, RUN, fab, place  # noqa: F401  # a fixture

SECRET = "CANARY-7f3 it's $HOME é"
DOCKER = r"""#!/bin/sh
case "$1 $*" in
  version*) echo 20.10.24 ;;
  "inspect "*json*) cat INSPECT ;;
  "inspect "*Running*) echo true oceanbase/oms:feature_4.2.7-ce ;;
  "exec "*" date "*) shift 2; exec "$@" ;;
  "exec "*supervisorctl*) cat PROGRAMS ;;
  "exec "*" cat "*) cat CONFIG ;;
  logs*) echo "from docker logs" ;;
  *) exit 0 ;;
esac
"""
PROGRAMS = """nginx                  RUNNING   pid 7, uptime 0:11:03
oms_console            FATAL     Exited too quickly (process log may have details)
oms_drc_cm             RUNNING   pid 9, uptime 2 days, 1:00:01
oms_drc_supervisor     RUNNING   pid 8, uptime 0:10:32
sshd                   RUNNING   pid 6, uptime 0:10:22
"""
INSPECT = {
    "Image": "sha256:" + "ab" * 32,
    "Config": {"Image": "oceanbase/oms:feature_4.2.7-ce", "Env": [f"PASSWORD={SECRET}"]},
    "State": {"Running": True, "StartedAt": "2026-01-05T18:04:31.5Z", "Status": "running"},
}


class Local:
    """A node whose commands run here; ``silent``: no connection can be had."""

    def __init__(self, node, programs, silent=False):
        self.node, self._path, self.silent = node, f"{programs}:{os.environ['PATH']}", silent
        self.guard, self.connections = (lambda: None), 1

    def run(self, cmd, on_line=None):
        if self.silent:
            raise Unreachable("SSH-001", f"{self.node} refused the connection", where=self.node)
        stdin = cmd.stdin if isinstance(cmd.stdin, str) or cmd.stdin is None else cmd.stdin.reveal()
        done = subprocess.run(
            cmd.argv, env={**os.environ, "PATH": self._path}, capture_output=True, text=True,
            input=stdin, errors="replace", check=False,
        )  # fmt: skip
        return Result(done.returncode, done.stdout, done.stderr)

    def close(self):
        pass


@pytest.fixture
def world(place, monkeypatch):  # noqa: F811
    """Two nodes that are this machine, with logs and config.yaml below ``place``."""
    monkeypatch.setenv("OMS_META_PASSWORD", SECRET)
    here = place / "node"
    mounts = {name: str(here / name) for name in ("logs", "store", "run")}
    for path in mounts.values():
        os.makedirs(path)
    text = HOSTS.read_text()
    mine = place / "hosts.yaml"
    loaded = yaml.safe_load(text)
    loaded["oms"]["mounts"] = {**mounts, "config": str(here / "config.yaml")}
    mine.write_text(yaml.safe_dump(loaded, sort_keys=False))
    monkeypatch.setenv("OMSFAB_HOSTS", str(mine))
    for name, said in (
        ("PROGRAMS", PROGRAMS),
        ("INSPECT", json.dumps(INSPECT)),
        ("CONFIG", "x: 1\n"),
    ):
        (here / name).write_text(said)
    docker = here / "docker"
    docker.write_text(re.sub(r"\b(INSPECT|PROGRAMS|CONFIG)\b", rf"'{here}/\1'", DOCKER))
    docker.chmod(0o755)
    shells = {}

    def connect(wanted, ssh, tries=0):
        for node in wanted:
            shells.setdefault(node.name, Local(node.name, here))
        return {node.name: shells[node.name] for node in wanted}

    for module in (nodes, diag, looks):
        monkeypatch.setattr(module.ssh, "connect", connect)
    monkeypatch.setattr(looks, "health", lambda *_: "healthy")
    fleet = hosts_file.load(mine)
    names = [node.name for node in fleet.nodes]
    for name in names:
        connect([SimpleNamespace(name=name)], None)
    return SimpleNamespace(place=place, here=here, shells=shells, names=names, fleet=fleet)


def written(world, name, *lines, at=None):
    path = world.here / "logs" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    data = "".join(f"{line}\n" for line in lines)
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(data.encode()))
    else:
        path.write_text(data)
    if at is not None:
        os.utime(path, (at, at))
    return path


# --- node.status ---


def test_a_node_is_a_table_with_what_runs_and_since_when(world, capsys):
    assert 5 == fab("node.status", "--node=oms1")

    lines = [line.split(None, 3) for line in capsys.readouterr().out.splitlines()]
    told = {line[1]: line[2:] for line in lines}
    name = world.fleet.install.container
    assert ["node", "what", "state", "says"] == lines[0]
    assert ["running", "since 2026-01-05T18:04:31, image 4.2.7"] == told[name]
    assert ["RUNNING", "up 0:11:03"] != told["nginx"][:1]
    assert ["RUNNING", "up 11:03"] == told["nginx"]
    assert "FATAL" == told["oms_console"][0]
    assert told["oms_console"][1].startswith("Exited too quickly")


def test_status_as_json_is_what_is_documented(world, capsys):
    fab("node.status", "--node=oms1", "--json")

    told = json.loads(capsys.readouterr().out)
    (node,) = told["nodes"]
    assert documented("fab node.status --json") == keys(told)
    assert (5, 4, False, 176_401.0) == (
        told["exit"],
        node["running"],
        node["healthy"],
        node["uptime_seconds"]["oms_drc_cm"],
    )


def test_a_silent_node_hides_no_other(world, capsys):
    world.shells["oms2"].silent = True

    assert 3 == fab("node.status", "--node=oms1,oms2")

    said = capsys.readouterr().out
    assert "oms2  oms2 refused the connection (SSH-001)" in said
    assert "oms_drc_cm" in said


# --- node.logs ---


def shown(capsys, *words):
    assert 0 == fab("node.logs", *words)
    return capsys.readouterr().out.splitlines()


def test_the_logs_where_faults_show_first_stand_behind_their_names(world, capsys):
    """oms-reality: a file per stream of each program, and the newest docker_init.log."""
    for at, name in enumerate(
        ("docker_init.log.2026-01-04.10:42:11", "docker_init.log", "oms_console_stdout.log",
         "oms_nginx_stderr.log", "supervisord.log", "tengine.pid")
    ):  # fmt: skip
        written(world, name, f"line of {name}", at=at)

    logs_of = f"==> {world.here}/logs"
    assert [
        f"==> docker logs {world.fleet.install.container}", "from docker logs",
        f"{logs_of}/docker_init.log", "line of docker_init.log",
        f"{logs_of}/supervisord.log", "line of supervisord.log",
        f"{logs_of}/oms_console_stdout.log", "line of oms_console_stdout.log",
        f"{logs_of}/oms_nginx_stderr.log", "line of oms_nginx_stderr.log",
    ] == shown(capsys, "--node=oms1")  # fmt: skip


def test_a_component_is_its_files_and_no_other(world, capsys):
    written(world, "cm/log/service.log", "of cm")
    written(world, "oms_drc_cm_stderr.log", "its stream")
    written(world, "supervisor/error.log", "of the agent")

    for called in ("cm", "oms_drc_cm"):
        said = shown(capsys, "--node=oms1", f"--component={called}")
        assert {"its stream", "of cm"} == {line for line in said if line[:3] != "==>"}


def test_a_component_that_is_none_names_those_there_are(world, capsys):
    assert 2 == fab("node.logs", "--node=oms1", "--component=cn")

    said = capsys.readouterr().err
    assert "INPUT-044" in said
    assert "supervisor" in said


def stamp(ago):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(time.time() - ago))


def test_since_goes_by_the_time_in_the_lines(world, capsys):
    """A line without a time belongs to the one before; a rotated file is read as well."""
    written(
        world, "cm/log/service.log",
        f"{stamp(7200)},123 old", "  at old.place", f"[{stamp(600)}] new", "  at new.place",
    )  # fmt: skip
    written(world, "cm/log/service.log.2026-01-07.gz", f"{stamp(900)} packed")
    written(world, "cm/log/dao.log", f"{stamp(7200)} of a file", at=time.time() - 7000)
    written(world, "cm/log/job.log", "without any time")

    said = shown(capsys, "--node=oms1", "--component=cm", "--since=1h")

    told = {line.partition("] ")[2] or line for line in said if line[:3] != "==>"}
    assert {"new", "  at new.place", "without any time"} == {
        line for line in told if "packed" not in line
    }
    assert any("packed" in line for line in told)


def test_grep_is_a_text_in_any_case(world, capsys):
    """No pattern: a trace id or a class name needs no quoting."""
    written(world, "cm/log/service.log", "a [x] ERROR b", "an error", "fine", "x")

    said = shown(capsys, "--node=oms1", "--component=cm", "--grep=[X] error")

    assert ["a [x] ERROR b"] == said[1:]


def test_lines_of_several_nodes_stand_behind_their_node(world, capsys):
    written(world, "supervisord.log", "one")

    said = shown(capsys, "--node=oms1,oms2", "--component=supervisord")

    assert {f"{name} | one" for name in ("oms1", "oms2")} < set(said)
    assert all(line[:7] in ("oms1 | ", "oms2 | ") for line in said)


def test_no_log_shows_a_secret(world, capsys):
    """docker_init.sh prints the password of MetaDB in clear, and perhaps over two lines."""
    written(
        world, "docker_init.log", "'password_original': 'other'", f"pw {SECRET[:9]}", SECRET[9:]
    )

    for words in ([], ["--json"]):
        said = "\n".join(shown(capsys, "--node=oms1", "--component=init", *words))
        assert "other" not in said
        assert SECRET[9:] not in said


def test_logs_as_json_are_an_object_a_line(world, capsys):
    written(world, "supervisord.log", "one", "two")

    told = [
        json.loads(x) for x in shown(capsys, "--node=oms1", "--component=supervisord", "--json")
    ]

    assert documented("fab node.logs --json") == keys(told)
    assert ["one", "two"] == [one["line"] for one in told]


class Ended(KeyboardInterrupt):
    pass


@pytest.fixture
def followed(world, monkeypatch, capsys):
    """Follow while these are done, one between two looks; returns the lines shown."""

    def follow(*acts, words=()):
        left, me, sleep = list(acts), threading.current_thread(), time.sleep

        def between(span):
            if threading.current_thread() is not me:  # what another test has left sleeps as ever
                return sleep(span)
            if not left:
                raise Ended
            left.pop(0)()

        monkeypatch.setattr(nodes.time, "sleep", between)
        code = fab("node.logs", "--node=oms1", "--component=cm", "--follow", *words)
        assert 130 == code
        return [line for line in capsys.readouterr().out.splitlines() if line[:3] != "==>"]

    return follow


def append(path, text):
    with path.open("a") as file:
        file.write(text)


def test_what_comes_is_shown_once_and_by_whole_lines(world, followed):
    log = written(world, "cm/log/service.log", "before")

    said = followed(
        lambda: append(log, "one\ntw"), lambda: append(log, "o\n"), lambda: None, lambda: None
    )

    assert ["before", "one", "two"] == said


def test_a_rotated_a_new_and_a_cut_file_lose_nothing(world, followed):
    log = written(world, "cm/log/service.log", "before")

    def rotate():
        append(log, "last of the old\n")
        log.rename(f"{log}.2026-01-07")
        log.write_text("first of the new\n")

    def cut():
        log.write_text("cut\n")

    said = followed(rotate, cut, lambda: written(world, "cm/log/dao.log", "a file"), lambda: None)

    assert ["before", "cut", "first of the new", "a file", "last of the old"] == sorted(
        said, key=["before", "cut", "first of the new", "a file", "last of the old"].index
    )


def test_what_is_followed_is_masked_and_filtered(world, followed):
    """A secret whose second half comes with the next look is masked all the same."""
    log = written(world, "cm/log/service.log")

    said = followed(
        lambda: append(log, f"error pw {SECRET[:9]}\n"),
        lambda: append(log, f"{SECRET[9:]} error\nfine\n"),
        lambda: None,
        lambda: None,
        words=["--grep=ERROR"],
    )

    assert ["error pw **** error"] == said


def test_a_node_that_falls_silent_is_told_of_once_and_asked_again(world, followed):
    log, shell = written(world, "cm/log/service.log"), world.shells["oms1"]

    def away():
        shell.silent = True

    def back():
        shell.silent = False
        append(log, "again\n")

    said = followed(away, lambda: None, back, lambda: None)

    assert ["oms1: SSH-001 oms1 refused the connection", "again"] == said


# --- node.check ---


def test_node_check_asks_whatever_the_preflight_asks_of_that_node(fleet, package, present):
    """Before a scale-out behind a VIP, of a node that runs OMS and of one that is new."""
    now = present(package, oms2=NodeFacts(), oms3=NodeFacts())
    (stage, *_) = scale_out.scale_out(fleet, now).stages
    of_region = {"vip-member"}

    for name in ("oms1", "oms2"):
        asked = {step.name for step in stage.steps if step.node == name}
        checked = {step.name for step in repair.check(fleet, now, node=name).steps}
        assert set() == asked - checked - of_region


# --- diag.bundle ---


@pytest.fixture
def metadb(world, monkeypatch):
    """A MetaDB whose rows hold the password, as a customer's might."""

    class Rows(MetaDb):
        def save(self, location, directory, run, tables):
            lines = directory / "rows.jsonl"
            lines.write_text(json.dumps({"url": f"mysql://u:{quote(SECRET)}@h", "pw": SECRET}))
            return SimpleNamespace(files=(lines, lines), rows={})

        def facts(self):
            return "OceanBase 4.2"

        def oms_versions(self):
            return ("4.2.7",)

        def beats(self, schema):
            return {"10.0.0.1": 3.0}

        def hosts(self, code):
            return ()

    monkeypatch.setattr(diag.tunnel, "edge", lambda *_: Rows())
    return world


def unpacked(path):
    with tarfile.open(path) as tar:
        return {
            member.name.partition("/")[2]: tar.extractfile(member).read()
            for member in tar.getmembers()
        }


def leave_secrets(world):
    """In every form, in every place that is collected."""
    forms = (SECRET, quote(SECRET), json.dumps(SECRET), base64.b64encode(SECRET.encode()).decode())
    written(world, "docker_init.log", *forms, "'password_original': 'pa55-other'")
    written(world, "cm/log/service.log", *(f"x {form} y" for form in forms))
    written(world, "ghana/Ghana/oms-web.log", f"{SECRET[:9]}", SECRET[9:])
    (world.here / "config.yaml").write_text(
        f'oms_meta_password: "{SECRET}"\n"drc_password": pa55-other\n'
        'apsara_audit_sls_access_key: pa55-key\n"apsara_audit_sls_access_secret": "pa55-sls"\n'
    )
    (world.here / "CONFIG").write_text(f"oms_meta_password: '{SECRET}'\n")
    (world.here / "PROGRAMS").write_text(f"oms_console FATAL {SECRET}\n")
    journal = home_of(world.fleet) / RUN / "journal.jsonl"
    journal.write_text(journal.read_text() + json.dumps({"text": f"pw {SECRET}"}) + "\n")


def test_no_secret_is_in_the_bundle_in_any_form(metadb, capsys):
    """Logs, config.yaml, docker inspect, rows, journals: everything is masked, and is all there."""
    leave_secrets(metadb)

    assert 0 == fab("diag.bundle", "--out=bundle.tar.gz", "--since=30d")

    path = metadb.place / "bundle.tar.gz"
    found = unpacked(path)
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    raw = SECRET.encode()
    for name, data in found.items():
        flat = data.replace(b"\n", b"").replace(b"\\", b"")
        for form in (
            raw, raw[9:], quote(SECRET).encode(), json.dumps(SECRET).encode()[1:-1],
            base64.b64encode(raw), b"pa55-",
        ):  # fmt: skip
            assert form not in data, (name, form)
            assert form not in flat, (name, form)
    assert set() == {
        "hosts.yaml", "versions", "fleet.status.json", "MISSING", f"runs/{RUN}/run.json",
        f"runs/{RUN}/journal.jsonl", "metadb/rows-cn-hangzhou.jsonl", "metadb/facts",
        "nodes/oms1/config.yaml", "nodes/oms1/inspect.json", "nodes/oms1/host",
        "nodes/oms2/logs/cm", "nodes/oms1/logs/init", "nodes/oms1/programs",
    } - set(found)  # fmt: skip
    assert b"****" in found["nodes/oms1/config.yaml"]
    assert b"oms_meta_password" in found["nodes/oms1/config.yaml"]


def test_what_cannot_be_had_is_told_and_stops_nothing(metadb, capsys):
    metadb.shells["oms2"].silent = True

    assert 0 == fab("diag.bundle", "--out=bundle.tar.gz")

    found = unpacked(metadb.place / "bundle.tar.gz")
    assert b"nodes/oms2/host: SSH-001" in found["MISSING"]
    assert "nodes/oms1/host" in found
    assert "missing: nodes/oms2/host: SSH-001" in capsys.readouterr().out


def test_a_bundle_without_a_place_of_its_own_lies_in_the_state_directory(metadb, capsys):
    assert 0 == fab("diag.bundle", "--node=oms1")

    (path,) = home_of(metadb.fleet).glob("omsfab-bundle-*.tar.gz")
    assert str(path) in capsys.readouterr().out


# --- diag.obdiag ---


def test_obdiag_finds_nodes_logins_and_paths(world, capsys):
    """The keys of obdiag's own documentation; no password is written."""
    assert 0 == fab("diag.obdiag")

    told = yaml.safe_load(capsys.readouterr().out)["oms"]["servers"]
    assert [node.ip for node in world.fleet.nodes] == [one["ip"] for one in told["nodes"]]
    assert str(world.here / "logs") == told["global"]["log_path"]
    assert {"ssh_username", "ssh_type", "run_path", "store_path"} <= set(told["global"])
    assert "" == told["global"]["ssh_password"]


def test_a_config_of_somebody_else_is_not_overwritten(world, capsys):
    path = world.place / "config.yml"
    path.write_text("obcluster: mine\n")

    assert 2 == fab("diag.obdiag", f"--out={path}")
    assert "INPUT-045" in capsys.readouterr().err
    assert "obcluster: mine\n" == path.read_text()

    path.unlink()
    assert [0, 0] == [fab("diag.obdiag", f"--out={path}") for _ in range(2)]
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
