"""Bundles: one file with one or several algorithms, on request encrypted.

    offset 0     8 bytes   MAGIC
           8     1 byte    the version of the format: 1
           9     1 byte    how it is protected: 0 not at all, 1 by a key, 2 by a passphrase
          10    32 bytes   salt; zeros where nothing is encrypted, so that the same algorithms give the same bytes
          42    32 bytes   HMAC-SHA256 of the above by a key of its own; the plain SHA-256 where nothing is encrypted
          74    chunks     64 KiB each, the last one 1 byte to 64 KiB; 16 bytes of tag follow each

A chunk's tag is that of AES-256-GCM (or the beginning of a SHA-256) over its bytes, its number, whether it is the
last one, and the header: nothing can be changed, left out, put elsewhere or added. Both keys come by HKDF-SHA256
from the salt and from the key, or from what scrypt (N = 2^17, r = 8, p = 1) makes of the passphrase; so no two bundles
share one.

In the chunks lies, for every algorithm, a byte 1, the size of its zip in 8 bytes (big-endian), and the zip. Nothing
else is said of an algorithm: name, version and digests are read from the zip itself, so they cannot be wrong.
"""

from voxloom.bundles.contents import Packed
from voxloom.bundles.keys import Keys, Protection, Secret, make_key_file, read_key_file, read_keys
from voxloom.bundles.reading import Bundle, Item, open_bundle, protection_of
from voxloom.bundles.writing import build

__all__ = [
    "Bundle",
    "Item",
    "Keys",
    "Packed",
    "Protection",
    "Secret",
    "build",
    "make_key_file",
    "open_bundle",
    "protection_of",
    "read_key_file",
    "read_keys",
]
