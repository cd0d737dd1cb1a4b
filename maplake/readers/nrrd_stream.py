"""NRRD volumes, unpacked plane by plane: a volume need not fit into memory."""

from __future__ import annotations

import bz2
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, BinaryIO, Protocol

import nrrd
import numpy as np
from numpy.typing import NDArray

from maplake.errors import CorruptFileError, FileFormatError, MissingFileError, UnreadableFileError

__all__ = ["NrrdStack", "open_nrrd"]

_CHUNK = 1 << 20  # packed bytes read at a time
_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "signed short int"), "i2"),
    **dict.fromkeys(("int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "unsigned short int"), "u2"),
    **dict.fromkeys(("uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    **dict.fromkeys(("longlong", "long long", "long long int", "int64", "int64_t"), "i8"),
    **dict.fromkeys(("signed long long", "signed long long int"), "i8"),
    **dict.fromkeys(("ulonglong", "unsigned long long", "uint64", "uint64_t"), "u8"),
    "unsigned long long int": "u8",
}
_UM_PER = {"um": 1.0, "µm": 1.0, "micron": 1.0, "microns": 1.0, "micrometer": 1.0, "mm": 1000.0}
_LARGEST = 1 << 40  # bytes
_LARGEST_PLANE = 1 << 29  # bytes


class _Unpacker(Protocol):
    @property
    def unused_data(self) -> bytes: ...

    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


@dataclass(frozen=True)
class NrrdStack:
    """A volume; ``shape`` and ``voxel_um`` (None = not said) as in the header."""

    path: Path
    data_path: Path
    offset: int
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    encoding: str
    voxel_um: float | None
    plane_axis: int = 2

    def planes(self, step: int) -> Iterator[NDArray[Any]]:
        """Yield every ``step``-th plane (AP, DV) along ML; valid until the next."""
        rows, columns, count = self.shape
        buffer = bytearray(rows * columns * self.dtype.itemsize)
        try:
            with self.data_path.open("rb") as file:
                file.seek(self.offset)
                source = _Raw(file) if self.encoding == "raw" else _Packed(file, self.encoding)
                for number in range(count):
                    self._fill(source, buffer, number)
                    if number % step == 0:
                        plane = np.frombuffer(buffer, self.dtype).reshape(columns, rows)
                        yield plane.T
                self._finish(source)
        except OSError as error:
            raise UnreadableFileError(
                f"cannot be read: {error.strerror or error}", file=self.data_path
            ) from error

    def _finish(self, source: _Raw | _Packed) -> None:
        """Read to the end of the stream, where its checksum is."""
        try:
            whole = source.ends()
        except (zlib.error, EOFError, OSError, ValueError) as error:
            raise CorruptFileError(f"the data are damaged: {error}", file=self.data_path) from error
        if not whole:
            raise CorruptFileError("the file is truncated", file=self.data_path)

    def _fill(self, source: _Raw | _Packed, buffer: bytearray, number: int) -> None:
        try:
            done = source.read_into(memoryview(buffer))
        except (zlib.error, EOFError, ValueError) as error:
            raise CorruptFileError(
                f"the data are damaged: {error}", file=self.data_path, place=f"ML plane {number}"
            ) from error
        if done < len(buffer):
            raise CorruptFileError(
                "the file is truncated",
                file=self.data_path,
                place=f"ML plane {number}",
                found=f"{number} whole planes",
                expected=f"{self.shape[2]} planes",
            )


class _Raw:
    def __init__(self, file: BinaryIO) -> None:
        self.file = file

    def read_into(self, view: memoryview) -> int:
        done = 0
        while done < len(view) and (got := self.file.readinto(view[done:])):  # type: ignore[attr-defined]
            done += got
        return done

    def ends(self) -> bool:
        return True


class _Packed:
    """gzip or bzip2, one or more streams one after the other."""

    def __init__(self, file: BinaryIO, encoding: str) -> None:
        self.file = file
        self.encoding = encoding
        self.unpacker = self._new()
        self.waiting = b""

    def _new(self) -> _Unpacker:
        if self.encoding == "bzip2":
            return bz2.BZ2Decompressor()
        return zlib.decompressobj(wbits=31)

    def read_into(self, view: memoryview) -> int:
        done = 0
        while done < len(view):
            piece = self._piece(len(view) - done)
            if not piece:
                return done
            view[done : done + len(piece)] = piece
            done += len(piece)
        return done

    def ends(self) -> bool:
        """Whether the stream goes on or is complete."""
        return bool(self._piece(1)) or self.unpacker.eof

    def _piece(self, most: int) -> bytes:
        while True:
            if self.unpacker.eof:
                left = self.unpacker.unused_data or self.file.read(_CHUNK)
                if not left:
                    return b""
                self.unpacker, self.waiting = self._new(), left
            packed = self.waiting
            if not packed and (self.encoding != "bzip2" or self.unpacker.needs_input):  # type: ignore[attr-defined]
                packed = self.file.read(_CHUNK)
                if not packed:
                    return b""
            piece = self.unpacker.decompress(packed, most)
            # zlib hands back what it had no room for; bz2 keeps it.
            self.waiting = getattr(self.unpacker, "unconsumed_tail", b"")
            if piece:
                return piece


def open_nrrd(path: Path) -> NrrdStack:
    """Read and check the header of an NRRD volume.

    Raises
    ------
    UnreadableFileError, MissingFileError, CorruptFileError, FileFormatError
        As :func:`maplake.readers.ccf_annotation.open_volume`.
    """
    header, offset = _header(path)
    dtype = _dtype(path, header)
    sizes = tuple(int(size) for size in header["sizes"])
    if len(sizes) != 3 or min(sizes) < 1:
        raise FileFormatError("not three axes", file=path, found=sizes, expected="AP, DV, ML")
    shape = (sizes[0], sizes[1], sizes[2])
    size = dtype.itemsize * shape[0] * shape[1] * shape[2]
    if size > _LARGEST or size // shape[2] > _LARGEST_PLANE:
        raise CorruptFileError("claims an impossible size", file=path, found=f"{size} bytes")
    encoding = str(header.get("encoding", "")).lower()
    encoding = {"gz": "gzip", "bz2": "bzip2"}.get(encoding, encoding)
    if encoding not in ("raw", "gzip", "bzip2"):
        raise FileFormatError("unknown encoding", file=path, found=encoding, expected="raw, gzip")
    data_path = _data_path(path, header)
    start = _skipped(path, header, data_path, 0 if data_path != path else offset, encoding, size)
    return NrrdStack(path, data_path, start, shape, dtype, encoding, _voxel_um(path, header))


def _header(path: Path) -> tuple[Mapping[str, Any], int]:
    try:
        with path.open("rb") as file:
            head = file.read(8)
            if not head:
                raise CorruptFileError("the file is empty", file=path)  # noqa: TRY301
            if not head.startswith(b"NRRD"):
                raise FileFormatError("is no NRRD file", file=path, found=repr(head))  # noqa: TRY301
            file.seek(0)
            header = nrrd.read_header(file)
            return header, file.tell()
    except (CorruptFileError, FileFormatError):
        raise
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=path) from error
    except Exception as error:
        # pynrrd raises nearly anything on damaged headers (assertion, key, value, decoding).
        raise CorruptFileError(f"the header is damaged: {error}", file=path) from error


def _dtype(path: Path, header: Mapping[str, Any]) -> np.dtype[Any]:
    kind = _TYPES.get(str(header.get("type", "")).strip())
    if kind is None or "sizes" not in header:
        raise FileFormatError(
            "no volume of whole numbers", file=path, found=header.get("type"), expected="uint32"
        )
    order = {"big": ">", "little": "<"}.get(str(header.get("endian", "little")).lower(), "<")
    return np.dtype(order + kind)


def _data_path(path: Path, header: Mapping[str, Any]) -> Path:
    """Return where the data are: the file itself, or one beside it."""
    named = header.get("data file", header.get("datafile"))
    if named is None:
        return path
    name = str(named)
    # A name in a header must not lead out of the header's folder.
    plain = PurePosixPath(name).name == name == PureWindowsPath(name).name
    if not isinstance(named, str) or not plain or name.upper().startswith("LIST"):
        raise FileFormatError(
            "the data must be one file beside the header", file=path, place="data file", found=name
        )
    if not (path.parent / name).is_file():
        raise MissingFileError("the data are missing", file=path.parent / name)
    return path.parent / name


def _skipped(
    path: Path,
    header: Mapping[str, Any],
    data_path: Path,
    start: int,
    encoding: str,
    size: int,
) -> int:
    """Return where the data begin, after the lines and bytes that the header says to skip."""
    lines = int(header.get("line skip", header.get("lineskip", 0)) or 0)
    skip = int(header.get("byte skip", header.get("byteskip", 0)) or 0)
    if skip == -1 and encoding == "raw":
        return data_path.stat().st_size - size
    if skip < 0 or lines < 0 or (skip and encoding != "raw"):
        raise FileFormatError("cannot skip so", file=path, found=f"byte skip {skip}, {encoding}")
    try:
        with data_path.open("rb") as file:
            file.seek(start)
            for _ in range(lines):
                file.readline()
            return file.tell() + skip
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=data_path) from error


def _voxel_um(path: Path, header: Mapping[str, Any]) -> float | None:
    directions, spacings = header.get("space directions"), header.get("spacings")
    if directions is not None:
        sizes = np.linalg.norm(np.asarray(directions, dtype=np.float64), axis=1)
    elif spacings is not None:
        sizes = np.abs(np.asarray(spacings, dtype=np.float64))
    else:
        return None
    if sizes.shape != (3,) or not np.isfinite(sizes).all() or np.ptp(sizes) > 1e-6 * sizes.max():
        raise FileFormatError("voxels are no cubes", file=path, found=sizes, expected="one size")
    size = float(sizes[0])
    if size <= 0:
        return None
    units = header.get("space units", header.get("units"))
    word = str(units[0]).strip('"').lower() if units is not None and len(units) else ""
    # Without a unit: no framework has voxels under 1 um, and none of 1 mm.
    return round(size * _UM_PER.get(word, 1000.0 if size < 1 else 1.0), 6)
