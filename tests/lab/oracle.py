"""A lab with omsfab beside it as a program, and questions to the lab that go past omsfab.

For tests, the tour and the fault matrix: what is asserted here is asked of MetaDB, docker and the
files themselves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from omsfab.lab import pasted, profiles
from omsfab.lab.model import Lab

ROOT = Path(__file__).parents[2]
FAB = Path(sys.executable).with_name("fab")
CONTAINER = "oms_427"

NASTY = 'it\'s "$HOME" `id` # \\n\\ é 雪 %s;|&'
"""A password that breaks whatever quotes by hand."""


@dataclass(frozen=True)
class Said:
    """What a `fab …` did: its exit status, and all it printed."""

    status: int
    out: str

    def __str__(self) -> str:
        return f"exit {self.status}\n{self.out}"


@dataclass(frozen=True)
class Fleet:
    """A lab, and omsfab as an operator would call it."""

    lab: Lab

    def write(self, file: str, cm_url: str, nodes: list[str], **extra: object) -> None:
        """Write a hosts.yaml into the lab's directory; ``extra`` as in Lab.hosts_yaml."""
        (self.lab.directory / file).write_text(self.lab.hosts_yaml(cm_url, nodes, **extra))

    def fab(self, *words: str, hosts: str = "hosts.yaml", home: str = "state", **env: str) -> Said:
        """Run `fab …` to its end; ``hosts`` is a file, ``home`` a state directory of the lab."""
        done = subprocess.run(
            [str(FAB), *words],
            cwd=ROOT,
            env=self.environment(hosts, home) | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=1500,
            check=False,
        )
        said = Said(done.returncode, done.stdout.decode("utf-8", "replace"))
        if done.returncode and (wrong := pasted.judge(said.out, words, said.status)):
            raise AssertionError("\n".join([*wrong, str(said)]))
        return said

    def start(
        self, *words: str, hosts: str = "hosts.yaml", home: str = "state", **env: str
    ) -> subprocess.Popen[bytes]:
        """Start `fab …` and return at once; its output goes into a pipe."""
        return subprocess.Popen(
            [str(FAB), *words],
            cwd=ROOT,
            env=self.environment(hosts, home) | env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def environment(self, hosts: str = "hosts.yaml", home: str = "state") -> dict[str, str]:
        """Return the environment in which `fab` finds this fleet and its runs."""
        return dict(os.environ) | {
            "OMSFAB_HOSTS": str(self.lab.directory / hosts),
            "OMSFAB_HOME": str(self.lab.directory / home),
        }

    # --- questions past omsfab ---

    def cm_urls(self) -> dict[int, str]:
        """cm_location -> cm_url."""
        return {
            int(c): str(u) for c, u in self.lab.sql("select code, cm_url from oms_rm.cluster_info")
        }

    def hosts(self) -> dict[str, str]:
        """Address -> host_status."""
        return {str(i): str(s) for i, s in self.lab.sql("select ip, host_status from oms_cm.host")}

    def docker(self, node: str, *words: str) -> str:
        """What docker on the node prints; it must succeed."""
        done = self.lab.enter(node, ["docker", *words])
        if done.returncode != 0:
            raise AssertionError(done.stderr)
        return done.stdout.strip()

    def containers(self) -> dict[str, str]:
        """Node -> state of its container, e.g. ``running``; nodes without one are left out."""
        found = {
            node.name: self.lab.enter(
                node.name, ["docker", "inspect", "-f", "{{.State.Status}}", CONTAINER]
            )
            for node in self.lab.nodes
        }
        return {name: done.stdout.strip() for name, done in found.items() if done.returncode == 0}

    def shape(self, node: str) -> None:
        """Bring the tables into the shape that the knobs of this node say, or back."""
        self.docker(node, "exec", CONTAINER, "python", "-m", "omslab.shape")

    def programs(self, node: str) -> set[str]:
        """The states of the programs in the container, e.g. ``{"RUNNING"}``."""
        done = self.lab.enter(node, ["docker", "exec", CONTAINER, "supervisorctl", "status"])
        return {line.split()[1] for line in done.stdout.splitlines()}

    def health(self, host: str, node: str = "oms1") -> str:
        """The health page of a host, fetched from a node."""
        url = f"http://{host}:8089/oms/health"
        return self.lab.enter(node, ["curl", "-sS", "-m5", url]).stdout

    def serves(self, host: str, node: str = "oms1") -> bool:
        """OMS is well there, asked from a node: its health page or, where it has none, CM's."""
        if profiles.chosen(self.lab.profile).has_health:
            return json.loads(self.health(host, node))["data"]["healthy"] is True
        return self.cm(host, node)

    def cm(self, host: str, node: str = "oms1") -> bool:
        """The CM of a host answers, asked from a node."""
        words = ["curl", "-sS", "-m5", "-o/dev/null", "-w%{http_code}", f"http://{host}:8088/"]
        return self.lab.enter(node, words).stdout == "200"

    def inits(self) -> dict[str, int]:
        """Node -> how often docker_init.sh began there."""
        return {node.name: int(self.lab.counters(node.name)["started"]) for node in self.lab.nodes}

    def overlaps(self) -> int:
        """How often two docker_init.sh ran at once."""
        return sum(int(self.lab.counters(node.name)["overlaps"]) for node in self.lab.nodes)

    def state_files(self, home: str = "state") -> dict[Path, bytes]:
        """All files that omsfab has left on the jump host."""
        root = self.lab.directory / home
        return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
