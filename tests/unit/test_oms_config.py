"""config.yaml both ways: what is written comes back, and what is read is compared by meaning."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from omsfab.errors import InputError, PreflightError
from omsfab.fleet import oms_config, yaml_reader
from omsfab.fleet.model import Fleet, Install, MetaDb, Node, Ports, Region, Tsdb
from omsfab.fleet.oms_config import Drift
from omsfab.fleet.values import CmUrl
from omsfab.secret import Secret

FAST = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

HANGZHOU = Region(
    name="cn-hangzhou",
    location=1,
    label="杭州",
    cm_url="http://10.0.0.100:8088",
    heartbeat_db="oms_cm_heartbeat_1",
    nodes=(Node(name="oms1", ip="10.0.0.1"), Node(name="oms2", ip="10.0.0.2")),
)

IN_USE = """\
oms_meta_host: 10.0.0.9
oms_meta_port: 2881
oms_meta_user: oms@oms_meta
oms_meta_password: s3cret
drc_rm_db: oms_rm
drc_cm_db: oms_cm
drc_cm_heartbeat_db: oms_cm_heartbeat_1
cm_url: http://10.0.0.100:8088
cm_location: 1
cm_region: cn-hangzhou
cm_region_cn: 杭州
cm_is_default: true
cm_nodes:
 - 10.0.0.1
 - 10.0.0.2
tsdb_enabled: false
"""
"""The plain form of the guide."""


def fleet(
    password: str = "s3cret",
    region: Region = HANGZHOU,
    tsdb: Tsdb | None = None,
    **install: object,
) -> Fleet:
    return Fleet(
        install=Install(image="oms:feature_4.2.7_ce", container="oms_427", **install),
        metadb=MetaDb(
            host="10.0.0.9",
            port=2881,
            user="oms@oms_meta",
            password=Secret(password),
            rm_db="oms_rm",
            cm_db="oms_cm",
        ),
        tsdb=tsdb,
        regions=(region,),
    )


def rendered(**changes: object) -> str:
    return oms_config.render(fleet(**changes), HANGZHOU).reveal()


# --- quoting ---------------------------------------------------------------------------------


def nasty_texts(count: int) -> list[str]:
    """Random strings of what breaks YAML, shells, templates and encodings; always the same."""
    dice = random.Random(20251123)
    pieces = [
        *"\"'\\`$#:{}[]&*!|>%@,?-=~<\t\n\r\0\x07\x1b\x7f\x85\xa0\ufeff\ufffe\u2028\u2029 aZ0",
        *["é", "密", "😀", "\U0010ffff", "${x}", "$(id)", "---", "...", ": ", " #", "null", "0x1"],
        *["\\u0041", "\\N", "!!python/object", "*a", "%YAML", "\r\n", "yes", "1:30", "=", "<<"],
    ]

    def one() -> str:
        if dice.random() < 0.5:
            return "".join(dice.choices(pieces, k=dice.randrange(12)))
        points = (dice.randrange(sys.maxunicode + 1) for _ in range(dice.randrange(8)))
        return "".join(chr(point) for point in points if not 0xD800 <= point <= 0xDFFF)

    return [one() for _ in range(count)]


def test_ten_thousand_texts_come_back_identical():
    """No password of any characters can break out (PyYAML's C parser)."""
    texts = nasty_texts(10_000)
    document = "\n".join(f"- {oms_config.quoted(text)}" for text in texts)

    assert texts == yaml.load(document, Loader=FAST)


def test_texts_come_back_identical_from_the_parser_in_python():
    """OMS reads config.yaml with PyYAML, which may lack the C parser."""
    texts = nasty_texts(500)
    document = "\n".join(f"- {oms_config.quoted(text)}" for text in texts)

    assert texts == yaml.safe_load(document)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(), max_size=20))
def test_any_text_comes_back_identical(texts):
    """As above, with the strings hypothesis likes to break things with."""
    document = "\n".join(f"- {oms_config.quoted(text)}" for text in texts) or "[]"

    assert texts == yaml.load(document, Loader=FAST)


def test_every_character_up_to_ffff_comes_back():
    """Above all U+007F to U+009F, U+2028, U+2029, U+FEFF and U+FFFE."""
    points = [chr(point) for point in range(0x10000) if not 0xD800 <= point <= 0xDFFF]
    text = "".join(points)

    assert text == yaml.load(oms_config.quoted(text), Loader=FAST)


def test_a_quoted_text_is_printable_ascii():
    """So no encoding on the way to the node can change it."""
    quoted = oms_config.quoted("".join(nasty_texts(2_000)))

    assert quoted.isascii() and quoted.isprintable()


def test_a_lone_surrogate_is_refused():
    """It is no character; YAML parsers disagree about it."""
    with pytest.raises(InputError, match="TPL-004"):
        oms_config.quoted("a\ud800b")


@settings(max_examples=25, deadline=None)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_password_comes_back_from_the_whole_file(password):
    """Through template, YAML and PyYAML, with nothing else in the file changed by it."""
    text = rendered(password=password)
    quiet = yaml.safe_load(rendered(password="x"))

    assert quiet | {"oms_meta_password": password} == yaml.safe_load(text)


# --- writing ---------------------------------------------------------------------------------


def test_the_file_says_what_the_fleet_says():
    """All keys of the guide's table, each with its value and type."""
    assert {
        "oms_meta_host": "10.0.0.9",
        "oms_meta_port": 2881,
        "oms_meta_user": "oms@oms_meta",
        "oms_meta_password": "s3cret",
        "drc_rm_db": "oms_rm",
        "drc_cm_db": "oms_cm",
        "drc_cm_heartbeat_db": "oms_cm_heartbeat_1",
        "cm_url": "http://10.0.0.100:8088",
        "cm_location": 1,
        "cm_region": "cn-hangzhou",
        "cm_region_cn": "杭州",
        "cm_is_default": True,
        "cm_nodes": ["10.0.0.1", "10.0.0.2"],
        "tsdb_enabled": False,
    } == yaml.safe_load(rendered())


def test_every_text_in_the_file_is_quoted():
    """An unquoted `no`, `1e3` or ` #` would come back as something else."""
    lines = [line for line in rendered().splitlines() if line and not line.startswith("#")]
    loose = [line for line in lines if not line.endswith(('"', ":"))]

    assert [
        "oms_meta_port: 2881",
        "cm_location: 1",
        "cm_is_default: true",
        "tsdb_enabled: false",
    ] == loose


def test_the_rendered_file_is_a_secret():
    """The password is in it, so it must not be printed by chance."""
    assert "****" == str(oms_config.render(fleet(), HANGZHOU))


def test_only_ports_that_differ_are_written():
    """Images before 4.2.2 do not know the keys (oms-facts 1)."""
    said = yaml.safe_load(rendered(ports=Ports(cm=18088, sshd=12023)))

    assert {"cm_server_port": 18088, "sshd_server_port": 12023} == {
        key: value for key, value in said.items() if key.endswith("_server_port")
    }


def test_the_time_series_database_is_written_when_there_is_one():
    """All five keys together."""
    tsdb = Tsdb(service="INFLUXDB", url="10.0.0.8:8086", username="o'ms", password=Secret('"'))
    said = yaml.safe_load(rendered(tsdb=tsdb))

    assert {
        "tsdb_enabled": True,
        "tsdb_service": "INFLUXDB",
        "tsdb_url": "10.0.0.8:8086",
        "tsdb_username": "o'ms",
        "tsdb_password": '"',
    } == {key: value for key, value in said.items() if key.startswith("tsdb_")}


def test_extra_keys_are_written():
    """oms.extra of hosts.yaml, secrets included."""
    said = yaml.safe_load(rendered(extra={"a_flag": True, "a_text": "no", "a_secret": Secret("#")}))

    assert (True, "no", "#") == (said["a_flag"], said["a_text"], said["a_secret"])


# --- the template ----------------------------------------------------------------------------


def test_a_template_asks_for_no_more_than_there_is():
    """The error names what is too many."""
    with pytest.raises(InputError, match="TPL-001") as refused:
        oms_config.fill("a: ${a}\nb: ${b}\n", {"a": "1"}, origin="t.yaml")

    assert (2, "no value for ${b}") == (refused.value.exit_code, refused.value.evidence)


def test_a_template_leaves_nothing_out():
    """A value without a place would be lost without a word."""
    with pytest.raises(InputError, match="TPL-001") as refused:
        oms_config.fill("a: ${a}\n", {"a": "1", "cm_url": "2"}, origin="t.yaml")

    assert "no place for ${cm_url}" == refused.value.evidence


def test_a_lone_dollar_in_a_template_is_told_with_its_line():
    """string.Template itself says "line 2, col 4" in a ValueError without a way out."""
    with pytest.raises(InputError, match=r"lone \$ on line 2"):
        oms_config.fill("a: ${a}\nb: $\n", {"a": "1"}, origin="t.yaml")


def test_a_value_is_not_read_as_a_template_again():
    """A password may look like a name of the template."""
    assert "a: ${cm_url}" == oms_config.fill("a: ${a}", {"a": "${cm_url}"}, origin="t.yaml")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("cm_url: ${cm_url}", "# cm_url: ${cm_url}", "cm_url does not come back"),
        ("cm_location: ${cm_location}", 'cm_location: "${cm_location}"', "cm_location does not"),
        ("cm_location: ${cm_location}", "cm_location: !!float ${cm_location}", "cm_location does"),
        ("drc_rm_db: ${drc_rm_db}", "drc_cm_db: ${drc_rm_db}", "drc_cm_db stands twice"),
        ("cm_region: ${cm_region}", "cm_region:${cm_region}", "a space is missing"),
        ("oms_meta_host: ${oms_meta_host}", "oms_meta_host: ${oms_meta_host} x", "is not YAML"),
    ],
)
def test_a_spoilt_template_is_found_before_the_file_leaves(monkeypatch, tmp_path, old, new, says):
    """The text is read back and compared by value before it is returned."""
    spoilt = tmp_path / "config.yaml"
    spoilt.write_text(oms_config.TEMPLATE.read_text().replace(old, new))
    monkeypatch.setattr(oms_config, "TEMPLATE", spoilt)

    with pytest.raises(InputError, match="TPL-002") as refused:
        oms_config.render(fleet(password="hunter2"), HANGZHOU)

    assert says in refused.value.evidence
    assert "hunter2" not in refused.value.render()


def test_a_missing_template_is_an_input_error(monkeypatch):
    """Exit 2, not a traceback."""
    monkeypatch.setattr(oms_config, "TEMPLATE", Path("/nowhere/config.yaml"))

    with pytest.raises(InputError, match="TPL-003"):
        oms_config.render(fleet(), HANGZHOU)


# --- reading ---------------------------------------------------------------------------------


def in_use(*changes: tuple[str, str]) -> str:
    """IN_USE with parts replaced; each must be there."""
    text = IN_USE
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    return text


NODES = "\n - 10.0.0.1\n - 10.0.0.2\n"

AS_OBD_WRITES = "".join(
    '"{}": "{}"\n'.format(*row.split(": ")) for row in IN_USE.splitlines() if ": " in row
) + '"cm_nodes":\n- "10.0.0.1"\n- "10.0.0.2"\n'  # fmt: skip

AS_THE_FAQ_SHOWS = in_use(
    ("cm_is_default: true", '"cm_is_default": !!bool "true"'),
    ("tsdb_enabled: false", '"tsdb_enabled": !!bool "false"'),
    ("cm_location: 1", 'cm_location: !!int "1"'),
    ("cm_url: ", "cm_url: !!str "),
)

FORMS = {
    "the guide's plain form": IN_USE,
    "a BOM and line ends of Windows": "\ufeff" + in_use(("\n", "\r\n")),
    "no line end at the end": IN_USE.rstrip(),
    "a slash after cm_url": in_use((":8088\n", ":8088/\n")),
    "nodes in brackets": in_use((NODES, " [10.0.0.1, 10.0.0.2]\n")),
    "nodes in another order": in_use((NODES, "\n - 10.0.0.2\n - 10.0.0.1\n")),
    "nodes in one text": in_use((NODES, " 10.0.0.1, 10.0.0.2\n")),
    "defaults left out": in_use(("tsdb_enabled: false\n", ""), ("cm_is_default: true\n", "")),
    "defaults written out": IN_USE + "cm_server_port: 8088\ntsdb_service: CERESDB\n",
    "yes for true": in_use(("cm_is_default: true", "cm_is_default: yes")),
    "OBD: everything in quotes": AS_OBD_WRITES,
    "the FAQ: tags": AS_THE_FAQ_SHOWS,
    "in braces": yaml.safe_dump(yaml.safe_load(IN_USE), default_flow_style=True, width=9999),
    "with comments": "# a\n" + in_use(("\n", " # b\n")),
    "what omsfab writes": rendered(),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_read_in_any_form_in_use(form):
    """Equal meaning compares equal (oms-facts 1: plain, quoted, !!bool, string and int forms)."""
    want = oms_config.wanted(fleet(), HANGZHOU)

    assert () == oms_config.differences(oms_config.read(FORMS[form]), want)


def test_known_keys_come_in_their_own_type():
    """Whoever asks for the location gets a number, in whichever form it was written."""
    have = oms_config.read(
        '"cm_location": "2"\ntsdb_enabled: !!bool "true"\noms_meta_port: "2881"\n'
        "oms_meta_user: 7\ncm_url: http://a:8088/\ncm_nodes: [10.0.0.1]\noms_meta_password: 123\n"
    )

    assert {
        "cm_location": 2,
        "tsdb_enabled": True,
        "oms_meta_port": 2881,
        "oms_meta_user": "7",
        "cm_url": CmUrl.read("http://a:8088/"),
        "cm_nodes": ["10.0.0.1"],
        "oms_meta_password": Secret("123"),
    } == have


def test_secrets_are_read_as_secrets():
    """What was read may be printed by chance."""
    have = oms_config.read("oms_meta_password: hunter2\napsara_audit_sls_access_key: hunter2\n")

    assert "hunter2" not in repr(have)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", "a stands twice, on lines 1 and 3"),
        ("a: 1\n\tb: 2\n", "line 2: a tab"),
        ("a: 1\nb:2\nc: 3\n", "line 2: a space is missing after the colon"),
        ("b:2\n", "no key: value lines"),
        ("a: 1\n  b:2\n", "runs on into the next line"),
        ("a: !!python/object/apply:os.system [id]\n", "line 1: a tag"),
        ("a: &x 1\nb: *x\n", "line 1: an anchor or alias"),
        ("a: {<<: *x}\n", "line 1: an anchor or alias"),
        ("", "the file is empty"),
        ("# only comments\n", "the file is empty"),
        ("- a\n", "no key: value lines"),
        ("a: 'hunter2\n", "line 1: a quote is not closed"),
        ("oms_meta_password: @hunter2\n", "line 1: is not YAML"),
        ("oms_meta_password: hunter2: x\n", "line 1: is not YAML"),
        ("oms_meta_password: !hunter2\n", "line 1: a tag"),
        ("oms_meta_password: !hunter2!x y\n", "line 1: a value that begins with !"),
        ("oms_meta_password: *hunter2\n", "line 1: an anchor or alias"),
        ("a: 1\n---\na: 2\n", "line 2: a second document"),
        ("a: \x01\n", "line 1: a control character, U+0001"),
        ('a: !!int "x"\n', "line 1: tagged !!int, but not a number"),
        ("? [a]\n: 1\n", "line 1: a key that is a list or a mapping"),
        ("a: " + "[" * 100, "line 1: nested more than 12 levels"),
        ("#" * 1_000_001, "more than 1,000,000 bytes"),
    ],
)
def test_a_file_that_cannot_be_read_safely_is_refused(text, says):
    """V09: exit 3 with the line, no value of the file shown."""
    with pytest.raises(PreflightError, match="CFG-001") as refused:
        oms_config.read(text, origin="oms1:/data/config.yaml")

    assert 3 == refused.value.exit_code
    assert says in refused.value.evidence
    assert "oms1:/data/config.yaml" == refused.value.where
    assert "hunter2" not in refused.value.render()


def test_an_alias_bomb_of_ten_megabytes_costs_nothing():
    """V09: refused before it is built; the file itself has a few hundred bytes."""
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{after}: &{after} [{','.join([f'*{before}'] * 10)}]\n"
        for before, after in zip("abcdefg", "bcdefgh", strict=True)
    )
    begin = time.monotonic()

    with pytest.raises(PreflightError):
        oms_config.read(bomb)

    assert 0.5 > time.monotonic() - begin


# --- comparing -------------------------------------------------------------------------------


def test_a_difference_is_told_by_key_before_and_after():
    """One line per key; secrets as ****; unknown keys count, for they would be lost."""
    have = oms_config.read(
        IN_USE.replace("10.0.0.100", "10.0.0.1")
        .replace(" - 10.0.0.2\n", "")
        .replace("s3cret", "hunter2")
        .replace("cm_region_cn: 杭州\n", "")
        + "drc_user: root\ndrc_password: hunter2\nnginx_server_port: 18089\nlist: [{a: 1}]\n"
    )

    assert (
        "oms_meta_password: **** -> ****",
        "cm_url: http://10.0.0.1:8088 -> http://10.0.0.100:8088",
        "cm_region_cn: (absent) -> 杭州",
        "cm_nodes: [10.0.0.1] -> [10.0.0.1, 10.0.0.2]",
        "drc_user: root -> (absent)",
        "drc_password: **** -> (absent)",
        "nginx_server_port: 18089 -> 8089",
        "list: (a mapping or list) -> (absent)",
    ) == tuple(map(str, oms_config.differences(have, oms_config.wanted(fleet(), HANGZHOU))))


@pytest.mark.parametrize(
    "drift",
    [
        Drift("cm_url", "http://a:1", "http://b:2"),
        Drift("cm_region", None, "cn-hangzhou"),
        Drift("drc_user", "a: b", None),
    ],
)
def test_a_drift_is_read_from_a_record_of_either_form(drift):
    """A run of a former omsfab has the line that it printed."""
    record = {"key": drift.key, "have": drift.have, "want": drift.want}

    assert [drift, drift] == [Drift.of(record), Drift.of(str(drift))]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("s3cret", '"S3CRET"'),  # case counts
        ("s3cret", '"s3cret "'),
        ("cm_location: 1", "cm_location: 01x"),
        ("cm_location: 1", "cm_location: 010"),  # 8 to YAML
        ("cm_location: 1", "cm_location: true"),
        ("cm_is_default: true", "cm_is_default: false"),
        ("cm_is_default: true", 'cm_is_default: "no"'),  # a text to OMS
        ("10.0.0.100:8088", "10.0.0.100:80880"),
        (" - 10.0.0.2\n", " - 10.0.0.2\n - 10.0.0.3\n"),
        (" - 10.0.0.2\n", " - 10.0.0.2\n - 10.0.0.2\n"),
        ("cm_region: cn-hangzhou", "cm_region:"),
        ("tsdb_enabled: false", "tsdb_enabled: true"),
    ],
)
def test_a_real_difference_is_never_overlooked(before, after):
    """The tolerance for forms must not become tolerance for values."""
    assert before in IN_USE
    have = oms_config.read(IN_USE.replace(before, after))

    assert not oms_config.same(have, oms_config.wanted(fleet(), HANGZHOU))


def test_unknown_keys_compare_by_loose_meaning():
    """Their types are not known: "2" is 2, "true" is True."""
    assert oms_config.same({"x": "2", "y": True, "z": "a"}, {"x": 2, "y": "true", "z": "a"})


def test_the_keys_are_those_of_the_guide():
    """Its parameter table, and the ports of oms-facts 1; nothing else is written unasked."""
    table = """
        oms_meta_host oms_meta_port oms_meta_user oms_meta_password drc_rm_db drc_cm_db
        drc_cm_heartbeat_db cm_url cm_location cm_region cm_region_cn cm_nodes cm_is_default
        tsdb_enabled tsdb_service tsdb_url tsdb_username tsdb_password
        ghana_server_port nginx_server_port cm_server_port supervisor_server_port sshd_server_port
    """

    assert set(table.split()) == oms_config.KEYS


def test_lines_are_known_by_key():
    """The line of each key, for messages."""
    document = yaml_reader.load("a:\n  b: 1\nc: [1, 2]\n")

    assert {("a",): 1, ("a", "b"): 2, ("c",): 3} == document.lines


def test_a_label_in_chinese_can_be_read_in_the_file():
    """R4: cm_region_cn stands as it is said; what is not seen, or ends a line, is still escaped."""
    text = oms_config.readable('杭州 "A" \\ \u2028\x85\u200b é\U0001f600')

    assert '"杭州 \\"A\\" \\\\ \\u2028\\u0085\\u200b é\\U0001f600"' == text
    assert '杭州 "A" \\ \u2028\x85\u200b é\U0001f600' == yaml.safe_load(text)


@given(st.text())
@settings(max_examples=300, deadline=None)
def test_any_label_comes_back_identical(text):
    """As with the others, from YAML's own parser."""
    if any("\ud800" <= c <= "\udfff" for c in text):
        return
    assert text == yaml.safe_load(oms_config.readable(text))
