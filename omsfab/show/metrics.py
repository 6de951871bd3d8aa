"""The figures of ``fleet.status`` as Prometheus text, for node_exporter's textfile collector."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Sample = tuple[Mapping[str, str], float]

HELP = {
    "omsfab_status": "exit status of fleet.status: 0 well, 5 ill, 3 something cannot be reached",
    "omsfab_asked_timestamp_seconds": "when the fleet was asked",
    "omsfab_metadb_up": "whether MetaDB could be asked",
    "omsfab_open_runs": "runs of this jump host that have not ended",
    "omsfab_region_nodes_deployed": "nodes of the region on which OMS belongs",
    "omsfab_region_nodes_healthy": "those of them that are well",
    "omsfab_region_nodes_down": "those of them on which OMS is down",
    "omsfab_region_vip_up": "whether cm_url's address answers; absent where it is a node's own",
    "omsfab_region_down_seconds": "how long OMS has been down, as far as a run here knows",
    "omsfab_node_up": "whether the node could be asked",
    "omsfab_node_container_running": "whether the container of OMS runs",
    "omsfab_node_healthy": "whether page and programs of OMS are well",
    "omsfab_node_host_online": "whether its row in MetaDB is ONLINE",
    "omsfab_node_heartbeat_age_seconds": "age of its last heartbeat, by the clock of MetaDB",
    "omsfab_program_running": "whether supervisord says RUNNING",
    "omsfab_node_info": "version of the image; the value is always 1",
}
"""Every metric, a gauge each: a figure that is not known has no sample."""


def metrics_text(record: Mapping[str, Any], now: float) -> str:
    """Return the text of what ``fleet.status --json`` prints; ``now`` is in seconds."""
    found: dict[str, list[Sample]] = {name: [] for name in HELP}
    for name, labels, value in _samples(record, now):
        if value is not None:
            found[name].append((labels, float(value)))
    return "".join(_lines(found))


def _lines(found: Mapping[str, Sequence[Sample]]) -> Iterator[str]:
    for name, samples in found.items():
        if samples:
            yield f"# HELP {name} {HELP[name]}\n# TYPE {name} gauge\n"
        for labels, value in samples:
            inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
            yield f"{name}{'{' + inner + '}' if inner else ''} {value:.10g}\n"


def _samples(
    record: Mapping[str, Any], now: float
) -> Iterator[tuple[str, Mapping[str, str], float | None]]:
    yield "omsfab_status", {}, record["exit"]
    yield "omsfab_asked_timestamp_seconds", {}, round(now, 3)
    yield "omsfab_metadb_up", {}, record["metadb_error"] is None
    yield "omsfab_open_runs", {}, len(record["open_runs"])
    for one in record["regions"]:
        labels = {"region": one["region"]}
        yield "omsfab_region_nodes_deployed", labels, one["deployed"]
        yield "omsfab_region_nodes_healthy", labels, one["healthy"]
        yield "omsfab_region_nodes_down", labels, len(one["down"])
        yield "omsfab_region_vip_up", labels, one["vip_answers"]
        lasts = one["down_seconds"]
        yield "omsfab_region_down_seconds", labels, lasts if one["down"] else 0
    for one in record["nodes"]:
        labels = {"region": one["region"], "node": one["node"], "address": one["address"]}
        yield "omsfab_node_up", labels, one["error"] is None
        if one["error"] is not None:
            continue
        yield "omsfab_node_container_running", labels, one["container"] == "running"
        yield "omsfab_node_healthy", labels, one["healthy"]
        online = None if one["host_status"] is None else one["host_status"].upper() == "ONLINE"
        yield "omsfab_node_host_online", labels, online
        yield "omsfab_node_heartbeat_age_seconds", labels, one["heartbeat_seconds"]
        for program, state in one["programs"].items():
            yield "omsfab_program_running", {**labels, "program": program}, state == "RUNNING"
        if one["image"]:
            yield "omsfab_node_info", {**labels, "image": one["image"]}, 1


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
