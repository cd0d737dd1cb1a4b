"""Damaged raw files: a quick sample of what ``fuzz.py`` searches at length, and files made to
exhaust time or memory."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
from fuzz import LIMIT_S, Child, search
from fuzz_mutate import CANARY, Trap
from fuzz_targets import TARGETS, entry_of, make_seeds


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    make_seeds(folder)
    return folder


def test_damaged_files_are_read_or_refused(seeds):
    names = [name for name, target in TARGETS.items() if not target.in_lake]
    found = list(search(seeds, names, cases=8, seed=1))
    failed = [outcome for outcome in found if outcome.failed]
    assert not failed, failed[0]
    assert sum(outcome.kind == "error" for outcome in found) > len(names)


def test_damaged_lakes_are_read_or_refused(seeds):
    names = [name for name, target in TARGETS.items() if target.in_lake]
    failed = [outcome for outcome in search(seeds, names, cases=4, seed=1) if outcome.failed]
    assert not failed, failed[0]


def test_the_guard_sees_what_no_file_may_bring_about(tmp_path):
    """A reader that runs what it reads, or writes beside it, would be found out."""
    code = (
        "import os, pickle, subprocess, sys\n"
        "from pathlib import Path\n"
        "from fuzz_guard import Guard\n"
        "guard, place = Guard(), Path(sys.argv[1])\n"
        "def ran(do):\n"
        "    with guard.watching(place / 'case', place / 'lake'):\n"
        "        try:\n"
        "            do()\n"
        "        except Exception:\n"
        "            pass\n"
        "    return [bool(guard.executed), bool(guard.wrote)]\n"
        "print([ran(lambda: os.system('true')), ran(lambda: subprocess.run(['true'])),\n"
        "       ran(lambda: pickle.loads(pickle.dumps(Path))),\n"
        "       ran(lambda: exec(compile('1', str(place / 'case' / 'params.py'), 'exec'))),\n"
        "       ran(lambda: (place / 'x').write_text('x')), ran(lambda: os.mkdir(place / 'y')),\n"
        "       ran(lambda: os.rename(place / 'x', place / 'z')),\n"
        "       ran(lambda: os.mkdir(place / 'lake')), ran(lambda: (place / 'z').read_text())])\n"
    )
    here = Path(__file__).parent
    scratch = tmp_path / "tmp"
    scratch.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], cwd=here, capture_output=True, text=True,
        check=True, env={**os.environ, "TMPDIR": str(scratch)},
    )  # fmt: skip
    ran, wrote, fine = [True, False], [False, True], [False, False]
    assert json.loads(done.stdout.lower()) == [ran, ran, ran, ran, wrote, wrote, wrote, fine, fine]


class MadeUp(Child):
    """Answers its first case; any other takes for ever, in the way that the case's target names."""

    command = (
        sys.executable,
        "-c",
        (
            "import json, sys, time\n"
            "begin = time.process_time()\n"
            "while time.process_time() < begin + 0.1: pass\n"  # so that it has spent some
            "for line in sys.stdin:\n"
            "    how = json.loads(line)[0]\n"
            "    while how == 'spins': pass\n"
            "    if how == 'sleeps': time.sleep(1000)\n"
            "    if how == 'pauses': time.sleep(1.5)\n"
            "    print(json.dumps(['rows', '']), flush=True)\n"
        ),
    )


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes' times are not told")
@pytest.mark.parametrize(
    ("how", "kind", "why"),
    [
        ("spins", "slow", "over 0.5 s"),
        ("sleeps", "slow", "over 3 s by the clock"),
        ("pauses", "rows", ""),
    ],
)
def test_a_reader_that_never_ends_is_found_whether_it_works_or_waits(tmp_path, how, kind, why):
    child = MadeUp(tmp_path)
    try:
        assert child.ask("answers", tmp_path, "", 60.0) == ("rows", "")
        assert child.ask(how, tmp_path, "", 0.5) == (kind, why)
    finally:
        child.stop()


# ------------------------------------------------------------------- bombs: small files that ask
# for much time or memory


@pytest.fixture(scope="module")
def child(seeds):
    child = Child(seeds)
    place = seeds / "seeds" / "animals" / "0"
    child.ask("animals", place, entry_of(TARGETS["animals"], place), 120.0)
    child.ask("limit", place, "", 60.0)
    yield child
    child.stop()


def _workbook(path):
    """One cell at the far corner: a grid of 17 thousand million cells."""
    header = "".join(
        f'<c r="{chr(65 + i)}1" t="inlineStr"><is><t>c{i}</t></is></c>' for i in range(3)
    )
    body = f'<row r="1">{header}</row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    _sheet(path, body)


def _endless_place(path):
    """The place of a cell overflows the numbers of the workbook's reader."""
    _sheet(path, f'<row r="1"><c r="A1"><v>1</v></c><c r="B{"1" * 400}"><v>1</v></c></row>')


def _long_workbook(path):
    """A sheet of 160 MB of blank cells in a small zip."""
    _sheet(path, "<row>" + "<c/>" * 40_000_000 + "</row>")


def _sheet(path, body):
    from openpyxl import Workbook

    book = Workbook()
    book.active["A1"] = 1
    book.save(path)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    name = "xl/worksheets/sheet1.xml"
    space = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    text = f'<worksheet xmlns="{space}"><sheetData>{body}</sheetData></worksheet>'
    members[name] = text.encode()
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for key, data in members.items():
            new.writestr(key, data)


def _inflated(path):
    """A MATLAB variable of 600 MB of zeros in 600 KB."""
    head = struct.pack("<II", 14, 600 << 20)
    packer = zlib.compressobj(1)
    name = b"SessionData"
    start = struct.pack("<IIIIIIiiIIII", 6, 8, 6, 0, 5, 8, 1, 1 << 28, 1, len(name), 0, 0)[:40]
    start += name.ljust(16, b"\0")
    packed = packer.compress(head + start)
    packed += b"".join(packer.compress(bytes(1 << 24)) for _ in range(38)) + packer.flush()
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    path.write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)


def _hollow_hdf5(path):
    """A dataset of 4 GB without content, beside content of 4 MB that makes it look honest."""
    with h5py.File(path, "w", userblock_size=512) as file:
        file["pad"] = np.random.default_rng(0).integers(0, 255, 4_000_000, np.uint8)
        file.create_dataset("SessionData/TrialTypes", (2**29,), dtype="f8", chunks=(2**16,))
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")


def _hollow_result(path):
    with h5py.File(path, "r+") as file:
        file["pad"] = np.random.default_rng(0).integers(0, 255, 4_000_000, np.uint8)
        del file["spikeTimes"]
        file.create_dataset("spikeTimes", (2**29,), dtype="f8", chunks=(2**16,))


def _far_unit(path):
    with h5py.File(path, "r+") as file:
        clusters = file["spikeClusters"][()]
        clusters.flat[0] = 2_000_000_000
        del file["spikeClusters"]
        file["spikeClusters"] = clusters


def _laughing_names(path):
    """Column names that double sixty times, in a pickle that only builds tuples."""
    with h5py.File(path, "w") as file:
        group = file.create_group("df_with_missing")
        kind = np.dtype([("index", "i8"), ("values_block_0", "f8", (1,))])
        table = group.create_dataset("table", (3,), dtype=kind)
        pairs = b"".join(b"h%ch%c\x86q%c" % (n, n, n + 1) for n in range(1, 60))
        names = b"\x80\2](X\1\0\0\0a\x85q\1" + pairs + b"e."
        table.attrs["values_block_0_kind"] = np.bytes_(names)


def _many_numbers(path):
    path.write_text("".join(f"{n}\t{n + 1}\n" for n in range(300_000)) + "0\t1\n", encoding="utf-8")


def _few_features(path):
    """One huge row, of which a reader that takes many rows at a time would make room for many."""
    np.save(path, np.zeros((1, 3, 1_000_000), np.float32))


def _meta(**changes):
    def write(path):
        lines = path.read_text(encoding="utf-8").splitlines()
        kept = [line for line in lines if line.partition("=")[0] not in changes]
        kept += [f"{key}={value}" for key, value in changes.items() if value is not None]
        path.write_text("\n".join(kept) + "\n", encoding="utf-8")

    return write


def _nrrd(sizes):
    def write(path):
        text = f"NRRD0004\ntype: uint32\ndimension: 3\nsizes: {sizes}\nencoding: gzip\n\n"
        path.write_bytes(text.encode() + zlib.compress(bytes(1000), wbits=31))

    return write


def _tiff(path):
    """A page of 60000 x 60000 of which nothing is there."""
    import tifffile

    tifffile.imwrite(path, np.zeros((3, 8, 8), np.uint16), photometric="minisblack",
                     compression="zlib")  # fmt: skip
    data = path.read_bytes()
    for tag in (256, 257, 278):  # width, height, rows per strip
        at = data.find(struct.pack("<HH", tag, 3))
        while at >= 0:
            data = data[: at + 8] + struct.pack("<I", 60_000) + data[at + 12 :]
            at = data.find(struct.pack("<HH", tag, 3), at + 12)
        at = data.find(struct.pack("<HH", tag, 4))
        while at >= 0:
            data = data[: at + 8] + struct.pack("<I", 60_000) + data[at + 12 :]
            at = data.find(struct.pack("<HH", tag, 4), at + 12)
    path.write_bytes(data)


def _literal(text):
    def write(path):
        lines = path.read_text(encoding="utf-8").splitlines()
        at = next(n for n, line in enumerate(lines) if "Variables:" in line) + 1
        fields = lines[at].split(";")
        lines[at] = ";".join([*fields[:4], text, ""])
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    return write


def _peaks(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    place = lines[0].split(",").index("peak_channel")
    for number in range(1, len(lines)):
        cells = lines[number].split(",")
        cells[place] = "2000000000"
        lines[number] = ",".join(cells)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _long_csv(path):
    head = "\n".join(path.read_text(encoding="utf-8").splitlines()[:7])
    path.write_text(head + "\n" + "VAL;x;;;" * 50_000_000, encoding="utf-8")


def _deep_json(path):
    path.write_text('{"a":' * 200_000 + "1" + "}" * 200_000, encoding="utf-8")


def _wide_json(path):
    path.write_text(json.dumps({f"channel_{n}": [] for n in range(200_000)}), encoding="utf-8")


def _trap(path):
    path.write_bytes(pickle.dumps(Trap()))


def _template(path):
    np.save(path, np.zeros((4, 2_000_000, 2), np.float32))


BOMBS = {
    "workbook, far cell": ("animals", "animals.xlsx", _workbook),
    "workbook, endless place": ("animals", "animals.xlsx", _endless_place),
    "workbook, blank cells": ("insertion_locations", "insertions.xlsx", _long_workbook),
    "MATLAB 5, inflated": ("delay_response", "MK001_tw2_*.mat", _inflated),
    "MATLAB 7.3, hollow": ("delay_response", "MK001_tw2_*.mat", _hollow_hdf5),
    "JRCLUST, hollow": ("jrclust_v4", "*_res.mat", _hollow_result),
    "JRCLUST, far unit": ("jrclust_v4", "*_res.mat", _far_unit),
    "DeepLabCut, names that double": ("deeplabcut_h5", "*_1-*.h5", _laughing_names),
    "DeepLabCut, long trial map": ("deeplabcut_csv", "+MK001_0_side.txt", _many_numbers),
    "features, one row": ("kilosort", "pc_features.npy", _few_features),
    "templates, long": ("kilosort", "templates.npy", _template),
    "pickle for an array": ("kilosort", "amplitudes.npy", _trap),
    "metrics, far channels": ("kilosort", "metrics.csv", _peaks),
    "SpikeGLX, many channels": ("spikeglx", "*.meta",
                                _meta(nSavedChans="3000000000", snsSaveChanSubset="all")),
    "SpikeGLX, long list of channels": ("spikeglx", "*.meta",
                                        _meta(nSavedChans="3000000001",
                                              snsSaveChanSubset="0:3000000000")),
    "SpikeGLX, wide probe": ("spikeglx", "*.meta",
                             _meta(**{"imDatPrb_pn": "X", "imDatPrb_type": "9999",
                                      "imColsPerShank": "4000000000", "imRowsPerShank": "1",
                                      "imZPitch": "1", "imX0EvenRow": "1", "imX0OddRow": "1",
                                      "imXPitch": "1", "imChan0apGain": "80", "~snsShankMap": None,
                                      "~snsGeomMap": "(X,1,0,70)" + "(0:1:1:1)" * 384})),
    "LFP, many channels": ("lfp", "*.meta", _meta(nSavedChans="3000000000")),
    "nidq, many channels": ("nidq", "*.meta", _meta(nSavedChans="3000000000")),
    "NRRD, wide plane": ("ccf_annotation", "*.nrrd", _nrrd("100000 100000 2")),
    "NRRD, many planes": ("ccf_annotation", "*.nrrd", _nrrd("1 1 900000000")),
    "TIFF, wide page": ("ccf_annotation", "*.tif", _tiff),
    "literal, deep": ("foraging", "*.csv", _literal("-" * 900_000 + "1")),
    "literal, long sum": ("foraging", "*.csv", _literal("1+" * 400_000 + "1j")),
    "literal, long": ("foraging", "*.csv", _literal("[" + "1," * 490_000 + "]")),
    "foraging, one long line": ("foraging", "*.csv", _long_csv),
    "JSON, deep": ("channel_locations", "*locations.json", _deep_json),
    "JSON, wide": ("channel_locations", "*locations.json", _wide_json),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_time_and_within_memory(name, seeds, child, tmp_path):
    target, pattern, arm = BOMBS[name]
    for number, seed in enumerate(sorted((seeds / "seeds" / target).iterdir())):
        found = [*seed.glob(pattern)] or ([seed / pattern[1:]] if pattern[0] == "+" else [])
        if not found:
            continue
        place = tmp_path / str(number)
        shutil.copytree(seed, place)
        entry = entry_of(TARGETS[target], place)
        arm(place / found[0].name)
        kind, detail = child.ask(target, place, entry, LIMIT_S)
        assert kind == "error", (kind, detail[-2000:])
        assert not (seeds / CANARY).exists()
        return
    pytest.fail("no seed for this bomb")
