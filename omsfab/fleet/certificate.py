"""The certificate of the console: read, and refused where it could not work.

Source: OMS CE guide, `docker run`: both files are mounted, and then NGINX serves HTTPS only.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timezone

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from omsfab.errors import InputError
from omsfab.fleet import secretsource
from omsfab.fleet.model import Https, Region
from omsfab.fleet.secret import Secret


@dataclass(frozen=True, slots=True)
class Certificate:
    """A pair that fits.  ``sha256`` is that of the DER form, as ``openssl x509`` shows it."""

    crt: str
    key: Secret
    sha256: str


def load(region: Region, https: Https, *, now: datetime | None = None) -> Certificate:
    """Return certificate and key of a region.

    Raises InputError CERT-001 for files that are no such pair, CERT-002 for a certificate that is
    not valid now or not for these nodes, and SecurityRefusal for a key that others may read.
    """
    label = f"regions.{region.name}.https"
    try:
        crt = https.crt.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise _unfit(label, https, [f"{https.crt}: {error}"]) from None
    key = Secret(secretsource.read_private(https.key, label=f"{label}.key") + "\n")
    leaf, private = _parsed(label, https, crt, key)
    if leaf.public_key() != private.public_key():
        raise _unfit(label, https, ["the key is not the one of this certificate"])
    wrong = [*_times(leaf, now or datetime.now(timezone.utc)), *_names(leaf, region)]
    if wrong:
        raise InputError(
            "CERT-002",
            f"the certificate of region {region.name} would not be accepted",
            where=f"{label}.crt, {https.crt}",
            evidence="\n".join(wrong),
            next=f"openssl x509 -in {https.crt} -noout -dates -ext subjectAltName",
        )
    digest = hashlib.sha256(leaf.public_bytes(serialization.Encoding.DER)).hexdigest()
    return Certificate(crt, key, digest)


def _parsed(
    label: str, https: Https, crt: str, key: Secret
) -> tuple[x509.Certificate, PrivateKeyTypes]:
    wrong = []
    leaf = private = None
    try:
        leaf = x509.load_pem_x509_certificates(crt.encode())[0]
    except ValueError:
        wrong.append(f"{https.crt} is no certificate in PEM form")
    try:
        private = serialization.load_pem_private_key(key.reveal().encode(), None)
    except TypeError:
        wrong.append(f"{https.key} has a passphrase, and NGINX has nobody to ask")
    except ValueError:
        wrong.append(f"{https.key} is no private key in PEM form")
    if leaf is None or private is None:
        raise _unfit(label, https, wrong)
    return leaf, private


def _unfit(label: str, https: Https, evidence: list[str]) -> InputError:
    return InputError(
        "CERT-001",
        "certificate and key are no pair that NGINX could serve",
        where=label,
        evidence="\n".join(evidence),
        next=f"openssl x509 -in {https.crt} -noout -pubkey; openssl pkey -in {https.key} -pubout",
    )


def _times(leaf: x509.Certificate, now: datetime) -> Iterable[str]:
    if now < leaf.not_valid_before_utc:
        yield f"it is valid from {leaf.not_valid_before_utc:%Y-%m-%d} on"
    if now > leaf.not_valid_after_utc:
        yield f"it expired on {leaf.not_valid_after_utc:%Y-%m-%d}"


def _names(leaf: x509.Certificate, region: Region) -> Iterable[str]:
    """A browser comes by the name in cm_url or by the address of a node: one way must do."""
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        yield "it has no subjectAltName, and browsers look at nothing else"
        return
    hosts = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    hosts |= {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    by_node = all(_covers(hosts, node.ip) or _covers(hosts, node.name) for node in region.nodes)
    if not by_node and not _covers(hosts, region.cm_host):
        yield (
            f"it is for {', '.join(sorted(hosts)) or 'nobody'}: neither for {region.cm_host}"
            f" (cm_url) nor for {', '.join(region.ips)}"
        )


def _covers(hosts: set[str], wanted: str) -> bool:
    """``*.example`` stands for one label of a name, and never for an address."""
    wanted = wanted.lower()
    try:
        return str(ipaddress.ip_address(wanted)) in hosts
    except ValueError:
        _, _, parent = wanted.partition(".")
        return wanted in hosts or (bool(parent) and f"*.{parent}" in hosts)
