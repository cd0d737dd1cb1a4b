"""The samples of a SpikeGLX recording: the ``.bin`` beside a ``.meta``, memory-mapped."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from maplake.errors import CorruptFileError, MissingFileError, UnreadableFileError
from maplake.readers.spikeglx_meta import Meta, number

__all__ = ["open_samples"]


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
