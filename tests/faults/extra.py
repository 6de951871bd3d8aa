"""Faults of the same kinds that the specification does not list."""

from __future__ import annotations

import contextlib
import re
import shutil
import signal
import time

import pymysql

from omsfab.lab import network
from omsfab.lab.system import run
from tests.faults import oracle
from tests.faults.harness import Harness, Miss, Outcome, Skip
from tests.faults.inputs_vip_docker import OUT, fake_docker, package, service, sh, snap
from tests.faults.matrix import fault
from tests.faults.metadb import unplug
from tests.faults.network import blackhole, in_the_init
from tests.lab.crash import expire_lease, lease_schemas

# --- SSH ------------------------------------------------------------------------------------------


@fault("N15", "sshd gives one session, and few connections", "MaxSessions 1, MaxStartups 2 on oms2")
def few_sessions(g: Harness) -> None:
    node = g.new[0]
    sh(g, node, "cp /etc/ssh/sshd_config /run/sshd_config")
    g.undo(
        lambda: sh(g, node, "cp /run/sshd_config /etc/ssh/sshd_config; lab-service sshd restart")
    )
    sh(g, node, "printf 'MaxSessions 1\\nMaxStartups 2\\n' >>/etc/ssh/sshd_config")
    service(g, node, "sshd", "restart")
    g.ended(g.fab(*OUT), 0)


@fault("N16", "known_hosts is a directory, or not there", "two bad paths in hosts.yaml")
def bad_known_hosts(g: Harness) -> None:
    for path in (g.directory, g.directory / "nowhere"):
        g.edit(lambda d, p=path: d["ssh"].update(known_hosts=str(p)))
        outcome = g.fab(*OUT)
        if outcome.code not in (2, 3, 10):
            raise Miss(f"exit {outcome.code}: {outcome.out[-800:]}")
        g.refused(outcome, outcome.code, "SSH-")
        if not outcome.next:
            raise Miss("no next line")


@fault(
    "N17",
    "the user has no shell, or one that is none of POSIX",
    "nologin, then a shell that is python",
)
def odd_shell(g: Harness) -> None:
    node = g.new[0]
    g.edit(lambda d: d["ssh"].update(user="ops", sudo=True))
    sh(g, node, "getent passwd ops | cut -d: -f7 >/run/ops-shell")
    g.undo(lambda: sh(g, node, 'usermod -s "$(cat /run/ops-shell)" ops'))
    for shell in ("/usr/sbin/nologin", "/usr/bin/python3"):
        sh(g, node, 'usermod -s "$1" ops', shell)
        g.refused(g.fab(*OUT), 3, "SSH-013")


@fault("N18", "large packets are lost", "iptables drops what is longer than 900 bytes on oms2")
def black_hole_of_size(g: Harness) -> None:
    blackhole(g, g.new[0], LARGE)
    g.refused(g.fab(*OUT), 3, "SSH-")
    g.heal()
    g.ended(g.fab(*OUT), 0)


@fault("N18b", "large packets are lost while the package is sent", "as N18, for 50 s")
def black_hole_meanwhile(g: Harness) -> None:
    g.reset(images=True)
    running = g.start(*OUT)
    running.says(r"oms2 +image +▸", 120)
    blackhole(g, g.new[0], LARGE)
    time.sleep(50)
    g.heal_but(running)
    g.ended(g.note(running.end()), 0)


LARGE = "-m length --length 900:65535"
"""A path whose MTU is smaller than both ends believe, and no ICMP that says so."""


# --- jump host ------------------------------------------------------------------------------------


@fault(
    "J21", "another package lies there when the run is resumed", "killed, then the file replaced"
)
def package_replaced(g: Harness) -> None:
    g.reset(images=True)
    path = package(g, "true")
    g.killed_at("image@oms2:before", *OUT)
    path.write_bytes(path.read_bytes()[:-1000])
    outcome = g.fab("run.resume", "--yes")
    if outcome.code not in (3, 6, 11):  # the mount directories have been made
        raise Miss(f"exit {outcome.code}: {outcome.out[-800:]}")
    g.ended(outcome, outcome.code, "XFER-001", "XFER-003", "IMG-005")
    shutil.copyfile(g.lab.package, path)
    g.ended(g.fab("run.resume", "--yes"), 0)


@fault("J22", "nobody can be asked", "no terminal and no --yes, then a closed standard input")
def nobody(g: Harness) -> None:
    g.says(g.refused(g.fab("scale.out"), 2, "INPUT-023"), "--yes")
    g.prefix = ("sh", "-c", 'exec "$@" <&-', "sh")
    g.says(g.refused(g.fab("scale.out"), 2, "INPUT-023"), "--yes")


@fault("J23", "hosts.yaml is no text, is empty, or is far too large", "three bad files")
def odd_hosts(g: Harness) -> None:
    path = g.directory / "hosts.yaml"
    for data in (b"\x7fELF\x00\x01\x02", b"", b"# x\n" * 500_000, b"- a\n- b\n", b"null\n"):
        path.write_bytes(data)
        g.refused(g.fab(*OUT), 2, "INPUT-")


@fault("J24", "the state directory is removed in the run", "rm -rf while docker_init.sh runs")
def state_removed(g: Harness) -> None:
    running = in_the_init(g)
    shutil.rmtree(g.directory / "state")
    outcome = g.ended(g.note(running.end()), 5, "DB-014")
    g.ended(g.paste(outcome), 4, "DB-030")  # the name of this jump host is gone with it
    expire_lease(g.lab)
    g.ended(g.paste(outcome), 0)


@fault("J25", "omsfab sleeps, as with the lid of a laptop", "SIGSTOP for a minute, then SIGCONT")
def asleep(g: Harness) -> None:
    running = in_the_init(g)
    running.process.send_signal(signal.SIGSTOP)
    time.sleep(60)
    running.process.send_signal(signal.SIGCONT)
    outcome = g.note(running.end())
    if outcome.code:
        g.ended(g.paste(outcome), 0)


# --- MetaDB ---------------------------------------------------------------------------------------


@fault("D18", "the MetaDB reads SQL in its own way", "sql_mode ANSI_QUOTES, NO_BACKSLASH_ESCAPES")
def sql_mode(g: Harness) -> None:
    (old,) = g.lab.sql("select @@global.sql_mode")[0]
    g.lab.sql("set global sql_mode = %s", (f"{old},ANSI_QUOTES,NO_BACKSLASH_ESCAPES",))
    g.undo(lambda: g.lab.sql("set global sql_mode = %s", (old,)))
    g.ended(g.fab(*OUT), 0)


@fault("D19", "the password of the user has expired, or the account is locked", "alter user")
def expired(g: Harness) -> None:
    user = f"'{g.lab.metadb.user}'@'%'"
    g.lab.sql(f"alter user {user} account lock")
    g.undo(lambda: g.lab.sql(f"alter user {user} account unlock"))
    outcome = g.fab(*OUT)
    g.ended(outcome, 3, "DB-002", "DB-003")


@fault("D20", "the MetaDB takes no further connection", "all but a few taken, then max_connections")
def too_many(g: Harness) -> None:
    if g.lab.metadb.kind == "mariadb":
        (old,) = g.lab.sql("select @@global.max_connections")[0]
        g.lab.sql("set global max_connections = 10")
        g.undo(lambda: g.lab.sql(f"set global max_connections = {old}"))
    user = f"'{g.lab.metadb.user}'@'%'"
    if g.lab.metadb.kind == "oceanbase":
        g.lab.sql(f"alter user {user} with max_user_connections 1")
        g.undo(lambda: g.lab.sql(f"alter user {user} with max_user_connections 0"))
    outcome = g.fab(*OUT)
    if outcome.code in (6, 11):  # omsfab finds a connection; docker_init.sh on a node does not
        g.says(outcome, "INIT-011", "connections")
        g.heal()
        failed = re.findall(r"(\w+): INIT-011", outcome.out) or [g.first]
        g.planned |= dict.fromkeys(failed, 2)
        return g.ended(g.paste(outcome), 0)
    if outcome.code not in (0, 3):
        raise Miss(f"exit {outcome.code}: {outcome.out[-800:]}")
    if outcome.code == 3:
        g.ended(outcome, 3, "DB-001", "DB-003", "DB-005", "DB-004")
        g.heal()
        g.ended(g.fab(*OUT), 0)


@fault("D21", "the MetaDB is read-only", "read_only, as a standby is")
def read_only(g: Harness) -> None:
    if g.lab.metadb.kind == "oceanbase":
        raise Skip("a way to make this engine read-only while it runs; the wire tests have one")
    g.lab.sql("set global read_only = 1")
    g.undo(lambda: g.lab.sql("set global read_only = 0"))
    user = f"'{g.lab.metadb.user}'@'%'"
    g.lab.sql(f"revoke super, read_only admin on *.* from {user}")
    g.undo(lambda: g.lab.sql(f"grant all privileges on *.* to {user} with grant option"))
    g.ended(g.fab(*OUT), 3, "DB-027", "DB-032")


@fault("D22", "the lease is dropped in the run", "drop its table at the stop")
def lease_dropped(g: Harness) -> None:
    running = g.start(*OUT)
    running.says(r"oms1 +stop-processes +▸", 120)
    for schema in lease_schemas(g.lab):
        g.lab.sql(f"drop table {schema}.omsfab_lease")
    outcome = g.note(running.end())
    if outcome.code not in (0, 4, 6, 7):
        raise Miss(f"exit {outcome.code}: {outcome.out[-800:]}")
    if outcome.code == 7:
        return lock_lost(g, outcome)
    if outcome.code:
        g.ended(g.paste(outcome), 0)


def lock_lost(g: Harness, outcome: Outcome) -> None:
    """The line shows who has the lock; its note says what to do once nobody has."""
    g.ended(outcome, 7, "DB-031")
    g.paste_line(outcome.next)
    g.ended(g.fab("run.resume", "--yes"), 0)


def end_sessions(g: Harness) -> None:
    """What is logged in keeps the rights that it came with; a DBA ends it."""
    for id_, user, *_ in g.lab.sql("show processlist"):
        if user == g.lab.metadb.user:
            with contextlib.suppress(pymysql.Error):  # it has ended by itself
                g.lab.sql(f"kill {id_}")


@fault(
    "D23",
    "the right to delete is revoked in the run",
    "revoke at the stop, sessions ended, then granted again",
)
def revoked(g: Harness) -> None:
    user = f"'{g.lab.metadb.user}'@'%'"
    running = g.start(*OUT)
    running.says(r"oms1 +stop-processes +▸", 120)
    g.lab.sql(f"revoke delete on *.* from {user}")
    end_sessions(g)
    g.undo(lambda: g.lab.sql(f"grant delete on *.* to {user}"))
    outcome = g.ended(g.note(running.end()), 6)
    if not oracle.rows(g.lab, "oms_rm.cluster_info"):
        raise Miss("rows are gone")
    g.heal()
    g.ended(g.paste(outcome), 0)


@fault(
    "D24",
    "the password of the user is changed in the run",
    "alter user at the stop, sessions ended, then back",
)
def password_changed(g: Harness) -> None:
    user = f"'{g.lab.metadb.user}'@'%'"
    password = g.lab.metadb.password.replace("'", "''").replace("\\", "\\\\")
    running = g.start(*OUT)
    running.says(r"oms1 +stop-processes +▸", 120)
    g.lab.sql(f"alter user {user} identified by 'another'")
    end_sessions(g)
    g.undo(lambda: g.lab.sql(f"alter user {user} identified by '{password}'"))
    outcome = g.note(running.end())
    if outcome.code not in (6, 7):
        raise Miss(f"exit {outcome.code}: {outcome.out[-800:]}")
    g.says(outcome, "DB-002")
    g.heal()
    g.ended(g.paste(outcome), 0)


@fault("D25", "the MetaDB has a table omsfab_lease that is not ours", "create table")
def foreign_lease(g: Harness) -> None:
    g.undo(lambda: g.lab.sql("drop table oms_rm.omsfab_lease"))
    g.lab.sql("create table oms_rm.omsfab_lease (x int)")
    g.refused(g.fab(*OUT), 3, "DB-004")


@fault(
    "D26",
    "the jump host does not reach the MetaDB for longer than a lease lives",
    "iptables DROP for 150 s in docker_init.sh",
)
def metadb_away(g: Harness) -> None:
    running = in_the_init(g)
    there = f"--net={network.NETNS / g.lab.place.netns('metadb')}"
    jump = g.lab.node(g.first).ip.rpartition(".")[0] + ".1"
    for rule in (("INPUT", "-s", jump), ("OUTPUT", "-d", jump)):
        chain, *rest = rule
        run("nsenter", there, "iptables", "-I", chain, *rest, "-j", "DROP")
        g.undo(lambda r=rule: run("nsenter", there, "iptables", "-D", *r, "-j", "DROP"))
    time.sleep(150)
    g.heal_but(running)
    outcome = g.note(running.end())
    if outcome.code == 7:  # nobody could say in time that the lock is still ours
        return lock_lost(g, outcome)
    if outcome.code:  # it is waited for, but not for ever
        g.ended(g.paste(g.ended(outcome, 6, "DB-001")), 0)


@fault("D27", "the MetaDB fails over in the run", "its port refuses for 20 s from the stop on")
def fails_over(g: Harness) -> None:
    running = g.start(*OUT)
    running.says(r"oms1 +stop-processes +▸", 120)
    unplug(g, g.lab.place.netns("metadb"))
    time.sleep(20)
    g.heal_but(running)
    g.says(g.ended(g.note(running.end()), 0), "the MetaDB is not reached; again in")


# --- containers -----------------------------------------------------------------------------------


@fault("C20", "the old container is paused", "docker pause on oms1")
def paused(g: Harness) -> None:
    sh(g, g.first, "docker pause oms_427")
    g.undo(lambda: sh(g, g.first, "docker unpause oms_427"))
    outcome = g.fab(*OUT)
    if outcome.code not in (3, 6):
        raise Miss(f"exit {outcome.code}: {outcome.out[-800:]}")
    if not outcome.next:
        raise Miss("no next line")
    rows = oracle.rows(g.lab, "oms_rm.cluster_info")
    if not rows or not rows[0]["cm_url"].endswith("11:8088"):
        raise Miss("rows are gone")
    g.heal()
    g.ended(g.fab(*OUT) if outcome.code == 3 else g.paste(outcome), 0)


@fault("C21", "supervisorctl of the old container is gone", "renamed in the container of oms1")
def no_supervisorctl(g: Harness) -> None:
    found = sh(g, g.first, "docker exec oms_427 sh -c 'command -v supervisorctl'").strip()
    sh(g, g.first, f"docker exec oms_427 mv {found} {found}.away")
    g.undo(lambda: sh(g, g.first, f"docker exec oms_427 mv {found}.away {found}"))
    g.ended(g.fab(*OUT), 3, "RUN-042")
    g.heal()
    g.production_untouched()
    g.ended(g.fab(*OUT), 0)


@fault("C22", "docker exec fails on the old node", "a docker in the path whose exec says no")
def exec_fails(g: Harness) -> None:
    fake_docker(
        g,
        g.first,
        '#!/bin/sh\n[ "$1" = exec ] && { echo "OCI runtime exec failed" >&2; exit 126; }\n'
        'exec /usr/bin/docker "$@"\n',
    )
    outcome = g.fab(*OUT)
    if outcome.code not in (3, 6):
        raise Miss(f"exit {outcome.code}: {outcome.out[-800:]}")
    g.says(outcome, "OCI runtime exec failed")
    g.heal()
    g.production_untouched()
    g.ended(g.fab(*OUT) if outcome.code == 3 else g.paste(outcome), 0)


@fault(
    "C23",
    "the new container restarts again and again",
    "a docker run with --restart always, and knob EXIT_AT_START",
)
def restarting(g: Harness) -> None:
    node = g.new[1]
    fake_docker(
        g,
        node,
        '#!/bin/sh\n[ "$1" = run ] && { shift; exec /usr/bin/docker run --restart always "$@"; }\n'
        'exec /usr/bin/docker "$@"\n',
    )
    g.lab.knob(node, EXIT_AT_START=1)
    g.undo(lambda: g.lab.knob(node, EXIT_AT_START=None))
    g.says(g.ended(g.fab(*OUT), 11, "RUN-004"), node)


@fault("C28", "docker_init.sh is not in the old container", "renamed on oms1, then back")
def no_script(g: Harness) -> None:
    inside = "docker exec oms_427 sh -c"
    sh(g, g.first, f"{inside} 'mv /root/docker_init.sh /root/away'")
    back = "[ ! -e /root/away ] || mv /root/away /root/docker_init.sh"
    g.undo(lambda: sh(g, g.first, f"{inside} '{back}'"))
    g.ended(g.fab(*OUT), 3, "INIT-017")
    g.heal()
    g.production_untouched()
    g.ended(g.fab(*OUT), 0)


@fault(
    "V17b", "the VIP goes over to another member in the run", "moved when production has stopped"
)
def vip_moves(g: Harness) -> None:
    g.lab.move_vip(g.first)
    g.undo(g.lab.move_vip)
    running = g.start(*OUT)
    running.says(r"oms1 +stop-processes +▸", 120)
    g.lab.move_vip(g.new[0])
    g.ended(g.note(running.end()), 0)


@fault("V17", "the VIP leaves in the run", "moved to nobody when production has stopped")
def vip_leaves(g: Harness) -> None:
    running = g.start(*OUT)
    running.says(r"oms1 +stop-processes +▸", 120)
    netns = g.lab.place.netns("balancer")
    run("ip", "-n", netns, "addr", "del", f"{g.lab.vip}/24", "dev", "eth0")
    g.undo(g.lab.move_vip)
    outcome = g.ended(g.note(running.end(600)), 5, "VIP-001")
    g.heal()
    g.ended(g.paste(outcome), 0)


@fault("I27", "docker run finds no room on a new node", "a docker whose run says so")
def no_room_to_run(g: Harness) -> None:
    said = "docker: Error response from daemon: no space left on device"
    fake_docker(
        g,
        g.new[0],
        f'#!/bin/sh\n[ "$1" = run ] && {{ echo "{said}" >&2; exit 125; }}\n'
        'exec /usr/bin/docker "$@"\n',
    )
    g.says(g.ended(g.fab(*OUT), 11, "CMD-001"), said)
    g.heal()
    g.ended(g.paste(g.outcomes[-1]), 0)


@fault(
    "V06d",
    "config.yaml of the old node is edited between a kill and the resume",
    "SIGKILL before docker_init.sh, then cm_url changed by hand",
)
def edited_meanwhile(g: Harness) -> None:
    g.killed_at("initialise@oms1:before", *OUT)
    edit = "sed 's/^cm_url:.*/cm_url: edited/' /data/config.yaml"
    sh(g, g.first, f'text=$({edit}) && printf "%s\\n" "$text" >/data/config.yaml')
    g.ended(g.fab("run.resume", "--yes"), 0)


# --- nodes ----------------------------------------------------------------------------------------


@fault(
    "I28",
    "what was staged on a new node is gone when the run is resumed",
    "SIGKILL, then docker image rm and rm -rf /data on oms2",
)
def pruned(g: Harness) -> None:
    g.killed_at("clear-rows:before", *OUT)
    sh(g, g.new[0], f"docker image rm -f {g.lab.image_id}; rm -rf /data/oms /data/config.yaml")
    g.ended(g.fab("run.resume", "--yes"), 0)


@fault("I21", "/data/oms is a symbolic link", "to a directory beside it, on oms2")
def linked(g: Harness) -> None:
    sh(g, g.new[0], "mkdir -p /data/real && rm -rf /data/oms && ln -s /data/real /data/oms")
    g.undo(lambda: sh(g, g.new[0], "[ ! -L /data/oms ] || rm /data/oms"))
    g.ended(g.fab(*OUT), 0)


@fault("I22", "a program that is needed is not on a new node", "ss, then docker renamed on oms2")
def missing_program(g: Harness) -> None:
    for name in ("ss", "docker"):
        for found in sh(g, g.new[0], f"bash -c 'type -ap {name}' | xargs -n 1 readlink -f").split():
            sh(g, g.new[0], f"[ ! -e {found} ] || mv {found} {found}.away")
            g.undo(lambda f=found: sh(g, g.new[0], f"[ ! -e {f}.away ] || mv {f}.away {f}"))
        outcome = g.ended(g.fab(*OUT), 3)
        g.says(outcome, name)
        g.heal()
        g.production_untouched()


@fault("I23", "/data of a new node is read-only", "a read-only mount over it on oms2")
def read_only_data(g: Harness) -> None:
    sh(g, g.new[0], "mount -t tmpfs -o ro,size=4g tmpfs /data")
    g.undo(lambda: sh(g, g.new[0], "umount -l /data"))
    outcome = g.fab(*OUT)
    if outcome.code not in (3, 6):
        raise Miss(f"exit {outcome.code}: {outcome.out[-800:]}")
    g.says(outcome, "ead-only")
    g.production_untouched()
    g.heal()
    g.ended(g.fab(*OUT) if outcome.code == 3 else g.paste(outcome), 0)


@fault("I24", "the user may not talk to docker", "user ops without sudo")
def no_docker_group(g: Harness) -> None:
    g.edit(lambda d: d["ssh"].update(user="ops", sudo=False))
    g.says(g.refused(g.fab(*OUT), 3), "permission denied")


@fault(
    "I25", "nothing can be kept on the old node", "a read-only mount over /var/lib/omsfab of oms1"
)
def no_mirror(g: Harness) -> None:
    sh(g, g.first, "mkdir -p /var/lib/omsfab && mount -t tmpfs -o ro tmpfs /var/lib/omsfab")
    g.undo(lambda: sh(g, g.first, "umount -l /var/lib/omsfab"))
    outcome = g.refused(snap(g).fab(*OUT), 3, "LOCK-003")
    g.heal()
    g.ended(g.paste(outcome), 0)
    g.ended(g.fab(*OUT), 0)


@fault(
    "I26", "a node dies for good when production has stopped", "oms3 without power, then started"
)
def dies(g: Harness) -> None:
    from omsfab import lab as labs

    running = g.start(*OUT)
    running.says(r"oms1 +stop-processes +▸", 120)
    labs.stop_node(g.lab, g.new[1])
    g.undo(lambda: labs.start_node(g.lab, g.new[1]))
    running.says(r"oms3 .*again in", 120)
    labs.start_node(g.lab, g.new[1])
    outcome = g.note(running.end())
    if outcome.code != 0:
        g.ended(g.paste(outcome), 0)
