"""Names and colours of brain regions, and the mesh of the brain's surface."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from maplake.errors import CorruptFileError, FileFormatError, MissingFileError, UnreadableFileError
from maplake.readers import matlab
from maplake.readers.rows import as_table

__all__ = ["read_regions", "read_surface"]

_HEX = re.compile(r"#?([0-9A-Fa-f]{1,6})")
_MOST = 2**31
_IDS, _NAMES, _COLORS = ("id", "idx"), ("name", "region_name"), ("color_hex_triplet", "color_code")


def read_regions(region_csv: Path, hexcode_csv: Path | None, annotation_version: str) -> pa.Table:
    """Read the regions' names, and their colours where there are any.

    Parameters
    ----------
    region_csv
        id and name without a header row; or a table with a header, as the Allen Institute's
        structure tree (id, name, color_hex_triplet) or a label table (idx, name, r, g, b).
    hexcode_csv
        id and RRGGBB without a header row; None = colours as in ``region_csv``, if at all.
    annotation_version
        Name of the annotation.

    Returns
    -------
    pyarrow.Table
        Rows of ``ccf.ccf_brain_region``, by region id; label 0 is no region.

    Raises
    ------
    MissingFileError, UnreadableFileError
        If a file is not there or cannot be read.
    CorruptFileError
        If a file is empty, an id or a colour is none, or an id occurs twice.
    """
    names, colors = _regions(region_csv)
    if hexcode_csv is not None:
        colors = {
            number: _color(hexcode_csv, number, text)
            for number, text in _pairs(hexcode_csv, _rows(hexcode_csv)).items()
        }
    ids = sorted(names)
    return as_table(
        "ccf.ccf_brain_region",
        {
            "annotation_version": [annotation_version] * len(ids),
            "region_id": ids,
            "region_name": [names[number] for number in ids],
            "color_code": [colors.get(number) for number in ids],
        },
    )


def _rows(path: Path) -> list[list[str]]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
        rows = [row for row in csv.reader(text.splitlines()) if any(map(str.strip, row))]
    except FileNotFoundError as error:
        raise MissingFileError("there is no such file", file=path) from error
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=path) from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorruptFileError(f"is no table of text: {error}", file=path) from error
    if not rows:
        raise CorruptFileError("the file is empty", file=path, expected="id, value in each row")
    return rows


def _pairs(path: Path, rows: list[list[str]], first: int = 1) -> dict[int, str]:
    pairs: dict[int, str] = {}
    for number, row in enumerate(rows, start=first):
        text = row[0].strip()
        region = int(text) if text.isascii() and text.isdigit() and len(text) < 12 else -1
        if len(row) != 2 or not 0 <= region < _MOST or not row[1].strip() or region in pairs:
            raise CorruptFileError(
                "an id twice" if region in pairs else "no id and value",
                file=path,
                place=f"row {number}",
                found=", ".join(row)[:80],
                expected="id, value; each id once",
            )
        pairs[region] = row[1].strip()
    pairs.pop(0, None)
    return pairs


def _color(path: Path, region: int, text: str) -> str:
    match = _HEX.fullmatch(text)
    if match is None:
        raise CorruptFileError(
            "no colour", file=path, place=f"region {region}", found=text, expected="RRGGBB"
        )
    # Spreadsheet programs take leading zeros off.
    return match[1].upper().zfill(6)


def _regions(path: Path) -> tuple[dict[int, str], dict[int, str]]:
    rows = _rows(path)
    if rows[0][0].strip().isdigit():
        return _pairs(path, rows), {}
    header = [name.strip().lower() for name in rows[0]]
    id_, name = (_column(path, header, known) for known in (_IDS, _NAMES))
    body = rows[1:]
    _check_width(path, body, len(header))
    names = _pairs(path, [[row[id_], row[name]] for row in body], first=2)
    texts = {int(row[id_]): _hex_of(header, row) for row in body}
    return names, {
        number: _color(path, number, text)
        for number, text in texts.items()
        if text and number in names
    }


def _column(path: Path, header: list[str], known: tuple[str, ...]) -> int:
    for name in known:
        if name in header:
            return header.index(name)
    raise FileFormatError(
        "a column is missing",
        file=path,
        place="row 1",
        found=", ".join(header)[:80],
        expected=" or ".join(known),
    )


def _check_width(path: Path, body: list[list[str]], width: int) -> None:
    for number, row in enumerate(body, start=2):
        if len(row) != width:
            raise CorruptFileError(
                "a row is too short or too long",
                file=path,
                place=f"row {number}",
                found=f"{len(row)} cells",
                expected=f"{width}",
            )


def _hex_of(header: list[str], row: list[str]) -> str:
    for name in _COLORS:
        if name in header:
            return row[header.index(name)].strip()
    parts = [row[header.index(name)].strip() for name in "rgb" if name in header]
    if len(parts) == 3 and all(part.isdigit() and int(part) < 256 for part in parts):
        return "".join(f"{int(part):02X}" for part in parts)
    return ""


def read_surface(path: Path) -> pa.Table:
    """Read the mesh of the brain's surface from a MATLAB file with a struct ``mesh``.

    Returns
    -------
    pyarrow.Table
        One row of ``ccf.annotated_brain_surface``: vertices in px as in the file (ML, AP, DV),
        faces as places in them from 0.

    Raises
    ------
    FileFormatError
        If it holds no mesh.
    CorruptFileError
        If it is damaged, a vertex is not finite, or a face names a vertex that there is not.
    SourceError
        If it is missing or unreadable.
    """
    mesh = matlab.load(path, only=("mesh", "vertices", "faces")).get("mesh")
    if not isinstance(mesh, dict) or not {"vertices", "faces"} <= set(mesh):
        raise FileFormatError("holds no mesh", file=path, expected="mesh.vertices, mesh.faces")
    vertices, faces = (_triples(path, mesh[name], name) for name in ("vertices", "faces"))
    whole = (faces == np.rint(faces)).all()
    if not whole or faces.min() < 1 or faces.max() > len(vertices):
        raise CorruptFileError(
            "a face names no vertex",
            file=path,
            place="mesh.faces",
            found=f"{faces.min():g} to {faces.max():g}",
            expected=f"1 to {len(vertices)}",
        )
    return as_table(
        "ccf.annotated_brain_surface",
        {
            "annotated_brain_name": [path.stem],
            "vertices": _nested(vertices),
            "faces": _nested((faces - 1).astype(np.int32)),
        },
    )


def _triples(path: Path, value: Any, name: str) -> NDArray[np.float64]:
    array = np.asarray(value) if isinstance(value, np.ndarray) else np.empty(0)
    if array.ndim != 2 or array.shape[1] != 3 or not len(array) or array.dtype.kind not in "iuf":
        raise FileFormatError(
            "no list of triples",
            file=path,
            place=f"mesh.{name}",
            found=array.shape,
            expected="n x 3",
        )
    if not np.isfinite(array).all():
        raise CorruptFileError("a value is not finite", file=path, place=f"mesh.{name}")
    return array.astype(np.float64)


def _nested(array: NDArray[Any]) -> pa.Array:
    """Return a (n, 3) array as one list of n lists, without a Python object per number."""
    inner = pa.ListArray.from_arrays(
        pa.array(np.arange(0, array.size + 1, 3, dtype=np.int32)), pa.array(array.ravel())
    )
    return pa.ListArray.from_arrays(pa.array([0, len(array)], pa.int32()), inner)
