"""What an image package holds, read on the jump host before anything is sent."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from omsfab.errors import PreflightError
from omsfab.fleet.layers import Hashing, Layer
from omsfab.next_line import fab, shell

_CONFIG_NAME = re.compile(r"^(?:blobs/sha256/)?([0-9a-f]{64})(?:\.json)?$")
CHUNK = 1 << 20
NOTED = {"size", "sha256", "manifest", "built_for", "layers"}


@dataclass(frozen=True, slots=True)
class Package:
    """The image package on the jump host: ``image`` is the id ``docker load`` will give it."""

    path: str
    size: int
    sha256: str
    image: str
    architecture: str = ""
    """As images name it, e.g. ``amd64``; empty = the package does not say."""
    layers: tuple[Layer, ...] = ()
    """From the bottom up; none, where a file of one is not in the package by its own."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Package:
        """Return what was recorded, through JSON."""
        layers = tuple(Layer(**row) for row in record.get("layers", ()))
        return cls(**{**record, "layers": layers})


def examine(
    path: Path,
    reference: str,
    cache: Path | None = None,
    on_bytes: Callable[[int], None] = lambda _: None,
    *,
    part: str = "oms",
    keep: bool = True,
) -> Package:
    """Return size, sha256 and image id of a ``docker save`` package, .tar or .tar.gz.

    ``reference`` is the image wanted by hosts.yaml; a package that does not hold it is refused,
    since it would load with status 0 as ``<none>``.  ``cache`` is a directory: an unchanged package
    (path, size, time of change) is not read twice, unless ``keep`` is False: then nothing is
    written there.  ``part`` of hosts.yaml names both.
    """
    if not path.is_file():
        raise PreflightError(
            "IMG-003",
            f"{path} is {'not a file' if path.exists() else 'not there'}",
            where=f"{part}.package in hosts.yaml",
            fix=f"copy the package there, or write in {part}.package where it is",
            next=fab("fleet.show"),
        )
    note = _note_of(path, cache) if cache else None
    record = _noted(note)
    if record is None:
        record = _read(path, on_bytes)
        if note and keep:
            with contextlib.suppress(OSError):  # then it is read again the next time
                note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                note.write_text(json.dumps(record))
    image = _image_of(record["manifest"], reference, path, part)
    built_for = record.get("built_for", {})
    machine = next((m for name, m in built_for.items() if image[7:] in name), "")
    rows: Any = next((rows for name, rows in record["layers"].items() if image[7:] in name), ())
    layers = tuple(Layer(member, diff_id, size) for member, diff_id, size in rows)
    return Package(str(path), record["size"], record["sha256"], image, machine, layers)


def _note_of(path: Path, cache: Path) -> Path:
    stat = path.stat()
    known = f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}"
    return cache / f"package-{hashlib.sha256(known.encode()).hexdigest()[:16]}.json"


def _noted(note: Path | None) -> Any:
    """What was read before; a note that the disk had no room for is as good as none."""
    try:
        record = json.loads(note.read_text()) if note else None
        return record if record and record.keys() >= NOTED else None
    except (OSError, ValueError, AttributeError):
        return None


def _read(path: Path, on_bytes: Callable[[int], None]) -> dict[str, object]:
    with path.open("rb") as raw:
        file = Hashing(raw, on_bytes)
        try:
            manifest, digests, configs, sizes = _members(file)
        except (tarfile.TarError, EOFError, OSError, ValueError) as error:
            raise _bad(
                "IMG-005", f"{path.name} is no whole image package: {error}", path, "file"
            ) from error
        while file.read(CHUNK):
            pass
    if not isinstance(manifest, list):
        raise _bad("IMG-005", f"{path.name} holds no manifest.json", path, "file")
    if damaged := _damaged(manifest, digests, configs):
        raise _bad("IMG-005", f"{path.name} is damaged: {damaged}", path, "file")
    built_for = {
        name: str(json.loads(configs[name]).get("architecture", ""))
        for name in (str(entry.get("Config")) for entry in manifest)
    }
    return {
        "size": file.size,
        "sha256": file.digest.hexdigest(),
        "manifest": manifest,
        "built_for": built_for,
        "layers": {str(entry.get("Config")): _layers(entry, configs, sizes) for entry in manifest},
    }


def _layers(
    entry: Mapping[str, Any], configs: Mapping[str, bytes], sizes: Mapping[str, int]
) -> list[tuple[str, str, int]]:
    """File, id and size of each layer; none, where they are not all files of the package."""
    ids = json.loads(configs[str(entry.get("Config"))])["rootfs"]["diff_ids"]
    files = [str(name) for name in entry.get("Layers") or ()]
    if len(files) != len(ids) or not sizes.keys() >= set(files):
        return []
    return [(file, str(id), sizes[file]) for file, id in zip(files, ids, strict=True)]


def _members(
    file: Hashing,
) -> tuple[object, dict[str, str], dict[str, bytes], dict[str, int]]:
    """The manifest; the digest of each other file; the small ones whole; and the sizes."""
    sizes: dict[str, int] = {}
    manifest: object = None
    digests: dict[str, str] = {}
    small: dict[str, bytes] = {}
    with tarfile.open(fileobj=cast("IO[bytes]", file), mode="r|*") as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            name = member.name.removeprefix("./")
            if content is None:
                continue
            sizes[name] = member.size
            if name == "manifest.json":
                manifest = json.loads(content.read())
            elif member.size <= CHUNK:
                small[name] = content.read()
                digests[name] = hashlib.sha256(small[name]).hexdigest()
            else:
                digests[name] = _digest(content)
    return manifest, digests, small, sizes


def _digest(content: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := content.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def _damaged(
    manifest: list[dict[str, Any]], digests: dict[str, str], configs: dict[str, bytes]
) -> str:
    """Return which part is not what the package itself says it is; empty if all are.

    A layer has the digest that the image's config lists (``diff_ids``), or, where it is packed,
    the one it is named by.  Links to a layer, which old engines write, are left to docker.
    """
    for entry in manifest:
        config = str(entry.get("Config", ""))
        try:
            wanted = json.loads(configs[config])["rootfs"]["diff_ids"]
        except (KeyError, TypeError, ValueError):
            return f"{config} cannot be read"
        if (named := _CONFIG_NAME.match(config)) and named[1] != digests[config]:
            return f"{config} has another digest"
        for layer, diff in zip(entry.get("Layers") or (), wanted, strict=False):
            have = digests.get(layer)
            if have is not None and f"sha256:{have}" != diff and have not in layer:
                return f"{layer} has another digest"
    return ""


def _image_of(manifest: list[dict[str, object]], reference: str, path: Path, part: str) -> str:
    tags: list[str] = []
    ids: list[str] = []
    for entry in manifest:
        found = _CONFIG_NAME.match(str(entry.get("Config", "")))
        names = cast("list[str]", entry.get("RepoTags") or [])
        tags += names
        ids += [f"sha256:{found[1]}"] if found else []
        if found and (reference in names or reference == f"sha256:{found[1]}"):
            return f"sha256:{found[1]}"
    raise PreflightError(
        "IMG-004",
        f"{path.name} holds {', '.join(tags) or 'an image without a tag'}, not {reference}",
        where=str(path),
        evidence=f"ids: {', '.join(ids) or 'none'}",
        fix=f"write the image that the package holds, or its id, as {part}.image in hosts.yaml",
        next=fab("fleet.show"),
    )


def _bad(id: str, what: str, path: Path, where: str) -> PreflightError:
    return PreflightError(
        id,
        what,
        where=where,
        evidence=str(path),
        fix="copy the package again and compare its sha256",
        next=shell("sha256sum", str(path)),
    )
