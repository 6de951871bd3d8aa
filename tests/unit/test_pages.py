"""Pages for people name what exists: tasks, flags, errors, files; and the Chinese ones agree."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from tasks import namespace
from tests.unit.test_docs import ERRORS, ROW

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path.relative_to(ROOT).as_posix()
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"))
)
PAIRS = [("README.md", "README.zh-CN.md"), ("docs/first-fleet.md", "docs/first-fleet.zh-CN.md")]
TASK = re.compile(r"fab (?:--dry |-H \S+ )*([a-z]+\.[a-z-]+)((?: --[a-z-]+)*)")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
ID = re.compile(r"\b(?:SSH|SUDO|DB|HOST|VIP|TSDB|ENV|IMG|INIT|RUN|PLAN|CFG)-\d{3}\b")


def _text(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_every_task_and_flag_that_is_named_exists(page):
    """A line that is copied from a page is one that fab takes."""
    tasks = {name: namespace[name] for name in namespace.task_names}
    unknown = []
    for name, flags in TASK.findall(_text(page)):
        if name not in tasks:
            unknown.append(name)
            continue
        arguments = (arg.name.strip("_").replace("_", "-") for arg in tasks[name].get_arguments())
        known = {f"--{one}" for one in arguments}
        unknown += [f"{name} {flag}" for flag in flags.split() if flag not in known]

    assert unknown == []


@pytest.mark.parametrize("page", PAGES)
def test_every_link_leads_to_a_file(page):
    """Links between pages and to files of the project; those of the web are not followed."""
    here = (ROOT / page).parent
    links = [one for one in LINK.findall(_text(page)) if not one.startswith(("http:", "https:"))]

    assert [one for one in links if not (here / one).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_error_id_that_is_named_is_explained(page):
    """docs/errors.md has each."""
    known = {id for id, _ in ROW.findall(ERRORS)}

    assert set(ID.findall(_text(page))) - known == set()


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_the_chinese_page_says_the_same(english, chinese):
    """The same commands, error ids, ports and number of sections, line by line."""

    def facts(page: str) -> Counter[str]:
        text = _text(page)
        facts = Counter(f"{name}{flags}" for name, flags in TASK.findall(text))
        facts += Counter(ID.findall(text))
        facts += Counter(re.findall(r"\b(?:8084|8088|8089|8090|9000|2023|2881|2883|3306)\b", text))
        return facts

    assert facts(english).keys() == facts(chinese).keys()
    sections = [len(re.findall(r"^## ", _text(page), re.M)) for page in (english, chinese)]
    if english != "README.md":  # its table of places in the code is for developers
        assert sections[0] == sections[1]
