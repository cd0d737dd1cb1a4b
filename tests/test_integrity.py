"""Whatever is damaged: check says whose it is, and the command that it names repairs it."""

from __future__ import annotations

import json
import os
import random
import shlex
import shutil
from importlib import import_module
from importlib.util import find_spec

import pyarrow.parquet as pq
import pytest
from computelabs import copy_lab, make_lab
from labs import content, ingest
from typer.testing import CliRunner

from maplake.compute.run import run as compute
from maplake.config import load
from maplake.errors import IntegrityError, MissingFileError, NotFoundError
from maplake.ingest.rebuild import rebuild_session
from maplake.layout import Layout, spare_file
from maplake.query.check import check
from maplake.query.log import commits

PACKAGE = "maplake_cli" if find_spec("maplake_cli") else "cli"
SESSION = "subject_id={}/session=1"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    lab = make_lab(tmp_path_factory.mktemp("integrity") / "lab", sessions=2)
    ingest(lab)
    compute(load(lab.config))
    return lab


@pytest.fixture
def lab(original, tmp_path):
    return copy_lab(original, tmp_path / "lab")


@pytest.fixture
def root(lab):
    return load(lab.config).lake.root


def cli(lab, *words):
    app = import_module(f"{PACKAGE}.main").app
    return CliRunner().invoke(app, ["--config", str(lab.config), *words])


def told(lab):
    """What check says, as scripts see it."""
    found = cli(lab, "check", "--deep", "--json")
    assert found.exit_code in (0, 7), found.output
    return json.loads(found.stdout)


def flip(file, place=0.5):
    data = bytearray(file.read_bytes())
    data[int(len(data) * place)] ^= 4
    before = file.stat()
    file.write_bytes(data)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def edit(file):
    """Write a Parquet file anew without its last row, as somebody with a notebook would."""
    table = pq.ParquetFile(file).read()
    pq.write_table(table.slice(0, table.num_rows - 1), file)


def halve(file):
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def remove(file):
    shutil.rmtree(file) if file.is_dir() else file.unlink()


def stray(file):
    shutil.copy(file, file.with_name("part-2.parquet"))


def other_number(file):
    numbers = json.loads(file.read_text())
    for names in numbers.values():
        for name in names:
            names[name] += 5
    file.write_text(json.dumps(numbers))


UNIT = "tables/ephys/unit/{s}/insertion_number=1/part.parquet"
TRIAL = "tables/experiment/behavior_trial/{s}/part.parquet"
DAMAGES = [
    (flip, UNIT, "rebuild ephys"),
    (edit, UNIT, "rebuild ephys"),
    (remove, UNIT, "rebuild ephys"),
    (halve, TRIAL, "rebuild behavior"),
    (edit, TRIAL, "rebuild behavior"),
    (stray, TRIAL, "check --set-aside"),
    (flip, "arrays/ephys/{s}/insertion_number=1/*.zarr/spike_sample/c/0", "rebuild ephys"),
    (remove, "arrays/ephys/{s}/insertion_number=1/*.zarr", "rebuild ephys"),
    (flip, "tables/tracking/tracking/{s}/*/part.parquet", "rebuild tracking"),
    (edit, "tables/histology/electrode_ccf_position/{s}/insertion_number=1/part.parquet",
     "rebuild histology"),
    (flip, "tables/ephys/insertion_location/{s}/insertion_number=1/part.parquet", "--spare"),
    (edit, "tables/lab/subject/part.parquet", "--spare"),
    (remove, "tables/lab/electrode_config_electrode/part.parquet", "--spare"),
    (flip, ".maplake/spare/tables/lab/subject/part.parquet", "--spare"),
    (flip, "arrays/ccf/*.zarr/c/0/0/0", "rebuild ccf"),
    (edit, "tables/ephys/unit_cell_type/{s}/insertion_number=1/part.parquet", "--again"),
    (halve, ".maplake/manifest/{name}.json", "rebuild --subject"),
    (remove, ".maplake/manifest/{name}.json", "rebuild --subject"),
    (flip, ".maplake/state/{name}.json", "rebuild --subject"),
    (halve, ".maplake/state/{name}.json", "rebuild --subject"),
    (remove, ".maplake/state/{name}.json", "rebuild --subject"),
    (halve, ".maplake/manifest/lake.json", "--spare"),
    (remove, ".maplake/state/lake.json", "--spare"),
    (halve, ".maplake/sessions.json", "--spare"),
    (other_number, ".maplake/sessions.json", "--spare"),
    (halve, "views.sql", "catalog"),
    (halve, "lake.duckdb", "catalog"),
]  # fmt: skip


def place(lab, root, pattern):
    subject = lab.sessions[0].subject_id
    pattern = pattern.format(s=SESSION.format(subject), name=f"{subject}_1")
    found = sorted(root.glob(pattern))
    assert found, pattern
    return found[0]


@pytest.mark.parametrize(
    ("damage", "where", "command"),
    [pytest.param(*d, id=f"{d[0].__name__}-{d[1].split('/{')[0].lstrip('.')}") for d in DAMAGES],
)
def test_what_check_names_repairs(lab, root, damage, where, command):
    before = content(root)
    numbers = Layout(root).session_registry.read_bytes()
    damage(place(lab, root, where))
    found = told(lab)
    assert found["problems"]
    assert command in " ".join(found["repairs"]), found["repairs"]
    for problem in found["problems"]:
        if "session=1" in problem["partition"]:
            assert (problem["subject_id"], problem["session"]) == (lab.sessions[0].subject_id, 1)
    for _ in range(3):  # a repair may bring to light what hung on it
        for text in found["repairs"]:
            done = cli(lab, *shlex.split(text)[1:])
            assert done.exit_code == 0, (text, done.output)
        found = told(lab)
        if not found["problems"]:
            break
    assert found["problems"] == []
    compute(load(lab.config))
    assert content(root) == before
    assert json.loads(Layout(root).session_registry.read_bytes()) == json.loads(numbers)
