"""Fingerprint: which file a network came from, for the record: its name and its content."""

import zlib
from pathlib import Path

CHUNK_BYTES = 1 << 20


def fingerprint(path: Path) -> str:
    """`NAME crc32 XXXXXXXX`: it differs for two files of one name. The whole file is read."""
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            checksum = zlib.crc32(chunk, checksum)
    return f"{path.name} crc32 {checksum:08x}"
