"""Birth and death of a lab."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from omsfab.errors import Next
from omsfab.lab import balancer, machine, metadb, mysql, network, node, package, places
from omsfab.lab.model import BALANCER, Engine, Lab, NodeOfLab, read
from omsfab.lab.places import Place, place
from omsfab.lab.profiles import chosen
from omsfab.lab.system import LabError, Say, answers, only_one, private_dir, private_file, run


def up(
    name: str = "lab",
    nodes: int = 3,
    metadb: Engine = "oceanbase",
    password: str | None = None,
    image: bool = True,
    say: Say = print,
    profile: str = "",
    start_secs: str = "",
) -> Lab:
    """A lab with these nodes runs, waited for; what runs already is left as it is.

    ``password`` is that of OMS's database user, any characters; ``image=False`` leaves the
    stand-in image and its package out.  OMS itself is not deployed.  ``profile`` is the version
    of OMS that the image stands in for (profiles.py); with ``start_secs`` its programs count as
    RUNNING after so many seconds instead of ten.

    Raises LabError when the machine cannot carry a lab, or a part does not come up.
    """
    reason = machine.missing()
    if reason:
        raise LabError(reason)
    where, begun = place(name), time.monotonic()
    if metadb == "mysql":
        mysql.fetch(say)
    with only_one(where.lock, say):
        lab = _planned(where, nodes, metadb, password)
        say(f"lab {name}: {len(lab.nodes)} nodes, {metadb}, {lab.subnet}")
        made = (lambda: package.build(say, "", chosen(profile), start_secs)) if image else None
        lab = replace(_run(lab, made, say), profile=chosen(profile).name)
        lab.save()
        say(f"lab {name} is up after {time.monotonic() - begun:.1f} s")
    return lab


def down(name: str = "lab", say: Say = print) -> None:
    """Nothing of the lab is left but the cached image; also after a crash, also if never up."""
    where = place(name)
    with only_one(where.lock, say):
        network.all_down(where)
        _remove_cgroups(where)
        _remove(where.directory)
    say(f"lab {name} is down")


def load(name: str = "lab") -> Lab:
    """The lab of that name as its state file knows it; LabError when there is none."""
    return read(place(name))


def status(name: str = "lab") -> list[tuple[str, str]]:
    """What there is of a lab, and how it does: pairs of words for a table."""
    try:
        lab = load(name)
    except LabError:
        leftovers = network.netns_of(place(name))
        return [("lab", f"leftovers: {' '.join(leftovers)}" if leftovers else "does not exist")]
    db = lab.metadb
    return [
        ("lab", f"{lab.directory}, {lab.subnet}, jump host {lab.bridge}"),
        *((f"{part.name} {part.ip}", node.describe(lab, part)) for part in lab.nodes),
        (f"metadb {db.host}:{db.port}", f"{db.kind} {_open(db.host, db.port)}"),
        (f"vip {lab.vip}", f"at {vip_holder(lab)}, 8088 {_open(lab.vip, 8088)}"),
        ("image", f"{lab.image} {lab.image_id[:19]}" if lab.image else "not built"),
    ]


def vip_holder(lab: Lab) -> str:
    """Who holds the virtual address now: node names, ``balancer``, or nobody."""
    holders = {BALANCER: lab.place.netns(BALANCER)} | {n.name: n.netns for n in lab.nodes}
    found = [
        name
        for name, netns in holders.items()
        if f" {lab.vip}/" in run("ip", "-n", netns, "-4", "-o", "addr", check=False)
    ]
    return ", ".join(found) or "nobody"


def stop_node(lab: Lab, name: str) -> None:
    """The power of the node fails: every process dies at once; its disks stay."""
    network.empty(lab.node(name).netns)


def start_node(lab: Lab, name: str) -> None:
    """The power of the node comes back."""
    node.start(lab, lab.node(name))


def _planned(where: Place, nodes: int, kind: Engine, password: str | None) -> Lab:
    """The lab as it will be, already in its state file, its subnet taken."""
    # The bridge claims the subnet for everybody to see, so choosing and claiming are one.
    with only_one(places.root() / ".subnets.lock"):
        try:
            old = read(where)
        except LabError:
            old = None
        subnet = old.subnet if old else network.free_subnet()
        db = old.metadb if old else metadb.planned(kind, subnet, password)
        if db.kind != kind:
            raise LabError(f"lab {where.name} has {db.kind}, not {kind}", next=Next("fab lab.down"))
        if password is not None:
            db = replace(db, password=password)
        count = max(nodes, len(old.nodes) if old else 0)
        names = [f"oms{number}" for number in range(1, count + 1)]
        members = tuple(
            NodeOfLab(name, network.address(subnet, 10 + number), where.netns(name), number)
            for number, name in enumerate(names, 1)
        )
        lab = replace(old, nodes=members, metadb=db) if old else Lab(
            where.name, private_dir(where.directory), subnet, members, db
        )  # fmt: skip
        _write_secrets(lab)
        lab.save()
        network.bridge_up(where, subnet)
    return lab


def _write_secrets(lab: Lab) -> None:
    private_dir(lab.key.parent)
    if not lab.key.exists():
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"lab {lab.name}", "-f", lab.key)
    private_file(private_dir(lab.password_file.parent) / "metadb", lab.metadb.password)


def _run(lab: Lab, image: Callable[[], package.Package] | None, say: Say) -> Lab:
    """Start every part at the same time; all are waited for before a failure is raised."""
    jobs: dict[str, Callable[[], object]] = {
        "metadb": lambda: metadb.start(lab),
        "balancer": lambda: balancer.start(lab),
        **{part.name: _starter(lab, part) for part in lab.nodes},
    }
    with ThreadPoolExecutor(len(jobs) + 1) as pool:
        built = pool.submit(image) if image else None
        running = {name: pool.submit(job) for name, job in jobs.items()}
        for name, job in running.items():
            if job.exception() is None:
                say(f"{name} is up")
    for job in running.values():
        job.result()
    if built:
        made = built.result()
        lab = replace(lab, image=made.tag, image_id=made.id, package=made.path)
    private_file(lab.known_hosts, node.known_hosts(lab))
    lab.save()
    return lab


def _starter(lab: Lab, part: NodeOfLab) -> Callable[[], None]:
    return lambda: node.start(lab, part)


def _open(host: str, port: int) -> str:
    return "answers" if answers(host, port) else "does not answer"


def _remove(directory: Path) -> None:
    """A child of a killed ``up`` may still write its last file while we clear away."""
    for attempt in range(20):
        run("rm", "-rf", "--one-file-system", directory, limit=600, check=attempt == 19)
        if not directory.exists():
            return
        time.sleep(0.1)


def _remove_cgroups(where: Place) -> None:
    """The control groups of the containers; empty by now, since all processes are dead."""
    base = Path("/sys/fs/cgroup")
    for top in (base / where.cgroup, *base.glob(f"*/{where.cgroup}")):
        for _ in range(50):
            if not top.is_dir():
                break
            groups = [path for path in top.rglob("*") if path.is_dir()]
            for group in [*sorted(groups, reverse=True), top]:
                try:
                    group.rmdir()
                except OSError:
                    time.sleep(0.01)
