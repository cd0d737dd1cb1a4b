"""Bitcode files of a probe: when each ephys trial started, and the code that names it.

``{h2o}_*bitcode.mat`` is made by the lab's MATLAB scripts from the digital lines of the recording:
``sTrig`` trial starts, ``goCue`` go cues, ``bitCodeS`` one string of 0 and 1 per ephys trial,
optional ``trialNum``. Files of the foraging task also hold other events in ephys time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    LengthMismatchError,
    SourceError,
    UnreadableFileError,
)
from maplake.readers import matlab
from maplake.readers.base import Reader, Records

__all__ = ["READER", "find", "read"]

_Array = np.ndarray[Any, Any]

_PER_TRIAL = ("zaberPerTrial", "lickLPerTrial", "lickRPerTrial", "lickMPerTrial")
_FORAGING = ("headings", "digMarkerPerTrial", *_PER_TRIAL, "cameraPerTrial", "chan")
_WANTED = frozenset({"sTrig", "goCue", "bitCodeS", "trialNum", "cameraNameInDJ", *_FORAGING})
# Starts and go cues of a session on one clock differ by less than this, in s; on two they do not.
_SAME_CLOCK = 3600.0
_LATEST = 1e15  # samples
_MOST_TRIALS = 2**31


def find(path: Path) -> Sequence[Path]:
    """Return the ``*bitcode.mat`` directly in a probe's folder, sorted; a file is looked at itself.

    Other kinds of files in the folder, and what lies in folders below it, are none.

    Raises
    ------
    UnreadableFileError
        If the folder cannot be listed.
    """
    try:
        candidates = list(path.iterdir()) if path.is_dir() else [path]
        return sorted(item for item in candidates if _is_bitcode(item))
    except OSError as error:
        raise UnreadableFileError(f"cannot be listed: {error.strerror}", file=path) from error


def _is_bitcode(path: Path) -> bool:
    # Names that begin with a dot are what macOS leaves beside files on network shares.
    return path.name.endswith("bitcode.mat") and not path.name.startswith(".") and path.is_file()


def read(path: Path, sampling_rate: float) -> Records:
    """Read one bitcode file.

    Parameters
    ----------
    path
        The ``*bitcode.mat``.
    sampling_rate
        Of the probe's recording, in Hz: turns times in seconds into samples.

    Returns
    -------
    Records
        Arrays ``start_sample`` int64 (trials,) and ``go_sample`` int64 (trials or fewer,), -1
        where a trial has no go cue; both empty in files with codes only. ``info``: ``codes``, one
        string per ephys trial; ``trial_numbers``, list of int or None; ``codes_only``, bool;
        ``foraging``, only if there: event times in seconds by kind (see :func:`_foraging`).

    Raises
    ------
    LengthMismatchError
        If there are not as many codes as starts, or more go cues than starts.
    CorruptFileError
        If the file is damaged, or a start is not finite.
    FileFormatError
        If it is no MATLAB file or holds no codes.
    SourceError
        If it is missing or unreadable.
    """
    try:
        return _records(matlab.load(path, only=_WANTED), sampling_rate)
    except SourceError as error:
        error.file = error.file or str(path)
        raise


def _records(data: dict[str, Any], sampling_rate: float) -> Records:
    if "bitCodeS" not in data:
        raise FileFormatError("has no bitCodeS", found=", ".join(data) or "nothing of a bitcode")
    starts = matlab.vector(data.get("sTrig", []), "sTrig")
    cues = matlab.vector(data.get("goCue", []), "goCue")
    codes = _codes(data["bitCodeS"], len(starts))
    codes_only = "sTrig" not in data
    if not codes_only:
        _check(starts, cues, codes)
    numbers = _trial_numbers(data.get("trialNum"))
    info: dict[str, Any] = {
        "codes": codes,
        "trial_numbers": numbers,
        "codes_only": codes_only,
    }
    if "digMarkerPerTrial" in data:
        info["foraging"] = _foraging(data)
    start_rate, cue_rate = _rates(starts, cues, sampling_rate)
    arrays = {
        "start_sample": _samples(starts, start_rate, "sTrig"),
        "go_sample": _samples(np.empty(0) if codes_only else cues, cue_rate, "goCue"),
    }
    return Records(arrays=arrays, info=info)


def _codes(value: Any, trials: int) -> list[str]:
    """One code per trial; the digits of a single trial's code may come as a row of numbers."""
    if isinstance(value, list):
        codes = [matlab.text(item, "bitCodeS") for item in value]
    else:
        codes = matlab.texts(value, "bitCodeS")
    if trials == 1 and len(codes) > 1 and all(len(code) == 1 for code in codes):
        codes = ["".join(codes)]
    for number, code in enumerate(codes, start=1):
        if not code or set(code) - {"0", "1"}:
            raise CorruptFileError(
                "is no bitcode",
                place=f"bitCodeS, trial {number}",
                found=repr(code),
                expected="a text of 0 and 1",
            )
    if not codes:
        raise CorruptFileError("there are no codes", place="bitCodeS", expected="one per trial")
    return codes


def _check(starts: _Array, cues: _Array, codes: list[str]) -> None:
    if len(codes) != len(starts):
        raise LengthMismatchError(
            "the numbers of codes and of trial starts differ",
            place="bitCodeS",
            found=f"bitCodeS {len(codes)}, sTrig {len(starts)}",
            expected="one code per trial start",
        )
    if len(cues) > len(starts):
        raise LengthMismatchError(
            "there are more go cues than trial starts",
            place="goCue",
            found=f"goCue {len(cues)}, sTrig {len(starts)}",
        )
    bad = np.flatnonzero(~np.isfinite(starts))
    if bad.size:
        raise CorruptFileError(
            "a trial start is not finite", place=f"sTrig, trial {bad[0] + 1}", found=starts[bad[0]]
        )
    backward = np.flatnonzero(np.diff(starts) <= 0)
    if backward.size:
        raise CorruptFileError(
            "trial starts are not in order",
            place=f"sTrig, trial {backward[0] + 2}",
            found=starts[backward[0] + 1],
            expected=f"more than {starts[backward[0]]}",
        )


def _trial_numbers(value: Any) -> list[int] | None:
    """Return the correction as it is: whether it fits only matters where the codes do not."""
    if value is None:
        return None
    numbers = matlab.vector(value, "trialNum")
    if len(numbers) == 0:
        return None
    good = (numbers == np.round(numbers)) & (numbers >= 1) & (numbers < _MOST_TRIALS)
    if not good.all():
        raise CorruptFileError(
            "holds what is no trial number", place="trialNum", expected="whole numbers from 1"
        )
    return [int(number) for number in numbers]


def _rates(starts: _Array, cues: _Array, sampling_rate: float) -> tuple[float, float]:
    """Tell samples (whole numbers; rate 1) from seconds, for starts and go cues.

    Few times in seconds may happen to be whole: they are then known by the others, which cannot
    be fractions of the same size and another unit.
    """
    parts = [array[np.isfinite(array)] for array in (starts, cues)]
    fractional = [bool(np.any(part != np.round(part))) for part in parts]
    if any(fractional) and all(part.size for part in parts):
        near = abs(float(parts[0].max()) - float(parts[1].max())) < _SAME_CLOCK
        fractional = [fraction or near for fraction in fractional]
    start, cue = (sampling_rate if fraction else 1.0 for fraction in fractional)
    return start, cue


def _samples(times: _Array, rate: float, place: str) -> _Array:
    """Turn times into int64 samples; -1 for those that are not finite."""
    known = np.isfinite(times)
    if np.any(np.abs(times[known] * rate) > _LATEST):
        raise CorruptFileError("a time is out of range", place=place, expected="samples or seconds")
    samples = np.full(len(times), -1, dtype=np.int64)
    samples[known] = np.round(times[known] * rate).astype(np.int64)
    return samples


def _foraging(data: dict[str, Any]) -> dict[str, Any]:
    """Events of the foraging task in ephys time.

    Returns
    -------
    dict
        ``headings``, names of the marker columns; ``digMarkerPerTrial`` float64
        (trials, markers) in s, NaN = none; ``zaberPerTrial``, ``lickLPerTrial``,
        ``lickRPerTrial``, ``lickMPerTrial``: where there, a list with the times in s of each
        trial; ``cameraPerTrial``: where there, such a list by camera name.
    """
    headings = matlab.texts(data.get("headings", []), "headings")
    if not headings:
        raise FileFormatError("the markers have no names", place="headings")
    found: dict[str, Any] = {
        "headings": headings,
        "digMarkerPerTrial": matlab.rows(
            data["digMarkerPerTrial"], len(headings), "digMarkerPerTrial"
        ),
    }
    for name in _PER_TRIAL:
        if name in data:
            found[name] = _times(data[name], name)
    if "cameraPerTrial" in data:
        chan = data.get("chan")
        names = chan.get("cameraNameInDJ", []) if isinstance(chan, dict) else []
        cameras = matlab.texts(names, "chan.cameraNameInDJ")
        frames = matlab.per_trial(data["cameraPerTrial"], len(cameras), "cameraPerTrial")
        found["cameraPerTrial"] = {
            camera: _times(item, f"cameraPerTrial, {camera}")
            for camera, item in zip(cameras, frames, strict=True)
        }
    return found


def _times(value: Any, place: str) -> list[_Array]:
    items = value if isinstance(value, list) else [value]
    return [matlab.vector(item, place) for item in items]


READER = Reader("bitcode", kind="bitcodes", find=find, read=read)
