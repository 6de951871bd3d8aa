"""Refusals that no other test is about: each is raised for real, and leads on."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
from paramiko.ssh_exception import ChannelException, IncompatiblePeer

from omsfab.cli import rows, trust
from omsfab.commands import files as posix
from omsfab.errors import OmsfabError, StepFailed
from omsfab.fleet.model import Node, Ssh
from omsfab.lab import pasted
from omsfab.metadb import rows as metadb_surgery
from omsfab.metadb import tunnel
from omsfab.next_line import shell
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.plan.procedures import scale_out, tsdb
from omsfab.plan.records import Job, PutBack
from omsfab.run.confirmation import Flags
from omsfab.run.engine import init_job as jobs
from omsfab.run.engine.failpoint import Failpoint
from omsfab.run.engine.interpreter import Interpreter
from omsfab.run.record import journal as journals
from omsfab.run.record.replica import Mirror
from omsfab.secret import Secret
from omsfab.ssh import diagnosis, files, transfer
from omsfab.ssh.dialer import Dialer
from omsfab.ssh.protocol import Result
from omsfab.ssh.shell import SshShell
from tests.unit.test_looks_only import KEY, RUN, half_done, place  # noqa: F401  # a fixture
from tests.unit.test_looks_only import fab as typed
from tests.unit.test_tsdb import measured  # noqa: F401  # a fixture


class Node1:
    """A node that gives one answer to everything."""

    node = "oms1"

    def __init__(self, status=1, out="", err="no"):
        self.answer = Result(status, out, err)

    def run(self, cmd, on_line=None):
        return self.answer

    def ssh_line(self, text, note=""):
        return shell("ssh", "10.0.0.1", text, note=note)

    def write(self, *_):
        pass


def judged(error: OmsfabError, id: str, asked: str) -> None:
    assert id == error.id
    error.next = error.next or (shell("fab", *asked.split()),)
    assert [] == pasted.judge(error.render(), asked.split(), error.exit_code), error.render()


# --- words of the line ---


@pytest.mark.parametrize(
    ("words", "id"),
    [
        ("--dry scale.out --region=nope", "INPUT-020"),
        ("--dry scale.out --nodes=nope", "INPUT-021"),
        ("--dry oms.deploy --nodes=nope", "INPUT-021"),
        ("run.show --run=nope", "INPUT-025"),
        ("run.report --run=nope", "INPUT-025"),
        ("--dry run.resume --run=nope", "INPUT-025"),
        ("--dry run.abandon --run=nope", "INPUT-025"),
        ("--dry run.undo --run=nope", "INPUT-008"),
        ("--dry scale.out --accept=DB-013", "INPUT-029"),
        ("--dry scale.out --rows=nope", "INPUT-031"),
        ("--dry node.stop --node=nope", "INPUT-022"),
        ("--dry tsdb.deploy", "TSDB-005"),
        ("--dry node.push-certs --node=oms1", "CERT-004"),
    ],
)
def test_a_wrong_word_leads_to_the_right_one(place, capsys, words, id):  # noqa: F811
    """The same task, or where the right word stands."""
    code = typed(*words.split())

    text = capsys.readouterr().err
    assert [] == pasted.judge(text, words.split(), code), text
    assert (id, 2) == (pasted.told(text).id, code)


def test_a_backup_of_another_location_is_told(place, monkeypatch):  # noqa: F811
    """INPUT-040: which regions there are."""
    file = place / "rows.jsonl"
    file.write_text("{}\n")
    backup = SimpleNamespace(location=99)
    monkeypatch.setattr("omsfab.metadb.client.MetaDbEdge.read_backup", lambda self, path: backup)

    with pytest.raises(OmsfabError) as error:
        rows.restore(str(file), "", Flags(plan=True))

    judged(error.value, "INPUT-040", f"meta.restore --file={file}")


def test_a_ca_that_is_none_is_told(tmp_path):
    """INPUT-030: what openssl says of it."""
    (tmp_path / "ca").write_text("no certificate")
    metadb = SimpleNamespace(tls=SimpleNamespace(ca=tmp_path / "ca"))

    with pytest.raises(OmsfabError) as error:
        tunnel._context(metadb)

    judged(error.value, "INPUT-030", "fleet.check")


# --- plans ---


def test_a_deployed_region_is_scaled_out(fleet, package, present):
    """PLAN-005: not deployed once more."""
    with pytest.raises(OmsfabError) as error:
        scale_out.deploy(fleet, present(package))

    judged(error.value, "PLAN-005", "oms.deploy")


def test_metrics_want_an_oms(measured):  # noqa: F811
    """PLAN-013: oms.deploy comes first."""
    nodes = {node.name: NodeFacts() for node in measured.nodes}
    with pytest.raises(OmsfabError) as error:
        tsdb.enable(measured, Observed(nodes=nodes))

    judged(error.value, "PLAN-013", "tsdb.enable")


def test_a_later_run_is_rolled_back_first(place, capsys):  # noqa: F811
    """RUN-026: its line, not that of the older one once more."""
    (run,) = (place / "state").glob(f"*/{RUN}")
    later = run.parent / "20260102T000000Z-scale-out-bbbb"
    journals.begin(later, {**journals.load_record(run)})
    book = journals.Journal(later)
    book.write(journals.Event(1.0, 0, "oms1", "stop-processes", "intent", ""))
    book.close()

    code = typed("--dry", "run.undo", f"--run={RUN}")

    text = capsys.readouterr().err
    assert [] == pasted.judge(text, ["run.undo", f"--run={RUN}"], code)
    assert ("RUN-026", (f"fab run.undo --run={later.name}",)) == (
        pasted.told(text).id,
        pasted.told(text).part("next"),
    )


# --- the way to a node ---


@pytest.mark.parametrize(
    ("cause", "id"),
    [
        (socket.gaierror(-2, "Name or service not known"), "SSH-005"),
        (IncompatiblePeer("no acceptable host key"), "SSH-006"),
        (ConnectionRefusedError(111, "refused"), "SSH-001"),
        (TimeoutError("timed out"), "SSH-002"),
    ],
)
def test_why_there_is_no_line_leads_on(cause, id, tmp_path):
    """Whatever the task: what is to be corrected, and a line that shows whether it is."""
    dialer = Dialer(Ssh(user="root", known_hosts=tmp_path / "known_hosts"))
    target = dialer.target(Node(name="oms1", ip="10.0.0.1"))

    judged(diagnosis.explain(target, cause, dialer._timeouts), id, "scale.out")


def test_a_gateway_that_is_none_is_told(tmp_path):
    """SSH-016."""
    dialer = Dialer(Ssh(user="root", known_hosts=tmp_path / "known_hosts"))

    with pytest.raises(OmsfabError) as error:
        dialer.forward_from_gateway(Node(name="oms1", ip="10.0.0.1"), "10.0.0.9", 2881)

    judged(error.value, "SSH-016", "fleet.status")


def test_a_node_without_a_session_for_us_is_told(tmp_path, monkeypatch):
    """SSH-022: both tries failed; what that sshd allows can be asked."""

    class Full:
        def open_session(self):
            raise ChannelException(1, "Administratively prohibited")

        def close(self):
            pass

    ssh = Ssh(user="root", known_hosts=tmp_path / "known_hosts")
    one = SshShell(Node(name="oms1", ip="10.0.0.1"), ssh)
    monkeypatch.setattr(one, "_connected", lambda tries: Full())

    with pytest.raises(OmsfabError) as error:
        one._session()

    judged(error.value, "SSH-022", "node.status --node=oms1")


def test_another_key_than_the_one_given_is_told(place, monkeypatch):  # noqa: F811
    """SSH-015: how the node's console shows its own."""
    key = SimpleNamespace(type="ssh-ed25519", fingerprint="SHA256:" + "B" * 43)
    monkeypatch.setattr(trust.ssh, "scan", lambda node, ssh: key)

    with pytest.raises(OmsfabError) as error:
        trust.trust("oms1", KEY, Flags(yes=True))

    judged(error.value, "SSH-015", f"node.trust --node=oms1 --replace={KEY}")


# --- what a node does not take ---


@pytest.mark.parametrize(
    ("node", "id"),
    [
        (Node1(posix.IS_DIRECTORY), "XFER-006"),
        (Node1(1, err="No space left on device"), "XFER-002"),
        (Node1(1, err="Permission denied"), "XFER-005"),
    ],
)
def test_a_file_that_a_node_does_not_take_is_told(node, id):
    """A directory in its place, no room, no right."""
    with pytest.raises(OmsfabError) as error:
        transfer._checked(node, "/data/oms/a b.tar", node.answer)

    judged(error.value, id, "scale.out")


@pytest.mark.parametrize(
    ("node", "id"),
    [
        (Node1(0, out="another digest"), "CFG-003"),
        (Node1(posix.IS_DIRECTORY), "CFG-002"),
        (Node1(posix.NOT_STAGED), "CFG-004"),
    ],
)
def test_a_config_yaml_that_is_not_written_is_told(node, id):
    """What is there instead, or why not."""
    with pytest.raises(OmsfabError) as error:
        files.write(node, "/data/config.yaml", Secret("x"), None, "/data/config.yaml.bak")

    judged(error.value, id, "node.push-config --node=oms1")


@pytest.mark.parametrize(("status", "id"), [(posix.NOT_OURS, "CFG-013"), (1, "CFG-007")])
def test_a_file_that_cannot_be_put_back_is_told(tmp_path, status, id):
    """Somebody else's, or no right."""
    site = Interpreter("r", tmp_path, {"oms1": Node1(status)}, None)

    with pytest.raises(OmsfabError) as error:
        site._put_back("oms1", PutBack("/data/c", "/data/c.bak"), lambda *_: None)

    judged(error.value, id, "run.undo --run=x")


def test_a_copy_of_a_run_that_cannot_be_made_is_told(tmp_path):
    """RUN-022: before anything is done."""
    journals.begin(tmp_path / "run", {"task": "scale.out", "args": {}})

    with pytest.raises(OmsfabError) as error:
        Mirror(Node1(), tmp_path / "run", print).begin()

    judged(error.value, "RUN-022", "scale.out")


@pytest.mark.parametrize("out", ["left 733\n", "ended 7\n"])
def test_an_init_that_outlives_its_end_is_told(out):
    """INIT-018: the container is restarted by hand."""
    one = Job("oms_427", ("bash", "/root/docker_init.sh"), "/data/oms/oms_logs/omsfab", "/x")

    with pytest.raises(OmsfabError) as error:
        jobs.end(Node1(0, out, ""), one, print)

    judged(error.value, "INIT-018", "run.resume --stop-init")


def test_a_failpoint_says_what_it_is():
    """FAIL-001 is of tests."""
    with pytest.raises(StepFailed) as error:
        Failpoint("a", "before", "raise")._strike()

    judged(error.value, "FAIL-001", "scale.out")


class Link:
    """A connection upon which the lease is ours, and no marker of the change stands."""

    def __init__(self, server):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def begin(self):
        pass


def test_rows_that_are_neither_as_before_nor_after_are_compared(monkeypatch):
    """DB-013: the transaction did not commit, and yet the rows are not those that were saved."""
    lease = SimpleNamespace(run_id=RUN, token=1, cluster="x")
    saved = SimpleNamespace(sha256="a")
    work = SimpleNamespace(
        lease=lease, run_id=RUN, backup=saved, paths=("/b.jsonl",), changing=True
    )
    server = SimpleNamespace(where="10.0.0.9:2881", limits=SimpleNamespace(patience=1))
    monkeypatch.setattr(metadb_surgery, "Link", Link)
    monkeypatch.setattr(metadb_surgery, "_hang_up", lambda link, former: None)
    monkeypatch.setattr(metadb_surgery, "_marker", lambda link, work: None)
    monkeypatch.setattr(metadb_surgery, "_now", lambda link, work: "b")
    monkeypatch.setattr(metadb_surgery.leases, "places", lambda link: ("oms_rm",))
    monkeypatch.setattr(metadb_surgery.leases, "read", lambda *_, **__: lease)

    with pytest.raises(OmsfabError) as error:
        metadb_surgery._verdict(server, work, None, OSError(2013, "lost"))

    judged(error.value, "DB-013", "scale.out")
