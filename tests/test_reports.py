"""Reports: what is written, what is drawn again, what is removed, what is refused."""

from __future__ import annotations

import base64
import json
import re
from html import unescape
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import report_lake
from lakefiles import write_manifests, write_table
from report_lake import cheap, report
from typer.testing import CliRunner

import maplake
from maplake.errors import LakeLockedError, NotFoundError, QueryError
from maplake.lockfile import Lock
from maplake.plots import FIGURES, Key
from maplake.plots.unit_data import probe_unit_data
from maplake.reports import Wanted
from maplake.reports.packed import script
from maplake.reports.record import RECORD

PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"
main = __import__(f"{PACKAGE}.main", fromlist=["app"])
PROBE = "sessions/101_1/probe1"
TRACK = "histology.labeled_probe_track_point"


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A lake and its report, not to be changed."""
    folder = tmp_path_factory.mktemp("report")
    root = report_lake.build(folder)
    with pytest.MonkeyPatch.context() as patch:
        cheap(patch)
        done = report(root, folder / "out")
    return root, folder / "out", done


@pytest.fixture
def mine(first, tmp_path, monkeypatch):
    """A copy of both, and a list of what is drawn from now on."""
    root = report_lake.copy(first[0], tmp_path)
    drawn = []
    cheap(monkeypatch, drawn)
    report_lake.shutil.copytree(first[1], tmp_path / "out")
    return root, tmp_path / "out", drawn


def move_track(root):
    key = {"subject_id": 101, "session": 1, "insertion_number": 1}
    write_table(
        root, TRACK, key, order=[0, 1], shank=[1, 1], ccf_x=[3900.0, 4000.0], ccf_y=[400.0, 2020.0],
        ccf_z=[3100.0, 3100.0],
    )  # fmt: skip
    write_manifests(root)


def listing(out):
    return {p.relative_to(out).as_posix(): p.stat().st_mtime_ns for p in out.rglob("*.*")}


class _Links(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.found, self.tags = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.found += [value for name, value in attrs if name in ("href", "src")]


def test_there_is_a_page_and_a_picture_of_everything(first):
    root, out, done = first
    assert not done.failed
    names = listing(out)
    with maplake.open(root) as lake:
        units = lake.sql("SELECT subject_id, session, insertion_number, unit FROM ephys.unit")
        for subject, session, insertion, unit in units.fetchall():
            folder = f"sessions/{subject}_{session}/probe{insertion}"
            assert {f"{folder}/unit{unit}.html", f"{folder}/unit{unit}.js"} <= set(names)
    assert f"{PROBE}/unit10-psth.png" in names
    assert f"{PROBE}/unit10-tracking.png" in names
    assert f"{PROBE}/drift-map.png" in names
    assert "sessions/103_1/foraging-performance.png" in names
    assert "sessions/101_1/foraging-performance.png" not in names
    assert "project/growth.png" in names
    assert not [name for name in names if name.endswith(".tmp")]


def test_links_lead_to_files_of_the_report(first):
    out = first[1]
    pages = list(out.rglob("*.html"))
    assert len(pages) > 50
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "://" not in text.replace("http://www.w3.org/2000/svg", "")
        for target in _Links(text).found:
            if target and target != "data:,":
                path = (page.parent / target).resolve()
                assert path.is_file(), (page, target)
                assert path.is_relative_to(out.resolve())


def test_names_are_text(first):
    out = first[1]
    for name in ("index.html", "sessions/101_1/index.html", f"{PROBE}/unit10.html"):
        text = (out / name).read_text(encoding="utf-8")
        assert report_lake.HOSTILE not in text
        assert report_lake.HOSTILE in unescape(text)
        assert "<script>window" not in text
    assert "</script" not in (out / PROBE / "unit10.js").read_text(encoding="utf-8")


def test_where_nothing_was_tracked_the_page_says_so(first):
    text = (first[1] / "sessions/101_2/probe1/unit10.html").read_text(encoding="utf-8")
    assert "no tracking of the jaw" in text


def test_a_second_run_does_nothing(mine):
    root, out, drawn = mine
    before = listing(out)
    assert report(root, out).unchanged
    assert not drawn
    assert {n: t for n, t in listing(out).items() if "lock" not in n} == {
        n: t for n, t in before.items() if "lock" not in n
    }


def test_only_what_is_made_from_a_changed_table_is_drawn_again(mine):
    root, out, drawn = mine
    move_track(root)
    report(root, out)
    reads = {name for name, one in FIGURES.items() if TRACK in one.tables}
    assert {name for name, _ in drawn} == reads >= {"probe-tracks", "all-probe-tracks"}
    assert {k.subject_id for _, k in drawn} <= {101, None}
    assert {k.session for _, k in drawn} <= {1, None}
    assert report(root, out).unchanged


def test_a_new_animal_changes_no_other(mine):
    root, out, drawn = mine
    report_lake.name_animals(root, {101: report_lake.HOSTILE, 102: "xx102", 7: "new"})
    report(root, out)
    assert {FIGURES[name].level for name, _ in drawn} <= {"project"}


def test_a_renamed_animal_is_drawn_again(mine):
    root, out, drawn = mine
    report_lake.name_animals(root, {101: report_lake.HOSTILE, 102: "renamed"})
    report(root, out)
    assert {key.subject_id for _, key in drawn} == {102, None}
    assert "renamed" in (out / "index.html").read_text(encoding="utf-8")


def test_what_is_no_more_is_removed(mine):
    root, out, drawn = mine
    own = out / "sessions/102_1/notes.txt"
    own.write_text("mine", encoding="utf-8")
    for folder in list(root.rglob("subject_id=102")) + list(root.rglob("subject_id=103")):
        report_lake.shutil.rmtree(folder)
    for stem in ("102_1", "103_1"):
        (root / f".maplake/manifest/{stem}.json").unlink()
    write_manifests(root)
    done = report(root, out)
    assert done.removed > 10
    assert [p.name for p in (out / "sessions/102_1").rglob("*")] == ["notes.txt"]
    assert not (out / "sessions/103_1").exists()
    assert "102_1" not in (out / "index.html").read_text(encoding="utf-8")
    assert not [key for _, key in drawn if key.subject_id is not None]


def test_a_probe_that_is_no_more_is_removed(mine):
    root, out, _ = mine
    for folder in root.rglob("subject_id=101/session=1/insertion_number=2"):
        report_lake.shutil.rmtree(folder)
    write_manifests(root)
    report(root, out)
    assert not (out / "sessions/101_1/probe2").exists()
    assert (out / PROBE / "index.html").exists()


def test_what_somebody_removed_is_made_again(mine):
    root, out, drawn = mine
    (out / PROBE / "drift-map.png").unlink()
    (out / "sessions/105_1/index.html").unlink()
    done = report(root, out)
    assert [name for name, _ in drawn] == ["drift-map"]
    assert (done.figures, done.pages) == (1, 1)
    assert (out / "sessions/105_1/index.html").exists()


def test_force_draws_everything_again(mine, first):
    root, out, _ = mine
    done = report(root, out, Wanted(subject_id=101, session=1, level="probe"), force=True)
    probes = sum(f.level == "probe" for f in FIGURES.values())
    assert done.figures == 2 * (probes + 6)  # and the spikes of 6 units each


def test_a_figure_that_fails_stops_no_other_and_is_tried_again(mine, monkeypatch):
    root, out, drawn = mine
    report_lake.shutil.rmtree(out)
    with pytest.MonkeyPatch.context() as patch:
        cheap(patch, fault="drift-map")
        done = report(root, out, Wanted(None, 101, 1))
    assert {one.file for one in done.failed} == {
        f"sessions/101_1/probe{number}/drift-map.png" for number in (1, 2)
    }
    page = (out / PROBE / "index.html").read_text(encoding="utf-8")
    assert "could not be drawn: RuntimeError: &lt;b&gt;no &amp; such" in page
    assert "clustering-quality.png" in page
    assert not report(root, out, Wanted(None, 101, 1)).failed
    assert {name for name, _ in drawn} == {"drift-map"}
    assert "could not" not in (out / PROBE / "index.html").read_text(encoding="utf-8")


def test_a_part_of_it(mine):
    root, out, drawn = mine
    report_lake.shutil.rmtree(out)
    report(root, out, Wanted("session", 101, 1))
    assert {FIGURES[name].level for name, _ in drawn} == {"session"}
    names = set(listing(out))
    assert "sessions/101_1/index.html" in names
    assert not [name for name in names if name.endswith(".js") or "102_1" in name]
    drawn.clear()
    report(root, out, Wanted("unit", 101, 1, 2))
    assert {(FIGURES[name].level, k.insertion_number) for name, k in drawn} == {("unit", 2)}
    names = set(listing(out))
    assert "sessions/101_1/probe2/unit10.js" in names  # which the map needs
    assert f"{PROBE}/unit10.js" not in names
    drawn.clear()
    report(root, out, Wanted(None, 101, 1))
    assert ("drift-map", Key(101, 1, 1)) in drawn
    assert ("behavior-performance", Key(101, 1)) not in drawn
    for page in out.rglob("*.html"):
        for target in _Links(page.read_text(encoding="utf-8")).found:
            assert not target or target == "data:," or (page.parent / target).is_file()


def test_what_is_old_and_not_asked_for_is_told(mine):
    root, out, _ = mine
    move_track(root)
    report(root, out, Wanted("probe", 101, 1))
    assert "older data" in (out / "sessions/101_1/index.html").read_text(encoding="utf-8")
    report(root, out)
    assert "older data" not in (out / "sessions/101_1/index.html").read_text(encoding="utf-8")


def test_spikes_are_those_of_the_lake(first):
    with maplake.open(first[0]) as lake:
        data = probe_unit_data(lake, Key(101, 1, 1))
    unit = int(data.units["unit"][2])
    text = script(data, unit).decode()
    told = json.loads(re.fullmatch(rf"maplakeUnits\[{unit}\] = (.*);\n", text)[1])
    assert told["title"] == data.unit_title(unit)
    assert told["panels"]
    for panel, mine in zip(told["panels"], data.panels, strict=True):
        for group, theirs in zip(panel["groups"], mine.groups, strict=True):
            time, row = theirs.spikes(data.place(unit))
            low, high = mine.window
            steps = np.frombuffer(base64.b64decode(group["time"]), "<u2")
            np.testing.assert_allclose(low + steps / 65535 * (high - low), time, atol=6e-5)
            assert np.frombuffer(base64.b64decode(group["row"]), "<u2").tolist() == row.tolist()
            rate = np.frombuffer(base64.b64decode(group["rate"]), "<f4")
            np.testing.assert_allclose(rate, theirs.rate[data.place(unit)], rtol=1e-6)


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"[]",
        b'{"format": 2, "entries": {}, "done": {}}',
        b'{"format": 1, "entries": {"a/b": {"files": ["../../x"]}}, "done": {}}',
        b'{"format": 1, "entries": {"/etc/b": {"files": ["x"]}}, "done": {}}',
        b'{"format": 1, "entries": {"a": {"surprise": 1}}, "done": {}}',
    ],
)
def test_a_record_that_cannot_be_trusted_is_refused(mine, record):
    root, out, drawn = mine
    (out / RECORD).write_bytes(record)
    with pytest.raises(QueryError, match="record"):
        report(root, out)
    assert not drawn


def test_no_folder_of_somebody_else(mine, tmp_path):
    root, out, _ = mine
    other = tmp_path / "site"
    other.mkdir()
    (other / "index.html").write_text("mine", encoding="utf-8")
    with pytest.raises(QueryError, match="no report wrote"):
        report(root, other)
    with pytest.raises(QueryError, match="in a lake's folder"):
        report(root, root / "report")
    lock = Lock(out / ".maplake-report.lock", 0.0)
    lock.acquire()
    try:
        with pytest.raises(LakeLockedError):
            report(root, out)
    finally:
        lock.release()


def test_what_is_not_there_is_not_found(mine):
    root, out, _ = mine
    for wanted in (Wanted(subject_id=9), Wanted(None, 101, 1, 9)):
        with pytest.raises(NotFoundError):
            report(root, out, wanted)


def run(root, *arguments):
    return CliRunner().invoke(main.app, ["--lake", str(root), "report", *map(str, arguments)])


def test_the_command(mine, tmp_path, monkeypatch):
    root, out, _ = mine
    args = ["--out", out, "--workers", 1]
    done = run(root, *args)
    assert done.exit_code == 0, done.output
    assert "nothing to do" in done.output
    done = run(root, "project", *args, "--force", "--json")
    assert json.loads(done.stdout)["figures"] == sum(f.level == "project" for f in FIGURES.values())
    assert run(root, "nonsense", *args).exit_code == 2
    assert run(root, "--subject", "nobody", *args).exit_code == 1
    with pytest.MonkeyPatch.context() as patch:
        cheap(patch, fault="growth")
        done = run(root, "project", *args, "--force")
    assert done.exit_code == 4
    assert "growth.png: RuntimeError" in done.output
    monkeypatch.chdir(tmp_path)
    assert run(root, "project", "--workers", 1).exit_code == 0
    assert Path("report/index.html").exists()


def test_a_watch_keeps_a_report(mine, tmp_path, monkeypatch):
    root, out, drawn = mine
    monkeypatch.setattr("signal.signal", lambda *_: None)
    (out / PROBE / "drift-map.png").unlink()
    config = tmp_path / "lake.toml"
    config.write_text(f"[lake]\nroot = '{root.as_posix()}'\n", encoding="utf-8")
    watch = ["--config", str(config), "--quiet", "watch", "--rounds", "1", "--settle", "0"]
    monkeypatch.setattr("maplake.watch.watch.compute", lambda *_, **__: SimpleNamespace(done=[]))
    done = CliRunner().invoke(main.app, [*watch, "--report", str(out)])
    assert done.exit_code == 0, done.output
    assert [name for name, _ in drawn] == ["drift-map"]
    assert (out / PROBE / "drift-map.png").exists()
