"""The judge of what is printed to be pasted (omsfab/lab/pasted.py) sees each kind of wrong line."""

from __future__ import annotations

import pytest

from omsfab.lab import pasted


def error(id="X-001", *, changed="nothing", fix="", next="", accept="", findings=""):
    """An error as it is printed."""
    text = f"{id}  it is so\n  where:    oms1\n  changed:  {changed}\n"
    for label, part in (("findings", findings), ("fix", fix), ("next", next), ("accept", accept)):
        if part:
            first, *rest = part.splitlines()
            text += f"  {label + ':':<10}{first}\n" + "".join(f"{'':12}{line}\n" for line in rest)
    return text


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("fab node.exec --node=oms1 --words=echo a; touch X --plan", "node.exec has no --words"),
        ("fab scale.out --nodes=$(reboot)", "unquoted '$'"),
        ("fab scale.out --nodes=a*", "unquoted '*'"),
        ('fab scale.out --nodes="`id`"', "unquoted '`'"),
        ("fab scale.out --nodes=oms2 | tee", "unquoted '|'"),
        ("fab scale.out --nodes='oms2", "no shell reads it"),
        ("ssh oms1 'ls ('", "no shell there reads 'ls ('"),
        ("reboot", "reboot is no program that is known here"),
        ("fab fleet.stauts", "there is no task fleet.stauts"),
        ("fab fleet.status --nodes=oms1", "fleet.status has no --nodes"),
        ("fab scale.out --plan=yes", "--plan of scale.out takes none"),
        ("fab scale.out --nodes", "--nodes of scale.out lacks its value"),
        ("fab run.resume --from=NODE", "--from=NODE is a placeholder"),
        ("fab run.show --run='<run>'", "--run=<run> is a placeholder"),
        ("nc -vz HOST 2881", "'HOST' is a placeholder"),
        ("fab run.abandon", "run.abandon without --run"),
        ("fab node.logs", "node.logs without --node"),
        ("fab meta.show   # then fab meta.restor --file=x", "there is no task meta.restor"),
    ],
)
def test_a_line_that_cannot_be_pasted_is_seen(line, why):
    """What a shell would do with it, what fab would say to it, what nobody has put in its place."""
    assert any(said.startswith(why) for said in pasted.unfit(line)), pasted.unfit(line)


@pytest.mark.parametrize(
    "line",
    [
        "fab scale.out --region=cn-lab --nodes='oms2,oms3' --plan",
        "fab node.exec --node=oms1 --command='echo a; touch X'",
        "fab node.exec --node=oms1 --command=$'a\\nb'",
        "fab --dry -H oms1 node.status",
        "fab run.resume --run=x   # rolls back; or else (look): 'fab run.list'",
        "${EDITOR:-vi} 'hosts file.yaml'",
        "read -rs OMS_PASSWORD && export OMS_PASSWORD",
        "ssh -p 22 root@oms1 'df -h /data; lsattr -d /data'   # is there room?",
        "chmod 600 '/etc/a b'",
    ],
)
def test_a_line_that_can_be_pasted_is_let_through(line):
    """Values in quotes, comments, two commands, the editor."""
    assert () == pasted.unfit(line)


@pytest.mark.parametrize(
    ("asked", "code", "printed", "why"),
    [
        ("scale.out --plan", 3, {"next": "fab oms.deploy --plan"}, ""),
        ("scale.out", 3, {"next": "fab scale.out"}, "is what was asked"),
        ("scale.out --yes", 3, {"next": "fab scale.out --plan"}, "is what was asked"),
        ("scale.out", 3, {"next": "fab scale.out", "fix": "make room"}, ""),
        ("scale.out", 3, {"next": "fab scale.out", "findings": "x\n    fix:    make room"}, ""),
        ("scale.out", 3, {"next": "df -h /data\nfab scale.out"}, ""),
        ("scale.out", 2, {"id": "INPUT-023", "next": "fab scale.out --plan"}, ""),
        ("-H oms1 node.stop", 3, {"next": "fab node.stop --node=oms1"}, "is what was asked"),
        ("run.resume --yes", 6, {"next": "fab run.resume --run=x"}, "is what was asked"),
        ("meta.restore --file=x", 5, {"next": "fab run.resume"}, "nothing to do with"),
        ("node.exec", 3, {"id": "SSH-021", "next": "fab run.resume"}, "nothing to do with"),
        ("scale.out", 3, {"id": "RUN-020", "next": "fab run.resume --run=x"}, ""),
        ("scale.out", 6, {"changed": "oms1: x", "next": "fab run.resume --run=x"}, ""),
        ("node.logs", 2, {"next": "fab node.status --node=oms1"}, "nothing to do with"),
        ("node.logs", 3, {"next": "fab node.status --node=oms1"}, ""),
        ("run.undo --run=a", 2, {"next": "fab run.undo --run=b"}, "another run"),
        ("run.undo --run=a", 3, {"id": "RUN-026", "next": "fab run.undo --run=b"}, ""),
        ("node.status", 3, {"next": "fab node.restart --node=oms1"}, "nothing to do with"),
        ("scale.out", 3, {"fix": "look: fab fleet.stauts", "next": "df -h"}, "no task fleet"),
        ("scale.out", 3, {"fix": "ssh a 'x", "next": "df -h"}, "no shell reads it"),
        ("scale.out", 3, {"next": "df", "accept": "fab scale.out --accept=x y"}, "no --y"),
    ],
)
def test_a_line_that_leads_nowhere_is_seen(asked, code, printed, why):
    """Another task, another run, or the same again with nobody told what to do first."""
    found = pasted.judge("told before\n" + error(**printed), asked.split(), code)

    assert bool(why) == bool(found), found
    assert all(why in text for text in found)


def test_the_last_error_is_the_one_that_is_told():
    """What stands above it is no part of it, nor is what comes behind."""
    text = error("X-001", fix="a") + "\nlog\n" + error("X-002", next="df\nls") + "behind: it\n"

    said = pasted.told(text)

    assert ("X-002", ("df", "ls"), ()) == (said.id, said.part("next"), said.part("fix"))


def test_no_error_no_fault():
    """A task that came to a good end."""
    assert [] == pasted.judge("3 changes\n", ["scale.out"], 0)
