"""Bitcodes as edge times in text files, beside the folders of the probes.

``*.XA_0_0[.adj].txt`` are the trial starts in seconds, ``*.XA_1_2[.adj].txt`` the edges of the
bits. Of the two clocks, the probe's (``.adj``) is preferred; both files are taken on one clock.
Bit ``k`` of 10 is high when an edge falls within half a bit of ``k`` * 7 ms after start + 50 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    MissingFileError,
    SourceError,
    UnreadableFileError,
)
from maplake.readers.base import Reader, Records, Skipped

__all__ = ["BITS", "BIT_INTERVAL", "FIRST_BIT", "READER", "decode", "find", "read"]

BITS = 10
FIRST_BIT = 0.05  # s from trial start
BIT_INTERVAL = 0.007  # s

_STARTS, _EDGES = ".XA_0_0", ".XA_1_2"
_ADJUSTED, _PLAIN = ".adj.txt", ".txt"
_MOST_BYTES = 256 * 2**20


def find(path: Path) -> Sequence[Path]:
    """Return the file of trial starts beside a probe's folder; a file is looked at itself.

    Of the same run on two clocks only one file is returned: the adjusted one, unless only the
    plain one has edges of bits beside it.
    """
    if not path.is_dir():
        return [path] if path.name.endswith((_STARTS + _ADJUSTED, _STARTS + _PLAIN)) else []
    runs: dict[str, list[Path]] = {}
    for suffix in (_ADJUSTED, _PLAIN):
        for item in sorted(path.absolute().parent.glob(f"*{_STARTS}{suffix}")):
            if item.is_file() and not item.name.startswith("."):
                runs.setdefault(item.name.removesuffix(_STARTS + suffix), []).append(item)
    return [
        next((item for item in items if _has_content(_edges_of(item))), items[0])
        for _, items in sorted(runs.items())
    ]


def _edges_of(path: Path) -> Path:
    stem, _, suffix = path.name.rpartition(_STARTS)
    return path.with_name(f"{stem}{_EDGES}{suffix}")


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def read(path: Path, sampling_rate: float) -> Records:
    """Read trial starts and decode their codes.

    Parameters
    ----------
    path
        The file of trial starts.
    sampling_rate
        Of the probe's recording, in Hz: turns seconds into samples.

    Returns
    -------
    Records
        Arrays ``start_sample`` int64 (trials,), ``start_time`` float64 (trials,) in s,
        ``go_sample`` int64 (trials,), all -1: these files do not tell the go cues. ``info``:
        ``codes``, 10 bits per trial, first bit first, empty where there are no edges of bits
        (trials then match one to one on the rig ``RRig-MTL``); ``codes_missing``, bool;
        ``go_from_behavior`` True; ``trial_numbers`` None.

    Raises
    ------
    SourceError
        If a file is missing, unreadable, empty or damaged, or starts are not in order.
    """
    starts = _times(path)
    if not len(starts):
        raise CorruptFileError("the file is empty", file=path, expected="trial starts in s")
    backward = np.flatnonzero(np.diff(starts) <= 0)
    if backward.size:
        raise CorruptFileError(
            "trial starts are not in order",
            file=path,
            place=f"line {backward[0] + 2}",
            found=starts[backward[0] + 1],
        )
    edges = _times(_edges_of(path)) if _has_content(_edges_of(path)) else np.empty(0)
    codes, strays = decode(starts, edges)
    reason = "edges that belong to no bit of a trial"
    missing = not len(edges)
    return Records(
        arrays={
            "start_sample": np.rint(starts * sampling_rate).astype(np.int64),
            "start_time": starts,
            "go_sample": np.full(len(starts), -1, dtype=np.int64),
        },
        skipped=[Skipped("edges", str(strays), reason)] if strays else [],
        info={
            "codes": [] if missing else codes,
            "codes_missing": missing,
            "trial_numbers": None,
            "go_from_behavior": True,
        },
    )


def decode(starts: NDArray[np.float64], edges: NDArray[np.float64]) -> tuple[list[str], int]:
    """Decode the bits of trials.

    Parameters
    ----------
    starts
        (trials,) trial starts in s, ascending.
    edges
        (edges,) edges of high bits in s, in any order.

    Returns
    -------
    codes, strays
        One text of 0 and 1 per trial, and the number of edges that are no bit.
    """
    trial = np.searchsorted(starts, edges, side="right") - 1
    bit = np.rint((edges - starts[trial] - FIRST_BIT) / BIT_INTERVAL).astype(np.int64)
    good = (trial >= 0) & (bit >= 0) & (bit < BITS)
    digits = np.full((len(starts), BITS), ord("0"), dtype=np.uint8)
    digits[trial[good], bit[good]] = ord("1")
    return [row.tobytes().decode("ascii") for row in digits], int((~good).sum())


def _times(path: Path) -> NDArray[np.float64]:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise FileFormatError("the file is too large for edge times", file=path)
        words = path.read_bytes().split()
    except FileNotFoundError as error:
        raise MissingFileError("there is no such file", file=path) from error
    except SourceError:
        raise
    except OSError as error:
        raise UnreadableFileError(f"cannot be read: {error.strerror}", file=path) from error
    try:
        times = np.array(words, dtype="S").astype(np.float64) if words else np.empty(0)
    except (ValueError, UnicodeDecodeError) as error:
        raise _bad(path, words) from error
    if not (np.isfinite(times) & (np.abs(times) < 1e9)).all():
        raise _bad(path, words)
    return times


def _bad(path: Path, words: Sequence[bytes]) -> CorruptFileError:
    def is_bad(word: bytes) -> bool:
        try:
            return not abs(float(word)) < 1e9
        except ValueError:
            return True

    line, word = next(((i, w) for i, w in enumerate(words, 1) if is_bad(w)), (0, b""))
    return CorruptFileError(
        "is no time", file=path, place=f"line {line}", found=repr(word[:40]), expected="seconds"
    )


def _files(path: Path) -> list[Path]:
    return [path, *(item for item in [_edges_of(path)] if item.is_file())]


READER = Reader("xa_bitcodes", kind="bitcodes", find=find, read=read, files=_files, priority=10)
