"""`fab fleet.show`: what hosts.yaml means can be read whole, in a narrow terminal and in a pipe."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from omsfab.cli import fleet

GOOD = Path(__file__).parent / "good_hosts"


@pytest.fixture
def shown(monkeypatch, capsys):
    """Return what fleet.show prints of a file, in a terminal of 80 columns."""

    def show(path: Path) -> list[str]:
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setenv("OMSFAB_HOSTS", str(path))
        monkeypatch.setenv("OMS_META_PASSWORD", "hunter2")
        fleet.show()
        return capsys.readouterr().out.splitlines()

    return show


def values(tree) -> list[str]:
    """The values of a YAML file; a secret is told by its form, {env: …}."""
    if not isinstance(tree, dict):
        return [str(tree).lower() if isinstance(tree, bool) else str(tree)]
    return ["****"] if set(tree) == {"env"} else [v for one in tree.values() for v in values(one)]


def test_every_value_is_shown_whole(shown):
    """Each value of a file with all keys stands at the end of a line, and no line is cut."""
    lines = shown(GOOD / "all-options.yaml")
    wanted = values(yaml.safe_load((GOOD / "all-options.yaml").read_text()))

    assert 30 < len(wanted)
    assert [] == [value for value in wanted if not any(one.endswith(value) for one in lines)]
    assert not any("…" in line for line in lines)


def test_no_secret_is_shown(shown):
    """A secret of oms.extra neither."""
    assert "hunter2" not in "\n".join(shown(GOOD / "all-options.yaml"))


def test_ports_of_oms_itself_are_not_shown(shown):
    """A port that stands there is one that differs."""
    assert not any("ports" in line or "8089" in line for line in shown(GOOD / "one-region.yaml"))


def test_files_that_are_not_there_are_warned_of(shown, tmp_path):
    """With the key that names each; a file that is there is not, and nothing fails."""
    text = (GOOD / "one-region.yaml").read_text()
    https = "    https: {crt: here.crt, key: not-here.key}\n    heartbeat_db:"
    path = tmp_path / "hosts.yaml"
    path.write_text(
        text.replace("    heartbeat_db:", https).replace("oms:\n", "oms:\n  package: p.tar.gz\n", 1)
    )
    (tmp_path / "here.crt").touch()

    assert [
        f"warning: oms.package: {tmp_path}/p.tar.gz is no file of this machine",
        "warning: regions.cn-hangzhou.https.key: "
        f"{tmp_path}/not-here.key is no file of this machine",
    ] == [line for line in shown(path) if line.startswith("warning")]
