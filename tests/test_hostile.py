"""Labs in which names, links and files are hostile: the others go in, nothing gets out."""

from __future__ import annotations

import dataclasses
import os
import shutil
import sys

import pytest
from labs import content, ingest, lake_root, reasons, small, sql, statuses

import maplake
from maplake import readers
from maplake.config import load
from maplake.ingest import pipeline, sources
from maplake.ingest.status import status
from maplake.query.check import check
from maplake.readers import kilosort, listing

#: What each name would do where it is taken for SQL, for a path or for a pattern.
WORDS = [
    "x'; DROP SCHEMA ephys CASCADE; --",
    'say "x"',
    "../../escape",
    "*[a]{b}?",
    "%s%n$HOME`id`",
    "Größe \u202e\U0001f40d",
    "a" * 200,
    "x) UNION SELECT 1, (1",
    "line\nbreak",
    "back\\slash",
]
GOOD = 400002  # the animal whose sessions nothing may keep out


def fits(path) -> bool:
    """Make a folder of that name, if the file system has such names."""
    try:
        path.mkdir(parents=True)
    except OSError:
        return False
    return True


def listing_of(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*")}


def failed(report):
    return [source for source in report.sources if source.status == "failed"]


def assert_good_is_in(lab, report):
    found = [s for s in report.sources if s.subject_id == GOOD]
    assert len(found) >= 2
    assert {s.status for s in found} <= {"in", "unchanged"}, reasons(report)
    root = lake_root(lab)
    assert sql(root, f"FROM ephys.unit WHERE subject_id = {GOOD}").height > 0
    assert check(root, deep=True) == []


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    return small(tmp_path_factory.mktemp("raw"), sessions=1, trials=20, units=3)


@pytest.fixture
def lab(raw, tmp_path):
    """A lab of two animals with a session each, in a folder of its own."""
    folder = tmp_path / "lab"
    shutil.copytree(raw.directory, folder)
    return dataclasses.replace(
        raw,
        directory=folder,
        config=folder / "lake.toml",
        animals_file=folder / "animals.csv",
        insertions_file=folder / "insertions.csv",
    )


def first_probe(lab):
    return lab.directory / "ephys" / "MK001" / "20210301" / "1"


def first_file(lab):
    return next(lab.directory.glob("behavior/MK001/*/*/*.mat"))


# -------------------------------------------------------------------------------- names


def test_hostile_names_of_folders_and_files(lab):
    ephys, behavior = lab.directory / "ephys", lab.directory / "behavior"
    made = 0
    for word in WORDS:
        folder = ephys / word
        if not fits(folder):
            continue
        made += 1
        shutil.copytree(first_probe(lab), folder / "20210301" / "1")
        if fits(behavior / word):
            shutil.copy(first_file(lab), behavior / word / f"MK{word[:40].replace('/', '')}.mat")
            name = f"MK{word[:40].replace('/', '')}_tw2_20210301_101423.mat"
            shutil.copy(first_file(lab), behavior / word / name)
    assert made >= 5
    before = listing_of(lab.directory.parent)
    report = ingest(lab)
    assert_good_is_in(lab, report)
    waiting = [s for s in report.sources if s.status == "waiting"]
    assert len(waiting) >= made  # nobody knows these animals; nothing is dropped
    outside = {p for p in listing_of(lab.directory.parent) if not p.startswith("lab/lake")}
    assert outside == {p for p in before if not p.startswith("lab/lake")}
    assert ingest(lab).count("in") == 0
    assert len(status(load(lab.config))) >= len(report.sources) - len(waiting)


@pytest.mark.parametrize("word", WORDS)
def test_hostile_water_restriction_numbers(word, lab):
    """An animal of that very name, with a session and a probe."""
    if "/" in word or "\n" in word or not fits(lab.directory / "ephys" / word):
        pytest.skip("this file system has no such names")
    text = lab.animals_file.read_text(encoding="utf-8")
    quoted = '"' + word.replace('"', '""') + '"'
    lab.animals_file.write_text(text.replace("MK001", quoted), encoding="utf-8")
    shutil.copytree(first_probe(lab), lab.directory / "ephys" / word / "20210301" / "1")
    name = f"MK{word[:60]}_tw2_20210301_101423.mat"
    shutil.copy(first_file(lab), first_file(lab).with_name(name))
    before = listing_of(lab.directory.parent)
    report = ingest(lab)
    assert_good_is_in(lab, report)
    new = listing_of(lab.directory.parent) - before
    assert all(path.startswith("lab/lake") for path in new)
    found = sql(lake_root(lab), "SELECT water_restriction_number AS h FROM lab.water_restriction")
    assert word in found["h"].to_list()
    with maplake.open(lake_root(lab)) as lake:
        assert word in lake.sessions()["h2o"].to_list() or lake.sessions().height == 1


@pytest.mark.skipif(sys.platform == "win32", reason="names are UTF-16 there")
def test_names_that_are_no_unicode(lab):
    if not fits(lab.directory / "ephys" / os.fsdecode(b"MK\xff\xfe") / "20210301" / "1"):
        pytest.skip("this file system has no such names")
    plain = os.fsencode(lab.directory) + b"/behavior/MK\xff_tw2_20210301_101423.mat"
    shutil.copy(first_file(lab), plain)
    second = first_probe(lab) / os.fsdecode(b"two\xff")
    shutil.copytree(first_probe(lab) / "imec0_ks2", second)
    report = ingest(lab)
    assert_good_is_in(lab, report)
    assert any("more than one kilosort" in s.reason for s in failed(report))
    assert any("no Unicode" in s.reason for s in failed(report))
    for source in report.sources:
        f"{source.name} {source.reason}".encode()  # can be printed and stored
    assert any(s.status == "failed" for s in status(load(lab.config)))


def test_long_names(lab):
    name = "K" * 220
    probe = first_probe(lab)
    try:
        (probe / name).mkdir()
        shutil.move(probe / "imec0_ks2", probe / name / "imec0_ks2")
    except OSError:
        pytest.skip("this file system has no such names")
    report = ingest(lab)
    assert_good_is_in(lab, report)
    assert set(statuses(report).values()) == {"in"}


# -------------------------------------------------------------------------------- links


def link(at, to, **options):
    try:
        at.symlink_to(to, **options)
    except OSError:
        pytest.skip("no symbolic links here")


def test_raw_folders_that_are_links(lab, tmp_path):
    """Raw data often lie on another disk; what is linked is found as if it lay there."""
    away = tmp_path / "disk"
    away.mkdir()
    for name in ("behavior/MK001", "ephys/MK001", "ephys/MK002/20210301/1/imec0_ks2"):
        moved = away / name.replace("/", "_")
        shutil.move(lab.directory / name, moved)
        link(lab.directory / name, moved, target_is_directory=True)
    report = ingest(lab)
    assert set(statuses(report).values()) == {"in"}, reasons(report)
    assert_good_is_in(lab, report)


def test_links_that_go_round(lab):
    behavior, probe = lab.directory / "behavior", first_probe(lab)
    link(behavior / "MK001" / "again", behavior, target_is_directory=True)
    link(behavior / "self", behavior / "self")
    link(probe / "up", lab.directory / "ephys", target_is_directory=True)
    link(probe / "imec0_ks2" / "round", probe, target_is_directory=True)
    report = ingest(lab)
    assert_good_is_in(lab, report)


def test_links_to_nothing(lab):
    file = first_file(lab)
    link(file.with_name("MK001_tw2_20210305_101423.mat"), file.with_name("gone.mat"))
    link(first_probe(lab) / "imec0_ks2" / "amplitudes_old.npy", first_probe(lab) / "gone")
    report = ingest(lab)
    assert_good_is_in(lab, report)
    assert any("MK001_tw2_20210305" in s.name for s in failed(report))


def test_a_link_in_place_of_the_lakes_folder_is_not_written_through(lab, tmp_path):
    ingest(lab, kinds=["animals"])
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "part.parquet").write_bytes(b"mine")
    report = ingest(lab)
    assert_good_is_in(lab, report)
    assert (victim / "part.parquet").read_bytes() == b"mine"


# -------------------------------------------------------------- files that are no plain files


def test_a_mat_file_that_is_a_folder(lab):
    file = first_file(lab)
    file.unlink()
    file.mkdir()
    bitcode = next(first_probe(lab).glob("*bitcode.mat"))
    bitcode.unlink()
    bitcode.mkdir()
    report = ingest(lab)
    assert_good_is_in(lab, report)
    assert not sql(lake_root(lab), "FROM experiment.session WHERE subject_id <> 400002").height


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_does_not_hang(lab):
    file = first_file(lab)
    file.unlink()
    os.mkfifo(file)
    report = ingest(lab)
    assert_good_is_in(lab, report)
    (one,) = failed(report)
    assert "plain file" in one.reason


def test_a_sheet_in_another_encoding(lab):
    text = lab.insertions_file.read_text(encoding="utf-8").replace("left ALM", "linke Größe")
    lab.insertions_file.write_bytes(text.encode("cp1252"))
    lab.animals_file.write_bytes(lab.animals_file.read_bytes().replace(b"ada", b"ad\xe4"))
    report = ingest(lab)
    assert_good_is_in(lab, report)
    found = sql(lake_root(lab), "SELECT username FROM lab.subject")
    assert "adä" in found["username"].to_list()


def test_a_tracking_file_in_another_encoding(lab):
    folder = lab.directory / "tracking" / "MK001" / "MK001_030121"
    folder.mkdir(parents=True)
    (folder / "MK001_side_1-0000.csv").write_bytes(b"scorer,\xff\xfe\nbodyparts,\xe4\ncoords,x\n")
    text = lab.config.read_text(encoding="utf-8")
    lab.config.write_text(
        text + '\n[tracking]\nrigs = [{ name = "RRig", path = "tracking" }]\n', encoding="utf-8"
    )
    report = ingest(lab)
    assert_good_is_in(lab, report)
    assert any(s.kind == "tracking" and s.status == "failed" for s in report.sources)


# ------------------------------------------------------------------- the operating system refuses


def test_folders_that_cannot_be_listed(lab, monkeypatch):
    real = os.scandir
    locked = {str(first_probe(lab) / "imec0_ks2"), str(lab.directory / "behavior" / "MK001")}

    def scandir(path="."):
        if str(path) in locked:
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    report = ingest(lab)
    assert_good_is_in(lab, report)
    told = " ".join(s.reason for s in report.sources if s.status == "failed")
    assert "cannot be listed" in told
    assert "Permission denied" in told


def test_a_file_that_disappears_before_it_is_read(lab, monkeypatch):
    real = sources.Part.read

    def read(part, *context):
        for path in lab.directory.glob("ephys/MK001/**/amplitudes.npy"):
            path.unlink()
        return real(part, *context)

    monkeypatch.setattr(sources.Part, "read", read)
    report = ingest(lab)
    assert_good_is_in(lab, report)
    assert any("amplitudes.npy" in s.reason for s in failed(report))


def test_a_file_that_disappears_after_it_was_read(lab, monkeypatch):
    real = sources.Part.read

    def read(part, *context):
        found = real(part, *context)
        if part.kind == "bitcodes" and "MK001" in str(part.path):
            part.path.unlink()
        return found

    monkeypatch.setattr(sources.Part, "read", read)
    report = ingest(lab)
    assert_good_is_in(lab, report)
    assert len(failed(report)) == 1


@pytest.mark.parametrize("same_size", [True, False])
def test_a_file_that_changes_while_it_is_read(lab, monkeypatch, same_size):
    real = sources.Part.read

    def read(part, *context):
        found = real(part, *context)
        if part.kind == "bitcodes" and "MK001" in str(part.path):
            data = part.path.read_bytes()
            part.path.write_bytes(data[:-1] + b"x" if same_size else data + b"more")
        return found

    with monkeypatch.context() as patch:
        patch.setattr(sources.Part, "read", read)
        report = ingest(lab)
    assert_good_is_in(lab, report)
    assert any("changed while they were read" in s.reason for s in failed(report))
    assert not sql(lake_root(lab), "FROM ephys.unit WHERE subject_id <> 400002").height


@pytest.mark.parametrize("error", [ZeroDivisionError("x"), MemoryError(), OSError(5, "bad disk")])
def test_a_reader_that_fails_as_it_should_not(lab, monkeypatch, error, caplog):
    """A fault of a reader, perhaps another package's, keeps its own session out alone."""
    real = kilosort.READER.read

    def read(path, context):
        if "MK001" in str(path):
            raise error
        return real(path, context)

    monkeypatch.setattr(
        sources.Part,
        "get_reader",
        lambda part: _replaced(part, read),
    )
    report = ingest(lab)
    assert_good_is_in(lab, report)
    (one,) = failed(report)
    assert str(error.args[-1] if error.args else "MemoryError") in one.reason


def _replaced(part, read):
    found = next(r for r in readers.of_kind(part.kind) if r.name == part.reader)
    return dataclasses.replace(found, read=read) if part.reader == "kilosort" else found


# ----------------------------------------------------------------------------- odds and ends


def test_walking_goes_through_every_folder_once(tmp_path):
    for name in "abc":
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    for name in "abc":
        for other in "abc":
            link(tmp_path / name / f"to_{other}", tmp_path / other, target_is_directory=True)
    found = list(listing.walk(tmp_path, pytest.fail))
    assert len(found) == 3
    assert listing.files_below(tmp_path / "nowhere") == []


def test_a_hostile_lab_gives_the_same_twice(lab):
    """What was refused is refused again, and nothing of the lake changes."""
    first_file(lab).write_bytes(b"MATLAB 5.0" + bytes(500))
    ingest(lab)
    before = content(lake_root(lab))
    again = pipeline.run(load(lab.config))
    assert content(lake_root(lab)) == before
    assert len(failed(again)) == 1
