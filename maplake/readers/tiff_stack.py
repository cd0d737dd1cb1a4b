"""TIFF stacks, page by page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from maplake.errors import CorruptFileError, FileFormatError, SourceError, UnreadableFileError

__all__ = ["TiffStack", "open_tiff"]

_LARGEST = 1 << 27  # pixels of a page; the finest volume has a tenth of that
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


@dataclass(frozen=True)
class TiffStack:
    """A stack with a page per AP position; pages are DV x ML."""

    path: Path
    shape: tuple[int, int, int]
    voxel_um: float | None = None
    plane_axis: int = 0

    def planes(self, step: int) -> Iterator[NDArray[Any]]:
        """Yield every ``step``-th plane (DV, ML) along AP."""
        try:
            with tifffile.TiffFile(self.path) as file:
                series = file.series[0]
                if len(series.pages) == self.shape[0]:
                    for number in range(0, self.shape[0], step):
                        yield _page(self, series.pages[number])
                else:
                    # ImageJ writes one page and the rest behind it.
                    whole = tifffile.memmap(self.path, mode="r", series=0)
                    for number in range(0, self.shape[0], step):
                        yield np.asarray(whole.reshape(self.shape)[number])
        except SourceError:
            raise
        except Exception as error:
            raise _fault(self.path, error) from error


def _page(stack: TiffStack, page: tifffile.TiffPage | tifffile.TiffFrame | None) -> NDArray[Any]:
    if page is None:
        raise ValueError("a page is missing")
    _check_size(stack, page.shape)  # before so much memory is asked for
    plane = np.asarray(page.asarray())
    _check_size(stack, plane.shape)
    return plane


def _check_size(stack: TiffStack, shape: tuple[int, ...]) -> None:
    if shape != stack.shape[1:]:
        raise CorruptFileError(
            "pages differ in size", file=stack.path, found=shape, expected=stack.shape[1:]
        )


def open_tiff(path: Path) -> TiffStack:
    """Read and check the structure of a TIFF stack.

    Raises
    ------
    UnreadableFileError, CorruptFileError, FileFormatError
        As :func:`maplake.readers.ccf_annotation.open_volume`.
    """
    try:
        with path.open("rb") as file:
            head = file.read(4)
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=path) from error
    if not head:
        raise CorruptFileError("the file is empty", file=path)
    if head not in _MAGIC:
        raise FileFormatError("is no TIFF file", file=path, found=repr(head))
    try:
        with tifffile.TiffFile(path) as tiff:
            series = tiff.series[0]
            shape, kind = tuple(int(n) for n in series.shape), series.dtype
    except Exception as error:
        raise _fault(path, error) from error
    if len(shape) != 3 or np.dtype(kind).kind not in "iu":
        raise FileFormatError(
            "no stack of pages of whole numbers",
            file=path,
            found=f"{shape} {kind}",
            expected="(AP, DV, ML), unsigned integers",
        )
    if not 0 < shape[1] * shape[2] <= _LARGEST or not shape[0]:
        raise CorruptFileError("claims an impossible size", file=path, found=shape)
    return TiffStack(path, (shape[0], shape[1], shape[2]))


def _fault(path: Path, error: Exception) -> SourceError:
    # tifffile raises nearly anything on damaged files.
    if "imagecodecs" in str(error):
        return FileFormatError(
            f"the compression cannot be undone: {error}",
            file=path,
            hint="`pip install imagecodecs`, or save the stack without compression.",
        )
    return CorruptFileError(
        f"the TIFF file is truncated or damaged ({type(error).__name__}: {error})", file=path
    )
