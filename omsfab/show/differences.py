"""A difference between a fleet and hosts.yaml, in words."""

from __future__ import annotations

from omsfab.plan.differences import Difference
from omsfab.plan.procedures.regions import ContainerDrift


def difference_text(one: Difference) -> str:
    """Return e.g. ``600 -> 644``; its node and its key stand beside it."""
    if one.node:
        return _of_node(one)
    if one.kind == "images":
        told = (f"{image} on {', '.join(nodes)}" for image, nodes in one.images)
        return f"nodes run different images: {'; '.join(told)}"
    return _of_metadb(one)


def _of_metadb(one: Difference) -> str:
    if one.kind == "no row":
        return f"no row for location {one.location}"
    if one.kind == "host":
        return f"host {one.have} is not in hosts.yaml"
    if one.kind == "location":
        named = one.key or "without a name"
        return f"location {one.location} ({named}, {one.have}) is not in hosts.yaml"
    return f"location {one.location}: {one.have} -> {one.want}"


def _of_node(one: Difference) -> str:
    match one.kind:
        case "container" | "program":
            return f"{one.kind} {one.key} is {one.have}"
        case "name":
            return f"runs as {one.have}, not {one.key}"
        case "stale":
            return "the container sees a former config.yaml, replaced since"
        case "drift" if one.drift and not isinstance(one.drift, ContainerDrift):
            return " -> ".join(one.drift.sides)
        case "drift":
            return str(one.drift)
        case "mount":
            return (
                f"mount {one.have} is beside those of the guide: it is kept, and new nodes do"
                " not get it"
            )
        case "image":
            return f"image {one.have} -> {one.want}"
        case "readable":
            return (
                f"config.yaml holds the password and has mode {one.have}: "
                "where its directory is open, every user of the host can read it"
            )
        case "host row":
            return f"host row is {one.have}"
        case _:
            return one.have
