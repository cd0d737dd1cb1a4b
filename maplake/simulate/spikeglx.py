"""SpikeGLX: the metadata of a probe's recording and, on request, a short piece of it."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from maplake.simulate.geometry import CHANNELS, GENERATIONS, Generation, Sites, recorded_sites
from maplake.simulate.options import Recording
from maplake.simulate.truth import Probe

Array = np.ndarray[Any, Any]

_SYNC_FIRST, _SYNC_SECOND = 768, 384  # number of the sync channel on 1.0 and 2.0 probes
_REFERENCE = 191  # channel of the internal reference of 1.0 probes
_EDGE = (11, 27)  # um from the shank's edge to its leftmost site, 1.0 and 2.0 probes
_NOISE = 6.0  # counts
_SYNC_HIGH = 64


def run_name(h2o: str, start: datetime) -> str:
    """Return the name of a run, with its gate."""
    return f"{h2o}_{start:%Y%m%d}_g0"


def write_recording(probe: Probe, options: Recording, rng: np.random.Generator) -> Path:
    """Write ``*.ap.meta``, and ``*.ap.bin`` if wanted; return the former."""
    imec = probe.insertion_number - 1
    stem = f"{run_name(probe.session.h2o, probe.recording_start)}_t0.imec{imec}.ap"
    saved = options.channels + 1
    samples = probe.n_samples
    if options.raw_seconds:
        samples = min(samples, round(options.raw_seconds * probe.sampling_rate))
        write_raw(probe.folder / f"{stem}.bin", probe, samples, rng)
    meta = _meta(probe, options, stem, samples, 2 * saved * samples)
    path = probe.folder / f"{stem}.meta"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{key}={value}\n" for key, value in meta.items())
    path.write_text(text, encoding="ascii", newline="\n")
    return path


def _meta(
    probe: Probe, options: Recording, stem: str, samples: int, size: int
) -> dict[str, object]:
    generation = GENERATIONS[options.generation]
    plain = _common(probe, options, generation, stem, samples, size)
    plain |= _hardware_3a(probe) if generation.code is None else _hardware(probe, generation)
    if options.margin:
        plain |= {"trgTTLMarginS": options.margin, "trgTTLRefractS": 0.5, "trigMode": "TTL"}
    return dict(sorted(plain.items())) | _tables(probe, options, generation)


def _common(
    probe: Probe, options: Recording, generation: Generation, stem: str, samples: int, size: int
) -> dict[str, object]:
    lf = CHANNELS if generation.is_first else 0
    sync = _SYNC_FIRST if generation.is_first else _SYNC_SECOND
    rate = probe.sampling_rate
    run = run_name(probe.session.h2o, probe.recording_start)
    return {
        "acqApLfSy": f"{CHANNELS},{lf},1",
        "appVersion": 20230815 if options.geom_map else 20190327,
        "fileCreateTime": f"{probe.recording_start:%Y-%m-%dT%H:%M:%S}",
        "fileName": f"D:/data/{run}/{run}_imec{probe.insertion_number - 1}/{stem}.bin",
        "fileSHA1": "0" * 40,
        "fileSizeBytes": size,
        "fileTimeSecs": samples / rate,
        "firstSample": 1_738_008,
        "gateMode": "Immediate",
        "imAiRangeMax": generation.range_max,
        "imAiRangeMin": -generation.range_max,
        "imRoFile": "",
        "imSampRate": int(rate) if rate == int(rate) else rate,
        "imStdby": "",
        "nSavedChans": options.channels + 1,
        "snsApLfSy": f"{options.channels},0,1",
        "snsSaveChanSubset": f"0:{options.channels - 1},{sync}",
        "syncSourceIdx": 0,
        "syncSourcePeriod": 1,
        "trigMode": "Immediate",
        "typeThis": "imec",
        "userNotes": "probe=deep, as planned",  # a value may contain "="
    }


def _hardware_3a(probe: Probe) -> dict[str, object]:
    return {
        "imDoGainCor": "true",
        "imHpFlt": 300,
        "imNoLEDs": "true",
        "imProbeOpt": 3,
        "imProbeSN": probe.serial,
        "imSoftStart": "true",
        "imVersAPI": 4.3,
        "imVersBs": 0.3,
        "imVersHwr": 4.2,
        "syncImChan": 6,
        "syncImChanType": 0,
        "syncImThresh": 3,
        "typeEnabled": "imec",
    }


def _hardware(probe: Probe, generation: Generation) -> dict[str, object]:
    first = generation.is_first
    keys: dict[str, object] = {
        "imCalibrated": "true",
        "imDatApi": 1.15 if first else 3.31,
        "imDatBs_fw": "1.1.128" if first else "2.0.137",
        "imDatBsc_fw": "1.0.151" if first else "3.2.176",
        "imDatBsc_hw": 1.9,
        "imDatBsc_pn": "NP2_QBSC_00",
        "imDatBsc_sn": 175,
        "imDatFx_hw": 1.2,
        "imDatFx_pn": "NP2_FLEX_0" if first else "NPM_FLEX_0",
        "imDatHs_fw": 5.1,
        "imDatHs_pn": "NP2_HS_30" if first else "NPM_HS_01",
        "imDatHs_sn": 359,
        "imDatPrb_pn": generation.part,
        "imDatPrb_port": probe.insertion_number,
        "imDatPrb_slot": 2,
        "imDatPrb_sn": probe.serial,
        "imDatPrb_type": generation.code,
        "imLEDEnable": "false",
        "imTrgRising": "true",
        "imTrgSource": 0,
        "syncImInputSlot": 2,
        "typeImEnabled": 2,
        "typeNiEnabled": 1,
    }
    if not first:
        keys |= {"imDatPrb_dock": 1, "nDataDirs": 1}
    if generation.says_max_int:
        keys["imMaxInt"] = generation.max_int
    if generation.gain == 100:
        keys |= {"imAnyChanFullBand": "true", "imChan0apGain": generation.gain}
    return keys


def _tables(probe: Probe, options: Recording, generation: Generation) -> dict[str, object]:
    saved = recorded_sites(generation, options.channels)
    everything = recorded_sites(generation)
    site_map = (
        {"~snsGeomMap": _geom_map(generation, saved)}
        if options.geom_map
        else {"~snsShankMap": _shank_map(generation, saved)}
    )
    return {
        "~imroTbl": _imro(probe, generation, everything),
        "~snsChanMap": _channel_map(generation, options.channels),
        **site_map,
    }


def _imro(probe: Probe, generation: Generation, sites: Sites) -> str:
    rows: list[tuple[object, ...]]
    header: tuple[object, ...] = (generation.code, CHANNELS)
    channels = range(CHANNELS)
    if generation.is_first:
        rows = [(channel, 0, 0, 500, 250, 1) for channel in channels]
        if generation.code is None:
            header, rows = (probe.serial, 3, CHANNELS), [row[:-1] for row in rows]
    elif generation.shanks == 1:
        rows = [(channel, 1, 0, site) for channel, site in zip(channels, sites.site, strict=True)]
    else:
        pairs = zip(channels, sites.shank, sites.site, strict=True)
        rows = [(channel, shank, 0, 0, site) for channel, shank, site in pairs]
    entries = "".join("(" + " ".join(map(str, row)) + ")" for row in rows)
    return f"({','.join(map(str, header))}){entries}"


def _channel_map(generation: Generation, channels: int) -> str:
    sync = _SYNC_FIRST if generation.is_first else _SYNC_SECOND
    lf = CHANNELS if generation.is_first else 0
    entries = "".join(f"(AP{channel};{channel}:{channel})" for channel in range(channels))
    return f"({CHANNELS},{lf},1){entries}(SY0;{sync}:{sync})"


def _used(generation: Generation, channels: int) -> list[int]:
    reference = _REFERENCE if generation.is_first else -1
    return [int(channel != reference) for channel in range(channels)]


def _shank_map(generation: Generation, sites: Sites) -> str:
    used = _used(generation, len(sites.site))
    rows = zip(sites.shank, sites.column, sites.row, used, strict=True)
    entries = "".join(f"({shank}:{column}:{row}:{on})" for shank, column, row, on in rows)
    return f"({generation.shanks},2,{generation.rows}){entries}"


def _geom_map(generation: Generation, sites: Sites) -> str:
    # Here x counts from the edge of each shank.
    edge = _EDGE[0] if generation.is_first else _EDGE[1]
    x = sites.x - generation.shank_pitch * sites.shank + edge
    rows = zip(sites.shank, x, sites.y, _used(generation, len(x)), strict=True)
    entries = "".join(f"({shank}:{x:g}:{y:g}:{on})" for shank, x, y, on in rows)
    return f"({generation.part},{generation.shanks},{generation.shank_pitch},70){entries}"


def write_raw(path: Path, probe: Probe, samples: int, rng: np.random.Generator) -> None:
    """Write the first samples of the recording: noise, the spikes' waveforms, and a sync channel.

    A spike is on its peak channel and, at a third, on that channel's neighbours.
    """
    channels = len(probe.electrode)
    data = rng.standard_normal((samples, channels + 1), dtype=np.float32) * np.float32(_NOISE)
    for row in range(len(probe.units)):
        _add_spikes(data, probe, row)
    period = round(probe.sampling_rate)
    data[:, -1] = np.where(np.arange(samples) % period < period // 2, _SYNC_HIGH, 0)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.rint(data).astype("<i2").tofile(path)


def _add_spikes(data: Array, probe: Probe, row: int) -> None:
    units = probe.units
    wave = units.waveform[row] / probe.uv_per_bit
    trough = int(np.argmin(wave))
    first = probe.spikes(int(units.id[row])) - trough
    first = first[(first >= 0) & (first + len(wave) <= len(data))]
    window = (first[:, np.newaxis] + np.arange(len(wave))).ravel()
    for channel, share in ((0, 1.0), (-1, 1 / 3), (1, 1 / 3)):
        place = int(units.peak[row]) + channel
        if 0 <= place < data.shape[1] - 1:
            np.add.at(data[:, place], window, np.tile(share * wave, len(first)))
