"""Recordings of the data acquisition board and of local field potentials, and edge-time files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["write_edges", "write_lfp", "write_nidq"]

Array = np.ndarray[Any, Any]

_FIRST_BIT, _BIT = 0.05, 0.007  # s


def _write(stem: Path, data: Array, keys: dict[str, object]) -> Path:
    stem.parent.mkdir(parents=True, exist_ok=True)
    data.astype("<i2").tofile(Path(f"{stem}.bin"))
    keys |= {"fileSizeBytes": 2 * data.size, "nSavedChans": data.shape[1]}
    path = Path(f"{stem}.meta")
    text = "".join(f"{key}={value}\n" for key, value in keys.items())
    path.write_text(text, encoding="ascii", newline="\n")
    return path


def write_nidq(
    stem: Path,
    counts: Array,
    sampling_rate: float = 10_000.0,
    range_max: float = 5.0,
    created: datetime = datetime(2021, 6, 1, 12, 0, 0),
) -> Path:
    """Write ``{stem}.meta`` and ``.bin``.

    ``counts`` is int16 (samples, channels), the last channel digital, the others analog (XA).
    """
    keys: dict[str, object] = {
        "acqMnMaXaDw": f"0,0,{counts.shape[1] - 1},1",
        "fileCreateTime": f"{created:%Y-%m-%dT%H:%M:%S}",
        "niAiRangeMax": range_max,
        "niAiRangeMin": -range_max,
        "niMAGain": 1,
        "niMNGain": 200,
        "niSampRate": sampling_rate,
        "snsMnMaXaDw": f"0,0,{counts.shape[1] - 1},1",
        "snsSaveChanSubset": "all",
        "typeThis": "nidq",
    }
    return _write(stem, counts, keys)


def write_lfp(
    stem: Path,
    counts: Array,
    gains: Sequence[int],
    reference: int | None = None,
    sampling_rate: float = 2500.0,
) -> Path:
    """Write ``{stem}.meta`` and ``.bin`` of a 1.0 probe.

    ``counts`` is int16 (samples, channels), a sync channel is added; ``gains`` (channels,) are
    those of the LF band, ``reference`` the channel that is not used.
    """
    samples, channels = counts.shape
    entries = "".join(f"({c} 0 0 500 {gain} 1)" for c, gain in enumerate(gains))
    sites = "".join(f"(0:{c % 2}:{c // 2}:{int(c != reference)})" for c in range(channels))
    keys: dict[str, object] = {
        "acqApLfSy": f"{channels},{channels},1",
        "imAiRangeMax": 0.6,
        "imDatPrb_sn": 18005116102,
        "imDatPrb_type": 0,
        "imSampRate": int(sampling_rate),
        "snsApLfSy": f"0,{channels},1",
        "snsSaveChanSubset": f"{channels}:{2 * channels}",
        "typeImEnabled": 1,
        "typeThis": "imec",
        "~imroTbl": f"(0,{channels}){entries}",
        "~snsShankMap": f"(1,2,480){sites}",
    }
    return _write(stem, np.column_stack((counts, np.zeros(samples, np.int16))), keys)


def write_edges(
    stem: Path,
    starts: Array,
    codes: Sequence[str] | None,
    jitter: float = 0.0,
    seed: int = 0,
    *,
    adjusted: bool = False,
) -> Path:
    """Write ``{stem}.XA_0_0.txt`` and, with codes, ``{stem}.XA_1_2.txt``; return the former.

    Edges of bits fall up to ``jitter`` s beside their times.
    """
    rng = np.random.default_rng(seed)
    suffix = ".adj.txt" if adjusted else ".txt"
    path = Path(f"{stem}.XA_0_0{suffix}")
    path.parent.mkdir(parents=True, exist_ok=True)
    _write_times(path, starts)
    if codes is not None:
        edges = [
            start + _FIRST_BIT + bit * _BIT
            for start, code in zip(starts, codes, strict=True)
            for bit, value in enumerate(code)
            if value == "1"
        ]
        shifts = rng.uniform(-jitter, jitter, len(edges))
        _write_times(Path(f"{stem}.XA_1_2{suffix}"), np.sort(np.asarray(edges) + shifts))
    return path


def _write_times(path: Path, times: Array) -> None:
    path.write_text("".join(f"{time:.6f}\n" for time in times), encoding="ascii", newline="\n")
