"""Mutations: an input becomes a broken one. Bytes for all formats; for JSON also its values, so that what is read stays JSON."""

import json
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

_BYTES = (
    b"", b"\x00", b"\xff" * 4, b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\xff" * 8, b"../", b"/etc/passwd", b"NaN", b"1e999", b"-1", b"null", b"[" * 2000,
    b"{" * 50, b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\\ud800", b"9" * 400, b"&a *a", b"!!python/object", b"\r\n", b"\x1b[2J",
)  # fmt: skip
_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 2**64, -(2**63), 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "a", "../x", "/etc/passwd", "a\x00b",
    "\ud800", "x" * 300, "<script>", [], [[]], {}, [0], [None], {"": 0}, [1, 2, 3], "float32", "<f4", "|O", "1e5",
)  # fmt: skip


def mutated(content: bytes, *, others: Sequence[bytes], generator: random.Random) -> bytes:
    """`content` after one to four mutations; `others` are inputs to take pieces from."""
    change = _json_change if _is_json(content) and generator.random() < 0.7 else _byte_change
    for _ in range(generator.choice((1, 1, 1, 2, 4))):
        content = change(content, others, generator)
    return content


def _is_json(content: bytes) -> bool:
    return content[:1] in (b"{", b"[")


def _byte_change(content: bytes, others: Sequence[bytes], generator: random.Random) -> bytes:
    return generator.choice(_BYTE_CHANGES)(bytearray(content), others, generator)


def _flip(content: bytearray, others: Sequence[bytes], generator: random.Random) -> bytes:
    for _ in range(generator.choice((1, 1, 2, 8))):
        if content:
            content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    return bytes(content)


def _overwrite(content: bytearray, others: Sequence[bytes], generator: random.Random) -> bytes:
    place, piece = generator.randrange(len(content) + 1), generator.choice(_BYTES)
    content[place : place + len(piece)] = piece
    return bytes(content)


def _insert(content: bytearray, others: Sequence[bytes], generator: random.Random) -> bytes:
    place = generator.randrange(len(content) + 1)
    content[place:place] = generator.choice((generator.choice(_BYTES), generator.randbytes(generator.randrange(1, 9))))
    return bytes(content)


def _cut(content: bytearray, others: Sequence[bytes], generator: random.Random) -> bytes:
    return bytes(content[: generator.randrange(len(content) + 1)])


def _remove(content: bytearray, others: Sequence[bytes], generator: random.Random) -> bytes:
    place = generator.randrange(len(content) + 1)
    del content[place : place + generator.choice((1, 2, 4, 16, 256))]
    return bytes(content)


def _repeat(content: bytearray, others: Sequence[bytes], generator: random.Random) -> bytes:
    place, size = generator.randrange(len(content) + 1), generator.choice((1, 4, 16, 64, 512))
    return bytes(content[:place] + content[place : place + size] * generator.choice((2, 3, 50)) + content[place + size :])


def _splice(content: bytearray, others: Sequence[bytes], generator: random.Random) -> bytes:
    other = generator.choice(others)
    return bytes(content[: generator.randrange(len(content) + 1)]) + other[generator.randrange(len(other) + 1) :]


def _number(content: bytearray, others: Sequence[bytes], generator: random.Random) -> bytes:
    """An integer of a binary header becomes an extreme one."""
    size, sign = generator.choice((2, 4, 8)), generator.choice("<>")
    if len(content) >= size:
        place = generator.randrange(len(content) - size + 1)
        value = generator.choice((0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1, len(content), len(content) + 1, 65_535))
        content[place : place + size] = struct.pack(sign + {2: "H", 4: "I", 8: "Q"}[size], value % 2 ** (8 * size))
    return bytes(content)


_BYTE_CHANGES: tuple[Callable[[bytearray, Sequence[bytes], random.Random], bytes], ...] = (
    _flip, _overwrite, _insert, _cut, _remove, _repeat, _splice, _number,
)  # fmt: skip


def _json_change(content: bytes, others: Sequence[bytes], generator: random.Random) -> bytes:
    """One value, key or entry becomes another."""
    try:
        root = [json.loads(content)]
    except (ValueError, RecursionError):
        return _byte_change(content, others, generator)
    places = list(_places(root))
    holder, key = generator.choice(places)
    match generator.randrange(5):
        case 0 | 1:
            holder[key] = generator.choice(_VALUES)
        case 2 if isinstance(holder, dict):
            holder[generator.choice(("", "../x", "x" * 300, "0", "schema_version"))] = holder.pop(key)
        case 3:
            other, there = generator.choice(places)
            holder[key] = json.loads(json.dumps(other[there]))
        case _:
            if holder is not root:
                del holder[key]
            else:
                root[0] = generator.choice(_VALUES)
    return json.dumps(root[0]).encode("utf-8", "surrogatepass")


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every (holder, key) below, 500 at most of one holder."""
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        keys = list(holder)[:500] if isinstance(holder, dict) else range(min(len(holder), 500))
        for key in keys:
            found.append((holder, key))
            if isinstance(holder[key], dict | list):
                waiting.append(holder[key])
    return found
