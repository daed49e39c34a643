"""The entries of a msgpack map as packed bytes, as far as they can be told apart. No I/O, and nothing is unpacked."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import ormsgpack

# By first byte: the number of bytes that follow, for values of a fixed size. See the specification of msgpack:
# https://github.com/msgpack/msgpack/blob/master/spec.md#formats
_FIXED: Final = {
    0xC0: 0, 0xC2: 0, 0xC3: 0, 0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8,
    0xD4: 2, 0xD5: 3, 0xD6: 5, 0xD7: 9, 0xD8: 17,
}  # fmt: skip

# By first byte: the number of bytes that the length has, and of those that follow beside the data.
_SIZED: Final = {
    0xC4: (1, 0), 0xC5: (2, 0), 0xC6: (4, 0), 0xC7: (1, 1), 0xC8: (2, 1), 0xC9: (4, 1), 0xD9: (1, 0), 0xDA: (2, 0),
    0xDB: (4, 0),
}  # fmt: skip

# By first byte: the number of bytes that the count has, and the values for each that is counted.
_COUNTED: Final = {0xDC: (2, 1), 0xDD: (4, 1), 0xDE: (2, 2), 0xDF: (4, 2)}


def sections(packed: bytes, at: int = 0) -> Iterator[tuple[Any, int]]:
    """Yield the keys of a packed map, each with the place of its value.

    A value is not looked at before the next key is asked for, so a map within it can be read up to where it is damaged.

    Args:
        packed: the bytes.
        at: the place where the map begins.

    Raises:
        ValueError: it is no map, or the bytes from here on are damaged.
    """
    kind = packed[at : at + 1]
    at, values = _head(packed, at)
    if not (b"\x80" <= kind <= b"\x8f" or kind in {b"\xde", b"\xdf"}):
        raise ValueError("it is no map")
    for _ in range(values // 2):
        start, at = at, _end(packed, at)
        yield ormsgpack.unpackb(packed[start:at]), at
        at = _end(packed, at)


def value_at(packed: bytes, at: int) -> bytes:
    """Return the packed value that begins at a place.

    Raises:
        ValueError: its end cannot be found.
    """
    return packed[at : _end(packed, at)]


def _end(packed: bytes, at: int) -> int:
    """Return the place after the value that begins at a place."""
    left = 1
    while left:
        at, inside = _head(packed, at)
        left += inside - 1
    if at > len(packed):
        raise ValueError("it ends too early")
    return at


def _head(packed: bytes, at: int) -> tuple[int, int]:
    """Return the place after a value, or after the head of a list or map, and the number of values inside of it."""
    if at >= len(packed):
        raise ValueError("it ends too early")
    kind = packed[at]
    at += 1
    if kind <= 0x7F or kind >= 0xE0:
        return at, 0
    if kind <= 0x8F:
        return at, 2 * (kind & 0x0F)
    if kind <= 0x9F:
        return at, kind & 0x0F
    if kind <= 0xBF:
        return at + (kind & 0x1F), 0
    if kind in _FIXED:
        return at + _FIXED[kind], 0
    if kind in _SIZED:
        width, more = _SIZED[kind]
        return at + width + more + int.from_bytes(packed[at : at + width], "big"), 0
    if kind in _COUNTED:
        width, each = _COUNTED[kind]
        return at + width, each * int.from_bytes(packed[at : at + width], "big")
    raise ValueError(f"a value cannot begin with the byte {kind:#x}")
