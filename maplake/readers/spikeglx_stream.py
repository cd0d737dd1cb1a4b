"""The samples of a SpikeGLX recording: the ``.bin`` beside a ``.meta``, memory-mapped."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maplake.errors import CorruptFileError, MissingFileError, UnreadableFileError
from maplake.readers.listing import files_below
from maplake.readers.spikeglx_meta import Meta, number

__all__ = ["find_streams", "open_samples"]

_STREAM = re.compile(r"(?P<run>.*_g\d+)_t(?:\d+|cat)\.(?P<probe>imec\d*)\.(?:ap|lf)\.meta")


def find_streams(folder: Path, suffix: str) -> list[Path]:
    """Return the metadata files of a band below a folder, sorted.

    Of a raw file and CatGT's copy of the same run, gate and probe, only the copy is returned.

    Parameters
    ----------
    folder
        Where to look.
    suffix
        How the files' names end: ``.ap.meta`` or ``.lf.meta``.
    """
    # Names that begin with a dot are what macOS leaves beside files on network shares.
    paths = [path for path in files_below(folder, suffix) if path.name[0] != "."]
    copied = {_stream(path) for path in paths if "tcat" in path.name}
    return [path for path in paths if "tcat" in path.name or _stream(path) not in copied]


def _stream(path: Path) -> tuple[str, ...]:
    match = _STREAM.fullmatch(path.name)
    return match.group("run", "probe") if match else (str(path),)


def open_samples(meta: Meta) -> NDArray[Any]:
    """Map the samples, int16 (samples, saved channels), without reading them.

    Raises
    ------
    MissingFileError, UnreadableFileError
        If the ``.bin`` is not there or cannot be read.
    CorruptFileError
        If it is empty, or of another size than the metadata says.
    """
    path = meta.path.with_suffix(".bin")
    channels = int(number(meta, "nSavedChans", whole=True))
    try:
        size = path.stat().st_size
        expected = int(number(meta, "fileSizeBytes", whole=True))
        if size != expected or not channels or size % (2 * channels) or not size:
            raise _incomplete(meta, size, expected)
        return np.memmap(path, dtype="<i2", mode="r", shape=(size // (2 * channels), channels))
    except FileNotFoundError as error:
        raise MissingFileError("there is no such file", file=path) from error
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=path) from error


def _incomplete(meta: Meta, size: int, expected: int) -> CorruptFileError:
    return CorruptFileError(
        "the recording is incomplete",
        file=meta.path.with_suffix(".bin"),
        found=f"{size} bytes",
        expected=f"{expected} bytes (keys fileSizeBytes, nSavedChans of {meta.path.name})",
        hint="Is it still being copied?",
    )
