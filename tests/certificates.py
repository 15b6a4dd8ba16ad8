"""Certificates of a small authority, as a lab has one."""

from __future__ import annotations

import functools
import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

_DAY = timedelta(days=1)


class Certified(NamedTuple):
    certificate: Path
    key: Path


def authority_in(folder: Path) -> Certified:
    """The one that lies there, or else a new one."""
    made = _places(folder, "authority")
    if not made.certificate.exists():
        key = _new_key(made.key)
        about = _about("lab", "lab", key.public_key()).add_extension(x509.BasicConstraints(True, None), critical=True)
        _write(about.sign(key, SHA256()), made.certificate)
    return made


def certified(folder: Path, name: str, authority: Certified) -> Certified:
    """For a server or a client of that name; made once."""
    made = _places(folder, name)
    if not made.certificate.exists():
        names = x509.SubjectAlternativeName([x509.DNSName(name)])
        about = _about(name, "lab", _new_key(made.key).public_key()).add_extension(names, critical=False)
        _write(about.sign(_key_of(authority), SHA256()), made.certificate)
    return made


def self_signed(folder: Path, name: str) -> Certified:
    """For a server on this machine, at its name or its address; whoever takes it for an authority trusts it."""
    made = _places(folder, name)
    key = _new_key(made.key)
    names = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))])
    about = _about("localhost", "localhost", key.public_key()).add_extension(names, critical=False)
    _write(about.add_extension(x509.BasicConstraints(True, None), critical=True).sign(key, SHA256()), made.certificate)
    return made


def _places(folder: Path, name: str) -> Certified:
    return Certified(folder / f"{name}.pem", folder / f"{name}-key.pem")


def _about(name: str, by: str, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(_name(by), _name(name), key, x509.random_serial_number())
    return builder.not_valid_before(now - _DAY).not_valid_after(now + _DAY)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _new_key(place: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    place.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key


def _key_of(made: Certified) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key(made.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


def _write(certificate: x509.Certificate, place: Path) -> None:
    place.write_bytes(certificate.public_bytes(Encoding.PEM))


def certificates_once(make: Callable[..., ssl.SSLContext]) -> Callable[..., ssl.SSLContext]:
    """httpx's `create_ssl_context`, with each set of authorities read once: it reads them for each client, also for
    http://, and that takes longer than most tests."""

    @functools.cache
    def usual(file: str | None, folder: str | None) -> ssl.SSLContext:
        return make()

    def create(verify: Any = True, cert: Any = None, trust_env: bool = True) -> ssl.SSLContext:
        if verify is not True or cert is not None or not trust_env:
            return make(verify=verify, cert=cert, trust_env=trust_env)
        return usual(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))

    return create
