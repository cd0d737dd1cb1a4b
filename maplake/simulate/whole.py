"""A lab that uses everything: three tasks, three sorters, cameras, histology, a small brain."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from maplake.simulate import spreadsheets
from maplake.simulate.bitcode import write_bitcode
from maplake.simulate.ccf import Framework, simulate_framework, write_framework
from maplake.simulate.foraging import ForagingOptions, ForagingSession, simulate_foraging
from maplake.simulate.foraging_lab import Day, EphysEvents, ephys_events, write_days, write_people
from maplake.simulate.lab import Plan, draw_animal, write_session, write_sorting
from maplake.simulate.multi_target_licking import MtlSession, simulate_mtl
from maplake.simulate.nidq import write_edges, write_lfp, write_nidq
from maplake.simulate.options import Recording, Sorting, Task
from maplake.simulate.other_tasks import course, foraging_session, licking_session
from maplake.simulate.recording import record_course
from maplake.simulate.spikeglx import run_name, write_recording
from maplake.simulate.tracking import Camera, simulate_camera, tracking_folder, write_camera
from maplake.simulate.truth import Animal, Lab, Probe, Session
from maplake.simulate.whole_brain import Located, locate

__all__ = ["Foraging", "Licking", "Potentials", "Tracked", "WholeLab", "whole_lab"]

Array = np.ndarray[Any, Any]

_LICKING_START = datetime(2021, 3, 10, 9, 30, 0)
_FORAGING_START = datetime(2021, 3, 20, 10, 0, 0)
_MTL = "RRig-MTL"
_VOXEL_UM = 100
_BOARD_RATE = 1000.0  # Hz
_LFP_RATE = 2500.0  # Hz
_VIDEO = 0.5  # s of each trial that the cameras see
_PEOPLE = {"ada": "Ada L.", "santiago": "Santiago R.", "Han": "Han H."}
_RIGS = {"Ephys-Han": "foraging, with probes", "Training-Tower-2": "foraging, training"}

_CONFIG = """\
[lake]
root = "lake"

[behavior]
rigs = [
  {{ name = "RRig", path = "behavior", priority = 0 }},
  {{ name = "RRig-MTL", path = "behavior_mtl", priority = 1 }},
]
min_file_kib = 0

[foraging]
projects = ["foraging"]
meta_dir = "metadata"
lab_meta_dir = "metadata/lab"

[ephys]
paths = ["ephys"]

[tracking]
rigs = [
  {{ name = "RRig", path = "tracking" }},
  {{ name = "RRig-MTL", path = "tracking_mtl" }},
]

[histology]
paths = ["histology"]

[ccf]
version_name = "CCF_2017"
annotation = "ccf/{annotation}"
resolution_um = {voxel}
region_csv = "ccf/{region_csv}"
hexcode_csv = "ccf/{hexcode_csv}"
surface_mesh = "ccf/{surface_mesh}"

[spreadsheets]
animals = ["animals.csv"]
insertion_locations = ["insertions.csv"]
"""


@dataclass(frozen=True)
class Licking:
    """A multi-target-licking session; ``counts`` is what the board recorded, int16.

    ``counts`` is (samples, channels) at ``rate`` Hz; ``codes`` tells whether the recording has
    bitcodes.
    """

    session: Session
    truth: MtlSession
    counts: Array
    rate: float
    codes: bool


@dataclass(frozen=True)
class Foraging:
    """A foraging session: its bpod sessions, notes on the day, events on the recording's clock."""

    session: Session
    bpod: list[ForagingSession]
    day: Day | None
    events: EphysEvents | None


@dataclass(frozen=True)
class Tracked:
    """A camera in a session; ``missing`` are the trials without a video."""

    session: Session
    device: str
    camera: Camera
    missing: list[int]


@dataclass(frozen=True)
class Potentials:
    """Local field potentials of a probe: int16 counts (samples, channels), gains, the reference."""

    probe: Probe
    counts: Array
    gains: list[int]
    reference: int


@dataclass
class WholeLab(Lab):
    """A lab with everything; ``sessions`` are those of all tasks."""

    licking: list[Licking] = field(default_factory=list)
    foraging: list[Foraging] = field(default_factory=list)
    tracked: list[Tracked] = field(default_factory=list)
    located: list[Located] = field(default_factory=list)
    potentials: list[Potentials] = field(default_factory=list)
    framework: Framework = field(default_factory=simulate_framework)
    people: Mapping[str, str] = field(default_factory=lambda: _PEOPLE)
    rigs: Mapping[str, str] = field(default_factory=lambda: _RIGS)


def whole_lab(
    directory: str | Path,
    *,
    trials: int = 60,
    units: int = 10,
    rate_hz: float = 5.0,
    seed: int = 0,
    channels: int = 384,
    progress: Callable[[str], None] | None = None,
) -> WholeLab:
    """Write the raw files of a lab that uses every format, and return what is true about them.

    Four animals: two in the delay-response task (the second one's probes sorted by JRCLUST, then
    of four shanks), one in multi-target licking (two sessions on one day, the second without
    bitcodes), one foraging (two bpod sessions on the first day).

    Parameters
    ----------
    directory
        Where to write; made if it is not there. Files there are overwritten.
    trials, units
        Number of trials of delay-response sessions (the others have fewer), units per probe.
    rate_hz
        Mean rate of the units outside of epochs, in Hz.
    seed
        Of the random numbers.
    channels
        Channels saved by each probe.
    progress
        Called with a line of text for everything that is written.
    """
    plan = Plan(
        directory=Path(directory),
        sessions=2,
        probes=2,
        trials=trials,
        units=units,
        rate_hz=rate_hz,
        seed=seed,
        task=Task(),
        recording=Recording(channels=channels),
        sorting=Sorting(),
        progress=progress or (lambda _: None),
    )
    animals = [draw_animal(number, "MK", plan.rng(number, 0)) for number in range(4)]
    sessions = _delay_response(plan, animals[0], animals[1])
    lab = WholeLab(
        directory=plan.directory,
        config=plan.directory / "lake.toml",
        animals=animals,
        sessions=sessions,
        animals_file=plan.directory / "animals.csv",
        insertions_file=plan.directory / "insertions.csv",
        framework=simulate_framework((132, 80, 114), _VOXEL_UM),
    )
    _add_licking(plan, lab, animals[2])
    _add_foraging(plan, lab, animals[3])
    _add_cameras(plan, lab)
    _add_potentials(plan, lab)
    lab.located = locate(plan.directory / "histology", lab.sessions[:4], plan.rng(8, 0))
    _finish(lab)
    return lab


def _delay_response(plan: Plan, first: Animal, second: Animal) -> list[Session]:
    sorted_again = replace(
        plan, probes=1, sorting=Sorting(phy_log=True, silent=0, pc_features=False, jrclust=(3, 4))
    )
    four_shanks = replace(
        plan,
        recording=replace(plan.recording, generation="24"),
        sorting=Sorting(metrics=True, pc_features=False),
    )
    sessions = [write_session(plan, first, 0, number) for number in (1, 2)]
    sessions.append(write_session(sorted_again, second, 1, 1))
    by_version_3 = replace(sorted_again, probes=2)
    sessions[2].probes.append(_second_probe(by_version_3, sessions[2]))
    sessions.append(write_session(four_shanks, second, 1, 2))
    return sessions


def _second_probe(plan: Plan, session: Session) -> Probe:
    """Write a probe that JRCLUST 3 sorted, beside one by version 4."""
    rng = plan.rng(1, 1, 2)
    sorting = replace(plan.sorting, jrclust=(3,), kilosort=False)
    folder = session.probes[0].folder.with_name("2")
    return _other_probe(plan, session, folder, 2, plan.recording, sorting, rng)


def _other_probe(
    plan: Plan,
    session: Session,
    folder: Path,
    number: int,
    options: Recording,
    sorting: Sorting,
    rng: np.random.Generator,
) -> Probe:
    probe = record_course(
        session,
        course(session, options),
        folder,
        number,
        units=plan.units,
        rate_hz=plan.rate_hz,
        options=options,
        sorting=sorting,
        rng=rng,
    )
    write_recording(probe, options, rng)
    write_sorting(probe, sorting, rng)
    if session.trials.protocol[0] not in (1, 100, 101):
        write_bitcode(probe, _codes(probe), options)
    plan.progress(f"{session.h2o} session {session.number} probe {number}")
    return probe


def _codes(probe: Probe) -> list[str]:
    trials = probe.session.trials
    codes = dict(zip(trials.trial.tolist(), trials.bitcode.tolist(), strict=True))
    return [str(codes[number]) for number in probe.ephys_trial.tolist()]


def _add_licking(plan: Plan, lab: WholeLab, animal: Animal) -> None:
    """Add two sessions of one day; the second one's recording has no bitcodes."""
    root, ephys = plan.directory / "behavior_mtl", plan.directory / "ephys" / animal.h2o
    day = _LICKING_START
    folders = (f"catgt_{day:%Y%m%d}_g0/{day:%Y%m%d}_g0_imec0",
               f"{animal.h2o}_{day:%m%d%y}_g1/{animal.h2o}_{day:%m%d%y}_g1_imec0")  # fmt: skip
    for number, name in enumerate(folders, start=1):
        rng = plan.rng(2, number, 1)
        start = day + timedelta(hours=3 * (number - 1))
        count = max(12, plan.trials // 3)
        lost = (3, 7) if number == 1 else ()
        truth = simulate_mtl(
            root / animal.h2o, animal.h2o, start, trials=count, lost=lost, seed=plan.seed + number
        )
        session = licking_session(animal, number, truth)
        late = replace(plan.recording, margin=0.1, starts_late=2) if number == 1 else plan.recording
        sorting = Sorting(pc_features=False)
        probe = _other_probe(plan, session, ephys / name, 1, late, sorting, rng)
        session.probes.append(probe)
        lab.licking.append(_licking(probe, truth, number == 1, rng))
        lab.sessions.append(session)


def _licking(probe: Probe, truth: MtlSession, has_codes: bool, rng: np.random.Generator) -> Licking:
    stem = probe.folder.parent / f"{run_name(probe.session.h2o, probe.recording_start)}_tcat.nidq"
    times = (probe.start_sample + probe.margin_samples) / probe.sampling_rate
    write_edges(stem, times, _codes(probe) if has_codes else None, 0.001, adjusted=has_codes)
    samples = int(probe.n_samples / probe.sampling_rate * _BOARD_RATE)
    counts = rng.integers(-32768, 32768, (samples, 5), dtype=np.int16)
    write_nidq(stem, counts, _BOARD_RATE, created=probe.recording_start)
    return Licking(probe.session, truth, counts, _BOARD_RATE, has_codes)


def _add_foraging(plan: Plan, lab: WholeLab, animal: Animal) -> None:
    project, count = plan.directory / "foraging", max(10, plan.trials // 4)
    setup = ForagingOptions(trials=count, setup="Ephys_Han", update_at=count // 2)
    first = simulate_foraging(project, animal.h2o, _FORAGING_START, setup, plan.seed + 11)
    later = first.trials[-1].stop.replace(microsecond=0) + timedelta(minutes=1)
    second = simulate_foraging(project, animal.h2o, later, setup, plan.seed + 12)
    next_day = replace(setup, ports=3, setup="Tower-2", no_go=(2, 5))
    third = simulate_foraging(
        project, animal.h2o, _FORAGING_START + timedelta(days=1), next_day, plan.seed + 13
    )
    session = foraging_session(animal, 1, [first, second])
    name = f"{animal.h2o}_{session.start:%m%d%y}_g0"
    folder = plan.directory / "ephys" / animal.h2o / name / f"{name}_imec0"
    sorting = Sorting(metrics=True, pc_features=False)
    rng = plan.rng(3, 1, 1)
    probe = _other_probe(plan, session, folder, 1, plan.recording, sorting, rng)
    session.probes.append(probe)
    events = ephys_events(session, probe)
    write_bitcode(probe, _codes(probe), plan.recording, events.variables)
    day = Day(f"{session.start:%Y-%m-%d}", 22.5, 0.75, 0.2, 'a "fine" day; licks well')
    write_days(plan.directory / "metadata" / f"{animal.h2o}.csv", [day])
    write_people(plan.directory / "metadata" / "lab", lab.people, lab.rigs)
    lab.foraging += [
        Foraging(session, [first, second], day, events),
        Foraging(foraging_session(animal, 2, [third]), [third], None, None),
    ]
    lab.sessions += [item.session for item in lab.foraging]


def _add_cameras(plan: Plan, lab: WholeLab) -> None:
    """Add three cameras of the first session, one as HDF5, and one of the second of a day."""
    first, licking = lab.sessions[0], lab.licking[1].session
    for number, (position, suffix) in enumerate(
        {"side": ".csv", "bottom": ".csv", "body": ".h5"}.items()
    ):
        missing = [2] if position == "side" else []
        lab.tracked.append(
            _film(plan, first, "RRig", f"Camera {number}", position, missing, suffix)
        )
    lab.tracked.append(_film(plan, licking, _MTL, "Camera 3", "side", [], ".csv"))


def _film(
    plan: Plan,
    session: Session,
    rig: str,
    device: str,
    position: str,
    missing: list[int],
    suffix: str,
) -> Tracked:
    rng = plan.rng(7, session.subject_id, int(device[-1]))
    trials = [t for t in session.trials.trial.tolist() if t not in missing]
    features = ("nose", "tongue", "jaw", "whisker_C2") if position == "side" else ("nose", "jaw")
    camera = simulate_camera(rng, position, dict.fromkeys(trials, _VIDEO), features)
    folder = plan.directory / ("tracking_mtl" if rig == _MTL else "tracking")
    nth = session.number if rig == _MTL else 1
    target = tracking_folder(folder, rig, session.h2o, session.start.date(), nth, position)
    write_camera(target, session.h2o, camera, rig=rig, suffix=suffix)
    plan.progress(f"{session.h2o} session {session.number} {position} camera")
    return Tracked(session, device, camera, missing)


def _add_potentials(plan: Plan, lab: WholeLab) -> None:
    probe, rng = lab.probes[0], plan.rng(9, 0)
    channels, reference = plan.recording.channels, min(191, plan.recording.channels - 1)
    counts = rng.integers(-300, 300, (int(_LFP_RATE), channels), dtype=np.int16)
    stem = f"{run_name(probe.session.h2o, probe.recording_start)}_t0.imec0.lf"
    gains = [250] * channels
    write_lfp(probe.folder / stem, counts, gains, reference, _LFP_RATE)
    lab.potentials.append(Potentials(probe, counts, gains, reference))


def _finish(lab: WholeLab) -> None:
    paths = write_framework(lab.directory / "ccf", lab.framework)
    names = {key: path.name for key, path in paths.items()}
    text = _CONFIG.format(voxel=_VOXEL_UM, **names)
    lab.config.write_text(text, encoding="utf-8", newline="\n")
    spreadsheets.write_csv(lab.animals_file, spreadsheets.animal_rows(lab.animals))
    rows = spreadsheets.insertion_rows(lab.probes)
    spreadsheets.write_csv(lab.insertions_file, rows)
