"""The fab tree as an operator meets it: documented, without contact where promised."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import paramiko
import pytest

from omsfab.cli import fleet, rows
from omsfab.errors import InputError
from omsfab.fleet import image_package
from omsfab.run import lifecycle
from omsfab.run.session import Flags, Session
from omsfab.run.start import start
from tasks import guarded, namespace

ROOT = Path(__file__).parents[2]
FAB = Path(sys.executable).with_name("fab")
COMMANDS = ROOT / "docs" / "commands.md"


REMOVAL = """

## omsfab, and completion

`scripts/omsfab` (`.venv/bin/omsfab` once `scripts/setup` has run) is the same tree as a program of
its own: it works in any directory, `omsfab --list` groups the tasks, `omsfab --version` tells the
version, `--hosts` may stand anywhere, and what is misspelt (task, flag, node, region, run) is told
with what was probably meant, exit status 2. `!` marks what stops, restarts or deletes something.

Names of tasks, flags, nodes, regions and runs are completed by Tab, out of the hosts file, without
contact and without any secret:

```sh
source <(omsfab --print-completion-script=bash)   # in ~/.bashrc
source <(omsfab --print-completion-script=zsh)    # in ~/.zshrc, behind compinit
```

## What stays in the MetaDB

Locks and markers of runs stand in tables `omsfab_lease` and `omsfab_marker` of `drc_rm_db` (a few
rows); a schema `omsfab` has them from before the first deployment, or from a former version. When
no run is under way (`fab lock.show`, `fab run.list`) and none is to be rolled back any more,
`fab fleet.forget` removes them, or a DBA by hand:

```sql
select cluster, run_id, owner, expires from omsfab_lease;  -- in drc_rm_db; run_id must be empty
drop table omsfab_lease, omsfab_marker;
drop database if exists omsfab;
```
"""


def reference() -> str:
    """The reference of all tasks, out of the tasks themselves."""
    lines = [
        "# Commands",
        "",
        "Made from the tasks (`OMSFAB_REWRITE=1 scripts/test tests/unit/test_surface.py`).",
        "Common to all that may change something: `--plan` asks the live fleet and changes"
        " nothing, `--yes` does not ask (else one sentence says what is stopped, deleted and added,"
        " and wants a yes; scale.out and run.undo want the region's name where they stop OMS or"
        " touch rows), `--json` tells events as JSON lines, with `--plan` or `--dry` the plan as"
        " one object ([json.md](json.md)), `--verbose` tells every step of a plan and every line"
        " of output;",
        "`fab --dry TASK` prints the plan without contact. `node.*` take `--node`, or `fab -H`"
        " with names or addresses of hosts.yaml.",
        "Which file is read: `--hosts FILE` behind the task, else `$OMSFAB_HOSTS`, else"
        " `hosts.local.yaml` beside hosts.yaml (git ignores it), else hosts.yaml; the first line of"
        " each screen names it, on standard error.",
        "",
        "| task | what it does | flags of its own |",
        "|---|---|---|",
    ]
    for name in sorted(namespace.task_names):
        task = namespace[name]
        arguments = sorted(task.get_arguments(), key=lambda one: one.name)
        names = {argument.name for argument in arguments}
        common = {"node", "hosts"}
        common |= {"plan", "yes", "json", "verbose"} if {"plan", "yes"} <= names else set()
        flags = [
            f"`--{argument.name.strip('_').replace('_', '-')}` {argument.help or ''}".strip()
            for argument in arguments
            if argument.name not in common
        ]
        flags = [flag.replace("|", "\\|") for flag in flags]
        said = " ".join((task.__doc__ or "").split("\n\n")[0].split())
        lines.append(f"| `{name}` | {said} | {', '.join(flags)} |")
    return "\n".join(lines) + REMOVAL


SAID = reference()
"""Before any test: whoever asks a task for its flags uses their help up."""


def test_every_task_is_documented():
    """docs/commands.md is what the tasks say of themselves."""
    if os.environ.get("OMSFAB_REWRITE"):
        COMMANDS.write_text(SAID)

    assert SAID == COMMANDS.read_text()


@pytest.mark.parametrize("name", ["scale.out", "oms.deploy"])
def test_dry_makes_no_contact(fleet, monkeypatch, tmp_path, capsys, name):
    """The plan is printed, and no socket was opened."""

    def refuse(*_):
        raise AssertionError("a contact was made")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setenv("OMSFAB_HOME", str(tmp_path))

    start(Session(Flags(dry=True, verbose=True), fleet), name, nodes="", region="")

    assert "docker_init.sh" in capsys.readouterr().out


def test_dry_shows_the_deployment_that_would_run(fleet, package, monkeypatch, tmp_path, capsys):
    """`fab --dry oms.deploy`: where nothing is there yet, the plan is that of the kept text."""
    monkeypatch.setenv("OMSFAB_HOME", str(tmp_path))
    monkeypatch.setattr(image_package, "examine", lambda *_, **__: package)
    install = fleet.install.model_copy(update={"package": Path(package.path)})

    fleet = fleet.model_copy(update={"install": install})
    start(Session(Flags(dry=True, verbose=True), fleet), "oms.deploy")

    head, _, plan = capsys.readouterr().out.partition("\n")
    kept = (ROOT / "tests/unit/plans/deploy.txt").read_text()

    assert head.startswith("ASSUMED (nothing was asked)")
    assert plan.startswith(kept.replace("   because ", "   assuming "))


@pytest.mark.parametrize(
    ("call", "again"),
    [
        (lambda: fleet.check("nope"), "fab fleet.check --region="),
        (lambda: rows.show("nope"), "fab meta.show --region="),
        (lambda: rows.save("nope"), "fab meta.save --region="),
        (lambda: dry("oms.deploy", region="nope"), "fab --dry oms.deploy --region="),
        (lambda: dry("oms.deploy", nodes="nope"), "fab oms.deploy --plan --region="),
        (lambda: dry("scale.out", region="nope"), "fab --dry scale.out --region="),
    ],
)
def test_a_misspelt_region_or_node_leads_back_to_the_task_at_hand(
    monkeypatch, tmp_path, call, again
):
    """The line to paste is the one that was typed, with a region there is."""
    monkeypatch.setenv("OMSFAB_HOSTS", str(ROOT / "tests/unit/good_hosts/one-region.yaml"))
    monkeypatch.setenv("OMS_META_PASSWORD", "x")
    monkeypatch.setenv("OMSFAB_HOME", str(tmp_path))

    with pytest.raises(InputError) as caught:
        call()

    assert caught.value.next[0].line.startswith(f"{again}cn-hangzhou")


def dry(name, **args):
    start(Session(Flags(dry=True)), name, **args)


def test_a_bad_hosts_yaml_ends_with_2_and_no_traceback(tmp_path):
    """Five parts on stderr, exit 2."""
    bad = tmp_path / "hosts.yaml"
    bad.write_text("oms: {}\n")

    done = subprocess.run(
        [str(FAB), "scale.out"],
        cwd=ROOT,
        env=os.environ | {"OMSFAB_HOSTS": str(bad)},
        capture_output=True,
        text=True,
    )

    assert 2 == done.returncode
    assert "INPUT-001" in done.stderr
    assert "Traceback" not in done.stderr


def test_nothing_heavy_is_imported_for_the_list():
    """`fab --list` costs what a bare fab costs: no pydantic, rich, PyMySQL or yaml of ours."""
    code = (
        "import sys, fabric; bare = set(sys.modules); import tasks;"
        "print(sorted(m for m in set(sys.modules) - bare if m.split('.')[0] != 'tasks'))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)

    assert not {"pydantic", "rich", "pymysql"} & {
        word.strip("[]' \n").split(".")[0] for word in done.stdout.split(",")
    }, done.stdout


def test_a_user_without_a_name_goes_by_its_number(monkeypatch, tmp_path):
    """`docker run -u 4242`: the lock has an owner, and ssh_config may speak of users."""
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.setenv(name, "")
    monkeypatch.setattr(os, "getuid", lambda: 4_242_424)
    config = paramiko.SSHConfig.from_text("Match localuser 4242424\n  Port 2222\n")
    asked = guarded(lambda: (lifecycle.owner(tmp_path), config.lookup("oms1")["port"]))

    owner, port = asked()

    assert ("4242424", "2222") == (owner.partition("@")[0], port)


def test_a_command_compiles_omsfab_once(tmp_path):
    """Invoke has Python forget what it compiled: each command then took a third longer."""
    env = {"PYTHONPYCACHEPREFIX": str(tmp_path), "HOME": str(tmp_path), "PATH": os.defpath}

    subprocess.run([FAB, "fleet.schema"], cwd=ROOT, env=env, capture_output=True, check=True)

    assert list(tmp_path.rglob("omsfab/fleet/hosts_file.*.pyc"))
