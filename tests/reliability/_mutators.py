"""Seeded damage: to bytes, to text, to JSON, and to what headers say of sizes."""

from __future__ import annotations

import copy
import json
import struct
import zlib
from typing import Any

import numpy as np

Rng = np.random.Generator

_SIZES = (0, 1, 2, 255, 256, 65_535, 65_536, 2**31 - 1, 2**31, 2**32 - 1)
_TOKENS = (
    "", "nan", "NaN", "inf", "-inf", "-1", "0", "1e999", "1e-400", "9" * 30, "9" * 5000, "0x10",
    "1_0", "3.7", "٣", "None", "null", "true", '"', "'", '""', ",", ";", "\t", "\0", "\ufeff",
    "\n", "\r", "..", "../x.png", "/etc/passwd", "C:\\x", "a" * 200_000, "=1+1", "é", "\x1a",
)  # fmt: skip
_VALUES = (
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**19, 0.5, -0.0, 1e308, "", "x", "../x", "9" * 400,
    [], [[]], {}, {"class": "os.system", "parameters": {}}, [None], ["a", 1], {"a": {"b": []}},
)  # fmt: skip


def pick(rng: Rng, values: Any) -> Any:
    """Draw one of some values, as it is; numpy would make them all of one type."""
    return values[int(rng.integers(len(values)))]


def damage(rng: Rng, content: bytes, other: bytes) -> bytes:
    """Change bytes anywhere: flips, cuts, blocks put elsewhere, taken from another file."""
    data = bytearray(content)
    kind = rng.integers(9)
    n = max(len(data), 1)
    a, b = sorted(int(i) for i in rng.integers(0, n + 1, size=2))
    if kind <= 2:  # bits
        for _ in range(int(pick(rng, [1, 1, 2, 8, 40]))):
            if data:
                data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    elif kind == 3:  # cut short
        data = data[:a]
    elif kind == 4:  # splice
        c = int(rng.integers(0, len(other) + 1))
        data = data[:a] + other[c:]
    elif kind == 5:  # a block is lost, or comes twice
        data = data[:a] + data[b:] if rng.random() < 0.5 else data[:b] + data[a:]
    elif kind == 6:  # a number of the header becomes an odd one
        at = int(rng.integers(0, min(n, 96)))
        form = str(pick(rng, ["<I", ">I", "<H", ">H", "B"]))
        limit = 2 ** (8 * struct.calcsize(form)) - 1
        number = struct.pack(form, min(int(pick(rng, _SIZES)), limit))
        data[at : at + len(number)] = number
    elif kind == 7:  # a block of one value, or of noise
        block = bytes(b - a) if rng.random() < 0.5 else rng.bytes(b - a)
        data[a:b] = block[: min(b - a, 4096)]
    else:  # more at the end
        data += other[a % max(len(other), 1) :] if rng.random() < 0.5 else rng.bytes(a % 1000)
    return bytes(data)


def damage_text(rng: Rng, content: bytes, other: bytes) -> bytes:
    """Change cells, lines and characters of a table or list."""
    kind = rng.integers(8)
    if kind == 0:
        return damage(rng, content, other)
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    row = int(rng.integers(len(lines)))
    if kind <= 3:  # an odd cell
        mark = next((m for m in (",", " ", "=") if m in lines[row]), ",")
        cells = lines[row].split(mark)
        at = int(rng.integers(len(cells)))
        cells[at] = str(pick(rng, _TOKENS))
        lines[row] = mark.join(cells)
    elif kind == 4:  # a row is lost, comes twice, or changes places
        if rng.random() < 0.4:
            del lines[row]
        else:
            lines.insert(int(rng.integers(len(lines))), lines[row])
    elif kind == 5:  # an odd piece anywhere
        at = int(rng.integers(len(lines[row]) + 1))
        lines[row] = lines[row][:at] + str(pick(rng, _TOKENS)) + lines[row][at:]
    elif kind == 6:  # a character is lost or becomes another
        at = int(rng.integers(len(lines[row]) + 1))
        new = "" if rng.random() < 0.5 else chr(int(rng.integers(32, 127)))
        lines[row] = lines[row][:at] + new + lines[row][at + 1 :]
    else:  # cut short
        text = "\n".join(lines)
        return text[: rng.integers(len(text) + 1)].encode("utf-8", "surrogateescape")
    return "\n".join(lines).encode("utf-8", "surrogateescape")


def damage_json(rng: Rng, content: bytes, other: bytes) -> bytes:
    """Change an entry at any depth, or the text."""
    kind = rng.integers(6)
    if kind == 0:
        return damage(rng, content, other)
    if kind == 1:
        return damage_text(rng, content, other)
    value = json.loads(content)
    if kind == 2 and isinstance(value, dict):  # a name twice
        text = json.dumps(value)
        name = str(pick(rng, list(value)))
        odd = json.dumps(_VALUES[rng.integers(len(_VALUES))])
        return (text[:-1] + f", {json.dumps(name)}: {odd}}}").encode()
    if kind == 3 and rng.random() < 0.3:
        depth = int(pick(rng, [40, 1000, 100_000]))
        return content.replace(b"[", b"[" * depth, 1)
    changed = copy.deepcopy(value)
    places = list(_places(changed))
    for _ in range(int(pick(rng, [1, 1, 1, 3]))):
        parent, key = places[rng.integers(len(places))]
        try:
            if rng.random() < 0.2:
                del parent[key]
            else:
                parent[key] = copy.deepcopy(_odd(rng, parent[key]))
        except (KeyError, IndexError):
            continue  # within what was replaced already
    text = json.dumps(changed)
    return (text.replace("0.5", "NaN", 1) if rng.random() < 0.05 else text).encode()


def _odd(rng: Rng, value: Any) -> Any:
    if rng.random() < 0.4:
        if isinstance(value, bool):
            return not value
        if isinstance(value, (int, float)):
            return value + (1 if isinstance(value, int) else 0.125)
        if isinstance(value, str) and value:
            return value[:-1] + chr((ord(value[-1]) + 1) % 0x250)
        if isinstance(value, list):
            return value[:-1] if rng.random() < 0.5 else [*value, *value]
    return _VALUES[rng.integers(len(_VALUES))]


def _places(value: Any) -> Any:
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(entries):
        yield value, key
        if isinstance(item, (dict, list)):
            yield from _places(item)


def damage_tensors(rng: Rng, content: bytes, other: bytes) -> bytes:
    """Change a safetensors file: its header's length and entries, or bytes."""
    (length,) = struct.unpack("<Q", content[:8])
    kind = rng.integers(4)
    if kind == 0 or length > len(content):
        return damage(rng, content, other)
    if kind == 1:
        size = int(pick(rng, [0, 1, length - 1, length + 1, 2**31, 2**50, 2**63, 2**64 - 1]))
        return struct.pack("<Q", size) + content[8:]
    if kind == 2:  # bits of the tensors
        data = bytearray(content)
        for _ in range(int(pick(rng, [1, 3]))):
            data[rng.integers(8 + length, len(data))] ^= 1 << rng.integers(8)
        return bytes(data)
    header = damage_json(rng, content[8 : 8 + length], other[8 : 8 + length])
    return struct.pack("<Q", len(header)) + header + content[8 + length :]


def damage_picture(rng: Rng, content: bytes, other: bytes) -> bytes:
    """Change a picture; sometimes the sizes that its header tells, with a right checksum."""
    if rng.random() < 0.25:
        content = _other_size(rng, content)
        if rng.random() < 0.6:
            return content
    content = damage(rng, content, other)
    if content[:4] == b"\x89PNG" and rng.random() < 0.5:
        content = _right_checksums(content)
    return content


def _other_size(rng: Rng, content: bytes) -> bytes:
    data = bytearray(content)
    sides = [int(pick(rng, [0, 1, 3, 40, 300, 1500, 65_535, 2**31 - 1])) for _ in "wh"]
    short = [min(side, 65_535) for side in sides]
    if data[:4] == b"\x89PNG":
        data[16:24] = struct.pack(">II", *sides)
        return _right_checksums(bytes(data))
    if data[:3] == b"GIF":
        data[6:10] = struct.pack("<HH", *short)
        at = data.find(b",", 13)
        if at > 0 and rng.random() < 0.7:
            data[at + 5 : at + 9] = struct.pack("<HH", *short)
    elif data[:2] == b"BM":
        data[18:26] = struct.pack("<ii", *(int(s * pick(rng, [1, -1])) for s in sides))
    elif data[:2] == b"\xff\xd8":
        for mark in (b"\xff\xc0", b"\xff\xc2"):
            at = data.find(mark)
            if at > 0:
                data[at + 5 : at + 9] = struct.pack(">HH", *short)
    elif data[:4] == b"II*\0":
        (at,) = struct.unpack("<I", data[4:8])
        entries = range(at + 2, min(at + 2 + 12 * 30, len(data) - 12), 12)
        for entry in entries:
            tag = struct.unpack("<H", data[entry : entry + 2])[0]
            if tag in (256, 257) or (tag in (258, 259, 262, 277, 278, 279) and rng.random() < 0.1):
                data[entry + 2 : entry + 12] = struct.pack("<HII", 4, 1, sides[tag % 2])
    elif data[:4] == b"RIFF" and len(data) > 30:
        data[24:30] = b"".join(min(side, 2**24 - 1).to_bytes(3, "little") for side in sides)
    elif data[:1] == b"P":
        return content.replace(b"24", str(sides[0]).encode(), 1)
    return bytes(data)


def _right_checksums(content: bytes) -> bytes:
    """Let each chunk of a PNG fit its checksum again."""
    data, at = bytearray(content), 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        end = at + 8 + length
        if end + 4 > len(data):
            break
        data[end : end + 4] = struct.pack(">I", zlib.crc32(data[at + 4 : end]))
        at = end + 4
    return bytes(data)
