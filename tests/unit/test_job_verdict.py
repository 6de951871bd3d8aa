"""When docker_init.sh has succeeded, by its own words.  Texts: OMS CE docs, zh and en pages."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace

import pytest

from omsfab.commands import init_job as words
from omsfab.errors import Mismatch, OmsfabError, StepFailed
from omsfab.next_line import fab
from omsfab.plan.records import Job
from omsfab.run.engine.init_job import Pace, Poll, SelfInit, parse, parse_itself, wait_over
from omsfab.run.engine.init_output import Reading, Well, verdict
from omsfab.ssh.protocol import Result

ZH = "# 【结束】全部初始化步骤执行成功"
EN = "# [Completed] All initialization steps are executed."


def judged(status: int | None, *lines: str, flag: bool = False) -> Well | OmsfabError:
    reading = Reading()
    for line in lines:
        reading.line(line, line)
    return verdict(
        status, reading, flag=flag, script="docker_init.sh", node="oms1", log="/a/output"
    )


def id_of(says: Well | OmsfabError) -> str:
    return says.id if isinstance(says, OmsfabError) else "success"


@pytest.mark.parametrize(
    "line",
    [
        ZH,
        EN,
        EN.removesuffix("."),
        EN.upper(),
        f"\x1b[32m{ZH}\x1b[0m",
        f"  ##  {ZH}  \r",
        f"99 %\r{ZH}",
        "【结束】全部初始化步骤执行成功",
        f"{ZH}！",
        f"{ZH}。",
        f"{ZH}----",
        f"---- {ZH} ----",
        f"| {ZH} |",
        "*** 【结束】全部初始化步骤执行成功 ***",
        "+ 【结束】全部初始化步骤执行成功 +",
        "【 结束 】全部初始化步骤 执行成功",
        "2022-11-17 15:52:24,146-Oms-INFO units.docker_init.112 :【结束】全部初始化步骤执行成功",
        f"2026-11-22T10:00:00.123Z INFO  root docker_init: {ZH}",
        f"[INFO] {EN.removesuffix('.')}!",
        f"{ZH}，耗时 132 秒",
        f"{EN} (took 132 s)",
    ],
)
def test_the_banner_counts_in_every_dress(line):
    """C07, R4: Chinese or English, with ANSI, CR, a frame, other signs, or a log's prefix."""
    assert Well("docker_init.sh ended with its banner") == judged(0, line)


@pytest.mark.parametrize(
    "line",
    [
        f"+ echo '{ZH}'",
        f"++ echo {EN}",
        f'echo "{EN}"',
        f"{ZH} (not yet)",
        f"waiting for {EN}",
        "【结束】",
        "[Completed] All initialization steps",
        "",
        f"10:00:01 + echo '{ZH}'",
        f"+docker_init.sh:99: echo '{ZH}'",
        f"+ zh='{ZH}'",
        f'zh="{ZH}"',
        "+ echo 【结束】全部初始化步骤执行成功",
        "grep -q 【结束】全部初始化步骤执行成功 /a/output",
        f"2022-11-17 15:52:24 INFO waiting for {ZH}",
        "[ERROR] not all initialization steps are executed",
        "未全部初始化步骤执行成功",
    ],
)
def test_only_the_whole_line_is_the_banner(line):
    """C07: an echo of the script's own text is no banner, nor is a sentence about it."""
    assert "INIT-015" == id_of(judged(0, line))


def test_exit_0_without_banner_is_a_mismatch():
    """C04: the exit status alone says nothing."""
    error = judged(0, "all quiet")

    assert isinstance(error, Mismatch)
    assert "docker_init.sh exited 0 without completion banner" == error.what


@pytest.mark.parametrize("status", [1, 2, 127, 143, None])
def test_a_status_is_told_and_the_banner_counts(status):
    """R1.2: the vendor's code says that the status is not reliable; MetaDB has the last word."""
    says = judged(status, ZH)

    assert isinstance(says, Well)
    assert "although it had ended with its banner" in says.warning


def test_a_fresh_flag_file_counts_as_well():
    """R1.2: vendor's code trusts /root/init_flag.txt of this very attempt."""
    assert "success" == id_of(judged(0, "all quiet", flag=True))
    assert "success" == id_of(judged(3, "all quiet", flag=True))
    assert "INIT-011" == id_of(judged(0, "init failed!", flag=True))
    assert "INIT-015" == id_of(judged(0, "Traceback (most recent call last):", flag=True))


def test_what_follows_the_banner_counts():
    """R1.2: a traceback before it was survived, one behind it was not."""
    trace = "Traceback (most recent call last):"

    assert "success" == id_of(judged(0, trace, ZH))
    assert "INIT-011" == id_of(judged(0, ZH, trace))


def test_init_failed_wins_over_status_and_banner():
    """oms-facts 2.2: the exit status is not reliable, `init failed!` is."""
    for lines in (
        ("init failed!", ZH),
        (ZH, "init failed!"),
        ("2026-11-22 ERROR Init failed!", ZH),
    ):
        error = judged(0, *lines)

        assert isinstance(error, StepFailed)
        assert ("INIT-011", True) == (error.id, error.proven)


def test_what_nothing_says_can_be_accepted():
    """The operator has the last word, unless the script itself has said that it failed."""
    silent, said = judged(3, "quiet"), judged(3, "init failed!")

    assert isinstance(silent, OmsfabError)
    assert isinstance(said, OmsfabError)
    assert (("INIT-011",), ()) == (silent.open_ids, said.open_ids)


@pytest.mark.parametrize(
    "line",
    [
        "oms_console: ERROR (not running)",
        "ERROR 1235 (0A000): Modify large text/lob column not supported",
        "+ echo 'init failed!'",
        "+ '[' 0 -ne 0 ']' || echo init failed!",
    ],
)
def test_what_looks_like_an_error_and_is_none(line):
    """oms-facts 2.2: both are to be ignored after `supervisorctl stop all` and on OceanBase."""
    assert "success" == id_of(judged(0, line, ZH))


@pytest.mark.parametrize(("status", "signal"), [(137, 9), (143, 15), (129, 1)])
def test_a_signal_is_named(status, signal):
    """C01: exit status 137 is signal 9."""
    error = judged(status, "步骤")

    assert isinstance(error, StepFailed)
    assert f"INIT-012 docker_init.sh ended by signal {signal}" == str(error)


def test_a_bar_of_progress_is_told_by_its_end():
    """One line of megabytes, with carriage returns: what stood there last, and not too much."""
    reading = Reading()
    bar = "\r".join(f"{n} %" for n in range(100_000))
    reading.line(bar, bar)
    reading.line("x" * 100_000, "x" * 100_000)

    assert ["99999 %", 500] == [reading.last[0], len(reading.last[1])]


def test_the_last_lines_are_evidence():
    """The operator sees where the log is and how it ended, without looking for it."""
    error = judged(1, *(f"line {n}" for n in range(100)))

    assert isinstance(error, OmsfabError)
    assert ["oms1:/a/output", "line 80"] == error.evidence.splitlines()[:2]
    assert "line 99" == error.evidence.splitlines()[-1]


def test_steps_are_seen_in_both_languages():
    """The five headers of the docs; a traced echo of one is none."""
    reading = Reading()
    begun = [
        (reading.line(line, line), reading.step, reading.title)
        for line in (
            "# 【步骤一】校验 config.yaml 配置文件",
            "-" * 195,
            "+ echo '# 【步骤二】创建 OMS 元信息库'",
            "# [Step 4] Restart all OMS components.",
            "# 【步骤五】初始化 OMS 资源标签和资源组",
        )
    ]

    assert [
        (True, 1, "校验 config.yaml 配置文件"),
        (False, 1, "校验 config.yaml 配置文件"),
        (False, 1, "校验 config.yaml 配置文件"),
        (True, 4, "Restart all OMS components."),
        (True, 5, "初始化 OMS 资源标签和资源组"),
    ] == begun


def test_a_poll_is_read_back():
    """Bytes stand in base64, so half a character does no harm."""
    text = "claimed 12\npid 7 4711\nstatus 0\nsize 5\nbytes 5L2g5Q==\n"
    expected = Poll(age=12.0, pid=("7", "4711"), status=0, size=5, data=b"\xe4\xbd\xa0\xe5")

    assert expected == parse(text)
    assert Poll() == parse("")
    assert Poll(refused="812 since Sun Nov 22 10:02:11 2026") == parse(
        "refused 812 since Sun Nov 22 10:02:11 2026\n"
    )


UP = "state true 2026-11-22T10:00:00.123456789Z\nnow 1795341660\n"  # 10:01:00


def test_a_container_that_initialised_itself_is_recognised():
    """oms-facts 2.6: a line of `docker logs`, a fresh flag file, or the banner in its log."""
    logs = f"log 2026-11-22 10:00:40,001 INFO {words.STARTED}\n"
    banner = f"initlog 1795341620\nsaid {ZH}\n"

    assert "docker logs have `OMS service start successfully`" == parse_itself(UP + logs).done
    assert "" == parse_itself(UP + f"log waiting for: {words.STARTED}\n").done
    assert "/root/init_flag.txt is there" == parse_itself(UP + "flag 1795341620\n").done
    assert "its docker_init.log has the banner" == parse_itself(UP + banner).done


def test_what_failed_last_has_not_succeeded_before():
    """R2.1: `init failed!` in the newest log of this start outweighs flag and log line."""
    failed = "initlog 1795341620\nsaid init failed!\n"
    own = parse_itself(UP + f"flag 1795341620\nlog {words.STARTED}\n{failed}")

    assert ("", "init failed!") == (own.done, own.failed)


def test_a_flag_from_before_the_start_proves_nothing():
    """A restarted container still has the flag of its first initialisation."""
    old = f"flag 1795330000\ninitlog 1795330000\nsaid {ZH}\n"

    assert SelfInit(up=True, age=60.0) == parse_itself(UP + old)


def test_a_step_of_its_own_start_is_no_initialisation():
    """R2.1: the entry of 3.3.x runs a unit at each start."""
    own = parse_itself(UP + "running 9 since Sun Nov 22 10:00:02 2026, unit\n")

    assert ("", "9 since Sun Nov 22 10:00:02 2026, unit") == (own.running, own.unit)


def test_a_running_initialisation_is_named():
    """C08: pid and since when; `entry` says that the image means to do it."""
    own = parse_itself(UP + "running 812 since Sun Nov 22 10:00:02 2026\nentry\n")

    assert "812 since Sun Nov 22 10:00:02 2026" == own.running
    assert own.mentioned


@pytest.mark.parametrize(
    ("now", "more", "over"),
    [
        (1795341603, "", False),  # 3 s old
        (1795341603, "programs 3\n", False),
        (1795341606, "", False),  # 6 s, and its entry is still at work
        (1795341606, "programs 2\n", False),
        (1795341606, "programs 6\n", True),
        (1795341606, "programs 6\nentry\n", False),
        (1795341606, "programs 6\npending 9 /root/docker_self.sh\n", False),
        (1795341661, "", True),  # a minute
        (1795341661, "programs 60\nentry\n", True),
        (1795341661, "programs 60\npending 9 /root/docker_self.sh\n", False),
        (1795341901, "programs 300\npending 9 /root/watch.sh\n", True),  # five
    ],
)
def test_a_start_is_over_by_what_is_seen_of_it(now, more, over):
    """On a slow machine five seconds are nothing: supervisord must have begun its programs, and no
    script that mentions docker_init.sh may run; a limit ends the wait for what says nothing."""
    own = parse_itself(f"state true 2026-11-22T10:00:00.123456789Z\nnow {now}\n{more}")

    assert over is own.over(Pace(), waited=0)


def test_the_job_starts_detached_without_terminal():
    """J04: no -i, no -t, no `&`: nothing of the session can end it."""
    argv = ("bash", "/root/docker_init.sh")
    inside, lock = "/home/admin/logs/omsfab/r1-1", "/home/admin/logs/lock"
    cmd = words.start("oms_423", inside, "0", lock, argv)

    assert (
        "docker", "exec", "-d", "oms_423",
        "sh", "-c", words.WRAPPER, "omsfab", "/home/admin/logs/omsfab/r1-1", "0",
        "/home/admin/logs/lock", "docker_init.sh", "omsflow.scripts.units",
        "bash", "/root/docker_init.sh",
    ) == cmd.argv  # fmt: skip


def test_frames_take_no_line_of_the_evidence():
    """Of twenty last lines, six were dashes of 195 columns, three lines of a screen each."""
    reading = Reading()
    for line in ("-" * 195, "# 【步骤三】创建 OMS 各组件的配置文件", "-" * 195, "init failed!"):
        reading.line(line, line)

    assert ["# 【步骤三】创建 OMS 各组件的配置文件", "init failed!"] == list(reading.last)


@pytest.mark.parametrize(
    ("content", "younger", "fresh"),
    [("done", True, True), ("", True, False), ("done", False, False), (None, True, False)],
)
def test_a_flag_file_is_fresh_if_it_is_of_this_attempt_and_not_empty(
    tmp_path, content, younger, fresh
):
    """R1.2: as the vendor's code trusts it: made since, and with something in it."""
    flag, claim = tmp_path / "init_flag.txt", tmp_path / "attempt" / "claim"
    claim.mkdir(parents=True)
    os.utime(claim, (1000, 1000))
    if content is not None:
        flag.write_text(content)
        os.utime(flag, (1001, 1001) if younger else (999, 999))
    asked = words.look("oms", "", "", ("bash", "/root/docker_init.sh"), attempt=str(claim.parent))
    argv = [str(flag) if word == words.FLAG else word for word in asked.argv[3:]]

    said = subprocess.check_output(argv, text=True).splitlines()

    assert fresh is ("fresh" in said)


def test_a_docker_that_does_not_answer_is_told_as_that():
    """Nobody knows what runs in it then, and --stop-init would end nothing."""
    away = Result(1, "", "Cannot connect to the Docker daemon at unix:///var/run/docker.sock.")
    answers, told = [away, Result(0, "", "")], []
    shell = SimpleNamespace(node="oms1", run=lambda cmd: answers.pop(0))
    job = Job("oms_427", ("bash", "/root/docker_init.sh"), "/logs", "/home/admin/logs")

    over = wait_over(shell, job, told.append, fab("run.undo", stop_init=True), Pace(slowest=0))

    assert (None, 1) == (over, len(told))
    assert told[0].startswith("docker does not answer, so nobody knows whether docker_init.sh runs")
    assert "--stop-init" not in told[0]
