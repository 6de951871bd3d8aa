"""One fleet through the whole guide, and after each stage a look that does not trust omsfab.

Single node with its own address -> two nodes behind a VIP -> a third one -> a second region.
The oracle asks rows by SQL, containers by docker, files by their bytes and pages by HTTP, all past
omsfab, and raises at the first thing that is not as the guide wants it.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import json
import ssl
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from omsfab import lab as labs
from omsfab.errors import Next, OmsfabError
from omsfab.lab import demo, influx
from omsfab.lab.model import ENGINES, Lab
from omsfab.lab.profiles import PROFILES, QUICK, chosen
from omsfab.lab.system import private_dir, private_file, run

CONTAINER = "oms_427"
TSDB_USER, TSDB_PASSWORD = "oms metrics", "it's $(not) plain %s é"
HOME, SECOND = "cn-lab", "cn-jiangsu"

# Guide, `docker run` of both scenarios, as `docker inspect` gives it back.
BINDS = {
    "/data/config.yaml:/home/admin/conf/config.yaml",
    "/data/oms/oms_logs:/home/admin/logs",
    "/data/oms/oms_store:/home/ds/store",
    "/data/oms/oms_run:/home/ds/run",
}
HTTPS_BINDS = {
    "/data/oms/https_crt:/etc/pki/nginx/oms_server.crt",
    "/data/oms/https_key:/etc/pki/nginx/oms_server.key",
}


@dataclass(frozen=True)
class Region:
    """What a region must be after a stage."""

    name: str
    location: int
    cm_url: str
    nodes: tuple[str, ...]
    default: bool = True
    config: Mapping[str, object] = field(default_factory=dict)
    """Further keys that every config.yaml of the region must have."""
    https: bool = False


class Oracle:
    """Looks at a lab from outside; ``checks`` counts what it found right."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.checks = 0

    def expect(self, wanted: object, found: object, what: str) -> None:
        if wanted != found:
            raise OmsfabError(
                "LAB-004",
                f"the oracle disagrees: {what}",
                where=f"lab {self.lab.name}",
                evidence=f"wanted {wanted}\nfound  {found}",
                next=Next(f"fab lab.status --name={self.lab.name}"),
            )
        self.checks += 1

    def look(self, regions: Sequence[Region]) -> None:
        """Everything that must hold between two stages."""
        self.rows(regions)
        for region in regions:
            for name in region.nodes:
                self.container(name, https=region.https)
                self.health(name, https=region.https)
            self.files(region)
        used = {name for region in regions for name in region.nodes}
        for node in self.lab.nodes:
            if node.name not in used:
                self.expect("", self.docker(node.name, "ps", "-aq"), f"{node.name} has nothing")
            else:
                self.expect(0, self.lab.counters(node.name)["overlaps"], "no two docker_init.sh")

    # --- MetaDB ---

    def rows(self, regions: Sequence[Region]) -> None:
        """cluster_info, resource_group, location_cm, host and the beats: these rows, no others."""
        self.expect(
            sorted((r.location, r.name, r.cm_url, int(r.default)) for r in regions),
            sorted(
                self.lab.sql("select code, region, cm_url, is_default_cm from oms_rm.cluster_info")
            ),
            "cluster_info",
        )
        self.expect(
            sorted((str(r.location), r.cm_url) for r in regions),
            sorted(self.lab.sql("select location, cm_url from oms_cm.location_cm")),
            "location_cm",
        )
        hosts = [
            (self.lab.node(name).ip, str(region.location), "ONLINE")
            for region in regions
            for name in region.nodes
        ]
        self.expect(
            sorted(hosts),
            sorted(
                self.lab.sql(
                    "select h.ip, g.name, h.host_status from oms_cm.host h"
                    " join oms_cm.resource_group g on g.id = h.resource_group_id"
                )
            ),
            "host",
        )
        for region in regions:
            late = self.lab.sql(
                f"select host_ip from oms_cm_heartbeat_{region.location}.heart_beat"
                " group by host_ip having max(gmt_modified) < now() - interval 15 second"
            )
            self.expect([], late, f"fresh beats in {region.name}")

    def fixed_rows(self, location: int) -> object:
        """The rows of one region that nothing but its own initialisation may change."""
        return [
            self.lab.sql("select * from oms_rm.cluster_info where code = %s", (location,)),
            self.lab.sql("select * from oms_cm.location_cm where location = %s", (str(location),)),
            self.lab.sql("select * from oms_cm.resource_group where name = %s", (str(location),)),
            self.lab.sql(
                "select h.id, h.ip, h.resource_group_id, h.gmt_created from oms_cm.host h"
                " join oms_cm.resource_group g on g.id = h.resource_group_id where g.name = %s"
                " order by h.id",
                (str(location),),
            ),
        ]

    # --- containers ---

    def docker(self, node: str, *words: str) -> str:
        done = self.lab.enter(node, ("docker", *words))
        if done.returncode != 0:
            raise OmsfabError("LAB-005", f"docker {' '.join(words)}: {done.stderr}", where=node)
        return done.stdout.strip()

    def container(self, name: str, *, https: bool) -> None:
        """The guide's flags, each one, and the image by its id."""
        node = self.lab.node(name)
        record: dict[str, Any] = json.loads(self.docker(name, "inspect", CONTAINER))[0]
        host = record["HostConfig"]
        limits = {limit["Name"]: (limit["Soft"], limit["Hard"]) for limit in host["Ulimits"]}
        self.expect(True, record["State"]["Running"], f"{name} runs")
        self.expect(self.lab.image_id, record["Image"], f"image of {name}")
        self.expect("host", host["NetworkMode"], f"--net host on {name}")
        binds = BINDS | HTTPS_BINDS if https else BINDS
        self.expect(binds, set(host["Binds"]), f"mounts of {name}")
        self.expect(True, host["Privileged"], f"--privileged on {name}")
        self.expect(True, host["PidsLimit"] in (-1, 0, None), f"--pids-limit -1 on {name}")
        self.expect((65535, 65535), limits.get("nproc"), f"--ulimit nproc on {name}")
        self.expect(
            [f"OMS_HOST_IP={node.ip}"],
            [pair for pair in record["Config"]["Env"] if pair.startswith("OMS_HOST_IP")],
            f"OMS_HOST_IP of {name}",
        )

    def metrics(self, name: str, url: str, image: str) -> None:
        """The vendor's flags, and who gets in: from every node, with and without the password."""
        record: dict[str, Any] = json.loads(self.docker(name, "inspect", "oms-influxdb"))[0]
        host, env = record["HostConfig"], record["Config"]["Env"]
        self.expect(image, record["Image"], "image of InfluxDB")
        self.expect(["/data/influxdb:/var/lib/influxdb"], host["Binds"], "mount of InfluxDB")
        self.expect({"8086/tcp", "14444/tcp"}, set(host["PortBindings"]), "ports of InfluxDB")
        for wanted in (
            "INFLUXDB_HTTP_AUTH_ENABLED=true",
            "INFLUXDB_HTTP_PING_AUTH_ENABLED=true",
            "INFLUXDB_BIND_ADDRESS=127.0.0.1:14444",
        ):
            self.expect(True, wanted in env, wanted)
        for node in self.lab.nodes:
            for user, status in ((f"{TSDB_USER}:{TSDB_PASSWORD}", "200"), ("oms:wrong", "401")):
                done = self.lab.enter(
                    node.name,
                    ("curl", "-s", "-o/dev/null", "-w%{http_code}", "--config", "-"),
                    data=f'user="{user}"\nurl="http://{url}/query?q=SHOW+USERS"\n'.encode(),
                )
                self.expect(status, done.stdout, f"login from {node.name}")

    def points(self, name: str, url: str) -> None:
        """Metrics of all nodes of all regions came in within a minute."""
        query = "select last(beats) from oms_host where time > now() - 1m group by host_ip"
        done = self.lab.enter(
            name,
            ("curl", "-sG", "--config", "-", "--data-urlencode", f"q={query}"),
            data=f'user="{TSDB_USER}:{TSDB_PASSWORD}"\nurl="http://{url}/query?db=oms"\n'.encode(),
        )
        series = json.loads(done.stdout)["results"][0].get("series", [])
        self.expect(
            sorted(node.ip for node in self.lab.nodes),
            sorted(one["tags"]["host_ip"] for one in series),
            "metrics in InfluxDB",
        )

    # --- files ---

    def files(self, region: Region) -> None:
        """One config.yaml on all nodes of the region, private, and the containers see that one."""
        import yaml

        digests = set()
        for name in region.nodes:
            path = self.lab.path(name, "/data/config.yaml")
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            digests.add(digest)
            inside = self.docker(
                name, "exec", CONTAINER, "sha256sum", "/home/admin/conf/config.yaml"
            )
            self.expect(digest, inside.split()[0], f"config.yaml inside {name}")
            self.expect(0o640, path.stat().st_mode & 0o777, f"mode of config.yaml on {name}")
        self.expect(1, len(digests), f"config.yaml is the same on {', '.join(region.nodes)}")
        said = yaml.safe_load(self.lab.path(region.nodes[0], "/data/config.yaml").read_text())
        wanted = {
            "cm_url": region.cm_url,
            "cm_location": region.location,
            "cm_region": region.name,
            "cm_region_cn": region.name,
            "cm_is_default": region.default,
            "cm_nodes": [self.lab.node(name).ip for name in region.nodes],
            "drc_rm_db": "oms_rm",
            "drc_cm_db": "oms_cm",
            "drc_cm_heartbeat_db": f"oms_cm_heartbeat_{region.location}",
            "oms_meta_password": self.lab.metadb.password,
            **region.config,
        }
        self.expect(wanted, {key: said.get(key) for key in wanted}, f"config.yaml of {region.name}")

    # --- pages ---

    def health(self, name: str, *, https: bool) -> None:
        """The console's health page, asked from this machine as an operator's browser would.

        Where the image has none, CM's page, and that the console's is indeed none.
        """
        ip = self.lab.node(name).ip
        end = time.monotonic() + 30
        if chosen(self.lab.profile).has_health:
            while (said := page(ip, 8089, tls=https)) != (200, True) and time.monotonic() < end:
                time.sleep(0.5)
            self.expect((200, True), said, f"/oms/health of {name}")
        else:
            self.expect(False, page(ip, 8089, tls=https)[1] is True, f"no /oms/health on {name}")
            while (code := status(ip, 8088)) != 200 and time.monotonic() < end:
                time.sleep(0.5)
            self.expect(200, code, f"page of CM of {name}")
        if https:
            self.expect(0, page(ip, 8089)[0], f"no plain HTTP on {name}")
            shown = ssl.get_server_certificate((ip, 8089))
            kept = self.lab.path(name, "/data/oms/https_crt").read_text()
            self.expect(kept.split(), shown.split(), f"certificate that {name} shows")
            key = self.lab.path(name, "/data/oms/https_key")
            self.expect(0o600, key.stat().st_mode & 0o777, f"mode of the key on {name}")


def status(host: str, port: int) -> int:
    """Status of the first page there; 0 if nobody answers."""
    link = http.client.HTTPConnection(host, port, timeout=5)
    try:
        link.request("GET", "/")
        return link.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        link.close()


def page(host: str, port: int, *, tls: bool = False) -> tuple[int, bool | str]:
    """Status of /oms/health, and whether it says healthy; certificates are looked at elsewhere."""
    context = ssl._create_unverified_context() if tls else None
    link = (
        http.client.HTTPSConnection(host, port, timeout=5, context=context)
        if context
        else http.client.HTTPConnection(host, port, timeout=5)
    )
    try:
        link.request("GET", "/oms/health")
        answer = link.getresponse()
        return answer.status, bool(json.loads(answer.read())["data"]["healthy"])
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        return 0, str(error)
    finally:
        link.close()


# --- the stages --------------------------------------------------------------------------------


def tour(name: str, metadb: str, profile: str, *, keep: bool) -> None:
    """Take one fleet through the guide; ``profile`` is the OMS that the image stands in for."""
    begun = time.monotonic()
    lab = demo.up(name, 5, metadb, bare=True, profile=profile, start_secs=QUICK)
    try:
        oracle = Oracle(lab)
        stages(lab, oracle)
        print(
            f"\ntour, OMS {profile}: {oracle.checks} checks of the oracle hold,"
            f" {time.monotonic() - begun:.0f} s"
        )
    finally:
        if not keep:
            demo.down(name)


def stages(lab: Lab, oracle: Oracle) -> None:
    address = f"http://{lab.nodes[0].ip}:8088"
    vip = f"http://{lab.vip}:8088"

    announce("single node, its own address in cm_url")
    demo.write(lab, "tour.yaml", address, ["oms1"])
    demo.fab(lab, "tour.yaml", "oms.deploy", "--yes")
    oracle.look([Region(HOME, 1, address, ("oms1",))])

    announce("two nodes behind a VIP")
    demo.write(lab, "tour.yaml", vip, ["oms1", "oms2"])
    demo.fab(lab, "tour.yaml", "scale.out", "--yes")
    oracle.look([Region(HOME, 1, vip, ("oms1", "oms2"))])

    announce("a third node")
    three = ("oms1", "oms2", "oms3")
    demo.write(lab, "tour.yaml", vip, list(three))
    demo.fab(lab, "tour.yaml", "scale.out", "--yes")
    home = Region(HOME, 1, vip, three)
    oracle.look([home])

    announce("a second region, two nodes, HTTPS")
    second_vip = lab.vip.rsplit(".", 1)[0] + ".101"
    lab.enter("oms4", ("ip", "addr", "replace", f"{second_vip}/24", "dev", "eth0"))
    second = Region(
        SECOND, 2, f"http://{second_vip}:8088", ("oms4", "oms5"), default=False, https=True
    )
    before = oracle.fixed_rows(1)
    crt, key = certificate(lab, [second_vip, *(lab.node(name).ip for name in second.nodes)])
    https = {"https": {"crt": str(crt), "key": str(key)}}
    regions = {"regions": {SECOND: entry(lab, second) | https}}
    demo.write(lab, "tour.yaml", vip, list(three), **regions)
    demo.fab(lab, "tour.yaml", "scale.out", "--yes")
    oracle.look([home, second])
    oracle.expect(before, oracle.fixed_rows(1), "rows of the first region are as before")

    announce("the time-series database on")
    private_file(lab.directory / "secrets" / "tsdb", TSDB_PASSWORD + "\n")
    url = f"{lab.node('oms3').ip}:8086"
    made = influx.build()
    metrics = {
        "service": "INFLUXDB",
        "url": url,
        "username": TSDB_USER,
        "password": {"file": str(lab.directory / "secrets" / "tsdb")},
        "package": str(made.path),
        "image": made.tag,
    }
    demo.write(lab, "tour.yaml", vip, list(three), tsdb=metrics, **regions)
    demo.fab(lab, "tour.yaml", "tsdb.deploy", "--yes")
    demo.fab(lab, "tour.yaml", "tsdb.enable", "--yes")
    oracle.metrics("oms3", url, made.id)
    oracle.points("oms3", url)
    config = {
        "tsdb_enabled": True,
        "tsdb_service": "INFLUXDB",
        "tsdb_url": url,
        "tsdb_username": TSDB_USER,
        "tsdb_password": TSDB_PASSWORD,
    }
    both = [replace(home, config=config), replace(second, config=config)]
    oracle.look(both)
    rows = [oracle.fixed_rows(1), oracle.fixed_rows(2)]
    for region in (HOME, SECOND):
        demo.fab(lab, "tour.yaml", "scale.out", f"--region={region}", "--yes")
    demo.fab(lab, "tour.yaml", "tsdb.enable", "--yes")
    oracle.look(both)
    oracle.expect(rows, [oracle.fixed_rows(1), oracle.fixed_rows(2)], "the second time: no change")


def entry(lab: Lab, region: Region) -> dict[str, object]:
    """The region as hosts.yaml has it."""
    return {
        "location": region.location,
        "default": region.default,
        "cm_url": region.cm_url,
        "heartbeat_db": f"oms_cm_heartbeat_{region.location}",
        "nodes": {name: lab.node(name).ip for name in region.nodes},
    }


def certificate(lab: Lab, addresses: Sequence[str]) -> tuple[Path, Path]:
    """A certificate of our own for these addresses, and its key, as openssl makes them."""
    base = private_dir(lab.directory / "certs") / "console"
    crt, key = base.with_suffix(".crt"), base.with_suffix(".key")
    run(
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"),
        *(
            "-subj",
            "/CN=console",
            "-addext",
            "subjectAltName=" + ",".join(f"IP:{a}" for a in addresses),
        ),
        *("-keyout", key, "-out", crt),
    )
    key.chmod(0o600)
    return crt, key


def announce(title: str) -> None:
    print(f"\n=== {title}", flush=True)


def main() -> int:
    words = argparse.ArgumentParser(prog="scripts/tour", description=__doc__)
    words.add_argument("metadb", nargs="?", choices=ENGINES, default=ENGINES[0])
    words.add_argument("--name", default="tour", help="several labs do not collide")
    words.add_argument("--keep", action="store_true", help="leave the lab running afterwards")
    words.add_argument(
        "--profile", choices=PROFILES, default=chosen().name, help="the OMS of the image"
    )
    said = words.parse_args()
    try:
        if why := labs.missing():
            raise OmsfabError("LAB-001", why, where="this machine", next=Next("scripts/test"))
        tour(said.name, said.metadb, said.profile, keep=said.keep)
    except OmsfabError as error:
        print(error.render(), file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
