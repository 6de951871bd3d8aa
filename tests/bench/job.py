"""job, flood: OMS on OceanBase, each from the same beginning; the outcome is asked past all.

Beside the whole job runs a watch of the outage: whether CM of the old node takes a connection.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from omsfab import lab as labs
from omsfab.lab import Lab, demo
from omsfab.lab.profiles import QUICK
from tests.bench import rivals
from tests.bench.figures import ALONE, ANSIBLE, HAND, OURS, SCRIPT
from tests.bench.turns import Way, keep, rival, take, timed
from tests.faults import oracle
from tests.faults.harness import Harness

HERE = Path(__file__).parent
BANNER = "全部初始化步骤执行成功"
INIT = f"docker exec {oracle.CONTAINER} bash /root/docker_init.sh"


@contextmanager
def oms(many: int) -> Iterator[Harness]:
    """A lab of so many nodes, OMS on the first; an initialisation takes some seven seconds."""
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="omsfab-bench-") as work:
        try:
            lab = demo.up("bench", many, "oceanbase", bare=False, start_secs=QUICK)
            yield Harness(lab, Path(work))
        finally:
            labs.down("bench", say=lambda _: None)


def begin(place: Harness, name: str, **knobs: object) -> None:
    """OMS on the first node alone, no image on the others, nothing of a former run anywhere."""
    place.heal()
    place.directory = place.work / name
    shutil.rmtree(place.directory, ignore_errors=True)
    place.directory.mkdir()
    place.reset(images=True)
    for node in place.names:
        place.lab.knob(node, **{"INIT_SECONDS": None, **knobs})
    place.hosts()


def job(rounds: int) -> None:
    outages: dict[str, list[float]] = {}
    with oms(2) as place:

        def watched(name: str, work: Callable[[], object], *, judged: bool = True) -> Way:
            """The seconds of the work alone; those without OMS are kept beside it."""

            def way() -> float:
                with Outage(place.lab.node(place.first).ip) as outage:
                    seconds = timed(work)()
                if judged and (wrong := list(oracle.in_service(place.lab, place.names))):
                    raise RuntimeError("; ".join(wrong))
                outages.setdefault(name, []).append(outage.seconds)
                return seconds

            return way

        ways = {
            OURS: watched(OURS, lambda: place.ended(place.start("scale.out", "--yes").end(), 0)),
            HAND: rival(lambda: watched(HAND, _by_hand(place))),
            ANSIBLE: rival(lambda: watched(ANSIBLE, _by_ansible(place))),
            ALONE: watched(ALONE, lambda: _alone(place), judged=False),
        }
        result = take("job", ways, rounds, lambda: begin(place, "job"))
    found = {name: outages[name] for name in result.ways}
    keep("outage", found, result.missing)


class Outage:
    """How long a port did not take a connection, asked every 20 ms from the jump host."""

    def __init__(self, ip: str, port: int = 8088) -> None:
        self.seconds = 0.0
        self._address = (ip, port)
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Outage:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        silent_since = None
        while not self._end.wait(0.02):
            try:
                socket.create_connection(self._address, 1).close()
            except OSError:
                silent_since = silent_since or time.monotonic()
                continue
            if silent_since:
                self.seconds += time.monotonic() - silent_since
                silent_since = None


def _alone(place: Harness) -> None:
    """What the outage cannot be shorter than, without a jump host."""
    text = f"docker exec {oracle.CONTAINER} supervisorctl stop all; {INIT}"
    _said_well(place.lab.enter(place.first, ["sh", "-c", text], limit=600).stdout)


def _said_well(out: str) -> None:
    if BANNER not in out:
        raise RuntimeError(f"docker_init.sh has failed: {out[-1500:]}")


def _by_hand(place: Harness) -> Callable[[], None]:
    for name in ("ssh", "mysql", "mysqldump", "curl"):
        rivals.program(name)

    def work() -> None:
        values = {name.upper(): value for name, value in _values(place).items()}
        _call([str(HERE / "hand.sh")], {**values, "OLD": _old(place), "NEW": " ".join(_new(place))})

    return work


def _by_ansible(place: Harness) -> Callable[[], None]:
    playbook = rivals.environment("ansible") / "ansible-playbook"

    def work() -> None:
        lab, values = place.lab, _values(place)
        client = f"--defaults-extra-file={values['meta_cnf']}"
        values |= {
            "config": oracle.CONFIG,
            "data": "/data/oms",
            "banner": BANNER,
            "sql": f"mysql {client} --batch --skip-column-names",
            "dump": f"mysqldump {client} --no-create-info --skip-lock-tables",
            "ansible_user": "root",
            "ansible_python_interpreter": "/usr/bin/python3",
        }
        inventory = place.directory / "inventory.json"
        old, new = ({ip: {} for ip in ips} for ips in ([_old(place)], _new(place)))
        groups = {"old": {"hosts": old}, "new": {"hosts": new}}
        inventory.write_text(json.dumps({"all": {"vars": values, "children": groups}}))
        options = (
            f"-F none -o UserKnownHostsFile={lab.known_hosts} -o ControlMaster=auto"
            " -o ControlPersist=60 -o KexAlgorithms=curve25519-sha256 -c aes128-gcm@openssh.com"
        )
        config = place.directory / "ansible.cfg"  # nobody else's
        config.touch()
        env = {
            "ANSIBLE_CONFIG": str(config),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_GATHERING": "explicit",
            "ANSIBLE_SSH_ARGS": options,
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(place.directory),
            "ANSIBLE_PRIVATE_KEY_FILE": str(lab.key),
            "ANSIBLE_LOCAL_TEMP": str(place.directory / "tmp"),
        }
        _call([str(playbook), "-i", str(inventory), str(HERE / "playbook.yml")], env)

    return work


def _old(place: Harness) -> str:
    return place.lab.node(place.first).ip


def _new(place: Harness) -> list[str]:
    return [place.lab.node(name).ip for name in place.new]


def _values(place: Harness) -> dict[str, str]:
    """What the rivals are told, and the client's file with the password, which only root reads."""
    lab, db = place.lab, place.lab.metadb
    client = place.directory / "client.cnf"
    client.write_text(
        f'[client]\nhost={db.host}\nport={db.port}\nuser={db.user}\npassword="{db.password}"\n'
    )
    client.chmod(0o600)
    return {
        "vip": lab.vip, "key": str(lab.key), "known_hosts": str(lab.known_hosts),
        "package": str(lab.package), "image": lab.image, "image_id": lab.image_id,
        "container": oracle.CONTAINER, "work": str(place.directory), "meta_cnf": str(client),
        "rm_db": "oms_rm", "cm_db": "oms_cm", "location": "1",
    }  # fmt: skip


def _call(words: list[str], env: dict[str, str]) -> None:
    """Output goes into a file: a shared connection that goes on would hold a pipe open."""
    with tempfile.TemporaryFile() as out:
        done = subprocess.run(
            words, env={**os.environ, **env}, stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT, check=False,
        )  # fmt: skip
        if done.returncode:
            out.seek(0)
            said = out.read().decode("utf-8", "replace")
            raise RuntimeError(f"{Path(words[0]).name}: {said[-1500:]}")


def flood(rounds: int) -> None:
    with oms(1) as place:
        for size in (4, 400):
            _flood(place, size, rounds)


def _flood(place: Harness, size: int, rounds: int) -> None:
    def ours() -> float:
        place.ended(place.fab("-H", place.first, "node.initialise", "--yes", limit=900), 0)
        return _step(place.directory / "state", "initialise")

    def alone() -> None:
        # Not by Lab.enter, which would keep all that is said.
        words = f"{INIT} 2>&1 | tail -n 5"
        _said_well(place.lab.enter(place.first, ["sh", "-c", words], limit=900).stdout)

    def before() -> None:
        begin(place, f"flood-{size}", INIT_FLOOD_MB=size)
        place.hosts(f"http://{place.lab.node(place.first).ip}:8088", [place.first])
        _forget_logs(place.lab, place.first)

    take(f"flood-{size}", {OURS: ours, SCRIPT: timed(alone)}, rounds, before)
    _forget_logs(place.lab, place.first)


def _forget_logs(lab: Lab, node: str) -> None:
    """Logs of 400 MB each fill a disk."""
    logs = "/data/oms/oms_logs"
    lab.enter(node, ["sh", "-c", f"rm -rf {logs}/docker_init.log.* {logs}/omsfab"])


def _step(home: Path, name: str) -> float:
    """How long a step of the only run took, by the run's journal."""
    (journal,) = home.rglob("journal.jsonl")
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    times = [one["clock"] for one in events if one["step"] == name]
    return times[-1] - times[0]
