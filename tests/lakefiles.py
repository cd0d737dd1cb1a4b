"""A small lake made of files only, with the truth kept: what query is tested against.

Written from the declarations with pyarrow and zarr; knows nothing of readers or ingest.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from maplake.layout import FORMAT_VERSION, Layout, manifest_file, spike_store, table_file
from maplake.query import catalog
from maplake.tables import Store, get, stored

RATES = {1: 30000.0, 2: 29999.7}
METHOD = "kilosort2"


def default(kind):
    if pa.types.is_dictionary(kind) or pa.types.is_string(kind):
        return "x"
    if pa.types.is_timestamp(kind):
        return datetime(2024, 1, 2, 3, 4, 5)
    if pa.types.is_date(kind):
        return datetime(2024, 1, 2).date()
    if pa.types.is_time(kind):
        return datetime(2024, 1, 2, 3, 4, 5).time()
    if pa.types.is_list(kind):
        return [0.0]
    return False if pa.types.is_boolean(kind) else 0


def file_table(table, columns):
    """An Arrow table as it lies in a file; columns that are not given get a default."""
    count = len(next(iter(columns.values())))
    arrays = []
    for column in table.file_columns:
        values = columns.get(column.name)
        if values is None:
            value = None if column.nullable else default(column.type)
            values = [value] * count
        kind = column.type
        plain = kind.value_type if pa.types.is_dictionary(kind) else kind
        array = values if isinstance(values, pa.Array) else pa.array(values, plain)
        arrays.append(array.dictionary_encode() if pa.types.is_dictionary(kind) else array)
    return pa.table(arrays, schema=table.file_schema)


def write_table(root, name, partition, **columns):
    """Write one file; returns its path."""
    table = get(name)
    path = root / table_file(table, partition)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = file_table(table, columns)
    plain = [c for c in data.schema.names if c not in table.encodings]
    pq.write_table(
        data,
        path,
        compression="zstd",
        row_group_size=table.row_group,
        use_dictionary=plain,
        column_encoding=dict(table.encodings) or None,
    )
    return path


def finish(root, **options):
    """Write format, manifests and catalog."""
    layout = Layout(root)
    layout.meta.mkdir(exist_ok=True)
    layout.format_file.write_text(json.dumps({"format_version": FORMAT_VERSION}))
    for table in stored():
        if table.store is Store.GLOBAL and not (root / table_file(table, {})).exists():
            names = table.file_schema.names
            rows = list(zip(*table.rows, strict=True)) or [[] for _ in names]
            write_table(root, table.full_name, {}, **dict(zip(names, map(list, rows), strict=True)))
    write_manifests(root)
    if not options:
        begin_catalog(layout)
    catalog.build(root, **options)


_EMPTY = {}


def begin_catalog(layout):
    """Give a lake the catalog of one without rows: made once, and only views of tables differ."""
    if not _EMPTY:
        with tempfile.TemporaryDirectory() as folder:
            empty = Layout(Path(folder))
            empty.meta.mkdir()
            catalog.build(empty.root)
            _EMPTY.update(
                {name: getattr(empty, name).read_bytes() for name in ("catalog", "views")}
            )
    if not layout.catalog.exists():
        for name, content in _EMPTY.items():
            getattr(layout, name).write_bytes(content)


def write_manifests(root):
    found = defaultdict(dict)
    for path in sorted([*root.glob("tables/**/*.parquet"), *root.glob("arrays/**/*")]):
        if not path.is_file():
            continue
        parts = dict(p.split("=", 1) for p in path.parts if "=" in p)
        name = f"{parts['subject_id']}_{parts['session']}" if "session" in parts else "lake"
        rows = pq.read_metadata(path).num_rows if path.suffix == ".parquet" else None
        data = path.read_bytes()
        found[name][path.relative_to(root).as_posix()] = {
            "rows": rows,
            "bytes": len(data),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
    for name, files in found.items():
        path = root / manifest_file(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"files": files}))


@dataclass
class Probe:
    """The truth of one insertion. ``spikes[unit]`` are samples, sorted."""

    rate: float
    trials: np.ndarray
    start: np.ndarray
    go: np.ndarray  # -1 = none
    spikes: dict[int, np.ndarray]
    quality: dict[int, str]
    good: np.ndarray | None = None

    def usable(self):
        keep = self.go >= 0
        return keep if self.good is None else keep & np.isin(self.trials, self.good)

    def trial_of(self, samples):
        place = np.searchsorted(self.start, samples, side="right") - 1
        return np.where(place >= 0, self.trials[np.maximum(place, 0)], 0)

    def aligned(self, unit, trials):
        """Spike times (s from the go cue) of a unit in some trials, each trial's own spikes."""
        samples = self.spikes[unit]
        owner = self.trial_of(samples)
        out = []
        for trial, go in zip(self.trials[self.usable()], self.go[self.usable()], strict=True):
            if trial in trials:
                out.append((samples[owner == trial] - go) / self.rate)
        return np.concatenate(out) if out else np.zeros(0)


@dataclass
class Session:
    subject_id: int
    session: int
    columns: dict
    stim: dict
    probes: dict[int, Probe] = field(default_factory=dict)

    @property
    def key(self):
        return {"subject_id": self.subject_id, "session": self.session}

    def condition(self, name):
        """Trials of a published condition, computed without SQL."""
        c = {k: np.asarray(v) for k, v in self.columns.items()}
        stim = np.array([self.stim.get(t) for t in c["trial"]], dtype=object)
        keep = (c["early_lick"] == "no early") & ~c["auto_water"] & ~c["free_water"]
        words = name.lower().split("_")
        if words[0] == "good":
            keep &= (c["outcome"] == words[-1]) & (stim == None)  # noqa: E711
            sides = words[2:-1]
        else:
            keep &= c["outcome"] != "ignore"
            where = [w for w in words[2:] if w in ("left", "right", "both")]
            if "nostim" in words:
                keep &= stim == None  # noqa: E711
                sides = where
            else:
                keep &= stim == f"{where[0]} alm"
                sides = where[1:]
        for side in sides:
            keep &= c["trial_instruction"] == side
        return set(c["trial"][keep].tolist())


STIM = {4: "left alm", 5: "right alm", 6: "both alm"}


def make_session(rng, subject_id, session, trials=40):
    number = np.arange(1, trials + 1)
    free = np.zeros(trials, bool)
    free[3] = True
    start = np.concatenate([[0], np.cumsum(rng.uniform(6, 9, trials - 1))])
    columns = {
        "trial": number,
        "task": ["audio delay"] * trials,
        "task_protocol": [1] * trials,
        "trial_instruction": rng.choice(["left", "right"], trials),
        "early_lick": rng.choice(["early", "no early"], trials, p=[0.15, 0.85]),
        "outcome": rng.choice(["hit", "miss", "ignore"], trials, p=[0.6, 0.25, 0.15]),
        "auto_water": rng.random(trials) < 0.05,
        "free_water": free,
        "start_time": start,
        "stop_time": start + 5.5,
    }
    chosen = rng.choice(number, trials // 3, replace=False)
    # Right ALM alone is never stimulated: conditions without a trial.
    stim = {int(t): STIM[int(rng.choice([4, 6]))] for t in chosen}
    return Session(subject_id, session, columns, stim)


def make_probe(rng, session, insertion, units=5, per_trial=60):
    rate = RATES[insertion]
    start = np.round((session.columns["start_time"] + 2.5 * insertion) * rate).astype(np.int64)
    go = start + np.round(rng.uniform(3.0, 3.4, len(start)) * rate).astype(np.int64)
    go[3] = -1
    trials = session.columns["trial"]
    if insertion == 2:  # recorded in a part of the trials
        trials, start, go = trials[4:30], start[4:30], go[4:30]
    spikes = {}
    for unit in range(1, units + 1):
        count = per_trial * len(trials) * unit // units
        random = rng.integers(0, start[-1] + 8 * int(rate), count)
        # Every bin edge of every fifth trial, at the sample that lies on it.
        edges = np.round(np.arange(-3, 3, 0.04) * rate).astype(np.int64)
        exact = (go[go >= 0][::5, None] + edges[None, :]).ravel()
        spikes[unit * 10] = np.sort(np.concatenate([random, exact]))
    spikes[7] = spikes[10][:0]  # silent
    quality = dict.fromkeys(spikes, "good") | {20: "all", 30: "multi"}
    good = np.arange(8, 27) if (insertion, session.session) == (1, 2) else None
    return Probe(rate, trials, start, go, spikes, quality, good)


def write_session(root, s):
    behavior = {k: v for k, v in s.columns.items() if not k.endswith("_time")}
    times = {k: s.columns[k] for k in ("trial", "start_time", "stop_time")}
    started = [datetime(2024, 1, 1, 10) + timedelta(days=s.session - 1)]
    write_table(
        root,
        "experiment.session",
        s.key,
        session_datetime=started,
        task=["audio delay"],
        task_protocol=[1],
        trial_count=[len(s.columns["trial"])],
    )
    write_table(root, "experiment.session_trial", s.key, **times)
    write_table(root, "experiment.behavior_trial", s.key, **behavior)
    stim = sorted(s.stim)
    codes = {v: k for k, v in STIM.items()}
    write_table(
        root, "experiment.photostim", s.key, photo_stim=[4, 5, 6], photostim_device=["OBIS470"] * 3
    )
    write_table(
        root,
        "experiment.photostim_location",
        s.key,
        photo_stim=[4, 5, 6, 6],
        ml_location=[-1500.0, 1500.0, -1500.0, 1500.0],
        brain_area=["ALM"] * 4,
        skull_reference=["Bregma"] * 4,
    )
    write_table(root, "experiment.photostim_trial", s.key, trial=stim)
    write_table(
        root,
        "experiment.photostim_event",
        s.key,
        trial=stim,
        photo_stim=[codes[s.stim[t]] for t in stim],
        photostim_event_time=[1.7] * len(stim),
    )
    number = s.columns["trial"]
    # Two sample epochs: the first was interrupted.
    write_table(
        root,
        "experiment.trial_event",
        s.key,
        trial=np.repeat(number, 4),
        trial_event_id=np.tile(np.arange(4, dtype=np.int32), len(number)),
        trial_event_type=["sample", "sample", "delay", "go"] * len(number),
        trial_event_time=np.tile([0.5, 0.9, 2.0, 3.2], len(number)),
        duration=[0.1] * (4 * len(number)),
    )
    for insertion, probe in s.probes.items():
        write_probe(root, s, insertion, probe)


def write_probe(root, s, insertion, p):
    key = {**s.key, "insertion_number": insertion}
    write_table(
        root,
        "ephys.probe_insertion",
        key,
        probe=["1"],
        probe_type=["np"],
        electrode_config_name=["1-4"],
        sampling_rate=[p.rate],
        first_trial_sample=[p.start[0]],
    )
    write_table(
        root, "ephys.insertion_location", key, skull_reference=["Bregma"], ml_location=[1500.0]
    )
    go = pa.array(p.go, mask=p.go < 0)
    write_table(
        root,
        "ephys.ephys_trial",
        key,
        trial=p.trials,
        start_sample=p.start,
        go_sample=go,
        start_time=(p.start - p.start[0]) / p.rate,
        go_time=pa.array((p.go - p.start[0]) / p.rate, mask=p.go < 0),
    )
    if p.good is not None:
        write_table(root, "ephys.good_trial", key, trial=p.good)
    units = sorted(p.spikes)
    counts = np.array([len(p.spikes[u]) for u in units])
    offset = np.concatenate([[0], np.cumsum(counts)])
    uid = s.subject_id * 10_000 + s.session * 1000 + insertion * 100
    write_table(
        root,
        "ephys.unit",
        key,
        clustering_method=[METHOD] * len(units),
        unit=units,
        unit_uid=[uid + i for i in range(len(units))],
        electrode=[1] * len(units),
        unit_quality=[p.quality[u] for u in units],
        probe_type=["np"] * len(units),
        electrode_config_name=["1-4"] * len(units),
        spike_count=counts,
        cell_type=["Pyr"] * len(units),
        spike_offset=offset[:-1],
    )
    samples = np.concatenate([p.spikes[u] for u in units])
    trial = p.trial_of(samples).astype(np.int32)
    write_table(
        root,
        "ephys.spike",
        key,
        clustering_method=[METHOD] * len(samples),
        unit=np.repeat(np.array(units, np.int32), counts),
        spike_sample=samples,
        trial=pa.array(trial, mask=trial == 0),
    )
    write_store(root / spike_store(key, METHOD), units, offset, samples, p)


def write_store(path, units, offset, samples, p):
    import zarr

    path.parent.mkdir(parents=True, exist_ok=True)
    group = zarr.open_group(str(path), mode="w", zarr_format=3)
    group.attrs.update(
        sampling_rate=p.rate, first_trial_sample=int(p.start[0]), clustering_method=METHOD
    )
    arrays = {
        "spike_sample": samples,
        "spike_site": (samples % 4 + 1).astype(np.int32),
        "spike_depth": samples / 7.0,
        "spike_amplitude": samples / 3.0,
        "unit": np.array(units, np.int32),
        "unit_offset": offset.astype(np.int64),
        "waveform": np.arange(len(units) * 8, dtype=np.float32).reshape(len(units), 4, 2),
        "waveform_electrode": np.arange(1, 5, dtype=np.int32),
    }
    for name, array in arrays.items():
        group.create_array(name, data=array)


def write_lab(root, subjects):
    write_table(
        root,
        "lab.subject",
        {},
        subject_id=subjects,
        username=[None] * len(subjects),
        sex=["M"] * len(subjects),
    )
    write_table(
        root,
        "lab.water_restriction",
        {},
        subject_id=subjects,
        water_restriction_number=[f"xx{n}" for n in subjects],
    )
    write_table(root, "lab.person", {}, username=["x"])
    write_table(root, "lab.rig", {}, rig=["x"])
    write_table(root, "lab.probe_type", {}, probe_type=["np"])
    write_table(root, "lab.probe", {}, probe=["1"], probe_type=["np"])
    write_table(root, "lab.probe_type_electrode", {}, probe_type=["np"] * 4, electrode=[1, 2, 3, 4])
    write_table(
        root,
        "lab.electrode_config",
        {},
        probe_type=["np"],
        electrode_config_name=["1-4"],
        electrode_config_hash=["h"],
    )
    write_table(
        root,
        "lab.electrode_config_electrode",
        {},
        probe_type=["np"] * 4,
        electrode_config_name=["1-4"] * 4,
        electrode_group=[0] * 4,
        electrode=[1, 2, 3, 4],
    )


def small_lake(root: Path, **options) -> list[Session]:
    """Write a lake of three sessions; returns the truth."""
    rng = np.random.default_rng(7)
    sessions = [make_session(rng, *key) for key in ((101, 1), (101, 2), (102, 1))]
    for s in sessions:
        for insertion in (1, 2):
            s.probes[insertion] = make_probe(rng, s, insertion)
        write_session(root, s)
    write_lab(root, [101, 102])
    finish(root, **options)
    return sessions


def trials(n=3, shift=0.0):
    """Return n rows of experiment.session_trial, not in order."""
    return pa.table(
        {
            "trial": pa.array(range(n, 0, -1), pa.int32()),
            "start_time": [float(i) + shift for i in range(n, 0, -1)],
            "stop_time": [i + 0.5 for i in range(n, 0, -1)],
        }
    )
