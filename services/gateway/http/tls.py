"""The certificate under which the gateway speaks TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

from voxloom.errors import Misconfigured


def load(certificate: Path, key: Path | None) -> ssl.SSLContext:
    """Reads both files. Raises Misconfigured with what is wrong with which."""
    for setting, path in (("tls_certificate", certificate), ("tls_key", key)):
        if path is not None:
            _check_readable(setting, path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.set_alpn_protocols(["http/1.1"])
    try:
        # An empty password, for nobody is there who could be asked for one.
        context.load_cert_chain(certificate, key, password="")
    except (ssl.SSLError, OSError, ValueError) as error:
        raise Misconfigured(_why(error, certificate, key)) from error
    return context


def _check_readable(setting: str, path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise Misconfigured(
            f"The file {str(path)!r} of the setting `{setting}` cannot be read ({error.strerror}); correct its name "
            "or its permissions."
        ) from error


def _why(error: Exception, certificate: Path, key: Path | None) -> str:
    if getattr(error, "reason", "") == "KEY_VALUES_MISMATCH":
        return f"The key in {str(key or certificate)!r} is not that of the certificate in {str(certificate)!r}."
    return (
        f"The files {str(certificate)!r} (`tls_certificate`) and {str(key or certificate)!r} (`tls_key`) are not a "
        "certificate and its key in PEM, or the key has a password; write them so, and without one."
    )
