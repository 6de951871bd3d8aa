"""The profiles of the stand-in image name knobs that exist, and say where they are known from."""

from __future__ import annotations

import re

import pytest

from omsfab.lab.package import SOURCES, app_layer
from omsfab.lab.profiles import DEFAULT, PROFILES, chosen
from omsfab.lab.system import LabError

SOURCES_KNOWN = ("guide 3.3.1", "notes 3.3.0", "blog 4.2.0", "guide 4.x", "obd", "none")
README = (SOURCES / "README").read_text()
LISTED = set(re.findall(r"^([A-Z][A-Z_]+)=", README, re.MULTILINE))


def read_in_image() -> set[str]:
    """Knobs that a program or a script of the image asks for."""
    found: set[str] = set()
    for path in SOURCES.rglob("*"):
        if path.is_file() and path.name != "README" and "__pycache__" not in path.parts:
            text = path.read_text()
            found |= set(re.findall(r"knob\(\"([A-Z_]+)\"", text))
            found |= set(re.findall(r"\(knob ([A-Z_]+)\)", text))
            for names in re.findall(r"named\(([^)]*)\)", text):
                found |= set(re.findall(r"\"([A-Z_]+)\"", names))
    return found


@pytest.mark.parametrize("name", PROFILES)
def test_every_knob_of_a_profile_is_read_in_the_image_and_listed(name):
    """A knob that nobody reads would show a profile that is none."""
    knobs = set(PROFILES[name].knobs)

    assert set() == knobs - read_in_image()
    assert set() == knobs - LISTED


def test_the_readme_lists_just_the_knobs_that_are_read():
    """A person finds every knob in one place, and none that does nothing."""
    assert LISTED == read_in_image()


@pytest.mark.parametrize("name", PROFILES)
def test_every_knob_says_where_it_is_known_from(name):
    """The evidence is named beside the value; what has none says so."""
    profile = PROFILES[name]

    for source in (profile.cmd_source, *(source for _, source in profile.knobs.values())):
        assert source.startswith(SOURCES_KNOWN)


def test_the_default_is_the_harshest_reading():
    """No health page, no flag file, a bad status, a banner without its frame: none is kinder."""
    kind = {"HEALTH": "1", "INIT_FLAG": "1", "INIT_EXIT": "0", "INIT_SECRET": "0"}
    kind |= {"DS_READS_CONFIG": "0", "BANNER": "zh"}
    default = {name: value for name, (value, _) in PROFILES[DEFAULT].knobs.items()}

    assert set() == {name for name, value in kind.items() if default.get(name, value) == value}


def test_the_profile_lies_in_the_image():
    """Another profile is another image, and other startsecs too."""
    profile = chosen("4.2.0")

    assert b"HEALTH=html\n" in app_layer(profile.tag, profile)
    assert b"START_SECS=0.5\n" in app_layer(profile.tag, profile, "0.5")
    assert b"START_SECS" not in profile.text().encode()


def test_a_profile_is_chosen_by_name_then_environment(monkeypatch):
    """What a caller says goes before OMSFAB_LAB_PROFILE; an unknown one is refused."""
    monkeypatch.setenv("OMSFAB_LAB_PROFILE", "4.2.0")

    assert "3.3.1" == chosen("3.3.1").name
    assert "4.2.0" == chosen().name
    with pytest.raises(LabError, match=r"9\.9 is no profile"):
        chosen("9.9")
