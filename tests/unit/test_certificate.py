"""Certificate and key of the console: what could not work is found before anything is sent."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from omsfab.commands import docker
from omsfab.errors import InputError, PreflightError, SecurityRefusal, StepFailed
from omsfab.fleet import certificate
from omsfab.fleet.model import Https
from omsfab.fleet.values import CmUrl
from omsfab.plan.observed import NodeFacts, Observed
from omsfab.plan.procedures import node, scale_out, undo
from omsfab.plan.records import CopyFile
from omsfab.run.engine.interpreter import Interpreter
from omsfab.run.record.decisions import digest
from omsfab.run.session import Flags, Session
from omsfab.run.start import start

NOW = dt.datetime(2026, 11, 23, tzinfo=dt.timezone.utc)


def name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


@pytest.fixture
def pair(tmp_path):
    """Return a maker of certificate files: names, first and last day, passphrase, other key."""

    def make(*names: str, first=NOW, days=30, passphrase=b"", other=False, mode=0o600) -> Https:
        key, stranger = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "console")])
        builder = (
            x509.CertificateBuilder()
            .subject_name(who)
            .issuer_name(who)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(first)
            .not_valid_after(first + dt.timedelta(days))
        )
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([name(each) for each in names]), critical=False
            )
        crt = tmp_path / "console.crt"
        crt.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        hidden = (
            serialization.BestAvailableEncryption(passphrase)
            if passphrase
            else serialization.NoEncryption()
        )
        path = tmp_path / "console.key"
        path.write_bytes(
            (stranger if other else key).private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, hidden
            )
        )
        path.chmod(mode)
        return Https(crt=crt, key=path)

    return make


@pytest.mark.parametrize(
    "names", [("10.0.0.100",), ("10.0.0.1", "10.0.0.2", "10.0.0.3"), ("oms1", "oms2", "oms3")]
)
def test_a_certificate_for_the_vip_or_for_every_node_will_do(fleet, pair, names):
    """A browser comes by the name in cm_url, or by the address or the name of a node."""
    certificate.judge(fleet.regions[0], pair(*names), now=NOW)


def test_a_key_is_a_secret(pair):
    """It goes to the node whole, and shows as stars."""
    key = certificate.text(pair("10.0.0.100").key, private=True)

    assert "BEGIN PRIVATE KEY" in key.reveal()
    assert "BEGIN" not in repr(key)


def test_a_wildcard_covers_one_label(fleet, pair):
    """*.example.org is for oms.example.org."""
    region = fleet.regions[0].model_copy(update={"cm_url": CmUrl("oms.example.org", 8088)})

    certificate.judge(region, pair("*.example.org"), now=NOW)


@pytest.mark.parametrize(
    ("id", "how", "says"),
    [
        ("CERT-001", {"other": True}, "not the one of this certificate"),
        ("CERT-001", {"passphrase": b"open"}, "has a passphrase"),
        ("CERT-002", {"first": NOW - dt.timedelta(40)}, "expired on 2026-11-13"),
        ("CERT-002", {"first": NOW + dt.timedelta(1)}, "valid from 2026-11-24 on"),
    ],
)
def test_what_could_not_work_is_refused(fleet, pair, id, how, says):
    """Pair, passphrase, first and last day; each with its own words."""
    with pytest.raises(InputError, match=id) as caught:
        certificate.judge(fleet.regions[0], pair("10.0.0.100", **how), now=NOW)

    assert says in caught.value.evidence
    assert caught.value.fix or caught.value.next


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("10.0.0.1", "10.0.0.2"), "neither for 10.0.0.100 (cm_url)"),
        (("*.0.0.100",), "neither for 10.0.0.100"),
        ((), "no subjectAltName"),
    ],
)
def test_a_certificate_for_others_is_refused(fleet, pair, names, says):
    """Two of three nodes are not enough; a wildcard never stands for an address."""
    with pytest.raises(InputError, match="CERT-002") as caught:
        certificate.judge(fleet.regions[0], pair(*names), now=NOW)

    assert says in caught.value.evidence


def test_a_key_that_others_may_read_is_refused(fleet, pair):
    """No flag skips this: the key of a console is a secret."""
    with pytest.raises(SecurityRefusal, match="SEC-003"):
        certificate.judge(fleet.regions[0], pair("10.0.0.100", mode=0o644), now=NOW)


@pytest.mark.parametrize("which", ["crt", "key"])
def test_files_that_are_not_there_or_not_pem(fleet, pair, which):
    """A missing file and a file of other content are told by their path."""
    https = pair("10.0.0.100")
    path = getattr(https, which)
    path.write_text("not this")

    with pytest.raises(InputError, match="CERT-001") as caught:
        certificate.judge(fleet.regions[0], https, now=NOW)

    assert str(path) in caught.value.evidence


@pytest.fixture
def secured(fleet, pair):
    """The fleet with a certificate that is valid whenever the tests run, or as told."""

    def make(**how):
        first = dt.datetime.now(dt.timezone.utc) - dt.timedelta(1)
        https = pair("10.0.0.100", **{"first": first, **how})
        region = fleet.regions[0].model_copy(update={"https": https})
        return fleet.model_copy(update={"regions": (region,)})

    return make


def test_a_new_node_gets_certificate_and_key_before_its_container(secured, package):
    """Both are staged, the key for root alone, and both are mounted where the guide says."""
    plan = scale_out.deploy(secured(), Observed(package=package, image=package.image))
    writes = {
        (e.path, e.mode)
        for s in plan.steps
        for e in s.apply
        if isinstance(e, CopyFile) and s.node == "oms1" and "https" in e.path
    }
    run = next(s for s in plan.steps if s.name == "container").apply[0]

    assert {("/data/oms/https_crt", 0o644), ("/data/oms/https_key", 0o600)} == writes
    assert "/data/oms/https_crt:/etc/pki/nginx/oms_server.crt" in run.command.argv
    assert "/data/oms/https_key:/etc/pki/nginx/oms_server.key" in run.command.argv


def test_health_is_asked_by_https_then(secured, package):
    """With a certificate NGINX serves HTTPS only (guide, docker run parameters)."""
    plan = scale_out.deploy(secured(), Observed(package=package, image=package.image))
    titles = [step.title for step in plan.steps if step.name == "health"]

    assert "https://10.0.0.1:8089/oms/health says healthy" == titles[0]


def test_a_container_without_the_mount_cannot_be_given_one(secured, present):
    """Mounts of a container never change; it is said, and not done."""
    with pytest.raises(PreflightError, match="CERT-005"):
        node.push_certs(secured(), present(), node="oms1")


def test_nginx_reads_a_renewed_certificate(secured):
    """Where the container runs with the mount, its nginx is restarted and the page asked."""
    binds = tuple(":".join(p) for p in (("/data/oms/https_crt", "/etc/pki/nginx/oms_server.crt"),))
    facts = NodeFacts(container="running", image="sha256:1", host_ip="10.0.0.1", binds=binds)

    plan = node.push_certs(secured(), Observed(nodes={"oms1": facts}), node="oms1")

    work = plan.stages[1].steps
    assert ["init-runs"] == [step.name for step in plan.stages[0].steps]  # it starts nginx itself
    assert ["https-crt", "https-key", "nginx", "health"] == [step.name for step in work]


def test_without_a_certificate_there_is_nothing_to_push(fleet):
    """The key to write is named."""
    with pytest.raises(InputError, match="CERT-004"):
        node.push_certs(fleet, Observed(), node="oms1")


EXPIRED = {"first": dt.datetime(2020, 1, 1, tzinfo=dt.timezone.utc)}


def gone(fleet):
    """The fleet on a jump host that has no such files."""
    https = Https(crt=Path("/nonexistent/crt"), key=Path("/nonexistent/key"))
    region = fleet.regions[0].model_copy(update={"https": https})
    return fleet.model_copy(update={"regions": (region,)})


@pytest.fixture
def session(monkeypatch, tmp_path):
    """Return a maker of sessions that contact nobody."""
    monkeypatch.setenv("OMSFAB_HOME", str(tmp_path / "state"))
    return lambda fleet: Session(Flags(dry=True), fleet)


@pytest.mark.parametrize("task", ["oms.deploy", "scale.out"])
def test_what_could_not_work_is_not_sent(session, secured, task):
    """A new run that brings a certificate looks at it first."""
    with pytest.raises(InputError, match="CERT-002"):
        start(session(secured(**EXPIRED)), task)


def test_push_certs_sends_no_expired_certificate(session, secured):
    """Renewing is what it is for."""
    with pytest.raises(InputError, match="CERT-002"):
        start(session(secured(**EXPIRED)), "node.push-certs", node="oms1")


@pytest.mark.parametrize("task", ["node.initialise", "node.refresh", "node.check", "node.run"])
def test_an_expired_certificate_stops_no_repair(session, secured, task):
    """Least of all in the middle of an outage."""
    start(session(secured(**EXPIRED)), task, node="oms1")


@pytest.mark.parametrize("task", ["node.initialise", "node.refresh", "node.check"])
def test_repairs_need_no_certificate_on_this_jump_host(session, fleet, task):
    """It is on the nodes; another jump host need not have it."""
    start(session(gone(fleet)), task, node="oms1")


@pytest.mark.parametrize(
    "where",
    [lambda secured, fleet: secured(**EXPIRED), lambda secured, fleet: gone(fleet)],
    ids=["expired", "gone"],
)
def test_a_run_is_taken_back_without_a_certificate_that_works(secured, fleet, present, where):
    """The nodes keep the one they have: production must not stay stopped for a file."""
    begun = {"stop-processes@oms1", "clear-rows@metadb"}
    plan = undo.undo(where(secured, fleet), present(), run="r", region="", begun=begun)
    (health,) = (step for step in plan.steps if step.name == "health")

    assert "" == health.verify[-1].command.argv[-1]


@pytest.mark.parametrize("change", ["expired", "renewed", "gone"])
def test_a_resumed_run_has_the_plan_that_was_confirmed(secured, fleet, package, change):
    """Certificate expired or renewed since, or another jump host without it."""
    before = secured()
    seen = certificate.pairs(before.regions)
    now = Observed(package=package, image=package.image, certificates=seen)
    planned = digest(scale_out.deploy(before, now), "r")
    stored = Observed.of(json.loads(json.dumps(now.record())))
    after = {"expired": lambda: secured(**EXPIRED), "renewed": secured}.get(
        change, lambda: before
    )()
    if change == "gone":
        after.regions[0].https.crt.unlink()
        after.regions[0].https.key.unlink()

    assert planned == digest(scale_out.deploy(after, stored), "r")


def brought(fleet, now):
    """The effects that bring certificate and key to oms1."""
    plan = scale_out.deploy(fleet, now)
    return [(s, e) for s in plan.steps for e in s.apply if isinstance(e, CopyFile)][:2]


class Node:
    """A shell that keeps what is written there."""

    def __init__(self):
        self.files = {}

    def write(self, path, content, mode, backup):
        self.files[path] = content.reveal()


@pytest.fixture
def site(tmp_path):
    return Interpreter("r", tmp_path, {"oms1": Node()}, None)


def test_the_files_arrive_as_they_are(secured, package, site):
    """The very text of both files."""
    fleet = secured()
    now = Observed(package=package, certificates=certificate.pairs(fleet.regions))
    for step, effect in brought(fleet, now):
        site.perform(effect, step, 1, lambda *_: None)
    https = fleet.regions[0].https

    assert [https.crt.read_text(), https.key.read_text()] == list(
        site._shells["oms1"].files.values()
    )


@pytest.mark.parametrize("how", ["renewed", "gone"])
def test_no_other_certificate_is_sent_than_the_one_confirmed(secured, package, site, how):
    """What was confirmed is what is run; the way out is said."""
    fleet = secured()
    now = Observed(package=package, certificates=certificate.pairs(fleet.regions))
    effects = brought(fleet, now)
    if how == "renewed":
        secured()
    else:
        for source in (effect.source for _, effect in effects):
            source.unlink()

    for step, effect in effects:
        with pytest.raises(StepFailed, match="PLAN-004") as caught:
            site.perform(effect, step, 1, lambda *_: None)
        assert str(effect.source) in caught.value.fix
    assert {} == site._shells["oms1"].files


def test_a_node_that_keeps_its_certificate_is_not_asked_for_another(secured, package, present):
    """Renewed in hosts.yaml and not pushed yet: a scale-out is no place to fail for that."""
    fleet = secured()
    pairs = certificate.pairs(fleet.regions)
    mounts = docker.mounts(fleet.install_of(fleet.regions[0].nodes[0]))
    first = replace(present().facts("oms1"), binds=tuple(":".join(pair) for pair in mounts))
    now = replace(present(package, url="http://10.0.0.100:8088", oms1=first), certificates=pairs)
    plan = scale_out.scale_out(fleet, now)
    asked = {s.node: s.verify[-1].command.argv[-1] for s in plan.steps if s.name == "health"}
    shown = pairs["cn-hangzhou"].shown

    assert {"oms1": "", "oms2": shown, "oms3": shown} == asked
