"""Raw files out of the lab: what is listed, sent and proven, told from the files themselves."""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

import pytest
from computelabs import make_lab
from labs import content, ingest, sql
from typer.testing import CliRunner

from maplake.publication.raw_files import probe_type

PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"
PUBLISH = """
[publish]
source = {{ endpoint = "1111", path = "/rigs", local = "{local}" }}
[publish.destinations]
archive = {{ endpoint = "2222", path = "/MAP" }}
"""


@dataclass
class Place:
    """A lab's raw files, and a lake of its own for the test."""

    raw: Path
    lake: Path

    def run(self, *args, code=0, config="lake.toml"):
        app = __import__(f"{PACKAGE}.main", fromlist=["app"]).app
        options = ["--config", str(self.raw / config), "--lake", str(self.lake)]
        done = CliRunner().invoke(app, [*options, *args])
        assert done.exit_code == code, done.output
        return done.stdout


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    lab = make_lab(tmp_path_factory.mktemp("publish") / "raw lab", sessions=2)
    ingest(lab)
    probe = min((lab.directory / "ephys").rglob("*.ap.meta"))
    probe.with_name(probe.name.replace(".ap.meta", ".ap.bin")).write_bytes(bytes(range(256)) * 40)
    text = lab.config.read_text(encoding="utf-8")
    for name, local in (("lake.toml", lab.directory), ("other.toml", Path("/elsewhere"))):
        publish = PUBLISH.format(local=local.as_posix())
        (lab.directory / name).write_text(text + publish, encoding="utf-8")
    return lab.directory


@pytest.fixture
def lab(raw, tmp_path):
    shutil.copytree(raw / "lake", tmp_path / "lake")
    place = Place(raw, tmp_path / "lake")
    place.run("catalog")
    return place


def manifest(lab, *args):
    return json.loads(lab.run("publish", "manifest", "--json", *args))["files"]


def copy_to(files, place):
    for row in files:
        target = place / row["file_path"]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(row["source_path"], target)


def test_every_raw_file_once_with_size_and_hash(lab):
    files = manifest(lab)
    raw = [p for top in ("behavior", "ephys") for p in (lab.raw / top).rglob("*") if p.is_file()]
    assert sorted(row["source_path"] for row in files) == sorted(map(str, raw))
    for row in files:
        body = Path(row["source_path"]).read_bytes()
        assert (row["bytes"], row["sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
    assert len({row["file_path"] for row in files}) == len(files)
    kinds = {row["file_type"] for row in files}
    assert kinds == {"behavior", "bitcode", "ephys ap", "ephys ap meta", "sorting"}
    probes = {row["insertion_number"] for row in files if row["file_type"] == "sorting"}
    assert probes == {1, 2}


def test_paths_start_with_animal_and_session(lab):
    h2o = sql(lab.lake, "SELECT water_restriction_number FROM lab.water_restriction").item()
    days = sql(lab.lake, "SELECT session, session_date FROM experiment.session").rows()
    expected = {f"{h2o}/{day}_s{number}" for number, day in days}
    assert {"/".join(row["file_path"].split("/")[:2]) for row in manifest(lab)} == expected


def test_only_one_session(lab):
    h2o = sql(lab.lake, "SELECT water_restriction_number FROM lab.water_restriction").item()
    files = manifest(lab, "--subject", h2o, "--session", "2")
    assert {row["session"] for row in files} == {2}
    lab.run("publish", "manifest", "--subject", h2o, "--session", "9", code=1)


def test_second_manifest_changes_nothing_and_a_gone_file_goes(lab):
    files = manifest(lab)
    before = content(lab.lake)
    assert manifest(lab) == files
    assert content(lab.lake) == before
    binary = next(row for row in files if row["file_type"] == "ephys ap")
    aside = Path(binary["source_path"]).rename(lab.raw / "aside")
    rest = manifest(lab)
    aside.rename(binary["source_path"])
    assert binary["file_path"] not in {row["file_path"] for row in rest}
    found = sql(lab.lake, "SELECT count(*) FROM publication.raw_file").item()
    assert found == len(files) - 1


def test_no_hash_reads_nothing_new(lab):
    files = manifest(lab, "--no-hash")
    unknown = [row["source_path"] for row in files if row["sha256"] is None]
    assert any(name.endswith(".ap.bin") for name in unknown)
    read = [row for row in files if row["file_type"] == "behavior"]
    assert all(row["sha256"] for row in read)  # ingest knew these


def test_a_changed_file_is_read_again(lab):
    files = manifest(lab)
    binary = Path(next(row["source_path"] for row in files if row["file_type"] == "ephys ap"))
    body = binary.read_bytes()
    binary.write_bytes(b"other" * 100)
    again = {row["source_path"]: row for row in manifest(lab)}[str(binary)]
    binary.write_bytes(body)
    assert again["sha256"] == hashlib.sha256(b"other" * 100).hexdigest()


def test_transfer_list(lab):
    files = manifest(lab)
    head, *lines = lab.run("publish", "transfer", "archive").splitlines()
    assert head.startswith("# globus transfer 1111 2222 --batch")
    pairs = [shlex.split(line, comments=True) for line in lines]
    wanted = [
        [
            str(PurePosixPath("/rigs", *Path(row["source_path"]).relative_to(lab.raw).parts)),
            f"/MAP/{row['file_path']}",
        ]
        for row in files
    ]
    assert sorted(pairs) == sorted(wanted)


def test_verify_a_folder(lab, tmp_path):
    files = manifest(lab)
    copy = tmp_path / "copy"
    copy_to(files, copy)
    (copy / files[0]["file_path"]).unlink()
    changed = copy / files[1]["file_path"]
    changed.write_bytes(bytes(changed.stat().st_size))
    shorter = copy / files[2]["file_path"]
    shorter.write_bytes(shorter.read_bytes()[:-1])
    done = json.loads(lab.run("publish", "verify", "archive", str(copy), "--json", code=7))
    assert {p["file_path"]: p["problem"].split()[0] for p in done["problems"]} == {
        files[0]["file_path"]: "is",
        files[1]["file_path"]: "has",
        files[2]["file_path"]: "has",
    }
    assert done["right"] == len(files) - 3
    rest = lab.run("publish", "transfer", "archive").splitlines()[1:]
    assert len(rest) == 3
    copy_to(files[:3], copy)
    lab.run("publish", "verify", "archive", str(copy))
    assert lab.run("publish", "transfer", "archive").count("\n") == 1
    rows = json.loads(lab.run("publish", "list", "--json"))["sessions"]
    assert sum(row["files"] for row in rows) == sum(row["of_files"] for row in rows) == len(files)
    assert lab.run("check", "--deep")


def test_verify_with_sizes_alone_does_not_see_other_content(lab, tmp_path):
    files = manifest(lab)
    copy_to(files, tmp_path / "copy")
    changed = tmp_path / "copy" / files[1]["file_path"]
    changed.write_bytes(bytes(changed.stat().st_size))
    args = ("publish", "verify", "archive", str(tmp_path / "copy"), "--no-hash", "--json")
    done = json.loads(lab.run(*args))
    assert (done["right"], done["by_size"]) == (len(files), len(files))
    by = sql(lab.lake, "SELECT DISTINCT verified_by FROM publication.published_file")
    assert by.rows() == [("size",)]


@pytest.mark.parametrize("form", ["sums", "csv", "globus"])
def test_verify_a_listing(lab, tmp_path, form):
    files = manifest(lab)
    gone, *there = files
    texts = {
        "sums": "".join(f"{r['sha256']}  ./{r['file_path']}\n" for r in there),
        "csv": "file_path,bytes\n" + "".join(f"{r['file_path']},{r['bytes']}\n" for r in there),
        "globus": json.dumps(
            {
                "DATA": [
                    {"name": f"MAP/{r['file_path']}", "size": r["bytes"], "type": "file"}
                    for r in there
                ]
            }
        ),
    }
    listing = tmp_path / "listing"
    listing.write_text(texts[form], encoding="utf-8")
    done = json.loads(lab.run("publish", "verify", "archive", str(listing), "--json", code=7))
    assert done["problems"] == [{"file_path": gone["file_path"], "problem": "is missing"}]
    assert done["by_size"] == (0 if form == "sums" else len(there))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe\x00",
        b"hello",
        b'{"DATA": 3}',
        b"[[[[",
        b"file_path,bytes\na,x\n",
        b"sha256,file_path\n0123\n",
        b'{"DATA": [{"name": "a", "size": Infinity}]}',
    ],
)
def test_a_listing_that_is_none(lab, tmp_path, body):
    manifest(lab, "--no-hash")
    (tmp_path / "listing").write_bytes(body)
    lab.run("publish", "verify", "archive", str(tmp_path / "listing"), code=4)


def test_faults_of_the_user(lab, tmp_path):
    lab.run("publish", "transfer", "archive", code=1)  # no manifest yet
    manifest(lab, "--no-hash")
    lab.run("publish", "transfer", "nowhere", code=1)
    lab.run("publish", "verify", "archive", str(tmp_path / "none"), code=4)
    lab.run("publish", "transfer", "archive", code=3, config="other.toml")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a_g0_t0.imec0.ap.bin", "ephys ap"),
        ("a_g0_t0.imec0.ap.cbin", "ephys ap"),
        ("a_g0_t0.imec0.lf.meta", "ephys lf meta"),
        ("SC022_bitcode.mat", "bitcode"),
        ("spike_times.npy", "sorting"),
    ],
)
def test_types_by_name(name, kind):
    assert probe_type(Path(name)) == kind


def test_moved_raw_files_are_found_after_an_ingest(raw, tmp_path):
    shutil.copytree(raw, tmp_path / "moved")
    lab = Place(tmp_path / "moved", tmp_path / "moved" / "lake")
    lab.run("ingest")
    assert all(Path(row["source_path"]).is_relative_to(lab.raw) for row in manifest(lab))
