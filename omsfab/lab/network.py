"""The wires of a lab: one bridge, and a network namespace with one cable for each member.

Traffic stays between them: no default route, no address translation, no other interface.
"""

from __future__ import annotations

import ipaddress
import os
import re
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from omsfab.errors import Next
from omsfab.lab.places import Place
from omsfab.lab.system import LabError, processes, reap, run

NETNS = Path("/run/netns")


def free_subnet() -> str:
    """The first 10.77.N.0/24 that no interface and no route of this machine touches."""
    taken = [
        ipaddress.ip_network(word, strict=False)
        for word in re.findall(
            r"\b\d+\.\d+\.\d+\.\d+(?:/\d+)?",
            run("ip", "-4", "-o", "addr") + run("ip", "-4", "route", "show", "table", "all"),
        )
    ]
    for number in range(1, 255):
        subnet = ipaddress.ip_network(f"10.77.{number}.0/24")
        # A default route or a whole private range overlaps everything: only narrower ones count.
        if not any(net.prefixlen >= 16 and net.overlaps(subnet) for net in taken):
            return str(subnet)
    raise LabError("all of 10.77.0.0/16 is in use on this machine", next=Next("fab lab.down"))


def address(subnet: str, last: int) -> str:
    """An address of the lab by its last number."""
    return str(ipaddress.ip_network(subnet).network_address + last)


def bridge_up(place: Place, subnet: str) -> None:
    """The bridge exists and holds the address of the jump host, which is this machine."""
    if not link_exists(place.bridge):
        run("ip", "link", "add", place.bridge, "type", "bridge")
    run("ip", "addr", "replace", f"{address(subnet, 1)}/24", "dev", place.bridge)
    run("ip", "link", "set", place.bridge, "up")
    _let_bridged_frames_pass(place)


def cable(place: Place, member: str, number: int, ip: str) -> None:
    """The member's namespace exists and is plugged into the bridge as ``eth0``."""
    netns, veth = place.netns(member), place.veth(number)
    if not is_netns(netns):
        (NETNS / netns).unlink(missing_ok=True)  # what a crash between touch and mount leaves
        run("ip", "netns", "add", netns)
    if not link_exists(veth):
        run("ip", "link", "add", veth, "type", "veth", "peer", "name", "eth0", "netns", netns)
    run("ip", "link", "set", veth, "master", place.bridge, "up")
    commands = f"link set lo up\nlink set eth0 up\naddr replace {ip}/24 dev eth0\n"
    run("ip", "-n", netns, "-batch", "-", data=commands.encode())


def link_exists(name: str) -> bool:
    """Is there an interface of this name in our own namespace?"""
    return Path("/sys/class/net", name).exists()


def is_netns(name: str) -> bool:
    """Is the name a mounted namespace, and not only an empty file?"""
    try:
        return os.stat(NETNS / name).st_dev == os.stat("/proc/self/ns/net").st_dev
    except OSError:
        return False


def netns_of(place: Place) -> list[str]:
    """All names below /run/netns that belong to the lab."""
    return sorted(path.name for path in NETNS.glob(place.netns("*")))


def inhabitants(netns: str) -> Iterator[int]:
    """The processes whose network namespace this is."""
    if not is_netns(netns):
        return
    wanted = os.stat(NETNS / netns)
    for pid in processes():
        try:
            seen = os.stat(f"/proc/{pid}/ns/net")
        except OSError:
            continue
        if (seen.st_dev, seen.st_ino) == (wanted.st_dev, wanted.st_ino):
            yield pid


def first_process(netns: str) -> int | None:
    """The init of the namespace set: number 1 in a PID namespace just below ours."""
    for pid in inhabitants(netns):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        numbers = re.search(r"^NSpid:\t(.*)$", status, re.MULTILINE)
        if numbers and numbers[1].split() == [str(pid), "1"]:
            return pid
    return None


def empty(netns: str) -> None:
    """Kill whatever lives in the namespace, until nothing does."""
    for _ in range(200):
        living = list(inhabitants(netns))
        if not living:
            return
        for pid in living:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        reap()
        time.sleep(0.02)
    raise LabError(f"processes {living} in {netns} do not die")


def member_down(place: Place, member: str) -> None:
    """No process, namespace and cable of the member is left."""
    netns = place.netns(member)
    empty(netns)
    if is_netns(netns):
        run("ip", "netns", "del", netns, check=False)
    (NETNS / netns).unlink(missing_ok=True)


def all_down(place: Place) -> None:
    """No process, namespace, cable, bridge and firewall rule of the lab is left."""
    _kill_those_on_their_way(place)
    for netns in netns_of(place):
        member_down(place, netns.removeprefix(place.netns("")))
    for path in Path("/sys/class/net").glob(place.veth(0)[:-1] + "*"):
        run("ip", "link", "del", path.name, check=False)
    if link_exists(place.bridge):
        run("ip", "link", "del", place.bridge)
    for rule in _rules(place):
        run("iptables", "-w", "-D", "FORWARD", *rule, check=False)


def _kill_those_on_their_way(place: Place) -> None:
    """A starter killed at the wrong moment leaves a child that is about to enter a namespace."""
    door = f"--net={NETNS / place.netns('')}".encode()
    for pid in processes():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if words[0].endswith(b"nsenter") and any(word.startswith(door) for word in words):
                os.kill(pid, signal.SIGKILL)
        except OSError:
            continue


def announce(netns: str, ip: str) -> None:
    """Tell the neighbours that the address lives here now (gratuitous ARP, RFC 5227)."""
    run("nsenter", f"--net={NETNS / netns}", sys.executable, "-c", _ANNOUNCE, ip)


def forget_neighbours(places: Mapping[str, str]) -> None:
    """Drop what each namespace has learned of an address, ``{netns: ip}``."""
    for netns, ip in places.items():
        run("ip", "-n", netns, "neigh", "flush", "to", ip, check=False)


_ANNOUNCE = """
import fcntl, socket, struct, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
wire.bind(("eth0", 0x0806))
mac = wire.getsockname()[4]
ip = socket.inet_aton(sys.argv[1])
for operation in (1, 2):
    arp = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation)
    wire.send(b"\\xff" * 6 + mac + b"\\x08\\x06" + arp + mac + ip + b"\\xff" * 6 + ip)
"""


def _rules(place: Place) -> list[list[str]]:
    """Our own rules in the FORWARD chain, found by the name of the bridge."""
    text = run("iptables", "-w", "-S", "FORWARD", check=False)
    return [
        line.split()[2:]
        for line in text.splitlines()
        if line.startswith("-A ") and f"-i {place.bridge} " in f"{line} "
    ]


def _let_bridged_frames_pass(place: Place) -> None:
    """A machine that runs docker sends bridged frames through iptables, and drops them there."""
    switch = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")
    if not switch.exists() or switch.read_text().strip() == "0" or _rules(place):
        return
    rule = ("-i", place.bridge, "-o", place.bridge, "-j", "ACCEPT")
    run("iptables", "-w", "-I", "FORWARD", *rule)
