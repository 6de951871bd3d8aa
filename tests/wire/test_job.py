"""docker_init.sh as a detached job, over a real sshd; `docker` is a script that runs words here."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from omsfab.command import script
from omsfab.commands import init_job as words
from omsfab.errors import Ended, Locked, Mismatch, OmsfabError, OutcomeUnknown, StepFailed
from omsfab.next_line import fab
from omsfab.plan.records import Job
from omsfab.run.engine.init_job import InitResult, Pace, follow, wait_over
from omsfab.secret import Secret

BANNER = "echo '# 【结束】全部初始化步骤执行成功'"
UNTIL_LET_GO = "until [ -e go ]; do sleep 0.1; done"
QUICK = Pace(fastest=0.05, slowest=0.2, hold=0.2, alive=0.3, claim=5, settle=0, entry=0, sign=0.5)

DOCKER = """\
#!/bin/sh
# exec [-d] CONTAINER WORDS | inspect … | logs … | start CONTAINER
echo "$*" >>"$OMSFAB_TEST/asked"
case $1 in
start) sed -i s/false/true/ "$OMSFAB_TEST/inspect"; echo "$2" ;;
exec)
  shift
  [ "$1" != -i ] || shift
  if [ "$1" = -d ]; then shift 2; setsid nohup "$@" >/dev/null 2>&1 </dev/null & exit 0; fi
  shift; exec "$@" ;;
inspect) cat "$OMSFAB_TEST/inspect" ;;
logs) cat "$OMSFAB_TEST/logs" ;;
esac
"""

TICKS = "n=1; while [ $n -le 6 ]; do echo tick $n; n=$((n + 1)); sleep 0.1; done"


@dataclass
class Container:
    """A container that is none: the node itself, with a docker_init.sh of its own name."""

    sshd: object
    home: Path
    script: Path
    lines: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)

    @property
    def job(self) -> Job:
        logs = str(self.home / "logs")
        return Job("oms_423", ("bash", str(self.script)), logs, logs, limit=60)

    @property
    def way(self) -> list[str]:
        """What a driver in another process needs to know."""
        server = self.sshd
        return [str(x) for x in (server.home, server.port, self.script, self.home / "logs")]

    def says(self, text: str) -> None:
        """Give docker_init.sh this body; it counts its executions and notices overlaps."""
        self.script.write_text(
            f"cd {self.home}\nmkdir running || echo overlap >>overlaps\necho x >>executions\n"
            f"{text}\nstatus=$?\nrmdir running; exit $status\n"
        )

    def follow(self, attempt: str = "r1-1", **changes: object) -> InitResult:
        on_line: Callable[[str], object] = changes.pop("on_line", lambda line: None)

        def line(text: str) -> None:
            self.lines.append(text)
            on_line(text)

        job = replace(self.job, **changes.pop("job", {}))
        shell = changes.pop("shell", None) or self.sshd.shell()
        kwargs = {"pace": QUICK, **changes}
        return follow(shell, job, attempt, line, self.states.append, **kwargs)

    @property
    def executions(self) -> int:
        file = self.home / "executions"
        return len(file.read_text().split()) if file.exists() else 0

    @property
    def overlaps(self) -> bool:
        return (self.home / "overlaps").exists()

    def in_container(self, seconds: float, text: str) -> None:
        """Say what the container itself has done: started so long ago, last line of its log."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - seconds))
        (self.sshd.home / "inspect").write_text(f"true {at}.123456789Z\n")
        (self.sshd.home / "logs").write_text(f"{text}\n")


@pytest.fixture
def container(server, tmp_path):
    return _container(server, tmp_path)


@pytest.fixture
def lonely(sshd, tmp_path):
    """A container on a server of its own."""
    return _container(sshd, tmp_path)


def _container(sshd, tmp_path):
    fake = sshd.home / "bin" / "docker"
    fake.write_text(DOCKER)
    fake.chmod(0o755)
    home = tmp_path / "container"
    home.mkdir()
    box = Container(sshd, home, home / f"init_{os.getpid()}_{time.monotonic_ns()}.sh")
    box.in_container(3600, "supervisord started")
    box.says(f"{TICKS}; {BANNER}")
    return box


def wait_for(what: Callable[[], object]) -> None:
    until = time.monotonic() + 10
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_a_job_is_followed_to_its_banner(container):
    """Each line once and in order, status 0, output 0600, one execution."""
    result = container.follow()
    output = container.home / "logs" / "r1-1" / "output"

    assert (0, False) == (result.status, result.adopted)
    assert [f"tick {n}" for n in range(1, 7)] == container.lines[:-1]
    assert (1, 0o600) == (container.executions, stat.S_IMODE(output.stat().st_mode))


def test_it_runs_in_the_directory_of_root(container, tmp_path):
    """R6: omsflow is found from /root alone, and nobody knows where docker exec would begin."""
    container.says(f"cd - >/dev/null; pwd >{tmp_path}/where; {BANNER}")
    container.follow()

    assert "/root\n" == (tmp_path / "where").read_text()


def test_a_job_outlives_its_session(container):
    """N01: the sshd child is killed in mid-job; no line is lost and none comes twice."""
    shell = container.sshd.shell()

    def kill_at_two(line):
        if line == "tick 2":
            for session in container.sshd.sessions():
                os.kill(session, signal.SIGKILL)

    result = container.follow(shell=shell, on_line=kill_at_two)

    assert 0 == result.status
    assert [f"tick {n}" for n in range(1, 7)] == container.lines[:-1]
    assert "INIT-020 link lost while" in "\n".join(container.states)
    assert (1, False) == (container.executions, container.overlaps)


def test_a_killed_driver_changes_nothing_for_the_job(container):
    """J01: kill -9 of omsfab itself; the next one finds the attempt and its whole output."""
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER, *container.way],
    )
    wait_for(lambda: (container.home / "logs" / "r1-1" / "output").exists())
    driver.kill()
    driver.wait()
    result = container.follow()

    assert 0 == result.status
    assert [f"tick {n}" for n in range(1, 7)] == container.lines[:-1]
    assert (1, False) == (container.executions, container.overlaps)


DRIVER = textwrap.dedent(
    """
    import sys
    from pathlib import Path
    from omsfab.run.engine.init_job import follow
    from omsfab.ssh.shell import SshShell
    from omsfab.fleet.model import Node, Ssh
    from omsfab.plan.records import Job

    home, port, init, logs = sys.argv[1:]
    node = Node(name="oms1", ip="127.0.0.1", port=int(port))
    ssh = Ssh(key=Path(home) / "user_key", known_hosts=Path(home) / "known_hosts")
    job = Job("oms_423", ("bash", init), logs, logs)
    follow(SshShell(node, ssh), job, "r1-1", print, print)
    """
)


def test_going_on_from_an_offset_repeats_no_line(container):
    """Resume knows how far it had read."""
    container.follow()
    container.lines.clear()
    result = container.follow(offset=len("tick 1\ntick 2\n"))

    assert [f"tick {n}" for n in range(3, 7)] == container.lines[:-1]
    assert (0, 1) == (result.status, container.executions)


def test_many_starts_of_one_attempt_are_one_execution(container):
    """The claim is a mkdir: whoever comes second is refused, and it is written down."""
    container.says(f"sleep 0.5; {BANNER}")
    shell = container.sshd.shell()
    logs = str(container.home / "logs")
    owner = shell.run(words.prepare(f"{logs}/r1-1")).out.strip()
    for _ in range(4):
        shell.run(words.start("oms_423", f"{logs}/r1-1", owner, f"{logs}/lock", container.job.argv))
    result = container.follow()
    refused = container.home / "logs" / "r1-1" / "refused"
    wait_for(lambda: refused.exists() and len(refused.read_text().splitlines()) == 3)

    assert (0, 1, False) == (result.status, container.executions, container.overlaps)


def test_two_racing_runs_never_overlap(container):
    """J11: two jump hosts at the same moment; the second is locked out with exit 4."""
    container.says(f"sleep 1; {BANNER}")
    ends: list[object] = []

    def race(attempt):
        try:
            ends.append(container.follow(attempt, shell=container.sshd.shell()))
        except OmsfabError as error:
            ends.append(error)

    threads = [threading.Thread(target=race, args=(f"r{n}-1",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert ["InitResult", "Locked"] == sorted(type(end).__name__ for end in ends)
    assert (1, False) == (container.executions, container.overlaps)


def test_a_finished_attempt_is_never_started_again(container):
    """A start that was delayed on the way finds the claim, whenever it comes."""
    container.follow()
    logs = str(container.home / "logs")
    shell = container.sshd.shell()
    argv, owner = container.job.argv, str(os.geteuid())
    shell.run(words.start("oms_423", f"{logs}/r1-1", owner, f"{logs}/init.lock", argv))
    refused = container.home / "logs" / "r1-1" / "refused"
    wait_for(refused.exists)

    assert "this attempt was started before\n" == refused.read_text()
    assert (0, 1) == (container.follow().status, container.executions)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_what_the_wrapper_writes_belongs_to_who_made_the_directory(container):
    """An SSH user of the docker group is not root, and must read what root in there wrote."""
    directory = container.home / "logs" / "r1-1"
    container.sshd.shell().run(words.prepare(str(directory)))
    os.chown(directory, 65534, 65534)
    fake = container.sshd.home / "bin" / "id"
    fake.write_text("#!/bin/sh\necho 65534\n")
    fake.chmod(0o755)
    try:
        container.follow()
    finally:
        fake.unlink()

    assert [65534] * 3 == [(directory / name).stat().st_uid for name in ("pid", "output", "status")]


def test_the_lock_in_the_container_is_respected(container):
    """Another attempt may hold it and not have begun to run anything yet."""
    (container.home / "logs").mkdir()
    lock = container.home / "logs" / "init.lock"
    holder = subprocess.Popen(["flock", str(lock), "sleep", "600"], start_new_session=True)
    wait_for(lock.exists)
    try:
        with pytest.raises(Locked) as error:
            container.follow()
    finally:
        os.killpg(holder.pid, signal.SIGKILL)
        holder.wait()

    assert ("INIT-010", 0) == (error.value.id, container.executions)


def test_an_init_by_hand_locks_ours_out(container):
    """C08: waited for, and INIT-010 at the limit, with pid and since when; nothing is started."""
    container.says("sleep 600")
    byhand = subprocess.Popen(["bash", str(container.script)], start_new_session=True)
    wait_for(lambda: container.executions)
    try:
        with pytest.raises(Locked) as error:
            container.follow(job={"limit": 0.5})
    finally:
        os.killpg(byhand.pid, signal.SIGKILL)
        byhand.wait()

    assert f"(pid {byhand.pid} since " in error.value.what
    assert ("INIT-010", 4, 1) == (error.value.id, error.value.exit_code, container.executions)


def test_an_init_by_hand_is_waited_for_and_then_ours_runs(container):
    """R2.1: "always" is an order, and nobody knows which config.yaml the other one had read."""
    byhand = subprocess.Popen(["bash", str(container.script)])
    wait_for(lambda: container.executions)
    result = container.follow()
    byhand.wait()

    assert (0, False) == (result.status, result.adopted)
    assert (2, False) == (container.executions, container.overlaps)


@pytest.mark.parametrize("init", ["auto", "always"])
def test_a_mere_step_at_the_start_is_waited_for_and_not_adopted(container, init):
    """R2.1: the entry of 3.3.x runs python -m omsflow.scripts.units… at each start."""
    name = container.script.name
    signs = words.signs

    def like_omsflow(argv):
        return name, "omsflow.scripts.units"

    words.signs = like_omsflow
    (container.home / "omsflow" / "scripts" / "units").mkdir(parents=True)
    (container.home / "omsflow" / "scripts" / "units" / "check.py").write_text(
        "import time; time.sleep(1)"
    )
    unit = subprocess.Popen(
        [sys.executable, "-m", "omsflow.scripts.units.check"], cwd=container.home
    )
    try:
        result = container.follow(job={"init": init})
    finally:
        words.signs = signs
        unit.wait()

    assert not result.adopted
    assert (1, False) == (container.executions, container.overlaps)


@pytest.mark.parametrize(
    ("body", "kind", "id"),
    [
        ("echo all quiet", Mismatch, "INIT-015"),
        ("echo quiet; false", StepFailed, "INIT-011"),
        (f"{BANNER}; echo 'Traceback (most recent call last):'", StepFailed, "INIT-011"),
        (f"echo 'init failed!'; {BANNER}", StepFailed, "INIT-011"),
        ("kill -9 $$", StepFailed, "INIT-012"),
        ("set -x; : '# 【结束】全部初始化步骤执行成功'", Mismatch, "INIT-015"),
    ],
)
def test_bad_ends_are_told_apart(container, body, kind, id):
    """C01, C04, C05, C07 through the whole path."""
    container.says(body)
    with pytest.raises(kind) as error:
        container.follow()

    assert id == error.value.id


def test_a_wrapper_that_died_without_status_is_noticed(container):
    """kill -9 of the wrapper and its child, as an engine's death does: INIT-012, no hanging."""
    container.says("echo before; sleep 600")

    def kill(line):
        pid = int((container.home / "logs" / "r1-1" / "pid").read_text().split()[0])
        os.killpg(pid, signal.SIGKILL)

    with pytest.raises(StepFailed) as error:
        container.follow(on_line=kill)

    assert "INIT-012" == error.value.id
    assert "before" in error.value.evidence


def test_an_orphaned_init_is_waited_for(container):
    """The wrapper is killed, its child lives: it is not over, and nothing else is started."""
    container.says("echo before; sleep 1; echo after")
    seen: list[int] = []

    def kill_wrapper(line):
        if line == "before":
            seen.append(int((container.home / "logs" / "r1-1" / "pid").read_text().split()[0]))
            os.kill(seen[0], signal.SIGKILL)

    with pytest.raises(StepFailed) as error:
        container.follow(on_line=kill_wrapper)

    assert "INIT-012" == error.value.id
    assert (["before", "after"], 1) == (container.lines, container.executions)


def test_an_orphaned_init_that_ends_well_is_no_failure(container):
    """R2b.5: the wrapper is killed, the script goes on to its banner: judged by what it left."""
    container.says(f"echo before; sleep 1; {BANNER}")

    def kill_wrapper(line):
        if line == "before":
            pid = (container.home / "logs" / "r1-1" / "pid").read_text().split()[0]
            os.kill(int(pid), signal.SIGKILL)

    result = container.follow(on_line=kill_wrapper)

    assert (None, 1) == (result.status, container.executions)
    assert "without an exit status although it had ended with its banner" in result.warning


def test_a_status_after_the_banner_is_a_warning(container):
    """R1.2: exit 3, the banner seen; MetaDB is asked by the step."""
    container.says(f"{BANNER}; (exit 3)")
    result = container.follow()

    assert (3, False) == (result.status, result.adopted)
    assert "with status 3 although" in result.warning


@pytest.mark.parametrize("place", ["logs", "logs/r1-1"])
def test_a_link_in_place_of_the_attempt_is_not_followed(container, place):
    """R4: users of the image may write on the logs mount, and what runs there is root."""
    target = container.home / "elsewhere"
    target.mkdir()
    (container.home / place).parent.mkdir(exist_ok=True)
    (container.home / place).symlink_to(target)
    with pytest.raises(StepFailed):
        container.follow()

    assert ([], 0) == (list(target.iterdir()), container.executions)


def test_a_file_in_the_attempt_that_is_a_link_is_not_read(container):
    """R4: it would show any file of the node on the operator's screen."""
    container.says(f"sleep 1; {BANNER}")
    secret = container.home / "shadow"
    secret.write_text("root:x\n")

    def plant() -> None:
        wait_for((container.home / "logs" / "r1-1" / "output").exists)
        (container.home / "logs" / "r1-1" / "refused").symlink_to(secret)

    planting = threading.Thread(target=plant)
    planting.start()
    result = container.follow()
    planting.join()
    shell = container.sshd.shell()
    seen = shell.run(words.poll(str(container.home / "logs" / "r1-1"), 0, 100)).out

    assert (0, False) == (result.status, "root:x" in seen)


HANGS = (
    "echo before; trap '' TERM; "
    "setsid sh -c 'trap \"\" TERM; sleep 601' & sh -c 'sleep 602' & sleep 603"
)


def test_a_hung_init_is_ended_on_request_with_all_its_children(container):
    """R1.5: the script and what it began, sessions of their own included; its lock is free.

    An attempt below another directory is somebody else's: a lab beside these tests, say."""
    container.says(HANGS)
    elsewhere = {**os.environ, "OMSFAB_ATTEMPT": "/elsewhere/omsfab/r1-1"}
    other = subprocess.Popen(["sleep", "604"], env=elsewhere)
    with pytest.raises(OutcomeUnknown):
        container.follow(job={"limit": 0.5}, ending=fab("run.resume", stop_init=True))
    with pytest.raises(Ended) as ended:
        container.follow(stop=True)
    left = subprocess.run(["pgrep", "-f", "sleep 60[1-3]$"], capture_output=True, check=False)
    container.says(f"rmdir {container.home}/running 2>/dev/null; {BANNER}")
    (container.home / "running").rmdir()
    try:
        assert ("INIT-012", 1, None) == (ended.value.id, left.returncode, other.poll())
        assert 0 == container.follow("r1-2").status
    finally:
        other.kill()
        other.wait()


def test_the_screen_says_how_to_end_one_that_hangs(container):
    """R1.5: at once where an earlier session began it, and later on where it takes long."""
    container.says(f"echo working; {UNTIL_LET_GO}; {BANNER}")
    with pytest.raises(OutcomeUnknown) as error:
        container.follow(job={"limit": 0.5}, ending=fab("run.resume", stop_init=True))
    container.states.clear()
    with pytest.raises(OutcomeUnknown):
        container.follow(job={"limit": 0.5}, ending=fab("run.resume", stop_init=True))
    (container.home / "go").touch()
    said = [state for state in container.states if "to end it: fab run.resume --stop-init" in state]

    assert ("fab run.resume --stop-init",) == tuple(map(str, error.value.next))
    assert "is running since" in said[0]
    assert "last line: working" in said[0]
    assert 0 == container.follow().status


def test_who_waits_for_the_end_of_one_is_told_at_once_how_to_end_it(container):
    """R1.5: run.undo waited for fifteen minutes, and the screen never said how not to."""
    container.says(f"echo half done; {UNTIL_LET_GO}; {BANNER}")
    with pytest.raises(OutcomeUnknown):
        container.follow(job={"limit": 0})
    ending, job = fab("run.undo", run="r1", stop_init=True), container.job
    wait_for(lambda: "half done" in (container.home / "logs" / "r1-1" / "output").read_text())

    still = wait_over(
        container.sshd.shell(), replace(job, limit=0), container.states.append, ending, QUICK
    )
    container.states.clear()

    def let_go(text):
        container.states.append(text)
        (container.home / "go").touch()

    over = wait_over(container.sshd.shell(), job, let_go, ending, QUICK)

    told = container.states[0]
    assert told.startswith(f"{container.script.name} runs (pid ")
    assert "last line: half done; " in told
    assert told.endswith(" s waited; to end it: fab run.undo --run=r1 --stop-init")
    assert (True, None) == ("half done" in (still or ""), over)


def test_the_limit_ends_the_waiting_and_not_the_job(container):
    """C09: exit 7 at the limit; the job goes on and the next call gets its end."""
    container.says(f"sleep 2; {BANNER}")
    with pytest.raises(OutcomeUnknown) as error:
        container.follow(job={"limit": 0.5})

    assert ("INIT-022", 7) == (error.value.id, error.value.exit_code)
    assert 0 == container.follow().status
    assert 1 == container.executions


def test_long_waits_show_that_they_live(container):
    """C09: bytes, last line and elapsed time, then a notice and a warning, once each."""
    container.says(f"echo working; {UNTIL_LET_GO}; {BANNER}")

    def let_go() -> None:
        wait_for(lambda: any("warning:" in state for state in container.states))
        time.sleep(1)  # once more would come by now
        (container.home / "go").touch()

    waiting = threading.Thread(target=let_go)
    waiting.start()
    container.follow(pace=replace(QUICK, beat=0.2, notice=0.3, warn=0.6))
    waiting.join()
    states = "\n".join(container.states)

    assert "8 bytes, last line: working" in states
    assert (1, 1) == (states.count("notice:"), states.count("warning:"))


def test_a_job_that_ended_long_ago_is_read_to_its_end(container):
    """N11 and a resume on the next morning: more output than one look brings, no time-out."""
    container.says(f"yes x | head -c 300000; {UNTIL_LET_GO}; {BANNER}")
    pace = replace(QUICK, chunk=100_000)
    with pytest.raises(OutcomeUnknown):
        container.follow(job={"limit": 0}, pace=pace)
    (container.home / "go").touch()
    wait_for(lambda: (container.home / "logs" / "r1-1" / "status").exists())

    assert 0 == container.follow(job={"limit": 0}, pace=pace).status


def test_a_clock_that_was_set_back_is_not_waited_for(container):
    """The container seems to begin in the future: auto waits as long as always, and no longer."""
    container.in_container(-7200, "supervisord started")
    result = container.follow(job={"init": "auto"}, pace=replace(QUICK, settle=0.2, entry=0.2))

    assert (0, 1) == (result.status, container.executions)


@pytest.mark.parametrize("secret", ["init", "步", " ", "执行成功"])
def test_a_secret_within_the_banner_does_not_hide_it(container, secret):
    """What decides is read as it came, whatever is masked of it (how: unit/test_secrets)."""
    container.says(BANNER)

    assert 0 == container.follow(secrets=(Secret(secret),)).status


def test_steps_are_announced(container):
    """`step 3 of 5: …`, with the script's own words."""
    container.says(f"echo '# 【步骤三】创建 OMS 各组件的配置文件'; {BANNER}")
    container.follow()

    assert "step 3 of 5: 创建 OMS 各组件的配置文件" in container.states


def test_secrets_are_hidden_from_lines_and_evidence(container):
    """C10: the screen and the journal never see them; the log on the node is 0600."""
    container.says("echo password is CANARY-7f3; exit 1")
    with pytest.raises(StepFailed) as error:
        container.follow(secrets=(Secret("CANARY-7f3"), Secret("")))

    assert ["password is ****"] == container.lines
    assert "CANARY" not in error.value.render()


def test_a_flood_is_skipped_in_the_middle(container):
    """N11: the log stays on the node whole; what decides is found also in what was skipped."""
    container.says(f"echo first; yes x | head -c 3000000; echo 'init failed!'; "
                   f"yes y | head -c 3000000; {UNTIL_LET_GO}; echo last; {BANNER}")  # fmt: skip
    pace = replace(QUICK, chunk=200_000, whole=400_000, tail=200_000)
    shell = container.sshd.shell()
    with pytest.raises(OutcomeUnknown):
        container.follow(job={"limit": 0})
    (container.home / "go").touch()
    wait_for(lambda: (container.home / "logs" / "r1-1" / "status").exists())
    container.lines.clear()
    container.states.clear()
    with pytest.raises(StepFailed) as error:
        container.follow(shell=shell, pace=pace)

    assert "INIT-011" == error.value.id
    assert ("first", "last") == (container.lines[0], container.lines[-2])
    assert [1] == [sum("bytes of output skipped" in text for text in container.states)]
    assert sum(map(len, container.lines)) < 1_000_000


def test_characters_cut_by_a_poll_are_whole(container):
    """C07: bytes are joined before they are decoded, wherever a poll ends."""
    container.says(f"echo 你好世界; {BANNER}")
    container.follow(pace=replace(QUICK, chunk=2))

    assert ["你好世界", "# 【结束】全部初始化步骤执行成功"] == container.lines


def test_auto_does_not_start_what_has_run_by_itself(container):
    """oms-facts 2.6: a line of the log says it all; newer images initialise themselves."""
    container.in_container(60, words.STARTED)
    result = container.follow(job={"init": "auto"})

    assert (True, 0) == (result.adopted, container.executions)


def test_auto_does_not_believe_an_init_without_evidence(container):
    """R2.1: one that is not ours has ended, and nothing says how: ours runs afterwards."""
    container.says(f"sleep 1; {BANNER}")
    byhand = subprocess.Popen(["bash", str(container.script)])
    wait_for(lambda: container.executions)
    result = container.follow(job={"init": "auto"})
    byhand.wait()

    assert (False, 2, False) == (result.adopted, container.executions, container.overlaps)


def test_auto_does_not_adopt_an_init_that_says_it_failed(container):
    """R2.1: shown with a self-initialising image: `init failed!`, and the run ended all green."""
    container.says("sleep 1; echo 'init failed!' >docker_init.log; false")
    byhand = subprocess.Popen(["bash", str(container.script)])
    wait_for(lambda: container.executions)
    with pytest.raises(StepFailed):
        container.follow(job={"init": "auto"})
    byhand.wait()

    assert (2, False) == (container.executions, container.overlaps)


def test_auto_waits_for_a_running_init_and_adopts_it(container):
    """C08 with `auto`: on evidence, its log; no second one is started beside it."""
    container.says(f"sleep 1; {BANNER} | tee docker_init.log")
    byhand = subprocess.Popen(["bash", str(container.script)])
    wait_for(lambda: container.executions)
    result = container.follow(job={"init": "auto"})

    assert (True, 0) == (result.adopted, byhand.wait())
    assert (1, False) == (container.executions, container.overlaps)


def test_auto_starts_where_nothing_happens_by_itself(container):
    """Older images do not; one that is old enough is not waited for."""
    result = container.follow(job={"init": "auto"})

    assert (False, 1) == (result.adopted, container.executions)


def test_auto_gives_a_young_container_time(container):
    """Its own init begins a moment after the start; it is found, not doubled."""
    container.in_container(0, "starting")
    container.says(f"sleep 1; {BANNER} | tee docker_init.log")
    timer = threading.Timer(0.7, lambda: subprocess.Popen(["bash", str(container.script)]).wait())
    timer.start()
    result = container.follow(job={"init": "auto"}, pace=replace(QUICK, settle=5, entry=5))
    timer.join()

    assert (True, 1, False) == (result.adopted, container.executions, container.overlaps)


@pytest.mark.parametrize(
    ("job", "pace", "told"),
    [
        ({}, {"pending": 7200}, "/self.sh runs, which mentions"),
        ({"itself": True}, {"pending": 0, "itself": 7200}, "runs, which mentions"),
    ],
    ids=["who will begin it runs", "an image that is known to do so"],
)
def test_auto_waits_for_an_initialisation_that_is_to_come(container, job, pace, told):
    """A slow machine: nothing of docker_init.sh is to be seen yet.  From 4.2.11 on its sign is
    waited for however old the container is."""
    container.in_container(3600, "starting")
    container.says(f"{BANNER} | tee docker_init.log")
    (container.home / "self.sh").write_text(f"{UNTIL_LET_GO}\nbash {container.script}\n")

    def seen() -> bool:
        return any(told in state for state in container.states)

    def let_go() -> None:
        wait_for(seen)
        (container.home / "go").touch()

    starting = subprocess.Popen(["bash", "self.sh"], cwd=container.home)
    waiting = threading.Thread(target=let_go)
    waiting.start()
    result = container.follow(job={"init": "auto", **job}, pace=replace(QUICK, **pace))
    waiting.join()
    (container.home / "go").touch()

    assert (True, 0, True) == (result.adopted, starting.wait(), seen())
    assert (1, False) == (container.executions, container.overlaps)


def test_always_starts_whatever_the_container_has_done_by_itself(container):
    """`init: always` is an order: nothing is watched first, and nothing is adopted."""
    container.in_container(60, words.STARTED)
    result = container.follow(job={"init": "always"})

    assert (False, 1) == (result.adopted, container.executions)


def test_never_only_waits(container):
    """INIT-016 when nothing comes; nothing was started."""
    with pytest.raises(StepFailed) as error:
        container.follow(job={"init": "never", "limit": 0.5})

    assert ("INIT-016", 0) == (error.value.id, container.executions)


def test_a_container_that_is_down_is_told_in_the_engines_words(container):
    """INIT-013 with docker's own text."""
    (container.sshd.home / "bin" / "docker").write_text(
        "#!/bin/sh\necho 'Error: Container oms_423 is not running' >&2; exit 1\n"
    )
    with pytest.raises(StepFailed) as error:
        container.follow()

    assert "INIT-013" == error.value.id
    assert "Error: Container oms_423 is not running" == error.value.evidence


@pytest.mark.parametrize(("init", "stops"), [("always", 1), ("auto", 0)])
def test_a_container_that_is_down_is_started_first(container, init, stops):
    """A power cut: docker run had no --restart.  Where programs had been stopped they are again."""
    inspect = container.sshd.home / "inspect"
    inspect.write_text(inspect.read_text().replace("true", "false"))
    supervisorctl = container.sshd.home / "bin" / "supervisorctl"
    supervisorctl.write_text("#!/bin/sh\necho 7\n")  # the pid of supervisord
    supervisorctl.chmod(0o755)
    asked = container.sshd.home / "asked"
    asked.unlink(missing_ok=True)

    container.follow(job={"init": init})
    container.follow("r1-2", job={"init": init})

    said = asked.read_text().splitlines()
    assert (2, 1) == (container.executions, said.count(f"start {container.job.container}"))
    assert stops == sum(line.endswith("supervisorctl stop all") for line in said)
    assert [f"{container.job.container} was down, and is started"] == container.states[:1]


def test_a_node_that_stays_away_leaves_the_outcome_open(lonely):
    """N02: INIT-021 exit 7 after its patience; healed, the same call ends well."""
    lonely.says(f"echo one; sleep 2; {BANNER}")
    server = lonely.sshd

    with pytest.raises(OutcomeUnknown) as error:
        lonely.follow(on_line=lambda line: server.stop(), pace=replace(QUICK, away=0.5))
    server.start()

    assert ("INIT-021", 7) == (error.value.id, error.value.exit_code)
    assert (0, 1) == (lonely.follow().status, lonely.executions)


def test_without_flock_the_lock_is_a_directory(lonely):
    """Not every image has util-linux; a lock whose owner died is taken over."""
    tools = lonely.sshd.home / "tools"
    tools.mkdir()
    for directory in ("/bin", "/usr/bin"):
        for tool in Path(directory).iterdir():
            if tool.name != "flock" and not (tools / tool.name).is_symlink():
                (tools / tool.name).symlink_to(tool)
    path = f"PATH={lonely.sshd.home}/bin:{tools}"
    (lonely.sshd.user / ".bashrc").write_text(f"{path}\n")
    stale = lonely.home / "logs" / "init.lock.d"
    stale.mkdir(parents=True)
    (stale / "owner").write_text("1 12345\n")
    missing = lonely.sshd.shell().run(script("command -v flock")).status
    result = lonely.follow()

    assert (127, 0, 1) == (missing, result.status, lonely.executions)
    assert not stale.exists()


def test_ctrl_c_touches_nothing(container):
    """J04: KeyboardInterrupt passes through; the job goes on and ends well."""

    def interrupt(line):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        container.follow(on_line=interrupt)
    container.lines.clear()

    assert 0 == container.follow().status
    assert ([f"tick {n}" for n in range(1, 7)], 1) == (
        container.lines[:-1],
        container.executions,
    )
