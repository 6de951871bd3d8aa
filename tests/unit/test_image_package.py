"""What a package holds is read before anything is sent."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile

import pytest

from omsfab.errors import PreflightError
from omsfab.fleet.image_package import examine

LAYER = b"x" * 1_500_000
CONFIG = json.dumps(
    {
        "architecture": "arm64",
        "rootfs": {"diff_ids": [f"sha256:{hashlib.sha256(LAYER).hexdigest()}"]},
    }
).encode()
HEX = hashlib.sha256(CONFIG).hexdigest()
NAME = "reg.example:5000/oceanbase/oms:feature_4.2.7_ce"


def make(path, manifest, mode="w:gz", layer=LAYER):
    config = json.loads(manifest)[0]["Config"] if manifest.startswith(b"[{") else "config"
    parts = ((config, CONFIG), ("layer.tar", layer), ("manifest.json", manifest))
    with tarfile.open(path, mode) as tar:
        for name, data in parts:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return path


def manifest(tags, config=f"{HEX}.json"):
    return json.dumps([{"Config": config, "RepoTags": tags, "Layers": ["layer.tar"]}]).encode()


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("config", [f"{HEX}.json", f"blobs/sha256/{HEX}"])
def test_id_size_and_sha256_are_read(tmp_path, mode, config):
    """Both forms of docker save, packed or not."""
    path = make(tmp_path / "oms.tar", manifest([NAME], config), mode)
    raw = path.read_bytes()

    package = examine(path, NAME)

    assert "arm64" == package.architecture
    assert (f"sha256:{HEX}", len(raw), hashlib.sha256(raw).hexdigest()) == (
        package.image,
        package.size,
        package.sha256,
    )


@pytest.mark.parametrize("tags", [[], None, ["other:latest"]])
def test_a_package_without_the_wanted_tag_is_refused(tmp_path, tags):
    """It would load with status 0 as <none>."""
    path = make(tmp_path / "oms.tar.gz", manifest(tags))

    with pytest.raises(PreflightError, match="IMG-004"):
        examine(path, NAME)


@pytest.mark.parametrize("part", ["oms", "tsdb"])
def test_the_part_of_hosts_yaml_that_is_wrong_is_named(tmp_path, part):
    """Whoever deploys InfluxDB must not be told to break oms.image."""
    path = make(tmp_path / "a.tar.gz", manifest(["other:latest"]))
    with pytest.raises(PreflightError, match="IMG-004") as other:
        examine(path, NAME, part=part)
    with pytest.raises(PreflightError, match=r"IMG-003 .* is not there") as missing:
        examine(tmp_path / "b.tar.gz", NAME, part=part)

    assert f"as {part}.image in hosts.yaml" in other.value.render()
    assert f"in {part}.package where it is" in missing.value.render()


def test_a_directory_is_no_package(tmp_path):
    """It is there, and not a file."""
    with pytest.raises(PreflightError, match=r"IMG-003 .* is not a file"):
        examine(tmp_path, NAME)


def test_a_flipped_byte_in_a_layer_is_found_before_anything_is_sent(tmp_path):
    """I01: the tar reads well; the digest that the image itself lists does not fit."""
    path = make(tmp_path / "oms.tar", manifest([NAME]), "w", b"y" + LAYER[1:])

    with pytest.raises(PreflightError, match=r"damaged: layer\.tar"):
        examine(path, NAME)


@pytest.mark.parametrize("damage", ["empty", "cut", "text", "no manifest"])
def test_a_damaged_package_is_refused(tmp_path, damage):
    """Truncated, empty, not a tar: told before a node is touched."""
    path = make(tmp_path / "oms.tar.gz", manifest([NAME]))
    if damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-60])
    elif damage == "text":
        path.write_text("this is no tar\n" * 100)
    else:
        make(path, b"{}")

    with pytest.raises(PreflightError, match="IMG-005"):
        examine(path, NAME)


def test_an_unchanged_package_is_read_once(tmp_path, monkeypatch):
    """Gigabytes are hashed once; a changed file is read again."""
    path = make(tmp_path / "oms.tar.gz", manifest([NAME]))
    first = examine(path, NAME, tmp_path / "cache")
    monkeypatch.setattr(tarfile, "open", lambda **_: pytest.fail("read again"))

    assert first == examine(path, NAME, tmp_path / "cache")
