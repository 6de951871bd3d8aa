"""The scripts that ask a node or act on it: a real sh, and a docker that says what it is told."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from omsfab.commands import docker, init_job, node_checks, scripts
from omsfab.commands import files as posix
from omsfab.commands.scripts import script_text
from omsfab.plan.events import Event, RunEnd
from omsfab.run import observe
from omsfab.run.record import journal as journals
from omsfab.run.record import replica
from omsfab.ssh.protocol import Result
from tests.unit.conftest import INSTALL

IMAGE = "sha256:" + "ab" * 32
SCRIPTS = Path(scripts.__file__).parent
BIN = Path(sys.executable).parent


@pytest.fixture
def node(tmp_path):
    """Return a way to run a command where ``docker`` is this script; it logs its words."""

    def run(cmd, script="", environ=None, **more):
        fake = tmp_path / "docker"
        fake.write_text(f'#!/bin/sh\necho "$*" >>{tmp_path}/log\n{script}\n')
        fake.chmod(0o755)
        path = f"{tmp_path}:{os.environ['PATH']}"
        return subprocess.run(
            cmd.argv,
            env={"PATH": path, **(environ or {})},
            capture_output=True,
            text=True,
            check=False,
            **more,
        )

    return run


@pytest.fixture
def began(tmp_path):
    """Return a way to begin a process of its own; it ends with the test."""
    made = []

    def begin(*words, **environ):
        made.append(
            subprocess.Popen(
                words,
                cwd=tmp_path,
                env={**os.environ, **environ},
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
        )
        assert made[-1].stdout.readline() == b"up\n"
        return made[-1].pid

    yield begin
    for one in made:
        os.killpg(one.pid, signal.SIGKILL)
        one.communicate()


def looked(tmp_path, *, start):
    """What is said of processes here, of a script that nobody else has."""
    text = script_text("init_look")
    words = ["", "", f"{tmp_path.name}_init.sh", "no.such.units", "/none", "", "start" * start]
    return subprocess.run(
        ["sh", "-c", text, "omsfab", *words], capture_output=True, text=True, check=True
    ).stdout


def test_a_script_that_will_begin_docker_init_is_seen(tmp_path, began):
    """What mentions it and runs, by a path of its own or of its directory; no
    other script, no line that names it; and only where it is asked."""
    name = f"{tmp_path.name}_init.sh"
    (tmp_path / "self.sh").write_text(f"echo up\nsleep 60\nbash /root/{name}\n")
    (tmp_path / "other.sh").write_text("echo up\nsleep 60\n")
    near, far = began("bash", "self.sh"), began("sh", "-e", str(tmp_path / "self.sh"))
    began("bash", "other.sh")
    began("sh", "-c", f"echo up; sleep 60; cat {name}")

    said = looked(tmp_path, start=True).splitlines()

    pending = {line for line in said if line.startswith("pending")}
    assert {f"pending {near} /proc/{near}/cwd/self.sh", f"pending {far} {tmp_path}/self.sh"} == (
        pending
    )
    assert "pending" not in looked(tmp_path, start=False)


def test_a_program_of_supervisord_tells_that_the_entry_is_over(tmp_path, began):
    """By what supervisord leaves in the environment, since its first program."""
    began("sh", "-c", "echo up; sleep 60", SUPERVISOR_PROCESS_NAME="nginx")

    (age,) = [line for line in looked(tmp_path, start=True).splitlines() if "programs" in line]

    assert int(age.split()[1]) >= 0


@pytest.mark.parametrize(("behind", "seen"), [(0, True), (199, True), (200, False)])
def test_what_a_container_says_of_itself_is_looked_for_in_its_last_lines(
    node, tmp_path, behind, seen
):
    """R6: supervisord writes to the same log, so the sentence is seldom the last one of this start;
    that of an earlier start is not read."""
    (tmp_path / "said").write_text(f"{init_job.STARTED}\n" + "INFO spawned\n" * behind)
    since = "2026-11-22T10:00:00.1Z"
    docker_says = f"""case $1 in
      inspect) echo 'true {since}';;
      logs) shift; [ "$1 $2 $3" = "--since {since} --tail" ] && tail -n "$4" {tmp_path}/said;;
    esac"""

    said = node(
        init_job.itself("oms", ("bash", "/root/docker_init.sh"), str(tmp_path)), docker_says
    )

    assert 0 == said.returncode
    assert seen is (f"log {init_job.STARTED}" in said.stdout.splitlines())


@pytest.mark.parametrize(
    ("script", "status", "says"),
    [
        ("echo 24.0.7", 0, "24.0.7"),
        ("echo 1.13.1", 0, "1.13.1"),
        ("echo 1.12.6", node_checks.UNFIT, "older than 1.13"),
        ('case $1 in --version) echo "podman version 4";; *) echo 4.3;; esac', 46, "podman"),
        ("case $1 in info) echo '[name=rootless]';; *) echo 24.0.7;; esac", 46, "rootless"),
        ("case $1 in info) echo '[name=seccomp name=userns]';; *) echo 29.1;; esac", 46, "userns"),
        ("case $1 in context) echo ssh://oms9;; *) echo 29.1;; esac", 46, "ssh://oms9"),
        ("case $1 in context) echo tcp://127.0.0.1:2375;; *) echo 29.1;; esac", 0, "29.1"),
        ("DOCKER_HOST=tcp://oms9:2375", 46, "tcp://oms9"),
        ("echo 'Cannot connect to the Docker daemon' >&2; exit 1", 1, "Cannot connect"),
    ],
)
def test_a_docker_that_cannot_run_oms_is_told_apart(node, script, status, says):
    """I08: down, older than 1.13, podman in its place, rootless, with userns-remap, or that of
    another machine, by a context or by what a profile exports."""
    exported = {}
    if script.startswith("DOCKER_HOST="):
        exported = dict([script.split("=", 1)])
        script = "[ $1 != context ] && echo 1.13.1"
    done = node(node_checks.docker_fits(), script, environ=exported)

    assert status == done.returncode
    assert says in done.stdout


@pytest.mark.parametrize(("package", "status"), [(True, node_checks.UNFIT), (False, 0)])
def test_a_store_that_calls_images_otherwise_takes_no_package(node, package, status):
    """Its ids are digests of manifests, the package tells that of the config; without one the
    nodes themselves say what the id is."""
    script = (
        "case $1 in info) echo '[[driver-type io.containerd.snapshotter.v1]]';; *) echo 29;; esac"
    )

    done = node(node_checks.docker_fits(package=package), script)

    assert status == done.returncode
    assert package is ("containerd-snapshotter" in done.stdout)


@pytest.mark.parametrize(("label", "word"), [("the spec", "start"), ("", "run"), ("abc", "run")])
def test_a_container_left_by_a_failed_start_is_started(node, fleet, tmp_path, label, word):
    """docker run leaves the name taken; with this very spec it is this very container."""
    one = fleet.nodes[0]
    spec = docker.spec(one, fleet.install, IMAGE)
    there = label.replace("the spec", spec)
    script = f"case $1 in inspect) echo {there};; esac" if label else "[ $1 != inspect ]"

    node(docker.run_or_start(one, fleet.install, IMAGE), script)

    assert word == (tmp_path / "log").read_text().splitlines()[-1].split()[0]


@pytest.mark.parametrize(("state", "goes"), [("created", True), ("exited", False), ("", False)])
def test_only_a_container_that_never_ran_is_removed(node, tmp_path, state, goes):
    """A resumed run may find that it has run since; what is gone is no error."""
    done = node(docker.remove_unstarted("oms_427"), f"[ $1 != inspect ] || echo {state}")

    assert 0 == done.returncode
    assert goes is ("rm oms_427" in (tmp_path / "log").read_text().splitlines())


@pytest.mark.parametrize(("running", "status"), [("false", 0), ("true", 1)])
def test_a_container_that_is_down_has_no_stale_file(node, tmp_path, running, status):
    """It takes config.yaml as it is when it starts; one that runs must be asked."""
    file = tmp_path / "config.yaml"
    file.write_text("a: 1\n")
    says = f"case $1 in exec) exit 1;; inspect) echo {running};; esac"

    done = node(node_checks.same_inside("oms_427", str(file), "/config.yaml"), says)

    assert status == done.returncode


@pytest.mark.parametrize(("inside", "stale"), [("a: 1", False), ("a: 2", True), (None, False)])
def test_a_file_that_was_replaced_by_rename_is_seen_from_the_container(
    node, tmp_path, fleet, inside, stale
):
    """R4: fleet.check did not see that host and container differ; where the container cannot be
    asked, that is told by others."""
    file, there = tmp_path / "config.yaml", tmp_path / "inside.yaml"
    file.write_text("a: 1\n")
    if inside:
        there.write_text(f"{inside}\n")
    says = f"case $1 in exec) sha256sum {there};; inspect) echo true;; esac"

    def run(cmd):
        done = node(cmd, says)
        return Result(done.returncode, done.stdout, done.stderr)

    assert stale is observe._stale(fleet, SimpleNamespace(run=run), str(file))


@pytest.mark.parametrize(
    ("inside", "knows", "sees"),
    [("link", True, True), ("same", True, False), ("other", True, False), ("same", False, True)],
)
def test_a_file_that_was_replaced_is_another_one(node, tmp_path, inside, knows, sees):
    """By its inode, also where it says the same: what is written next would not be seen.  A
    container without stat is believed by the content."""
    file = tmp_path / "config.yaml"
    file.write_text("a: 1\n")
    (tmp_path / "link").symlink_to(file)
    (tmp_path / "same").write_text("a: 1\n")
    (tmp_path / "other").write_text("a: 2\n")
    lacks = "" if knows else "[ $3 != stat ] || exit 127\n"

    cmd = node_checks.same_inside("oms_427", str(file), str(tmp_path / inside))
    done = node(cmd, f'{lacks}shift 2; exec "$@"')

    assert (0 if sees else node_checks.STALE, not sees) == (
        done.returncode,
        "another inode" in done.stdout,
    )


def test_an_image_is_loaded_again_when_the_daemon_died(node, tmp_path):
    """I08: once more after the daemon is back; a package that is refused is not tried twice."""
    flag = tmp_path / "died"
    dies = (
        f"case $1 in load) [ -e {flag} ] && exit 0; touch {flag}; exit 1;;"
        f" info) [ -e {flag}.back ] && exit 0; touch {flag}.back; exit 1;; image) exit 1;; esac"
    )

    again = node(docker.load("/x.tar", "sha256:1"), dies)
    refused = node(docker.load("/x.tar", "sha256:1"), "[ $1 = info ]")

    assert (0, 1) == (again.returncode, refused.returncode)


def test_an_image_that_is_there_is_not_loaded(node):
    """By its very id: it was loaded while its package came."""
    there = '[ "$*" = "image inspect sha256:1" ] || [ $1 = info ]'

    assert [0, 1] == [
        node(docker.load("/x.tar", f"sha256:{id}"), there).returncode for id in (1, 2)
    ]


def test_a_load_into_a_daemon_that_comes_up_is_tried_again(node, tmp_path):
    """It was away for the load, and answers right after it: that is no failure of the package."""
    script = f"case $1 in load) [ -e {tmp_path}/up ] || {{ : >{tmp_path}/up; exit 1; }};; image) exit 1;; esac"  # noqa: E501

    assert 0 == node(docker.load("/x.tar", "sha256:1"), script).returncode


def test_a_container_that_ends_shows_its_last_words(node):
    """I15: the end of its log is the evidence."""
    script = "case $1 in logs) echo last words;; inspect) echo 'false 0';; esac"

    done = node(node_checks.stays_up("oms_427", 0), script)

    assert 1 == done.returncode
    assert "last words" in done.stdout


def test_room_is_summed_up_per_file_system(node, tmp_path):
    """I07: two directories of one disk share it; a missing directory counts where it would be."""
    free = os.statvfs(tmp_path)
    half = free.f_bavail * free.f_frsize * 6 // 10

    one = node(node_checks.space(0, {str(tmp_path): half}))
    both = node(node_checks.space(0, {str(tmp_path): half, f"{tmp_path}/not/there": half}))

    assert (0, 1) == (one.returncode, both.returncode), one.stdout
    assert "MB needed for" in both.stdout


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="needs a second file system")
def test_room_is_that_of_the_file_system_a_link_leads_to(node, tmp_path):
    """/data is a link to another disk: its room is its own, not that of the disk of the link."""
    free, far = (os.statvfs(path) for path in (tmp_path, "/dev/shm"))
    here, there = (disk.f_bavail * disk.f_frsize for disk in (free, far))
    less = min(here, there) * 6 // 10
    (tmp_path / "data").symlink_to("/dev/shm")

    fine = node(node_checks.space(0, {str(tmp_path): here * 6 // 10, f"{tmp_path}/data": less}))
    full = node(node_checks.space(0, {f"{tmp_path}/data/oms": there * 11 // 10}))

    assert (0, 1) == (fine.returncode, full.returncode), fine.stdout + full.stdout


def test_an_ss_that_fails_does_not_tell_that_ports_are_free(node, tmp_path):
    """An old iproute2 knows no -H: exit status 255, nothing on standard output."""
    old = tmp_path / "ss"
    old.write_text("#!/bin/sh\necho \"ss: invalid option -- 'H'\" >&2; exit 255\n")
    old.chmod(0o755)

    done = node(node_checks.ports_free(8088))

    assert (1, "ss does not tell: ss: invalid option -- 'H'\n") == (done.returncode, done.stdout)


def test_a_port_that_somebody_listens_on_is_not_free(node):
    """With the real ss; a port that nobody listens on is."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        used = node(node_checks.ports_free(port))
    free = node(node_checks.ports_free(port))

    assert (1, 0) == (used.returncode, free.returncode)
    assert f"port {port} is used: " in used.stdout


@pytest.mark.parametrize("ask", [node_checks.connects, node_checks.held])
def test_without_bash_the_address_is_not_blamed(tmp_path, ask):
    """Nothing was asked: a VIP that is fine would be told to be silent."""
    for program in ("sh", "timeout"):
        (tmp_path / program).symlink_to(str(shutil.which(program)))

    cmd = ask("127.0.0.1", 22)
    done = subprocess.run(
        cmd.argv, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False
    )

    assert (1, "bash is not on this node: nothing was asked\n") == (done.returncode, done.stdout)


def test_a_file_that_cannot_be_written_is_found_without_writing(node, tmp_path):
    """V06: opened and closed: neither its content nor its time changes."""
    file = tmp_path / "config.yaml"
    file.write_text("a: 1\n")
    before = file.stat().st_mtime_ns

    fine = node(node_checks.writable(str(file)))
    missing = node(node_checks.writable(f"{file}.missing"))

    assert (0, 1) == (fine.returncode, missing.returncode)
    assert ("a: 1\n", before) == (file.read_text(), file.stat().st_mtime_ns)


def test_a_node_keeps_the_newest_copies_of_ended_runs_and_all_others(node, tmp_path, monkeypatch):
    """A run that has not ended is never removed, however old; nor is what is no run."""
    place = tmp_path / "runs"
    monkeypatch.setattr(replica, "PLACE", str(place))
    monkeypatch.setattr(replica, "KEPT", 2)
    runs = [f"2026010{day}T000000Z-scale-out-{day}" for day in range(1, 6)]
    for run in runs:
        journals.begin(place / run, {"task": "t", "args": {}})
        book = journals.Journal(place / run)
        book.write(Event(0, 0, "", "", "run", f"begun {run}"))
        book.write(Event(0, 0, "oms1", "x", "line", "ended"))
        if run not in runs[:2]:
            book.write(Event(0, 0, "", "", "run", "ended: 1 changes", RunEnd("done").data()))
        book.close()
    (place / "claim").touch()

    def at_node(cmd):
        done = node(cmd)
        return SimpleNamespace(status=done.returncode, out=done.stdout)

    replica.Mirror(SimpleNamespace(run=at_node), place / runs[0], print).prune()

    assert [*runs[:2], *runs[3:], "claim"] == sorted(os.listdir(place))


@pytest.mark.parametrize(
    ("there", "comes", "status", "left"),
    [
        (None, b"a\n", 0, b"a\n"),
        (b"", b"a\n", 0, b"a\n"),
        (b"a\n", b"a\n", 0, b"a\n"),
        (b"a\n", b"a\nb\xff\n", 0, b"a\nb\xff\n"),
        (b"a\nb\n", b"a\n", posix.AHEAD, b"a\nb\n"),
        (b"a\nx\n", b"a\nb\nc\n", posix.AHEAD, b"a\nx\n"),
    ],
)
def test_a_journal_only_grows(node, tmp_path, there, comes, status, left):
    """A copy that goes further, or otherwise, is the work of another jump host: it stays."""
    path = tmp_path / "journal.jsonl"
    if there is not None:
        path.write_bytes(there)
    cmd = posix.extend(str(path), comes)

    done = node(cmd, input=cmd.stdin.reveal())

    assert (status, left) == (done.returncode, path.read_bytes())
    assert ["journal.jsonl"] == [one.name for one in tmp_path.glob("journal*")]


CONTAINER = "cd" * 32


@pytest.mark.parametrize(
    ("labels", "ids", "ours"),
    [
        ("s=3fa9 r=run-1", [], True),
        ("s=3fa9 r=run-2", [], False),
        ("s=3fa9 r=run-2", [CONTAINER], False),
        ("s=0000 r=run-1", [], False),
        ("s=3fa9 r=", [CONTAINER], True),
        ("s=3fa9 r=<no value>", ["ef" * 32, CONTAINER], True),
        ("s=3fa9 r=", ["ef" * 32], False),
        ("s= r=", [CONTAINER], False),
    ],
)
def test_a_container_is_removed_by_the_run_that_made_it_only(node, tmp_path, labels, ids, ours):
    """By the label of the run; that of an earlier omsfab, which has none, by the id docker said."""
    script = f"case $1 in inspect) echo '{CONTAINER} {labels}' ;; esac"
    words = ("oms", "3fa9", "run-1", ids)

    removed = node(docker.remove_ours(*words), script)
    log = (tmp_path / "log").read_text()
    gone, none = (
        node(ask(*words), script) for ask in (docker.gone_or_others, docker.none_of_others)
    )

    assert 0 == removed.returncode
    assert ours == (f"rm {CONTAINER}" in log) == (f"stop -t 60 {CONTAINER}" in log)
    assert ours == ("left alone" not in removed.stdout)
    assert (int(ours), int(not ours)) == (gone.returncode, none.returncode)


def test_a_container_that_is_not_there_is_nobodys(node):
    """Nothing is removed, and nothing stands in the way."""
    asked = (docker.remove_ours, docker.gone_or_others, docker.none_of_others)
    script = "case $1 in inspect) exit 1 ;; esac"

    assert [0, 0, 0] == [node(ask("oms", "s", "r"), script).returncode for ask in asked]


def test_a_container_bears_the_run_that_made_it(fleet):
    """A plan does not know the run yet; the word is put in when it is done."""
    made = docker.run_or_start(fleet.regions[0].nodes[0], fleet.install, IMAGE)

    assert "omsfab.run=20260101T000000Z-x" in docker.by_run(made, "20260101T000000Z-x").argv
    assert docker.BY_RUN not in docker.by_run(made, "20260101T000000Z-x").argv


def test_copies_on_a_node_are_told_apart(node, tmp_path):
    """How much each has begun, what it undoes, how it ended: with run.json as it is written."""
    forward, back = "20260101T000000Z-scale-out-a", "20260102T000000Z-run-undo-b"
    for name, args in ((forward, {"region": "x"}), (back, {"run": forward, "all": ""})):
        journals.begin(tmp_path / name, {"task": "t", "args": args})
        book = journals.Journal(tmp_path / name)
        for kind, text in (("run", "begun"), ("intent", "a"), ("intent", "b"), ("done", "b")):
            book.write(Event(0, 0, "oms1", "x", kind, text))
        if name == back:
            book.write(Event(0, 0, "", "", "run", "ended: 3 changes", RunEnd("done").data()))
            book.write(Event(0, 0, "", "", "state", "no copy of the journal on oms1 now"))
        book.close()
    (tmp_path / "claim").touch()
    done = node(posix.copies(str(tmp_path)))
    shell = SimpleNamespace(run=lambda cmd: SimpleNamespace(out=done.stdout))

    assert [
        replica.Copy(forward, 2),
        replica.Copy(back, 2, forward, RunEnd("done"), "ended: 3 changes"),
    ] == replica.copies(shell)


PROXY = {
    "http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9",
    "HTTP_PROXY": "http://127.0.0.1:9", "ALL_PROXY": "http://127.0.0.1:9", "no_proxy": "",
}  # fmt: skip


@pytest.mark.parametrize("program", ["curl", "bash"])
def test_a_proxy_of_a_profile_does_not_answer_for_oms(tmp_path, program):
    """R4: neither the environment's nor that of ~/.curlrc; the page is fetched from the node."""
    if program == "curl" and not shutil.which("curl"):
        pytest.skip("no curl here")
    (tmp_path / ".curlrc").write_text("proxy = http://127.0.0.1:9\n")
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "bash", "timeout", "cat", *(["curl"] if program == "curl" else [])):
        (tools / name).symlink_to(shutil.which(name))
    with socket.create_server(("127.0.0.1", 0)) as server:
        asked = posix.http_get(f"http://127.0.0.1:{server.getsockname()[1]}/oms/health")
        client = subprocess.Popen(
            [shutil.which("sh"), *asked.argv[1:]],
            env={"PATH": str(tools), "HOME": str(tmp_path), **PROXY},
            stdout=subprocess.PIPE,
        )
        there, _ = server.accept()
        with there:
            asked_for = b""
            while not asked_for.endswith(b"\r\n\r\n"):  # a reset would take the answer with it
                asked_for += there.recv(4096)
            there.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nwell\n")
        out, _ = client.communicate(timeout=30)

    assert "well" == out.decode().strip()


@pytest.mark.parametrize(
    ("mode", "group", "wanted"),
    [
        (0o600, "echo 7", (0o640, 7)),
        (0o600, "echo 0", (0o600, 0)),
        (0o600, "[ $1 != exec ] || { echo 'no such user' >&2; exit 1; }", (0o600, 0)),
        (0o644, "echo 7", (0o644, 0)),
        (0o660, "echo 7", (0o660, 0)),
    ],
)
def test_the_images_user_may_read_a_new_config_yaml(node, fleet, tmp_path, mode, group, wanted):
    """R1.6: oms_drc_supervisor runs as `ds`; what the operator has chosen otherwise stays."""
    if os.getuid():
        pytest.skip("only root gives a file to a group")
    path = tmp_path / "config.yaml"
    path.write_text("x: 1\n")
    path.chmod(mode)
    install = INSTALL.model_copy(
        update={"mounts": INSTALL.mounts.model_copy(update={"config": str(path)})}
    )

    closed = wanted[0] != mode
    assert int(closed) == node(docker.config_shared(install), group).returncode
    assert 0 == node(docker.run_or_start(fleet.nodes[0], install, IMAGE), group).returncode
    assert 0 == node(docker.config_shared(install), group).returncode
    assert wanted == (path.stat().st_mode & 0o777, path.stat().st_gid)


def test_a_package_brought_by_hand_is_used_and_stays(node, tmp_path):
    """R4: `rm -f` of our name afterwards takes the operator's copy away no more."""
    theirs, ours = tmp_path / "oms.tar.gz", tmp_path / "omsfab-abc-oms.tar.gz"
    theirs.write_bytes(b"package")
    node(posix.use_copy(str(theirs), str(ours), 7))
    used = ours.read_bytes()
    node(node_checks.remove_file(str(ours)))
    node(posix.use_copy(str(theirs), str(ours), 8))

    assert (b"package", b"package", False) == (used, theirs.read_bytes(), ours.exists())


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ({"Memory": 8 << 30, "MemorySwap": 16 << 30}, ["--memory 8g"]),
        ({"Memory": 1500 << 20, "NanoCpus": 2_500_000_000}, ["--memory 1500m", "--cpus 2.5"]),
        ({"CpusetCpus": "0-3", "CpuShares": 512}, ["--cpu-shares 512", "--cpuset-cpus 0-3"]),
        ({"RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3}},
         ["--restart on-failure:3"]),
        ({"RestartPolicy": {"Name": "always"}, "OomKillDisable": True},
         ["--oom-kill-disable", "--restart always"]),
        ({"Memory": 0, "NanoCpus": 0, "RestartPolicy": {"Name": "no"}, "CpusetCpus": ""}, []),
    ],
)  # fmt: skip
def test_a_limit_of_the_running_container_is_told(host, told):
    """R4: `-m 8G` was added by hand; the guide's docker run, and so a new node, has none."""
    guide = {
        "NetworkMode": "host", "Privileged": True, "PidsLimit": -1,
        "Ulimits": [{"Name": "nproc", "Hard": 65535, "Soft": 65535}],
    }  # fmt: skip

    assert [f"with {flag}; a new node gets none" for flag in told] == list(
        observe._flags({**guide, **host})
    )


def test_every_script_is_one_that_shellcheck_reads_without_a_word():
    """As plain sh; a file that needs an exception says why."""
    files = sorted(SCRIPTS.glob("*.sh"))
    words = [BIN / "shellcheck", "-s", "sh", "-x", "-P", SCRIPTS, "-f", "gcc"]
    done = subprocess.run([*words, *files], capture_output=True, text=True, check=False)

    assert "" == done.stdout + done.stderr


def test_a_script_goes_to_a_node_whole_and_without_comments():
    """Parts are in their place, since there are no files of ours there; the title stays."""
    text = script_text("up")

    assert "# start the container if it is down, as after a power cut" == text.splitlines()[0]
    assert "set -- -s unix:///tmp/supervisor.sock" in text
    assert [] == [line for line in text.splitlines()[1:] if line.startswith(("#", ". ./"))]


def test_every_script_is_used():
    """A file that no module of commands reads is dead."""
    text = "".join(path.read_text() for path in SCRIPTS.parent.glob("*.py"))
    text += "".join(path.read_text() for path in SCRIPTS.glob("*.sh"))

    assert [] == [
        path.name
        for path in SCRIPTS.glob("*.sh")
        if f'"{path.stem}"' not in text and f". ./{path.name}" not in text
    ]
