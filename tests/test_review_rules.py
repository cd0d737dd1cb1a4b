"""Rules where raw files come in awkward shapes: several folders, odd trials, merged units."""

from __future__ import annotations

import re
import shutil
from datetime import datetime, timedelta

import numpy as np
import pytest
from labs import ingest, lake_root, reasons, sql, statuses
from scipy.io import loadmat, savemat

from maplake.errors import AlignmentError, UnknownValueError
from maplake.ingest.align import BehaviorTrials, ephys_trials
from maplake.readers import bpod, foraging, xa_bitcodes
from maplake.simulate import lab
from maplake.simulate.foraging import ForagingOptions, simulate_foraging
from maplake.tables import get

RATE = 30_000.0
START = datetime(2020, 5, 4, 10, 0, 0)


@pytest.fixture
def one(tmp_path):
    """A lab with one probe, and the folders of its animal and day."""
    found = lab(tmp_path, animals=1, sessions=1, probes=1, trials=8, units=3)
    session = found.sessions[0]
    animal = tmp_path / "ephys" / session.animal.h2o
    return found, session, animal, animal / f"{session.start:%Y%m%d}"


def copy_of(day, animal, name, *, began, tag):
    """Copy a probe to the folder of a run, as CatGT names them, begun at another time."""
    folder = animal / name / f"{name.removeprefix('catgt_')}_imec0"
    shutil.copytree(day / "1", folder)
    meta = next(folder.glob("*.ap.meta"))
    text = re.sub(
        r"^(fileCreateTime\w*)=.*$",
        rf"\1={began:%Y-%m-%dT%H:%M:%S}",
        meta.read_text(),
        flags=re.MULTILINE,
    )
    meta.unlink()
    (folder / f"{name.removeprefix('catgt_')}_{tag}.imec0.ap.meta").write_text(text)
    return folder


def ephys_names(report, status):
    return [
        name for (kind, name), its in statuses(report).items() if (kind, its) == ("ephys", status)
    ]


def test_of_two_layouts_the_one_by_date_is_taken(one):
    found, session, animal, day = one
    name = f"catgt_{session.animal.h2o}_{session.start:%m%d%y}_g0"
    copy_of(day, animal, name, began=session.start, tag="tcat")
    report = ingest(found)
    assert ephys_names(report, "in") == [f"{session.animal.h2o}/{day.name}/1"]
    assert ephys_names(report, "skipped")
    assert "goes first" in reasons(report)[ephys_names(report, "skipped")[0]]
    assert sql(lake_root(found), "FROM ephys.ephys_trial").height == 8
    assert ephys_names(ingest(found), "unchanged") == [f"{session.animal.h2o}/{day.name}/1"]


def test_an_unsorted_raw_copy_gives_way_to_the_sorted_one(one):
    found, session, animal, day = one
    name = f"{session.animal.h2o}_{session.start:%m%d%y}_g0"
    kept = copy_of(day, animal, f"catgt_{name}", began=session.start, tag="tcat")
    raw = copy_of(day, animal, name, began=session.start, tag="t0")
    for part in raw.iterdir():
        shutil.rmtree(part) if part.is_dir() else None
    shutil.rmtree(day)
    report = ingest(found)
    assert ephys_names(report, "in") == [kept.relative_to(animal.parent).as_posix()]
    assert not ephys_names(report, "waiting")


def test_of_two_runs_of_a_day_the_one_that_began_with_the_session_is_taken(one):
    found, session, animal, day = one
    run = f"catgt_{session.animal.h2o}_{session.start:%m%d%y}"
    copy_of(day, animal, f"{run}_g0", began=session.start - timedelta(hours=1), tag="tcat")
    kept = copy_of(
        day, animal, f"{run}_g1", began=session.start + timedelta(seconds=60), tag="tcat"
    )
    shutil.rmtree(day)
    assert ephys_names(ingest(found), "in") == [kept.relative_to(animal.parent).as_posix()]


def test_two_folders_that_nothing_tells_apart_are_an_error_that_names_both(one):
    found, session, animal, day = one
    run = f"catgt_{session.animal.h2o}_{session.start:%m%d%y}"
    for gate in ("g0", "g1"):
        copy_of(day, animal, f"{run}_{gate}", began=session.start, tag="tcat")
    shutil.rmtree(day)
    report = ingest(found)
    (failed,) = ephys_names(report, "failed")
    assert "_g0_imec0" in reasons(report)[failed]
    assert "_g1_imec0" in reasons(report)[failed]
    assert not ephys_names(report, "in")


def test_several_folders_of_another_time_of_that_day_wait(one):
    found, session, animal, day = one
    run = f"catgt_{session.animal.h2o}_{session.start:%m%d%y}"
    for hour in (1, 2):
        began = session.start + timedelta(hours=hour)
        copy_of(day, animal, f"{run}_g{hour}", began=began, tag="tcat")
    shutil.rmtree(day)
    report = ingest(found)
    assert len(ephys_names(report, "waiting")) == 2
    assert ("behavior", "in") in {(s.kind, s.status) for s in report.sources}


def test_a_recording_goes_to_the_session_that_began_with_it_by_its_own_clock(one, monkeypatch):
    found, session, _, day = one
    path = next(found.directory.glob("behavior/**/*.mat"))
    other = path.with_name(path.name.replace("_101423", "_101600"))
    shutil.copy(path, other)
    began = {path: session.start - timedelta(hours=2), other: session.start}
    monkeypatch.setattr(bpod, "start_of", began.__getitem__)
    report = ingest(found)
    assert ephys_names(report, "in") == [f"{session.animal.h2o}/{day.name}/1"]
    numbers = sql(lake_root(found), "SELECT DISTINCT session FROM ephys.ephys_trial")
    assert numbers["session"].to_list() == [2]


@pytest.mark.parametrize("time", ["101423", "101500"])
def test_sheets_name_the_time_of_the_behavior_file_or_of_its_session(one, time):
    found, *_ = one
    sheet = found.directory / "insertions.csv"
    head, *rows = sheet.read_text(encoding="utf-8").splitlines()
    place = head.split(",").index("behaviour_time")
    cells = [row.split(",") for row in rows]
    for row in cells:
        row[place] = time
    lines = [head, *(",".join(row) for row in cells)]
    sheet.write_text("\n".join(lines) + "\n", encoding="utf-8")
    report = ingest(found)
    assert sql(lake_root(found), "FROM ephys.insertion_location").height == 1, report


def behavior(codes, go=0.5):
    count = len(codes)
    trial = np.arange(1, count + 1, dtype=np.int64)
    return BehaviorTrials(trial, list(codes), np.zeros(count, bool), count, np.full(count, go))


def test_a_correction_of_another_length_does_not_matter_where_the_codes_agree():
    codes = ["01", "10", "11"]
    arrays = {"start_sample": np.array([0, 100, 200]), "go_sample": np.array([50, 150, 250])}
    found = ephys_trials(arrays, codes, behavior(codes), trial_numbers=[1, 2])
    assert found.trial.tolist() == [1, 2, 3]


def write_edges(folder, codes, starts):
    probe = folder / "run_imec0"
    probe.mkdir()
    edges = [
        start + 0.05 + 0.007 * bit
        for start, code in zip(starts, codes, strict=True)
        for bit, digit in enumerate(code)
        if digit == "1"
    ]
    for name, times in (("XA_0_0", starts), ("XA_1_2", edges)):
        text = "".join(f"{time:.6f}\n" for time in times)
        (folder / f"run_g0_tcat.nidq.{name}.txt").write_text(text)
    (path,) = xa_bitcodes.find(probe)
    return xa_bitcodes.read(path, RATE)


def of_edges(records, known):
    return ephys_trials(records.arrays, records.info["codes"], known, go_rate=RATE)


def numbered(*numbers):
    return [format(number, "010b")[::-1] for number in numbers]


def test_decoded_trials_too_many_or_too_few_are_matched_one_by_one(tmp_path):
    known = behavior(numbered(*range(1, 9)))
    codes = numbered(1, 2, 900, 3, 5, 6, 7, 8)  # one start too many, trial 4 was not seen
    records = write_edges(tmp_path, codes, [5.0 * n + 1 for n in range(8)])
    found = of_edges(records, known)
    assert found.trial.tolist() == [1, 2, 3, 5, 6, 7, 8]
    assert found.dropped.tolist() == [3]
    assert found.start_sample.tolist() == [round((5 * n + 1) * RATE) for n in (0, 1, 3, 4, 5, 6, 7)]


@pytest.mark.parametrize("codes", [(1, 2, 900, 901, 902), (1, 3, 2, 4, 5), (1, 2, 3, 3, 5)])
def test_decoded_trials_that_are_not_sure_are_an_error(tmp_path, codes):
    records = write_edges(tmp_path, numbered(*codes), [5.0 * n + 1 for n in range(len(codes))])
    with pytest.raises(AlignmentError):
        of_edges(records, behavior(numbered(1, 2, 3, 4, 5)))


def test_go_cues_from_behavior_are_rounded_once(tmp_path):
    starts = [1.000013, 6.000013]  # 0.39 samples
    records = write_edges(tmp_path, numbered(1, 2), starts)
    found = of_edges(records, behavior(numbered(1, 2), go=1.200004))  # 0.12 samples
    assert found.go_sample.tolist() == [round((start + 1.200004) * RATE) for start in starts]


def test_a_file_of_another_task_is_left_out_of_the_foraging_day(tmp_path):
    task = simulate_foraging(tmp_path, "HH09", START, ForagingOptions(trials=4), 1)
    other = ForagingOptions(trials=3, experiment="Lickport calibration")
    extra = simulate_foraging(tmp_path, "HH09", START + timedelta(hours=1), other, 2)
    records = foraging.read([extra.path, task.path])
    assert records.tables["experiment.session_trial"].num_rows == 4
    assert [s.item for s in records.skipped if s.item_type == "file"] == [extra.path.name]
    with pytest.raises(UnknownValueError):
        foraging.read(extra.path)


def test_foraging_trials_before_the_first_block_number_are_in_block_1(tmp_path):
    session = simulate_foraging(tmp_path, "HH09", START, ForagingOptions(trials=5, blocks=1), 3)
    text = session.path.read_text(encoding="utf-8")
    before = foraging.read(session.path).tables["experiment.block_trial"].to_pylist()
    session.path.write_text(text.replace("Blocknumber:", "Number:", 1), encoding="utf-8")
    assert foraging.read(session.path).tables["experiment.block_trial"].to_pylist() == before


def test_of_two_bitcode_files_that_of_the_animal_is_read(one):
    found, session, _, day = one
    own = next((day / "1").glob("*bitcode.mat"))
    shutil.copy(own, own.with_name("before_bitcode.mat"))
    report = ingest(found)
    assert ephys_names(report, "in") == [f"{session.animal.h2o}/{day.name}/1"], reasons(report)
    shutil.copy(own, own.with_name(f"{session.animal.h2o}_again_bitcode.mat"))
    assert "again_bitcode.mat" in "".join(map(str, reasons(ingest(found)).values()))


def test_what_macos_leaves_beside_the_metadata_is_not_read(one):
    found, session, _, day = one
    meta = next((day / "1").rglob("*.ap.meta"))
    meta.with_name(f"._{meta.name}").write_bytes(b"\x00\x05\x16\x07")
    report = ingest(found)
    assert ephys_names(report, "in") == [f"{session.animal.h2o}/{day.name}/1"], reasons(report)


def test_events_come_with_the_first_probe_that_is_sorted(tmp_path):
    found = lab(tmp_path, animals=1, sessions=1, probes=2, trials=8, units=3)
    folders = [probe.folder for probe in found.probes]
    for folder in folders:
        path = next(folder.glob("*bitcode.mat"))
        content = {k: v for k, v in loadmat(path).items() if not k.startswith("__")}
        markers = {"headings": ["go"], "digMarkerPerTrial": np.arange(8.0)[:, None]}
        savemat(path, content | markers)
    sorting = found.probes[0].sorting_folder
    sorting.rename(tmp_path / "still_sorting")
    ingest(found)
    events = "FROM ephys.ephys_trial_event ORDER BY trial"
    before = sql(lake_root(found), events)
    assert before["trial_event_time"].to_list() == list(range(8))
    (tmp_path / "still_sorting").rename(sorting)
    assert len(ephys_names(ingest(found), "in")) == 1
    assert sql(lake_root(found), events).equals(before)


def test_lookups_have_the_published_words():
    devices = {row[0]: row[1:] for row in get("lab.photostim_device").rows}
    assert devices == {
        "LaserGem473": (473.0, "Laser (Laser Quantum, Gem 473)"),
        "LED470": (
            470.0,
            "LED (Thor Labs, M470F3 - 470 nm, 17.2 mW (Min) Fiber-Coupled LED)",
        ),
        "OBIS470": (473.0, "OBIS 473nm LX 50mW Laser System: Fiber Pigtail (Coherent Inc)"),
    }
