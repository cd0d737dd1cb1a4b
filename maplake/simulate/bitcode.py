"""``{h2o}_*bitcode.mat``: trial starts, go cues and bitcodes as decoded from the recording."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from maplake.simulate.mat import write_mat
from maplake.simulate.options import Recording
from maplake.simulate.truth import Probe


def write_bitcode(
    probe: Probe, codes: list[str], options: Recording, extras: Mapping[str, Any] | None = None
) -> Path:
    """Write the recorded trials' codes; ``codes`` are those of ``probe.ephys_trial``.

    ``extras`` are what files of the foraging task hold besides.
    """
    bits = np.array([[int(bit) for bit in code] for code in codes], dtype=np.uint8)
    variables: dict[str, Any] = {"bitCodeS": np.array(codes), "bitcode": bits}
    if not options.codes_only:
        variables |= {
            "sTrig": _clock(probe, probe.start_sample + probe.margin_samples, options),
            "goCue": _clock(probe, probe.go_sample[probe.go_sample >= 0], options),
        }
    if options.trial_numbers:
        variables["trialNum"] = probe.ephys_trial.astype(float)
    variables |= extras or {}
    start = probe.recording_start
    path = probe.folder / f"{probe.session.h2o}_{start:%Y%m%d}_bitcode.mat"
    write_mat(path, variables, start)
    return path


def _clock(probe: Probe, samples: np.ndarray[Any, Any], options: Recording) -> Any:
    return samples / probe.sampling_rate if options.bitcode_seconds else samples.astype(float)
