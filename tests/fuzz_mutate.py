"""Damage for files of every raw format: blindly, byte by byte, or knowing what is in them.

Every function takes a file and a random generator, changes the file in place and may do nothing
where it finds nothing to change. Used by ``fuzz.py``.
"""

from __future__ import annotations

import copy
import json
import pickle
import re
import zipfile
from pathlib import Path
from random import Random

import h5py
import numpy as np
from scipy.io import loadmat, savemat

#: Made by any hostile word that gets executed.
CANARY = "EXECUTED"


class Trap:
    """Makes a folder when it is unpickled."""

    def __reduce__(self):
        import os

        return (os.mkdir, (CANARY,))


NUMBERS = ["nan", "inf", "-inf", "-1", "0", "1e308", "-1e308", "1e-320", "0.5", "3000000000",
           "9223372036854775808", "-9223372036854775809", "1" * 400, "", " ", "1,5", "0x10",
           "1_000", "٣", "NaT", "None", "1e999"]  # fmt: skip
WORDS = ["", "../../escape", "/etc/passwd", "C:\\x", "'; DROP TABLE unit; --", '"', "'", "\x00",
         "a" * 5000, "ü\u202e\U0001f40d", "\xff\xfe=\xd8",
         f"__import__('os').mkdir('{CANARY}')", f"$(mkdir {CANARY})", "{" * 300, "[[" * 200,
         "%s%n", "con", ".", "..", "\n", "|", ";", ",", "\r", "nan", "\ufeff", "-",
         "99999999999999999999"]  # fmt: skip
VALUES = [np.nan, np.inf, -np.inf, -1, 0, 1e308, -(2.0**63), 2.0**63, 2.0**31, 0.5, 1e-300]


def mutate(path: Path, rng: Random) -> None:
    """Change a file by one to three mutations of the kinds that suit it.

    Those that know what is in a file come first: what they use may crash on damaged bytes.
    """
    times = rng.choice((1, 1, 1, 2, 3))
    known = _structured(path)
    knowing = sum(rng.random() < 0.7 for _ in range(times)) if known else 0
    for number in range(times):
        try:
            rng.choice(known if number < knowing else BYTES)(path, rng)
        except Exception:
            rng.choice(BYTES)(path, rng)  # nothing there that could be changed so
            return


def _structured(path: Path) -> list:
    suffix = path.suffix.lower()
    if suffix == ".mat":
        return [_hdf5] if path.read_bytes()[:4096].find(b"\x89HDF") >= 0 else [_mat]
    found = {".npy": [_npy_values, _npy_values, _npy_shape, _npy_pickle], ".h5": [_hdf5],
             ".json": [_json, _json, *TEXT], ".xlsx": [_zip], ".nrrd": [_nrrd],
             ".csv": TEXT, ".tsv": TEXT, ".txt": TEXT, ".meta": TEXT, ".py": TEXT,
             ".log": TEXT}  # fmt: skip
    return found.get(suffix, [])


# ------------------------------------------------------------------------------------ bytes


def _truncate(path: Path, rng: Random) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: rng.choice((0, 1, len(data) // 2, rng.randint(0, len(data)), -1))])


def _flip(path: Path, rng: Random) -> None:
    data = bytearray(path.read_bytes())
    # Headers are where the damage tells.
    reach = len(data) if rng.random() < 0.5 else min(len(data), 600)
    for _ in range(rng.choice((1, 1, 2, 8, 64)) if reach else 0):
        data[rng.randrange(reach)] = rng.choice((0, 255, 127, 128, rng.randrange(256)))
    path.write_bytes(data)


def _insert(path: Path, rng: Random) -> None:
    data = path.read_bytes()
    at = rng.randint(0, len(data))
    piece = rng.choice((b"\0" * 9, b"\xff" * 17, rng.randbytes(40), b"\n", data[:200]))
    path.write_bytes(data[:at] + piece + data[at:])


def _delete(path: Path, rng: Random) -> None:
    data = path.read_bytes()
    at = rng.randint(0, len(data))
    path.write_bytes(data[:at] + data[at + rng.choice((1, 4, 8, 100)) :])


def _blank(path: Path, rng: Random) -> None:
    data = bytearray(path.read_bytes())
    at, size = rng.randint(0, len(data)), rng.choice((4, 8, 64, 4096))
    data[at : at + size] = rng.choice((b"\0", b"\xff")) * len(data[at : at + size])
    path.write_bytes(data)


def _length(path: Path, rng: Random) -> None:
    """Put a number where a length may stand."""
    data = bytearray(path.read_bytes())
    if len(data) >= 16:
        at = rng.randrange(0, min(len(data), 4000) - 8) & ~3
        size = rng.choice((4, 8))
        value = rng.choice((0, 1, 2**16, 2**31 - 1, 2**31, 2**32 - 1))
        data[at : at + size] = value.to_bytes(size, "little")
    path.write_bytes(data)


def _double(path: Path, _rng: Random) -> None:
    path.write_bytes(path.read_bytes() * 2)


BYTES = [_truncate, _flip, _flip, _insert, _delete, _blank, _length, _double]


# ------------------------------------------------------------------------------------- text


def _lines(path: Path) -> list[str]:
    return path.read_bytes().decode("latin-1").split("\n")


def _write(path: Path, lines: list[str]) -> None:
    path.write_bytes("\n".join(lines).encode("utf-8", errors="surrogateescape"))


def _line(path: Path, rng: Random) -> None:
    """Delete, repeat, exchange, cut or empty lines."""
    lines = _lines(path)
    a, b = rng.randrange(len(lines)), rng.randrange(len(lines))
    way = rng.randrange(6)
    if way == 0:
        del lines[a]
    elif way == 1:
        lines.insert(b, lines[a])
    elif way == 2:
        lines[a], lines[b] = lines[b], lines[a]
    elif way == 3:
        lines[a] = lines[a][: len(lines[a]) // 2]
    elif way == 4:
        lines[a] = ""
    else:
        del lines[min(a, b) : max(a, b)]
    _write(path, lines)


def _number(path: Path, rng: Random) -> None:
    _replace(path, rng, r"-?\d+\.?\d*(?:[eE][+-]?\d+)?", NUMBERS)


def _word(path: Path, rng: Random) -> None:
    _replace(path, rng, r"[A-Za-z_]\w*", WORDS)


def _cell(path: Path, rng: Random) -> None:
    _replace(path, rng, r"[^,;\t=()\n]+", WORDS + NUMBERS)


def _replace(path: Path, rng: Random, pattern: str, by: list[str]) -> None:
    text = path.read_bytes().decode("latin-1")
    found = list(re.finditer(pattern, text))
    for match in sorted(rng.sample(found, min(len(found), rng.choice((1, 1, 3)))),
                        key=lambda m: -m.start()):  # fmt: skip
        text = text[: match.start()] + rng.choice(by) + text[match.end() :]
    _write(path, text.split("\n"))


def _columns(path: Path, rng: Random) -> None:
    """Exchange, delete or repeat a column, or only its header."""
    lines = _lines(path)
    mark = max(",;\t", key=lines[0].count)
    table = [line.split(mark) for line in lines]
    width = len(table[0])
    a, b = rng.randrange(width), rng.randrange(width)
    way = rng.randrange(4)
    for row in table[: 1 if rng.random() < 0.3 else None]:
        if max(a, b) >= len(row):
            continue
        if way == 0:
            row[a], row[b] = row[b], row[a]
        elif way == 1:
            del row[a]
        elif way == 2:
            row.insert(b, row[a])
        else:
            row[a] = ""
    _write(path, [mark.join(row) for row in table])


def _encoding(path: Path, rng: Random) -> None:
    text = path.read_bytes().decode("latin-1")
    path.write_bytes(text.encode(rng.choice(("utf-16", "utf-8-sig", "utf-32", "utf-16-le"))))


TEXT = [_line, _number, _number, _word, _cell, _columns, _encoding]


def _json(path: Path, rng: Random) -> None:
    """Replace or drop an entry, at any depth."""
    content = json.loads(path.read_bytes())
    place = content
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = rng.choice(keys)
        inner = place[key]
        if isinstance(inner, (dict, list)) and inner and rng.random() < 0.7:
            place = inner
            continue
        if rng.random() < 0.2:
            del place[key]
        else:
            place[key] = rng.choice((None, True, -1, 10**30, 10**400, 1.5, float("nan"), "x", [],
                                     {}, [[]], 1e308, -(2**63), {"a": 1}, "../x"))  # fmt: skip
        break
    path.write_text(json.dumps(content), encoding="utf-8")


# ------------------------------------------------------------------------------------ arrays


def _other_array(array: np.ndarray, rng: Random) -> np.ndarray:
    """Return an array that is wrong in its values, type or shape."""
    array = np.array(array)
    way = rng.randrange(9)
    if way <= 3 and array.size and array.dtype.kind in "biuf":
        values = array.astype(np.float64) if rng.random() < 0.4 else array.copy()
        flat = values.reshape(-1)
        with np.errstate(all="ignore"):
            for _ in range(rng.choice((1, 1, 5, 50))):
                value = np.float64(rng.choice(VALUES))
                flat[rng.randrange(flat.size)] = value.astype(flat.dtype)
        return values
    if way == 4:
        kinds = ("f4", "f8", "i1", "u2", "i4", "u8", "?", "c16", "f2", "S3", "U3", "M8[s]")
        with np.errstate(all="ignore"):
            return array.astype(rng.choice(kinds))
    if way == 5:
        return array[..., :-1] if array.ndim else array.reshape(1)
    if way == 6:
        return np.concatenate([array, array]) if array.ndim else array
    if way == 7:
        return rng.choice((array.reshape(-1), array.T, array[None], np.empty(0), np.empty((0, 3)),
                           np.float64(3), np.zeros((2, 2, 2, 2))))  # fmt: skip
    return array[:0] if array.ndim else array


def _npy_values(path: Path, rng: Random) -> None:
    np.save(path, _other_array(np.load(path), rng))


def _npy_shape(path: Path, rng: Random) -> None:
    """Let the header claim another shape, type or order."""
    data = path.read_bytes()
    header = data[10 : 10 + int.from_bytes(data[8:10], "little")].decode("latin-1")
    new = rng.choice((
        re.sub(r"\d+,", str(rng.choice((2**40, 2**62, 0, 7))) + ",", header, count=1),
        header.replace("False", "True"),
        re.sub(r"'[<|>]\w+'", rng.choice(("'|O'", "'<f8'", "'|V8'", "'<U5'", "[('a','<f4')]")),
               header, count=1),
        header.replace("(", "(" * 300),
        header.replace("{", f"{{'x': __import__('os').mkdir('{CANARY}'), "),
    ))  # fmt: skip
    body = new.encode("latin-1")
    path.write_bytes(data[:8] + len(body).to_bytes(2, "little") + body + data[10 + len(header) :])


def _npy_pickle(path: Path, rng: Random) -> None:
    if rng.random() < 0.5:
        np.save(path, np.array([Trap()], dtype=object), allow_pickle=True)
    else:
        path.write_bytes(pickle.dumps(Trap()))


def _mat(path: Path, rng: Random) -> None:
    """Replace a leaf of the nested structs of a MATLAB 5 file, or drop a field."""
    content = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
    name = rng.choice(sorted(content))
    if rng.random() < 0.05:
        del content[name]
    else:
        content[name] = _other_value(copy.deepcopy(content[name]), rng)
    savemat(path, content, long_field_names=True, do_compression=rng.random() < 0.5)


def _other_value(value: np.ndarray, rng: Random) -> object:
    """Descend a random way and change what is there."""
    if not isinstance(value, np.ndarray) or not value.size or rng.random() < 0.08:
        return _stranger(value, rng)
    if value.dtype.names:
        at = np.unravel_index(rng.randrange(value.size), value.shape)
        field = rng.choice(value.dtype.names)
        if rng.random() < 0.1 and len(value.dtype.names) > 1:
            return value[[n for n in value.dtype.names if n != field]].copy()
        value[at][field] = _other_value(value[at][field], rng)
        return value
    if value.dtype == object:
        if rng.random() < 0.1:
            return value[:, :-1]
        at = np.unravel_index(rng.randrange(value.size), value.shape)
        value[at] = _other_value(value[at], rng)
        return value
    return _other_array(value, rng) if value.dtype.kind in "biuf" else _stranger(value, rng)


def _stranger(value: object, rng: Random) -> object:
    cell = np.empty((1, 2), dtype=object)
    cell[0, 0], cell[0, 1] = np.array([[1.0]]), "x"
    return rng.choice((np.empty((0, 0)), np.array([[np.nan]]), np.array([[1j]]), "text", cell,
                       {"a": 1.0}, np.zeros((3, 3, 3)), np.array([["a", "b"]], dtype=object),
                       rng.choice(WORDS).replace("\x00", "0"), np.array([[2.0**53]]),
                       value))  # fmt: skip


def _hdf5(path: Path, rng: Random) -> None:
    """Replace, drop, link or blow up an object of an HDF5 file."""
    with h5py.File(path, "r+") as file:
        names: list[str] = []
        file.visit(names.append)
        name = rng.choice(names)
        item = file[name]
        way = rng.randrange(8)
        if way == 0:
            del file[name]
        elif way == 1:
            _swap(file, name, h5py.ExternalLink("other.h5", "/x"))
        elif way == 2:
            _swap(file, name, h5py.SoftLink("/"))
        elif way == 3:
            _swap(file, name, file[rng.choice(names)])
        elif way == 4 and item.attrs:
            key = rng.choice(sorted(item.attrs))
            item.attrs[key] = rng.choice((0, b"x", np.arange(9), rng.choice(NUMBERS), np.nan))
        elif way == 5:
            del file[name]
            file.create_dataset(name, (10**9, 8), dtype="f8", chunks=(10**5, 8))
        elif isinstance(item, h5py.Dataset):
            array = _other_array(item[()], rng) if item.dtype.kind in "biuf" else np.arange(3.0)
            attrs = dict(item.attrs)
            del file[name]
            if array.dtype.kind in "UM":
                array = array.astype("S")
            file[name] = array
            for key, value in attrs.items():
                file[name].attrs[key] = value


def _swap(file: h5py.File, name: str, new: object) -> None:
    del file[name]
    file[name] = new


def _zip(path: Path, rng: Random) -> None:
    """Change a member of a workbook, which is a zip of XML texts."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    name = rng.choice(sorted(members))
    inner = path.with_name(f"{path.name}.part")
    inner.write_bytes(members[name])
    rng.choice([*BYTES, _number, _word, _number])(inner, rng)
    members[name] = inner.read_bytes()
    inner.unlink()
    if rng.random() < 0.1:
        del members[name]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, data in members.items():
            new.writestr(name, data)


def _nrrd(path: Path, rng: Random) -> None:
    """Change the text of the header."""
    head, mark, body = path.read_bytes().partition(b"\n\n")
    inner = path.with_name(f"{path.name}.part")
    inner.write_bytes(head)
    rng.choice([_line, _number, _word, _cell])(inner, rng)
    path.write_bytes(inner.read_bytes() + mark + body)
    inner.unlink()
