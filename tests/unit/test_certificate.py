"""Certificate and key of the console: what could not work is found before anything is sent."""

from __future__ import annotations

import datetime as dt
import ipaddress

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from omsfab.errors import InputError, PreflightError, SecurityRefusal
from omsfab.fleet import certificate
from omsfab.fleet.model import Https
from omsfab.plan import repair, scale
from omsfab.plan.present import NodeFacts, Present
from omsfab.plan.records import Write

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
    found = certificate.load(fleet.regions[0], pair(*names), now=NOW)

    assert "BEGIN CERTIFICATE" in found.crt
    assert "BEGIN" not in repr(found.key)


def test_a_wildcard_covers_one_label(fleet, pair):
    """*.example.org is for oms.example.org."""
    region = fleet.regions[0].model_copy(update={"cm_url": "http://oms.example.org:8088"})

    assert certificate.load(region, pair("*.example.org"), now=NOW)


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
        certificate.load(fleet.regions[0], pair("10.0.0.100", **how), now=NOW)

    assert says in caught.value.evidence
    assert caught.value.next


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
        certificate.load(fleet.regions[0], pair(*names), now=NOW)

    assert says in caught.value.evidence


def test_a_key_that_others_may_read_is_refused(fleet, pair):
    """No flag skips this: the key of a console is a secret."""
    with pytest.raises(SecurityRefusal, match="SEC-003"):
        certificate.load(fleet.regions[0], pair("10.0.0.100", mode=0o644), now=NOW)


@pytest.mark.parametrize("which", ["crt", "key"])
def test_files_that_are_not_there_or_not_pem(fleet, pair, which):
    """A missing file and a file of other content are told by their path."""
    https = pair("10.0.0.100")
    path = getattr(https, which)
    path.write_text("not this")

    with pytest.raises(InputError, match="CERT-001") as caught:
        certificate.load(fleet.regions[0], https, now=NOW)

    assert str(path) in caught.value.evidence


@pytest.fixture
def secured(fleet, pair):
    """The fleet with a certificate that is valid whenever the tests run."""
    https = pair("10.0.0.100", first=dt.datetime.now(dt.timezone.utc) - dt.timedelta(1))
    region = fleet.regions[0].model_copy(update={"https": https})
    return fleet.model_copy(update={"regions": (region,)})


def test_a_new_node_gets_certificate_and_key_before_its_container(secured, package):
    """Both are staged, the key for root alone, and both are mounted where the guide says."""
    plan = scale.deploy(secured, Present(package=package, image=package.image))
    writes = {
        (e.path, e.mode)
        for s in plan.steps
        for e in s.apply
        if isinstance(e, Write) and s.node == "oms1" and "https" in e.path
    }
    run = next(s for s in plan.steps if s.name == "container").apply[-1]

    assert {("/data/oms/https_crt", 0o644), ("/data/oms/https_key", 0o600)} == writes
    assert "/data/oms/https_crt:/etc/pki/nginx/oms_server.crt" in run.command.argv
    assert "/data/oms/https_key:/etc/pki/nginx/oms_server.key" in run.command.argv


def test_health_is_asked_by_https_then(secured, package):
    """With a certificate NGINX serves HTTPS only (guide, docker run parameters)."""
    plan = scale.deploy(secured, Present(package=package, image=package.image))
    titles = [step.title for step in plan.steps if step.name == "health"]

    assert "https://10.0.0.1:8089/oms/health says healthy" == titles[0]


def test_a_container_without_the_mount_cannot_be_given_one(secured, present):
    """Mounts of a container never change; it is said, and not done."""
    with pytest.raises(PreflightError, match="CERT-005"):
        repair.push_certs(secured, present(), node="oms1")


def test_nginx_reads_a_renewed_certificate(secured):
    """Where the container runs with the mount, its nginx is restarted and the page asked."""
    binds = tuple(":".join(p) for p in (("/data/oms/https_crt", "/etc/pki/nginx/oms_server.crt"),))
    facts = NodeFacts(container="running", image="sha256:1", host_ip="10.0.0.1", binds=binds)

    plan = repair.push_certs(secured, Present(nodes={"oms1": facts}), node="oms1")

    assert ["https-crt", "https-key", "nginx", "health"] == [step.name for step in plan.steps]


def test_without_a_certificate_there_is_nothing_to_push(fleet):
    """The key to write is named."""
    with pytest.raises(InputError, match="CERT-004"):
        repair.push_certs(fleet, Present(), node="oms1")
