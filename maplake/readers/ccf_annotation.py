"""Annotation volumes of the Common Coordinate Framework, one plane at a time.

NRRD as the Allen Institute publishes it (first axis fastest in the file, so planes of AP x DV come
one after the other along ML), or a TIFF stack with a page per AP position, rows DV, columns ML.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from maplake.errors import FileFormatError, MissingFileError
from maplake.readers.nrrd_stream import NrrdStack, open_nrrd
from maplake.readers.tiff_stack import TiffStack, open_tiff

__all__ = ["AXES", "AnnotationVolume", "open_volume"]

AXES = ("ap", "dv", "ml")
#: Size of the framework along AP, DV, ML in um; every published resolution divides it or is cut.
_EXTENT = (13200, 8000, 11400)
_TIFF_UM = 20.0
_SUFFIXES: dict[str, Callable[[Path], NrrdStack | TiffStack]] = {
    ".nrrd": open_nrrd,
    ".nhdr": open_nrrd,
    ".tif": open_tiff,
    ".tiff": open_tiff,
}


@dataclass(frozen=True)
class AnnotationVolume:
    """A volume of region ids that has not been read yet.

    Attributes
    ----------
    path
        The file.
    shape
        Voxels along AP, DV, ML.
    voxel_um
        Size of a voxel in um.
    plane_axis
        Axis that planes follow each other along: 0 = AP, 1 = DV, 2 = ML.
    """

    path: Path
    shape: tuple[int, int, int]
    voxel_um: float
    plane_axis: int
    _planes: Callable[[int], Iterator[NDArray[Any]]]

    def planes(self, step: int = 1) -> Iterator[NDArray[Any]]:
        """Read the volume, every ``step``-th voxel of each axis.

        Yields
        ------
        Arrays of integers, shaped as the other two axes in the order AP, DV, ML; each valid
        until the next.

        Raises
        ------
        CorruptFileError
            If the file is truncated or damaged.
        """
        for plane in self._planes(step):
            yield plane[::step, ::step]


def open_volume(path: Path) -> AnnotationVolume:
    """Read the header of an annotation volume.

    Raises
    ------
    MissingFileError, UnreadableFileError
        If it is not there or cannot be read.
    FileFormatError
        If it is neither NRRD nor TIFF, has not three axes, or holds no whole numbers.
    CorruptFileError
        If it is empty or its header is damaged.
    """
    opener = _SUFFIXES.get(path.suffix.lower())
    if opener is None:
        raise FileFormatError(
            "no annotation volume",
            file=path,
            found=path.suffix or "no suffix",
            expected=", ".join(_SUFFIXES),
        )
    if not path.exists():
        raise MissingFileError("there is no such file", file=path)
    stack = opener(path)
    shape = stack.shape
    voxel = stack.voxel_um or _voxel_from(shape) or _TIFF_UM
    _check_axes(path, shape, voxel)
    return AnnotationVolume(path, shape, voxel, stack.plane_axis, stack.planes)


def _voxel_from(shape: tuple[int, int, int]) -> float | None:
    """Tell the voxel size from the size of the volume, where it is that of the framework."""
    sizes = [extent / count for extent, count in zip(_EXTENT, shape, strict=True)]
    return round(sizes[0], 3) if max(sizes) - min(sizes) < 1e-6 * max(sizes) else None


def _check_axes(path: Path, shape: tuple[int, int, int], voxel: float) -> None:
    """Refuse a volume that is the framework's with its axes in another order."""
    expected = tuple(round(extent / voxel) for extent in _EXTENT)
    if shape != expected and sorted(shape) == sorted(expected):
        raise FileFormatError(
            "the axes are in another order",
            file=path,
            found=" x ".join(map(str, shape)),
            expected=f"AP x DV x ML, {' x '.join(map(str, expected))}",
            hint="Save the volume with the axes in that order (TIFF: pages AP, rows DV).",
        )
