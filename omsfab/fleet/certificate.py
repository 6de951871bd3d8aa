"""The certificate of the console: read, and refused where one that could not work is to be sent.

Source: OMS CE guide, `docker run`: both files are mounted, and then NGINX serves HTTPS only.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from omsfab.errors import InputError, OmsfabError
from omsfab.fleet import secret_sources
from omsfab.fleet.model import Https, Region
from omsfab.next_line import chain, shell
from omsfab.secret import Secret

# Read where a certificate is: most fleets have none, and every command would wait for it.
if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes


@dataclass(frozen=True, slots=True)
class Pair:
    """The sha256 of certificate and key as they are sent, and of the DER form, which is what a
    server shows; each is empty where it cannot be had."""

    crt: str = ""
    key: str = ""
    shown: str = ""


def pairs(regions: Iterable[Region]) -> dict[str, Pair]:
    """Return the pair of each region that has one, by the region's name, whatever it is worth."""
    return {region.name: _pair(region.https) for region in regions if region.https}


def text(source: Path, *, private: bool = False, label: str = "https.key") -> Secret:
    """Return what is sent of a file.

    Raises InputError CERT-001 or INPUT-011 where it cannot be read, and SecurityRefusal for a
    ``private`` one that others may read.
    """
    if private:
        return Secret(secret_sources.read_private(source, label=label) + "\n")
    try:
        return Secret(source.read_text(encoding="ascii"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "CERT-001",
            "the certificate cannot be read",
            where=str(source),
            evidence=f"{source}: {error}",
            next=shell("openssl", "x509", "-in", str(source), "-noout", "-subject"),
        ) from None


def judge(region: Region, https: Https, *, dates: bool = True, now: datetime | None = None) -> None:
    """Refuse certificate and key of a region where they could not work.

    Raises InputError CERT-001 for files that are no such pair, CERT-002 for a certificate that is
    not valid now or not for these nodes (not asked without ``dates``), and SecurityRefusal for a
    key that others may read.
    """
    label = f"regions.{region.name}.https"
    crt = text(https.crt)
    key = text(https.key, private=True, label=f"{label}.key")
    leaf, private = _parsed(label, https, crt, key)
    if leaf.public_key() != private.public_key():
        raise _unfit(label, https, ["the key is not the one of this certificate"])
    wrong = [*_times(leaf, now or datetime.now(timezone.utc)), *_names(leaf, region)]
    if wrong and dates:
        raise InputError(
            "CERT-002",
            f"the certificate of region {region.name} would not be accepted",
            where=f"{label}.crt, {https.crt}",
            evidence="\n".join(wrong),
            next=shell(
                *("openssl", "x509", "-in", str(https.crt), "-noout", "-dates"),
                *("-ext", "subjectAltName"),
            ),
        )


def _pair(https: Https) -> Pair:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    crt = key = shown = ""
    with suppress(OmsfabError):
        pem = text(https.crt).reveal()
        crt = _sha256(pem.encode())
        with suppress(ValueError):
            leaf = x509.load_pem_x509_certificates(pem.encode())[0]
            shown = _sha256(leaf.public_bytes(serialization.Encoding.DER))
    with suppress(OmsfabError):
        key = _sha256(text(https.key, private=True).reveal().encode())
    return Pair(crt, key, shown)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _parsed(
    label: str, https: Https, crt: Secret, key: Secret
) -> tuple[x509.Certificate, PrivateKeyTypes]:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization

    wrong = []
    leaf = private = None
    try:
        leaf = x509.load_pem_x509_certificates(crt.reveal().encode())[0]
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
        next=chain(
            shell("openssl", "x509", "-in", str(https.crt), "-noout", "-pubkey"),
            shell("openssl", "pkey", "-in", str(https.key), "-pubout"),
            by=";",
        ),
    )


def _times(leaf: x509.Certificate, now: datetime) -> Iterable[str]:
    if now < leaf.not_valid_before_utc:
        yield f"it is valid from {leaf.not_valid_before_utc:%Y-%m-%d} on"
    if now > leaf.not_valid_after_utc:
        yield f"it expired on {leaf.not_valid_after_utc:%Y-%m-%d}"


def _names(leaf: x509.Certificate, region: Region) -> Iterable[str]:
    """A browser comes by the name in cm_url or by the address of a node: one way must do."""
    from cryptography import x509

    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        yield "it has no subjectAltName, and browsers look at nothing else"
        return
    hosts = {name.lower() for name in names.get_values_for_type(x509.DNSName)}
    hosts |= {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    by_node = all(_covers(hosts, node.ip) or _covers(hosts, node.name) for node in region.nodes)
    if not by_node and not _covers(hosts, region.cm_url.host):
        yield (
            f"it is for {', '.join(sorted(hosts)) or 'nobody'}: neither for {region.cm_url.host}"
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
