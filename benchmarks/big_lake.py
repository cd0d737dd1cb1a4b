"""A lake of the size of a whole project: 1,000 sessions, 2,000 probes, 300,000 units, 50 M spikes.

    python benchmarks/big_lake.py FOLDER [--sessions 1000] [--units 150] [--spikes 50000000]

A few sessions are simulated and ingested; all others are copies of them under names of their own,
raw files (hard links, so that they take no room) and lake alike, committed by the package's own
writers with state and manifest. Then a real ingest runs over everything: it takes in animals and
insertion locations and finds nothing else to do. So status, check and further ingests work on it.
The Zarr stores are hard links, too; every Parquet file is one of its own.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path, PurePosixPath

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from maplake import simulate
from maplake.config import Config, load
from maplake.ingest import pipeline
from maplake.ingest.delete import Target, delete
from maplake.ingest.lakes import writing
from maplake.ingest.numbers import SessionNumbers
from maplake.ingest.publish import stage_records
from maplake.ingest.session import State
from maplake.ingest.state import fingerprint, read_manifest, read_state
from maplake.layout import Layout, session_name
from maplake.simulate import spreadsheets
from maplake.simulate.lab import draw_animal
from maplake.simulate.truth import Animal, Lab, Session
from maplake.tables import get
from maplake.writers.commit import Stage, commit
from maplake.writers.lock import staging_run

TEMPLATES = 4
PER_ANIMAL = 10
TRIALS = 60
PROBES = 2
#: The first animal.
FIRST = 400_001
_DAY = "%Y%m%d"
_SECONDS = 300  # about how long a session of so many trials lasts, s
_SPIKES = 0.8  # share of the spikes, as asked for, that falls into the recording


@dataclass(frozen=True)
class Copy:
    """One session that is a copy of a simulated one."""

    template: Session
    animal: Animal
    number: int

    @property
    def shift(self) -> timedelta:
        """How much later it was than its template."""
        return timedelta(days=self.number - self.template.number)

    def text(self, text: str) -> str:
        """Return a text of the template, a path or a name, as this session has it."""
        old, new = self.template.start, self.template.start + self.shift
        text = text.replace(self.template.animal.h2o, self.animal.h2o)
        for form in ("%Y%m%d", "%Y-%m-%d"):
            text = text.replace(f"{old:{form}}", f"{new:{form}}")
        return re.sub(
            r"subject_id=\d+/session=\d+",
            f"subject_id={self.animal.subject_id}/session={self.number}",
            text,
        )

    @property
    def partition(self) -> dict[str, int]:
        """subject_id and session."""
        return {"subject_id": self.animal.subject_id, "session": self.number}

    def session_row(self, file: Path) -> pa.Table:
        """Return the row of the session in the template's file, at its own time."""
        rows = pq.ParquetFile(file).read()
        start = pa.array([rows["session_datetime"][0].as_py() + self.shift], pa.timestamp("us"))
        place = rows.column_names.index("session_datetime")
        return rows.set_column(place, "session_datetime", start)

    def matches(self) -> bool:
        """Whether it is the template itself."""
        return (self.animal.h2o, self.number) == (self.template.animal.h2o, self.template.number)


def build(folder: Path, *, sessions: int, units: int, spikes: int) -> Config:
    """Write the lab and its lake; ``units`` are those of a probe, ``spikes`` those of the lake."""
    rate = spikes / (sessions * PROBES * units * _SECONDS) / _SPIKES
    lab = simulate.lab(
        folder,
        animals=min(TEMPLATES, -(-sessions // PER_ANIMAL)),
        sessions=1,
        probes=PROBES,
        trials=TRIALS,
        units=units,
        rate_hz=rate,
        sorting=simulate.Sorting(pc_features=False, silent=0),
    )
    config = load(lab.config)
    # The sheet of insertions waits until all sessions are there.
    shutil.move(lab.insertions_file, folder / "insertions.later")
    lab.insertions_file.write_text("", encoding="utf-8")
    pipeline.run(config, kinds=["animals", "behavior", "ephys"])
    copies = _copies(lab, sessions)
    animals = list({c.animal.h2o: c.animal for c in copies}.values())
    spreadsheets.write_csv(lab.animals_file, spreadsheets.animal_rows(animals))
    _write_insertions(folder, copies)
    new = [copy for copy in copies if not copy.matches()]
    for copy in new:
        _copy_raw(folder, copy)
    pipeline.run(config, kinds=["animals"])
    _copy_lake(config, new)
    pipeline.run(config)
    return config


def _copies(lab: Lab, sessions: int) -> list[Copy]:
    """Return what every session is a copy of; each animal has the same template ten times."""
    found = []
    for place in range(-(-sessions // PER_ANIMAL)):
        template = lab.sessions[place % len(lab.sessions)]
        animal = draw_animal(place, "MK", np.random.default_rng([0, place, 0]))
        count = min(PER_ANIMAL, sessions - place * PER_ANIMAL)
        found += [Copy(template, animal, number) for number in range(1, count + 1)]
    return found


def _write_insertions(folder: Path, copies: list[Copy]) -> None:
    head, *lines = (folder / "insertions.later").read_text(encoding="utf-8").splitlines()
    of_animal: dict[str, list[str]] = {}
    for line in lines:
        of_animal.setdefault(line.split(",")[1], []).append(line)
    rows = [
        copy.text(line).replace(
            f"{copy.template.animal.subject_id},", f"{copy.animal.subject_id},", 1
        )
        for copy in copies
        for line in of_animal[copy.template.animal.h2o]
    ]
    text = "\n".join([head, *rows, ""])
    (folder / "insertions.csv").write_text(text, encoding="utf-8", newline="\n")
    (folder / "insertions.later").unlink()


def _copy_raw(folder: Path, copy: Copy) -> None:
    h2o, day = copy.template.animal.h2o, f"{copy.template.start:%Y%m%d}"
    for top in (folder / "behavior" / h2o, folder / "ephys" / h2o / day):
        for file in top.rglob("*"):
            name = copy.text(file.relative_to(folder).as_posix())
            if file.is_file() and name != file.relative_to(folder).as_posix():
                if file.suffix == ".mat" and day not in file.name:
                    continue
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                os.link(file, target)


def _copy_lake(config: Config, copies: list[Copy]) -> None:
    with writing(config) as layout, staging_run(layout.root) as run:
        numbers = SessionNumbers(layout)
        for copy in copies:
            name = session_name(copy.template.animal.subject_id, copy.template.number)
            old = read_state(layout, name)
            _number(numbers, copy, old)
            stage = Stage(layout, run)
            for path in read_manifest(layout, name):
                if path.startswith("tables/experiment/session/"):
                    stage.table(
                        get("experiment.session"),
                        copy.partition,
                        copy.session_row(layout.root / path),
                    )
                elif path.endswith(".parquet"):
                    stage.copy(layout.root / path, PurePosixPath(copy.text(path)))
            states = _states(copy, old)
            for path in {o for s in old.values() for o in s.outputs if o.endswith(".zarr")}:
                shutil.copytree(
                    layout.root / path,
                    stage.array(PurePosixPath(copy.text(path))),
                    copy_function=os.link,
                )
            staged = stage.finish()
            extra = Stage(layout, run)
            mine = session_name(copy.animal.subject_id, copy.number)
            stage_records(extra, layout, mine, states, staged)
            commit(layout, [staged, extra.finish()], {"command": "benchmark", "session": mine})
        numbers.save()


def _number(numbers: SessionNumbers, copy: Copy, old: State) -> None:
    for state in old.values():
        if state.kind == "behavior":
            start = datetime.fromisoformat(state.start) + copy.shift
            numbers.assign(copy.animal.subject_id, [(copy.text(state.name), start)])


def _states(copy: Copy, old: State) -> State:
    prints: dict[str, str] = {"": ""}
    found = {}
    for state in old.values():
        values = json.loads(copy.text(json.dumps(dataclasses.asdict(state))))
        new = dataclasses.replace(state, **values)
        new.subject_id, new.session = copy.animal.subject_id, copy.number
        path = Path(new.path)
        if new.files:
            new.fingerprint = fingerprint(new.files, path if path.is_dir() else path.parent)
        prints[state.fingerprint] = new.fingerprint
        found[new.key] = new
    for new in found.values():
        new.depends = prints[new.depends]
    return found


def add_raw(folder: Path) -> Path:
    """Add the raw files of one more session of the first animal: those of its first, a day later.

    No day comes twice: a lake does not take in again what was deleted from it.

    Returns
    -------
    The folder of its day, below ``ephys``.
    """
    animal = folder / "ephys" / "MK001"
    days = sorted(day.name for day in animal.iterdir())
    last = folder / "last_day.txt"
    known = last.read_text(encoding="utf-8") if last.exists() else days[-1]
    first, new = (datetime.strptime(day, _DAY) for day in (days[0], known))
    new += timedelta(days=1)
    last.write_text(f"{new:{_DAY}}", encoding="utf-8")
    for top in (folder / "behavior" / "MK001", animal / days[0]):
        for file in top.rglob("*"):
            target = Path(str(file).replace(days[0], f"{new:{_DAY}}"))
            if file.is_dir() or target == file:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            if file.parent.name == "Session Data":  # says its day inside, too
                old, now = (f"{day:%d-%b-%Y}".encode() for day in (first, new))
                target.write_bytes(file.read_bytes().replace(old, now))
            else:
                os.link(file, target)
    return animal / f"{new:{_DAY}}"


def remove_raw(config: Config, days: Sequence[Path]) -> None:
    """Remove the raw files of days that :func:`add_raw` added, and their sessions."""
    folder = config.lake.root.parent
    for day in days:
        shutil.rmtree(day)
        for file in (folder / "behavior" / "MK001").rglob(f"*{day.name}*"):
            file.unlink()
    sessions = Layout(config.lake.root).table_dir(get("experiment.session"))
    for place in (sessions / f"subject_id={FIRST}").iterdir():
        number = int(place.name.partition("=")[2])
        if number > PER_ANIMAL:
            delete(config, Target(FIRST, number))


def config_of(folder: Path, **options: int) -> Config:
    """Return the settings of the lab in a folder, which is built if it is not there yet."""
    done = folder / "built.json"
    if not done.exists() or json.loads(done.read_bytes()) != options:
        begin = time.perf_counter()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        build(folder, **options)
        done.write_text(json.dumps(options), encoding="utf-8")
        sys.stderr.write(f"built in {time.perf_counter() - begin:.0f} s\n")
    return load(folder / "lake.toml")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sessions", type=int, default=1000)
    parser.add_argument("--units", type=int, default=150, help="of each probe")
    parser.add_argument("--spikes", type=int, default=50_000_000, help="of the whole lake")
    options = parser.parse_args()
    config_of(options.folder, sessions=options.sessions, units=options.units, spikes=options.spikes)


if __name__ == "__main__":
    main()
