"""A whole lab: animals, sessions, probes, and the configuration that names their files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np

from maplake.simulate import behavior, bpod, spreadsheets
from maplake.simulate import task as rig
from maplake.simulate.bitcode import write_bitcode
from maplake.simulate.jrclust import sort_again, write_v3, write_v4
from maplake.simulate.kilosort import write_kilosort
from maplake.simulate.options import Recording, Sorting, Task
from maplake.simulate.recording import record
from maplake.simulate.spikeglx import write_recording
from maplake.simulate.task import Trial
from maplake.simulate.truth import Animal, Lab, Probe, Session

_FIRST_SUBJECT = 400_001
_FIRST_DAY = datetime(2021, 3, 1, 10, 15, 0)
_RIG = "RRig"
_FILE_LEAD = timedelta(seconds=37)  # the file is named before the session starts

_CONFIG = """\
[lake]
root = "lake"

[behavior]
rigs = [{{ name = "{rig}", path = "behavior", priority = 0 }}]
min_file_kib = 0

[ephys]
paths = ["ephys"]

[spreadsheets]
animals = ["animals.csv"]
insertion_locations = ["insertions.csv"]
"""


@dataclass(frozen=True)
class Plan:
    """What a lab is to be; see :func:`lab`."""

    directory: Path
    sessions: int
    probes: int
    trials: int
    units: int
    rate_hz: float
    seed: int
    task: Task
    recording: Recording
    sorting: Sorting
    progress: Callable[[str], None]

    def rng(self, *keys: int) -> np.random.Generator:
        """Return the random numbers of one thing."""
        # Each thing has its own stream, so that more sessions do not change the first ones.
        return np.random.default_rng([self.seed, *keys])


def lab(
    directory: str | Path,
    *,
    animals: int = 2,
    sessions: int = 2,
    probes: int = 2,
    trials: int = 200,
    units: int = 30,
    rate_hz: float = 5.0,
    seed: int = 0,
    h2o_prefix: str = "MK",
    task: Task | None = None,
    recording: Recording | None = None,
    sorting: Sorting | None = None,
    progress: Callable[[str], None] | None = None,
) -> Lab:
    """Write the raw files of a lab, each in its real format, and return what is true about them.

    The same arguments give the same bytes.

    Parameters
    ----------
    directory
        Where to write; made if it is not there. Files there are overwritten.
    animals
        Number of animals; every other one, from the first, has photostimulation.
    sessions, probes, trials, units
        Number of sessions per animal, probes per session, trials per session, units per probe.
    rate_hz
        Mean rate of the units outside of epochs, in Hz.
    seed
        Of the random numbers.
    h2o_prefix
        Two or more letters with which animals' names begin.
    task, recording, sorting
        How the rig runs, the probes record and the sorter sorts.
    progress
        Called with a line of text for everything that is written.

    Returns
    -------
    Lab
        Where the files are, and the truth.
    """
    plan = Plan(
        directory=Path(directory),
        sessions=sessions,
        probes=probes,
        trials=trials,
        units=units,
        rate_hz=rate_hz,
        seed=seed,
        task=task or Task(),
        recording=recording or Recording(),
        sorting=sorting or Sorting(),
        progress=progress or (lambda _: None),
    )
    colony = [draw_animal(number, h2o_prefix, plan.rng(number, 0)) for number in range(animals)]
    done = [
        write_session(plan, animal, place, number)
        for place, animal in enumerate(colony)
        for number in range(1, sessions + 1)
    ]
    return _finish(plan.directory, colony, done)


def _finish(directory: Path, animals: list[Animal], sessions: list[Session]) -> Lab:
    truth = Lab(
        directory=directory,
        config=directory / "lake.toml",
        animals=animals,
        sessions=sessions,
        animals_file=directory / "animals.csv",
        insertions_file=directory / "insertions.csv",
    )
    directory.mkdir(parents=True, exist_ok=True)
    truth.config.write_text(_CONFIG.format(rig=_RIG), encoding="utf-8", newline="\n")
    spreadsheets.write_csv(truth.animals_file, spreadsheets.animal_rows(animals))
    spreadsheets.write_csv(truth.insertions_file, spreadsheets.insertion_rows(truth.probes))
    return truth


def draw_animal(number: int, prefix: str, rng: np.random.Generator) -> Animal:
    """Return an animal; ``number`` counts from 0."""
    return Animal(
        h2o=f"{prefix}{number + 1:03d}",
        subject_id=_FIRST_SUBJECT + number,
        username="ada" if number % 2 == 0 else "santiago",
        cage_number=7000 + number,
        date_of_birth=date(2020, 10, 1) + timedelta(days=int(rng.integers(0, 30))),
        sex="MF"[number % 2],
        animal_source="Jackson Labs",
        wr_start_date=date(2021, 1, 4),
        wr_start_weight=round(float(rng.uniform(19, 28)), 1),
        has_photostim=number % 2 == 0,
    )


def write_session(plan: Plan, animal: Animal, place: int, number: int) -> Session:
    """Write a delay-response session with its probes; ``place`` is the animal's, from 0."""
    task = plan.task
    start = _FIRST_DAY + timedelta(days=number - 1, minutes=11 * place)
    named = start - _FILE_LEAD
    folder = plan.directory / "behavior" / animal.h2o / task.protocol / "Session Data"
    file = folder / f"{animal.h2o}_{task.protocol}_{named:%Y%m%d_%H%M%S}.mat"
    trials = rig.run(
        task,
        plan.trials,
        stim=animal.has_photostim,
        reversal=task.reversal or 1 + place % 2,
        rng=plan.rng(place, number, 0),
    )
    late = _late(animal, task)
    session = Session(
        animal=animal,
        number=number,
        start=start,
        file=file,
        trial_count=len(trials),
        trials=behavior.truth(trials, late=late),
        events=behavior.trial_events(trials),
        licks=behavior.licks(trials),
        skipped=tuple(t.plan.number for t in trials if t.plan.number in task.skipped),
    )
    plan.progress(f"{animal.h2o} session {number}: {len(trials)} trials")
    bpod.write_session(file, trials, task, start)
    for insertion in range(1, plan.probes + 1):
        rng = plan.rng(place, number, insertion)
        session.probes.append(_probe(plan, session, trials, insertion, late=late, rng=rng))
    return session


def _late(animal: Animal, task: Task) -> bool:
    return animal.h2o.startswith("SC") and "RecordingRig3" in task.protocol


def _probe(
    plan: Plan,
    session: Session,
    trials: list[Trial],
    insertion: int,
    *,
    late: bool,
    rng: np.random.Generator,
) -> Probe:
    day = f"{session.start:%Y%m%d}"
    probe = record(
        session,
        trials,
        plan.directory / "ephys" / session.h2o / day / str(insertion),
        insertion,
        units=plan.units,
        rate_hz=plan.rate_hz,
        late=late,
        options=plan.recording,
        sorting=plan.sorting,
        good_periods=_good_periods(plan, session, insertion),
        rng=rng,
    )
    count = len(probe.spike_sample)
    plan.progress(f"{session.h2o} session {session.number} probe {insertion}: {count} spikes")
    codes = {trial.plan.number: trial.plan.bitcode for trial in trials}
    write_bitcode(probe, [codes[number] for number in probe.ephys_trial.tolist()], plan.recording)
    write_recording(probe, plan.recording, rng)
    write_sorting(probe, plan.sorting, rng)
    return probe


def write_sorting(probe: Probe, sorting: Sorting, rng: np.random.Generator) -> None:
    """Write what every sorter left; the truth is that of the one that is preferred."""
    if sorting.kilosort:
        write_kilosort(probe, sorting, rng)
    for version in sorted(sorting.jrclust):
        result = sort_again(probe, version, rng)
        stem = f"{probe.session.h2o}_g0_t0.imec{probe.insertion_number - 1}"
        if version == 3:
            write_v3(probe.folder / f"{stem}_jrc.mat", result)
        else:
            write_v4(probe.folder / f"{stem}.ap_res.mat", result)


def _good_periods(
    plan: Plan, session: Session, insertion: int
) -> tuple[tuple[float, float | None], ...]:
    """Restrict one probe to two spans: the first one in the last session of the first animal."""
    here = (session.subject_id, session.number, insertion)
    if here != (_FIRST_SUBJECT, plan.sessions, 1):
        return ()
    length = float(session.trials.stop_time[-1])
    return ((0.0, float(round(0.4 * length))), (float(round(0.5 * length)), None))
