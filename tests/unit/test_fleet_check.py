"""`fab fleet.check` by what is wrong, and `fab fleet.metrics`: for a person, for monitoring."""

from __future__ import annotations

import json
import os
import re
import stat

import pytest

from omsfab.cli import fleet
from omsfab.cli.fleet import State
from omsfab.errors import Finding, SecurityRefusal, Unreachable
from omsfab.fleet import hosts_file
from omsfab.fleet.values import CmUrl
from omsfab.next_line import fab as next_line
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.show.check import check_lines, of_findings
from tests.unit.conftest import IMAGE
from tests.unit.test_fleet_status import node, silent
from tests.unit.test_json import documented, keys
from tests.unit.test_looks_only import HOSTS, fab, place  # noqa: F401  # a fixture

KNOWN = {"oms1": "10.0.0.1", "oms2": "10.0.0.2", "oms10": "10.0.0.10"}


def finding(on, **more):
    said = {
        "id": "HOST-010", "node": on, "what": f"{on} is large enough", "found": "2 CPUs",
        "fix": f"see {KNOWN[on]}\n{next_line('node.check', node=on)}", "weight": "warning",
    }  # fmt: skip
    return Finding(**(said | more))


def test_what_several_nodes_have_in_common_is_told_once_for_all_of_them():
    """In the order of hosts.yaml, whoever answered first; the line to paste names all of them."""
    (group,) = of_findings([finding("oms2"), finding("oms10"), finding("oms1")], KNOWN)

    assert ("oms1", "oms2", "oms10") == group.nodes
    assert group.fix.endswith("fab node.check --node=oms1,oms2,oms10")


def test_words_that_name_the_first_of_several_name_them_all():
    """Who reads them would look at that one alone."""
    (group,) = of_findings(
        [
            finding(
                on,
                found=f"{KNOWN[on]} answers on 8084",
                fix=str(next_line("node.check", node=on, note=f"see daemon.json of {on}")),
            )
            for on in ("oms1", "oms10")
        ],
        KNOWN,
    )

    assert "oms1, oms10 is large enough" == group.what
    assert "10.0.0.1, 10.0.0.10 answers on 8084" == group.found
    assert group.fix.endswith("--node=oms1,oms10   # see daemon.json of oms1, oms10")


@pytest.mark.parametrize("other", [{"found": "3 CPUs"}, {"weight": "hard"}, {"id": "HOST-011"}])
def test_what_differs_in_more_than_the_node_stands_apart(other):
    assert 2 == len(of_findings([finding("oms1"), finding("oms2", **other)], KNOWN))


def test_a_line_that_takes_one_node_says_for_which_others_it_is(tmp_path):
    (group,) = of_findings(
        [finding(on, fix=f"ssh {KNOWN[on]} 'chmod 600 x'") for on in ("oms1", "oms2")], KNOWN
    )

    assert "ssh 10.0.0.1 'chmod 600 x'\nand likewise on oms2" == group.fix


def test_on_a_narrow_terminal_words_are_folded_and_a_line_to_paste_is_not():
    """At 60 columns."""
    line = f"{next_line('node.check', node='oms1')} --accept=ENV-006,IMG-009"
    fix = f"{line}   # first: look at the load there"
    groups = of_findings(
        [finding("oms1", found="a host that has 2 CPUs, and is slower", fix=fix)], KNOWN
    )

    assert [
        "2 nodes, 31 checks: 1 warning",
        "! HOST-010  oms1  oms1 is large enough",
        "                  found: a host that has 2 CPUs, and is",
        "                           slower",
        f"                  fix: {fix}",
    ] == list(check_lines(groups, 2, 31, 0, [], 60))


def test_the_hard_stands_above_the_warning_and_the_count_above_all():
    groups = of_findings([finding("oms1"), finding("oms2", weight="hard", what="x")], KNOWN)

    lines = list(check_lines(groups, 2, 31, 5, []))

    assert "2 nodes, 31 checks: 1 would stop a run, 1 warning" == lines[0]
    assert ["✗ HOST-010", "! HOST-010"] == [x[:10] for x in lines if x[0] in "✗!"]
    assert "exit 5" == lines[-1]


@pytest.fixture
def checked(place, monkeypatch, capsys):  # noqa: F811
    """The exit status and what is printed, where nodes and MetaDB would answer so."""

    def check(errors=(), findings=(), present=None, words=()):
        there = {"cn-hangzhou": present or as_wanted()}
        answer = (list(errors), list(findings), there, 40)
        monkeypatch.setattr(fleet, "_compared", lambda *_: answer)
        return fab("fleet.check", *words), capsys.readouterr().out

    return check


def as_wanted(**nodes):
    loaded = hosts_file.load(HOSTS)

    def facts(one):
        return NodeFacts(
            container="running", image=IMAGE, loaded=IMAGE, host_ip=one.ip, config_mode="600",
            binds=tuple(
                f"{path}:{inside}"
                for path, inside in zip(
                    ("/data/config.yaml", "/data/oms/oms_logs", "/data/oms/oms_store",
                     "/data/oms/oms_run"),
                    ("/home/admin/conf/config.yaml", "/home/admin/logs", "/home/ds/store",
                     "/home/ds/run"),
                    strict=True,
                )
            ),
            cm_nodes=loaded.regions[0].ips,
        )  # fmt: skip

    region = loaded.regions[0]
    return Observed(
        clusters={1: CmUrl.read(str(region.cm_url))},
        regions={1: region.name},
        defaults=(1,),
        hosts=dict.fromkeys(region.ips, "ONLINE"),
        nodes={one.name: facts(one) for one in region.nodes} | nodes,
    )


def test_a_fleet_as_wanted_is_one_line(checked):
    assert (0, "2 nodes, 40 checks: as hosts.yaml wants it\n") == checked()


def test_a_difference_stands_with_its_key_its_nodes_and_its_fix(checked):
    down = NodeFacts(container="stopped")

    code, said = checked(present=as_wanted(oms1=down, oms2=down))

    assert 5 == code
    assert re.search(r"container +oms1, oms2 +container oms_427 is stopped", said)
    assert "fix: fab node.start --node=oms1,oms2" in said


def away(on):
    error = Unreachable("SSH-001", f"{on} refused the connection", where=on)
    error.node = on
    return error


def test_a_silent_node_is_exit_3_and_hides_no_difference_of_the_others(checked):
    """It stopped at the first one; and of a node that is silent nothing else is known."""
    present = as_wanted(oms1=NodeFacts(container="stopped"))

    code, said = checked([away("oms2")], [finding("oms2")], present)

    assert 3 == code
    assert "1 not reachable, 1 difference\n" in said
    assert re.search(r"✗ SSH-001 +oms2", said)
    assert "HOST-010" not in said


def test_a_silent_metadb_makes_no_row_a_difference(checked):
    error = Unreachable("DB-001", "MetaDB refused the connection")
    error.node = "metadb"
    nothing = as_wanted()
    nothing = Observed(nodes=nothing.nodes)

    code, said = checked([error], (), nothing)

    assert (3, True) == (code, ": 1 not reachable\n" in said)


def test_a_key_that_forbids_it_keeps_its_own_status(checked):
    error = SecurityRefusal("SSH-009", "unknown key")
    error.node = "oms1"

    assert 10 == checked([error])[0]


def test_as_json_it_is_what_is_documented(checked):
    code, said = checked((), [finding("oms1")], words=["--json"])

    told = json.loads(said)
    assert documented("fab fleet.check --json") == keys(told)
    assert (0, 40, ["oms1"]) == (code, told["checks"], told["groups"][0]["nodes"])


def test_no_finding_shows_the_password(checked):
    """Evidence is what a node said."""
    _, said = checked((), [finding("oms1", found="pw s3cret-pw-of-oms")])
    assert "****" not in said  # it is not the password of this fleet

    os.environ["OMS_META_PASSWORD"] = "s3cret-pw-of-oms"
    for words in ([], ["--json"]):
        _, said = checked((), [finding("oms1", found="pw s3cret-pw-of-oms")], words=words)
        assert "s3cret" not in said
        assert "****" in said


def test_our_own_words_are_not_masked(checked):
    """ "CM asks for no password: whoever gets there commands OMS"."""
    wanted = "CM asks for no password: whoever gets there commands OMS"

    _, said = checked((), [finding("oms1", wanted=wanted)])

    assert wanted in said


# --- fleet.metrics ---


@pytest.fixture
def asked(place, monkeypatch):  # noqa: F811
    """One node is well, one is silent, MetaDB answers."""
    rows = (node(1, beat=3.4), silent(2))
    monkeypatch.setattr(fleet, "ask", lambda loaded: State(rows, vips={"cn-hangzhou": True}))
    return place


def samples(text):
    """Name and labels -> value, read as the format's own grammar has it."""
    found = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
            inner = frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""))
            assert (name, inner) not in found
            found[name, inner] = float(value)
    return found


def test_the_figures_are_those_of_fleet_status(asked, capsys):
    assert 3 == fab("fleet.status", "--json")
    said = json.loads(capsys.readouterr().out)
    assert 0 == fab("fleet.metrics")
    told = samples(capsys.readouterr().out)

    region = frozenset({("region", "cn-hangzhou")})
    first = region | {("node", "oms1"), ("address", "10.0.0.1")}
    second = region | {("node", "oms2"), ("address", "10.0.0.2")}
    assert said["exit"] == told["omsfab_status", frozenset()]
    assert len(said["open_runs"]) == told["omsfab_open_runs", frozenset()]
    assert said["regions"][0]["healthy"] == told["omsfab_region_nodes_healthy", region]
    assert 1 == told["omsfab_region_vip_up", region]
    assert (1, 0) == (told["omsfab_node_up", first], told["omsfab_node_up", second])
    assert 3 == told["omsfab_node_heartbeat_age_seconds", first]
    assert 1 == told["omsfab_program_running", first | {("program", "oms_console")}]
    assert ("omsfab_node_healthy", second) not in told, "what is not known has no sample"


def test_each_metric_is_declared_before_its_samples(asked, capsys):
    fab("fleet.metrics")

    declared = set()
    for line in capsys.readouterr().out.splitlines():
        if line.startswith("# TYPE "):
            declared.add(line.split()[2])
        elif not line.startswith("#"):
            assert re.match(r"\w+", line)[0] in declared


def test_the_file_is_whole_readable_for_the_collector_and_replaced_at_once(asked, monkeypatch):
    """Who reads it sees the former or the new one: it is never written in place."""
    path = asked / "oms.prom"
    path.write_text("the former\n")
    former = path.stat().st_ino
    seen = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda *to: (seen.append(path.read_text()), replace(*to)))

    assert 0 == fab("fleet.metrics", f"--file={path}")

    assert (["the former\n"], 0o644) == (seen, stat.S_IMODE(path.stat().st_mode))
    assert former != path.stat().st_ino
    assert samples(path.read_text())
    assert [] == [one.name for one in asked.iterdir() if one.name.startswith(".oms")]


def test_a_place_that_takes_no_file_says_so_and_leaves_nothing(asked, capsys):
    assert 6 == fab("fleet.metrics", f"--file={asked}/nowhere/oms.prom")
    assert "ENV-004" in capsys.readouterr().err
