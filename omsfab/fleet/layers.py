"""A package without the layers that a node has already.

``docker load`` needs no file of a layer whose chain, from the bottom up, is the beginning of an
image that is there; the id of the image is the same afterwards.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

WORTH = 0.1
"""Less than this share of the layers is not worth a file of its own."""

SPARE = 1 << 30
"""Bytes that stay free on the jump host, whose journal lies on the same disk."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer of an image: its file in the package, its id, and its size there in bytes."""

    member: str
    diff_id: str
    size: int


@dataclass(frozen=True, slots=True)
class Reduced:
    """The file that was made of a package."""

    path: Path
    size: int
    sha256: str


def there_already(layers: Sequence[Layer], images: Iterable[Sequence[str]]) -> frozenset[str]:
    """Return the files that may be left out where ``images`` are (each the ids of its layers, from
    the bottom up); none, where that is not worth it."""
    common = max((_common(layers, image) for image in images), default=0)
    above = {layer.member for layer in layers[common:]}
    out = {layer.member: layer.size for layer in layers[:common] if layer.member not in above}
    whole = sum({layer.member: layer.size for layer in layers}.values())
    return frozenset(out) if sum(out.values()) > WORTH * whole else frozenset()


def _common(layers: Sequence[Layer], image: Sequence[str]) -> int:
    for number, (layer, id) in enumerate(zip(layers, image, strict=False)):
        if layer.diff_id != id:
            return number
    return min(len(layers), len(image))


def room(layers: Sequence[Layer], left_out: Collection[str], directory: Path) -> bool:
    """Whether the directory has room for the package without these."""
    needed = sum({one.member: one.size for one in layers if one.member not in left_out}.values())
    return shutil.disk_usage(directory).free >= needed + SPARE


def reduce(package: Path, sha256: str, left_out: Collection[str], to: Path) -> Reduced:
    """Write the package without these files, packed as it is itself.

    Raises OSError, and ValueError where it has not this digest: what is loaded of it would be
    another image than the one that was planned.
    """
    with (
        package.open("rb") as raw,
        os.fdopen(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as out,
    ):
        packed = raw.read(2) == GZIP
        raw.seek(0)
        reading, writing = Hashing(raw), Hashing(out)
        # mtime: the same package gives the same bytes, which may be there in part already
        zipped = gzip.GzipFile("", "wb", 1, cast("IO[bytes]", writing), mtime=0) if packed else None
        with (
            tarfile.open(fileobj=cast("IO[bytes]", reading), mode="r|*") as source,
            tarfile.open(fileobj=zipped or cast("IO[bytes]", writing), mode="w|") as target,
        ):
            for member in source:
                if member.name.removeprefix("./") not in left_out:
                    target.addfile(member, source.extractfile(member) if member.isfile() else None)
        if zipped:
            zipped.close()
        while reading.read(1 << 20):
            pass
    if reading.digest.hexdigest() != sha256:
        raise ValueError(f"{package} is another package than it was")
    return Reduced(to, writing.size, writing.digest.hexdigest())


GZIP = b"\x1f\x8b"


class Hashing:
    """A file that is hashed as it is read or written, so that gigabytes pass once."""

    def __init__(self, file: IO[bytes], on_bytes: Callable[[int], None] = lambda _: None) -> None:
        self._file = file
        self._on_bytes = on_bytes
        self.digest = hashlib.sha256()
        self.size = 0

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self._add(data)
        return data

    def write(self, data: bytes) -> int:
        self._add(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def _add(self, data: bytes) -> None:
        self.digest.update(data)
        self.size += len(data)
        self._on_bytes(self.size)
