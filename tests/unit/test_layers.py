"""What of a package a node has already, and the package without it."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile

import pytest

from omsfab.fleet.layers import Layer, reduce, room, there_already

BASE, MIDDLE, TOP = (Layer(f"{name}/layer.tar", f"sha256:{name}", 100) for name in "abc")
WHOLE = (BASE, MIDDLE, TOP)


@pytest.mark.parametrize(
    ("images", "left_out"),
    [
        ([], ()),
        ([("sha256:a", "sha256:x")], "a"),
        ([("sha256:x",), ("sha256:a", "sha256:b", "sha256:y")], "ab"),
        ([("sha256:b", "sha256:c")], ()),  # not from the bottom up: another chain, another content
        ([("sha256:x", "sha256:a")], ()),
        ([("sha256:a", "sha256:b", "sha256:c")], "abc"),
        ([("sha256:a", "sha256:b", "sha256:c", "sha256:d")], "abc"),
    ],
)
def test_what_begins_an_image_that_is_there_may_be_left_out(images, left_out):
    assert {f"{name}/layer.tar" for name in left_out} == there_already(WHOLE, images)


def test_little_is_not_worth_a_file_of_its_own():
    """Under a tenth of the layers."""
    assert frozenset() == there_already((Layer("a", "a", 9), Layer("b", "b", 91)), [("a",)])
    assert {"a"} == there_already((Layer("a", "a", 11), Layer("b", "b", 89)), [("a",)])


def test_a_file_that_serves_a_layer_further_up_stays():
    """Two empty layers are one file; the node has the lower one alone."""
    twice = (BASE, MIDDLE, Layer(BASE.member, "sha256:other", 100))

    assert {MIDDLE.member} == there_already(twice, [("sha256:a", "sha256:b")])


@pytest.mark.parametrize("packed", [True, False], ids=["gz", "tar"])
def test_all_but_the_layers_is_in_the_other_package(tmp_path, packed):
    """Names, links and contents of the rest; packed as the first; the same bytes each time."""
    package = tmp_path / "oms.tar"
    with tarfile.open(package, "w:gz" if packed else "w") as tar:
        for name in ("a/layer.tar", "b/layer.tar", "./c/layer.tar", "manifest.json"):
            data = os.urandom(3000)
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo("d/layer.tar")
        link.type, link.linkname = tarfile.SYMTYPE, "../b/layer.tar"
        tar.addfile(link)

    sha256 = hashlib.sha256(package.read_bytes()).hexdigest()

    made = [
        reduce(package, sha256, {"a/layer.tar", "c/layer.tar"}, tmp_path / n)
        for n in ("one", "two")
    ]

    with tarfile.open(made[0].path) as small, tarfile.open(package) as whole:
        assert ["b/layer.tar", "manifest.json", "d/layer.tar"] == small.getnames()
        assert "../b/layer.tar" == small.getmember("d/layer.tar").linkname
        for name in ("b/layer.tar", "manifest.json"):
            assert whole.extractfile(name).read() == small.extractfile(name).read()
    assert (made[0].sha256, made[0].size) == (made[1].sha256, made[1].size)
    assert made[0].size == made[0].path.stat().st_size
    assert packed == made[0].path.read_bytes().startswith(gzip.compress(b"")[:2])
    assert 0o600 == made[0].path.stat().st_mode & 0o777


def test_another_package_than_the_planned_makes_none(tmp_path):
    """Its image would be loaded, where the whole one is refused by its digest."""
    package = tmp_path / "oms.tar"
    with tarfile.open(package, "w") as tar:
        tar.addfile(tarfile.TarInfo("manifest.json"))

    with pytest.raises(ValueError, match="another package"):
        reduce(package, "0" * 64, (), tmp_path / "one")


def test_a_full_disk_gets_no_further_file(tmp_path, monkeypatch):
    """The journal lies there as well."""
    free = [(1 << 30) + 299]
    usage = type("Usage", (), {"free": property(lambda self: free[0])})
    monkeypatch.setattr("omsfab.fleet.layers.shutil.disk_usage", lambda place: usage())

    assert not room(WHOLE, (), tmp_path)
    assert room(WHOLE, {"a/layer.tar"}, tmp_path)
