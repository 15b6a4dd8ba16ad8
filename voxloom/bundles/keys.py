"""What a bundle is encrypted with: a key from a file that we made, or a passphrase from a file that people wrote."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

from voxloom.errors import InvalidInput, Misconfigured

PREFIX = b"voxloom-bundle-key:"
KEY_BYTES = 32
LEAST_PASSPHRASE = 12
"""Characters, for a bundle that is made; anything opens one that fits."""
LARGEST_FILE = 4096

Warn = Callable[[str], object]


class Protection(IntEnum):
    NONE = 0
    KEY = 1
    PASSPHRASE = 2


@dataclass(frozen=True, repr=False)
class Secret:
    """A key or a passphrase; it never shows itself."""

    kind: Protection
    material: bytes

    def __repr__(self) -> str:
        return f"Secret({self.kind.name})"


@dataclass(frozen=True)
class Keys:
    """What somebody has to open bundles with."""

    key: Secret | None = None
    passphrase: Secret | None = None

    def for_(self, protection: Protection) -> Secret | None:
        """The secret for bundles of this kind. Raises InvalidInput (`bundle_key_needed`)."""
        if protection is Protection.NONE:
            return None
        found = self.key if protection is Protection.KEY else self.passphrase
        if found is None:
            raise InvalidInput(f"The bundle {locked(protection)}.", code="bundle_key_needed")
        return found


def locked(protection: Protection) -> str:
    """What a bundle that is protected so needs."""
    if protection is Protection.KEY:
        return "is encrypted with a key; give its file with --key-file (a server: setting `bundle_key_file`)"
    return (
        "is encrypted with a passphrase; give a file that has it with --passphrase-file "
        "(a server: setting `bundle_passphrase_file`)"
    )


def make_key_file(path: Path) -> None:
    """Writes a new key, for its owner's eyes only. Raises InvalidInput where there is a file already."""
    try:
        place = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise InvalidInput(
            f"There is a {path} already, and bundles may need it; choose another name.", code="invalid_bundle_key"
        ) from None
    with os.fdopen(place, "wb") as file:
        file.write(PREFIX + base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_key_file(path: Path, warn: Warn) -> Secret:
    """Raises InvalidInput (`invalid_bundle_key`); says with `warn` that everybody may read the file."""
    text = _read(path, warn).strip()
    if not text.startswith(PREFIX):
        raise _unfit(path, "is no key file; make one with `voxloom bundle keygen FILE`")
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        raise _unfit(path, "is damaged: its key is not in base64") from None
    if len(key) != KEY_BYTES:
        raise _unfit(path, f"has a key of {len(key)} bytes in place of {KEY_BYTES}; it may have been cut off")
    return Secret(Protection.KEY, key)


def read_passphrase_file(path: Path, warn: Warn, *, least: int = 1) -> Secret:
    """The passphrase is the file's text without the end of its line. Raises InvalidInput (`invalid_bundle_key`)."""
    try:
        text = unicodedata.normalize("NFC", _read(path, warn).decode()).strip("\r\n")
    except UnicodeDecodeError:
        raise _unfit(path, "is not UTF-8; save the passphrase as UTF-8") from None
    if len(text) < least:
        raise _unfit(path, f"has a passphrase of {len(text)} characters; it has to have {least} at least")
    return Secret(Protection.PASSPHRASE, text.encode())


def read_keys(key_file: Path | None, passphrase_file: Path | None, warn: Warn, *, least: int = 1) -> Keys:
    """What is in those of the files that are given. Raises InvalidInput (`invalid_bundle_key`)."""
    return Keys(
        None if key_file is None else read_key_file(key_file, warn),
        None if passphrase_file is None else read_passphrase_file(passphrase_file, warn, least=least),
    )


def _read(path: Path, warn: Warn) -> bytes:
    try:
        with path.open("rb") as file:
            open_to_all = os.fstat(file.fileno()).st_mode & stat.S_IROTH
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise _unfit(path, f"cannot be read ({os.strerror(error.errno or 0)})") from error
    if len(data) > LARGEST_FILE:
        raise _unfit(path, f"has more than {LARGEST_FILE} bytes, so it is none")
    if open_to_all:
        warn(f"Everybody on this machine can read {path}; chmod 600 keeps it to you.")
    return data


def _unfit(path: Path, why: str) -> InvalidInput:
    return InvalidInput(f"The key file {path} {why}.", code="invalid_bundle_key")


def derive(secret: Secret, salt: bytes) -> tuple[bytes, bytes]:
    """The key of the chunks and the key of the header. Raises Misconfigured where the library is missing."""
    try:
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF
        from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
    except ImportError as error:
        raise library_missing() from error
    material = secret.material
    if secret.kind is Protection.PASSPHRASE:
        material = Scrypt(salt=salt, length=KEY_BYTES, n=1 << 17, r=8, p=1).derive(material)
    both = HKDF(SHA256(), length=2 * KEY_BYTES, salt=salt, info=b"voxloom bundle 1").derive(material)
    return both[:KEY_BYTES], both[KEY_BYTES:]


def library_missing() -> Misconfigured:
    return Misconfigured("Encrypted bundles need the library `cryptography`: pip install 'voxloom[bundles]'.")
