"""SpikeGLX metadata: real files of every probe, and files made up to be wrong."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maplake import tables
from maplake.errors import (
    CorruptFileError,
    FileFormatError,
    LengthMismatchError,
    MaplakeError,
    MissingFileError,
    UnknownValueError,
)
from maplake.readers.spikeglx import READER, channel_uv_per_bit, parse_meta, uv_per_bit

DATA = Path(os.environ.get("MAPLAKE_TEST_DATA", "")) / "real"
real = pytest.mark.skipif(
    "MAPLAKE_TEST_DATA" not in os.environ, reason="MAPLAKE_TEST_DATA is not set: no real files"
)

A, B = "neuropixels 1.0 - 3A", "neuropixels 1.0 - 3B"
SS, MS = "neuropixels 2.0 - SS", "neuropixels 2.0 - MS"
HSTRIPE = "1-96; 1281-1376; 2561-2656; 3841-3936"
BANKS = "1-384; 1281-1664; 2561-2944; 3841-4224"
# file, probe type, serial number, rate, start of the configuration's name, channels, uV per count
REAL = [
    ("probeinterface/phase3a.imec", A, "262720641", 30000, "1-384", 384, 2.34375),
    ("ibl-neuropixel/sample3A_g0_t0.imec", A, "641251510", 30000, "1-384", 384, 2.34375),
    ("ibl-neuropixel/sample3A_376_channels", A, "513180821", 30000, "1-276", 276, 2.34375),
    ("probeinterface/Noise_g0_t0.imec0", B, "18194809281", 30000, "1-384", 384, 2.34375),
    ("probeinterface/allan-longcol_g0_t0.imec0", B, "19076619641", 29999.941586, "1-1; 3-3; ",
     384, 2.34375),
    ("ibl-neuropixel/sample3B_g0_t0.imec1", B, "18005116811", 30000.390639481, "1-384", 384,
     2.34375),
    ("ibl-neuropixel/sample3B_catgt", B, "19051020361", 30000.37095, "1-384", 384, 2.34375),
    ("probeinterface/p2_g0_t0.imec0", SS, "19011116954", 30000, "1-384", 384, 0.762939453125),
    ("ibl-neuropixel/sampleNP2.1_g0_t0.imec", SS, "19011116954", 30000, "1-384", 384,
     0.762939453125),
    ("probeinterface/NP2_4_shanks.imec0", MS, "19122510362", 30000, HSTRIPE, 384, 0.762939453125),
    ("ibl-neuropixel/sampleNP2.4_4shanks_g0_t0.imec", MS, "19011110513", 29999.757983, HSTRIPE,
     384, 0.762939453125),
    ("ibl-neuropixel/sampleNP2.4_1shank_g0_t0.imec", MS, "20403308181", 30000, "1-384", 384,
     0.762939453125),
    ("probeinterface/NP2_2013_all_channels.imec0", MS, "12345601012", 30000, "1-24; 121-144; ",
     384, 3.02734375),
    ("probeinterface/NP2020_sample_g0_t0.imec0", "neuropixels NP2020", "22053118151", 30000, BANKS,
     1536, 3.02734375),
    ("probeinterface/NP-Ultra", "neuropixels NP1100", "20088315201", 30000, "1-384", 384, 2.34375),
    ("ibl-neuropixel/sampleNPultra_g0_t0.imec0", "neuropixels NP1100", "20088317081", 30000,
     "1-384", 384, 2.34375),
    ("probeinterface/NP1110_bank0_g0_t0.imec0", "neuropixels NP1110", "21144116901", 30000,
     "1-384", 384, 2.34375),
    ("probeinterface/NP1110_botrow80_g0_t0.imec0", "neuropixels NP1110", "21144116901", 30000,
     "641-1024", 384, 2.34375),
    ("probeinterface/NP1110_vstripe_g0_t0.imec0", "neuropixels NP1110", "21144116901", 30000,
     "3076-3076; 3084-3084; ", 384, 2.34375),
    ("probeinterface/NP1110_2x192_bank4_g0_t0.imec0", "neuropixels NP1110", "21144116901", 30000,
     "1539-1540; 1547-1548; ", 384, 2.34375),
    ("probeinterface/non_human_primate_long_staggered.imec0", "neuropixels NP1030", "19445524222",
     30000, "1-384", 384, 2.34375),
]  # fmt: skip


def real_path(name: str) -> Path:
    plain = DATA / "spikeglx_meta" / f"{name}.meta"
    return plain if plain.exists() else plain.with_name(plain.name[:-5] + ".ap.meta")


def sites(records):
    table = records.tables["lab.probe_type_electrode"]
    return {name: np.array(table[name].to_pylist()) for name in table.column_names}


@real
@pytest.mark.parametrize("case", REAL, ids=[case[0] for case in REAL])
def test_real_probes(case):
    from probeinterface import read_spikeglx

    name, kind, serial, rate, config, channels, scale = case
    path = real_path(name)
    records = READER.read(path)
    info = records.info
    assert (info["probe_type"], info["probe"], info["sampling_rate"]) == (kind, serial, rate)
    assert info["electrode_config_name"].startswith(config)
    assert info["electrode_config_name"] == config or config.endswith(" ")
    assert (info["ap_channels"], info["uv_per_bit"]) == (channels, pytest.approx(scale))
    assert info["bin_path"] is None
    assert info["margin_samples"] == 0

    electrode, position = records.arrays["electrode"], records.arrays["position"]
    assert electrode.dtype == np.int32
    assert position.shape == (channels, 2)
    probe = read_spikeglx(path)
    np.testing.assert_allclose(position, probe.contact_positions, atol=1e-9)
    at = sites(records)
    np.testing.assert_array_equal(at["electrode"], np.arange(1, len(at["electrode"]) + 1))
    np.testing.assert_array_equal(
        position, np.column_stack((at["x_coord"], at["y_coord"]))[electrode - 1]
    )


@real
@pytest.mark.parametrize("case", REAL, ids=[case[0] for case in REAL])
def test_electrodes_are_those_that_probeinterface_names(case):
    from probeinterface import read_spikeglx

    probe = read_spikeglx(real_path(case[0]))
    records = READER.read(real_path(case[0]))
    at = sites(records)
    per_shank = int((at["shank"] == 1).sum())
    for number, contact in zip(records.arrays["electrode"], probe.contact_ids, strict=True):
        shank, _, site = contact.rpartition("e")
        shank = int(shank[1:] or 0)
        assert number == shank * per_shank + int(site) + 1


@real
def test_tables_have_the_declared_types():
    records = READER.read(real_path("probeinterface/Noise_g0_t0.imec0"))
    assert set(records.tables) == {
        "lab.probe_type",
        "lab.probe_type_electrode",
        "lab.probe",
        "lab.electrode_config",
        "lab.electrode_config_electrode",
    }
    for name, table in records.tables.items():
        assert table.schema.equals(tables.get(name).file_schema), name
        assert table.validate(full=True) is None
    config = records.tables["lab.electrode_config_electrode"].to_pylist()
    assert [row["electrode"] for row in config if not row["is_used"]] == [192]  # the reference
    assert {row["electrode_group"] for row in config} == {0}


@real
def test_every_stream_parses():
    paths = sorted(DATA.glob("spikeglx_*/**/*.meta"))
    assert len(paths) > 25
    for path in paths:
        meta = parse_meta(path)
        assert meta["fileCreateTime"]
        assert not any(key.startswith("~") for key in meta)


@real
def test_local_field_band():
    meta = parse_meta(DATA / "spikeglx_meta/ibl-neuropixel/sample3B_g0_t0.imec1.lf.meta")
    assert uv_per_bit(meta, "lf") == pytest.approx(0.6 / 512 / 250 * 1e6)
    assert channel_uv_per_bit(meta, "lf").shape == (384,)
    with pytest.raises(FileFormatError, match="no AP channel"):
        uv_per_bit(meta)
    nidq = parse_meta(DATA / "spikeglx_meta/ibl-neuropixel/sample3B_g0_t0.nidq.meta")
    with pytest.raises(UnknownValueError, match="nidq"):
        uv_per_bit(nidq)


@real
def test_incomplete_recording_is_refused():
    path = DATA / "spikeglx_bin/Noise4Sam_g0/Noise4Sam_g0_imec0/Noise4Sam_g0_t0.imec0.ap.meta"
    with pytest.raises(CorruptFileError, match="889350 bytes; expected 121625350 bytes"):
        READER.read(path)


@real
def test_original_creation_time():
    info = READER.read(real_path("ibl-neuropixel/sample3B_catgt")).info
    assert info["recording_start"] == datetime(2022, 9, 15, 23, 5, 18)


# ---- made up files


def make(path: Path, *, rows=None, channels=4, newline="\n", prefix="~", end=True, **changes):
    """Write the metadata of a 1.0 probe that records its first ``channels`` sites."""
    rows = rows or [f"0:{n % 2}:{n // 2}:{int(n != 1)}" for n in range(channels)]
    values = {
        "typeThis": "imec",
        "typeImEnabled": "1",
        "imDatPrb_type": "0",
        "imDatPrb_sn": "00123456789012345678",
        "imSampRate": "30000.25",
        "imAiRangeMax": "0.6",
        "nSavedChans": str(channels + 1),
        "acqApLfSy": f"{channels},{channels},1",
        "snsApLfSy": f"{channels},0,1",
        "snsSaveChanSubset": f"0:{channels - 1},{2 * channels}",
        "fileSizeBytes": "100",
        "fileCreateTime": "2021-03-04T05:06:07",
        "userNotes": "gain = 500; a=b",
    }
    imro = "".join(f"({n} 0 0 500 250 1)" for n in range(channels))
    tables_ = {
        "imroTbl": f"(0,{channels}){imro}",
        "snsShankMap": "(1,2,480)" + "".join(f"({row})" for row in rows),
    }
    for key, value in changes.items():
        (tables_ if key in tables_ or key == "snsGeomMap" else values)[key] = value
    lines = [f"{k}={v}" for k, v in values.items() if v is not None]
    lines += [f"{prefix}{k}={v}" for k, v in tables_.items() if v is not None]
    path.write_bytes((newline.join(lines) + (newline if end else "")).encode())
    return path


@pytest.fixture
def meta(tmp_path):
    return tmp_path / "run_g0_t0.imec0.ap.meta"


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("prefix", ["~", ""])
@pytest.mark.parametrize("end", [True, False])
def test_writings_of_one_file_read_the_same(meta, newline, prefix, end):
    records = READER.read(make(meta, newline=newline, prefix=prefix, end=end))
    assert records.info["probe"] == "00123456789012345678"
    assert records.info["recording_start"] == datetime(2021, 3, 4, 5, 6, 7)
    assert records.info["saved_channels"] == 5
    assert records.arrays["electrode"].tolist() == [1, 2, 3, 4]
    assert records.arrays["position"].tolist() == [[16, 0], [48, 0], [0, 20], [32, 20]]
    assert parse_meta(meta)["userNotes"] == "gain = 500; a=b"


@pytest.mark.parametrize(
    ("code", "kind", "rows"),
    [("21", SS, 640), ("2003", SS, 640), ("2004", SS, 640)]
    + [(code, MS, 2560) for code in ("24", "2013", "2014")],
)
def test_second_generation(meta, code, kind, rows):
    records = READER.read(make(meta, imDatPrb_type=code, snsShankMap=f"(1,2,640){'(0:0:0:1)'}"
                               "(0:1:0:1)(0:0:1:0)(0:1:639:1)"))  # fmt: skip
    assert records.info["probe_type"] == kind
    assert records.info["electrode_config_name"] == "1-3; 1280-1280"
    assert records.info["uv_per_bit"] == pytest.approx(0.6 / 8192 / 80 * 1e6)
    at = sites(records)
    assert len(at["electrode"]) == 2 * rows
    assert at["x_coord"].min() == at["y_coord"].min() == 0
    assert records.arrays["position"].tolist() == [[0, 0], [32, 0], [0, 15], [32, 639 * 15]]
    if kind == MS:
        assert at["shank"][1280] == 2
        assert at["x_coord"][1280] == 250
        assert (at["shank_col"][1281], at["shank_row"][1282]) == (2, 2)


@pytest.mark.parametrize(
    ("code", "part", "kind", "x"),
    [
        ("1020", "NP1020", "NP1020", [16, 103, 0, 87]),
        ("1020", "NP1022", "NP1022", [0, 103, 0, 103]),
        ("1030", "NP1032", "NP1032", [0, 103, 0, 103]),
        ("1030", "NP1031", "NP1030", [16, 103, 0, 87]),  # of the same geometry as NP1030
        ("1030", "none", "NP1030", [16, 103, 0, 87]),
    ],
)
def test_parts_that_share_a_code_have_their_own_geometry(meta, code, part, kind, x):
    rows = ["0:0:0:1", "0:1:0:1", "0:0:1:1", "0:1:1:1"]
    records = READER.read(make(meta, imDatPrb_type=code, imDatPrb_pn=part, rows=rows))
    assert records.info["probe_type"] == f"neuropixels {kind}"
    expected = np.column_stack((x, [0, 0, 20, 20]))
    np.testing.assert_array_equal(records.arrays["position"], expected)
    at = sites(records)
    np.testing.assert_array_equal(np.column_stack((at["x_coord"], at["y_coord"]))[:4], expected)


def test_gains_and_full_scale(meta):
    imro = "(0,4)(0 0 0 500 250 1)(1 0 0 250 250 1)(2 0 0 500 250 1)(3 0 0 500 250 1)"
    records = READER.read(make(meta, imroTbl=imro))
    assert records.info["uv_per_bit"] == pytest.approx(2.34375)
    assert records.arrays["uv_per_bit"].tolist() == pytest.approx([2.34375, 4.6875] + [2.34375] * 2)
    read = READER.read(make(meta, imDatPrb_type="2013", imMaxInt="2048", imChan0apGain="100"))
    assert read.info["uv_per_bit"] == pytest.approx(0.6 / 2048 / 100 * 1e6)


def test_margin_before_trials(meta):
    assert READER.read(make(meta, trgTTLMarginS="0.5")).info["margin_samples"] == 15000
    assert READER.read(make(meta, trgTTLMarginS="0.0")).info["margin_samples"] == 0


@pytest.mark.parametrize("written_for", ["saved", "acquired"])
def test_channel_subset(meta, written_for):
    rows = [f"0:{n % 2}:{n // 2}:1" for n in range(10)]
    rows = [rows[n] for n in (2, 3, 7)] if written_for == "saved" else rows
    make(meta, channels=10, rows=rows, nSavedChans=4, snsApLfSy="3,0,1",
         snsSaveChanSubset="2:3,7,20")  # fmt: skip
    records = READER.read(meta)
    assert records.arrays["electrode"].tolist() == [3, 4, 8]
    assert records.info["electrode_config_name"] == "3-4; 8-8"
    assert records.info["saved_channels"] == 4


def test_saved_order_is_kept(meta):
    records = READER.read(make(meta, rows=["0:1:5:1", "0:0:5:1", "0:1:0:1", "0:0:0:1"]))
    assert records.arrays["electrode"].tolist() == [12, 11, 2, 1]
    assert records.info["electrode_config_name"] == "1-2; 11-12"
    assert records.tables["lab.electrode_config_electrode"]["electrode"].to_pylist() == [
        1,
        2,
        11,
        12,
    ]


def test_configuration_hash_depends_on_electrodes_and_use(meta):
    def digest(**changes):
        table = READER.read(make(meta, **changes)).tables["lab.electrode_config"]
        return table["electrode_config_hash"][0].as_py()

    rows = ["0:0:0:1", "0:1:0:1", "0:0:1:1", "0:1:1:1"]
    assert digest(rows=rows) == digest(rows=rows[::-1]) == digest(rows=rows, imSampRate="1")
    assert len({digest(), digest(rows=rows), digest(rows=[*rows[:3], "0:1:2:1"])}) == 3


def test_geometry_map_in_the_place_of_the_shank_map(meta):
    geometry = "(NP1000,1,0,70)(0:27:0:1)(0:59:0:0)(0:11:20:1)(0:43:20:1)"
    records = READER.read(make(meta, snsShankMap=None, snsGeomMap=geometry))
    assert records.arrays["electrode"].tolist() == [1, 2, 3, 4]
    used = records.tables["lab.electrode_config_electrode"]["is_used"].to_pylist()
    assert used == [True, False, True, True]


@pytest.mark.parametrize(
    ("header", "first"), [("70", 14), ("73", 15.5), (None, 15.5), ("wide", 15.5), ("nan", 15.5)]
)
def test_geometry_map_of_a_shank_of_another_width(meta, header, first):
    """Earlier SpikeGLX has NP1110 70 um wide, with the first site 14 um from the edge."""
    fields = ["NP1110", "1", "0", *([header] if header else [])]
    entries = "".join(
        f"(0:{first + 6 * c:g}:{6 * r}:1)" for c, r in ((0, 0), (7, 0), (3, 2), (1, 9))
    )
    values = {"imDatPrb_type": "1110", "imChan0apGain": "500", "snsShankMap": None}
    records = READER.read(make(meta, **values, snsGeomMap=f"({','.join(fields)}){entries}"))
    assert records.arrays["electrode"].tolist() == [1, 8, 20, 74]
    assert records.arrays["position"].tolist() == [[0, 0], [42, 0], [18, 12], [6, 54]]


def test_unknown_probe_with_its_geometry(meta):
    grid = {"imColsPerShank": 2, "imRowsPerShank": 6, "imXPitch": 30, "imZPitch": 10,
            "imX0EvenRow": 20, "imX0OddRow": 15}  # fmt: skip
    geometry = "(NP9999,2,200,70)(0:20:0:1)(0:45:10:1)(1:50:20:1)(1:15:50:1)"
    changes = {"snsShankMap": None, "snsGeomMap": geometry, "imDatPrb_type": "9999"}
    changes |= {"imMaxInt": "2048", "imChan0apGain": "100"}
    records = READER.read(make(meta, **changes, **grid))
    assert records.info["probe_type"] == "neuropixels NP9999"
    assert records.arrays["electrode"].tolist() == [1, 4, 18, 23]
    assert records.arrays["position"].tolist() == [[5, 0], [30, 10], [235, 20], [200, 50]]
    assert len(sites(records)["electrode"]) == 24
    inferred = READER.read(make(meta, **changes)).arrays["position"]
    differences = np.diff(records.arrays["position"], axis=0)
    np.testing.assert_array_equal(np.diff(inferred, axis=0), differences)


BAD = [
    ({"imDatPrb_type": "77"}, UnknownValueError, "imDatPrb_type"),
    ({"imDatPrb_type": "abc"}, UnknownValueError, "imDatPrb_type"),
    ({"typeImEnabled": None}, UnknownValueError, "typeEnabled"),
    ({"imDatPrb_sn": None}, FileFormatError, "imProbeSN or imDatPrb_sn"),
    ({"imSampRate": None}, FileFormatError, "imSampRate"),
    ({"imSampRate": "nan"}, CorruptFileError, "imSampRate"),
    ({"imSampRate": "-1"}, CorruptFileError, "imSampRate"),
    ({"imSampRate": "fast"}, CorruptFileError, "imSampRate"),
    ({"imAiRangeMax": ""}, FileFormatError, "imAiRangeMax"),
    ({"nSavedChans": "6"}, LengthMismatchError, "nSavedChans"),
    ({"nSavedChans": "4.5"}, CorruptFileError, "nSavedChans"),
    ({"snsApLfSy": "3,0,1"}, LengthMismatchError, "snsApLfSy"),
    ({"acqApLfSy": "4"}, CorruptFileError, "acqApLfSy"),
    ({"snsSaveChanSubset": "0-3,8"}, CorruptFileError, "snsSaveChanSubset"),
    ({"snsSaveChanSubset": "0:99999999999"}, LengthMismatchError, "snsSaveChanSubset"),
    ({"snsShankMap": None}, FileFormatError, "snsShankMap"),
    ({"snsShankMap": "(1,2,480)(0:0:0:1)(0:1:0"}, CorruptFileError, "snsShankMap"),
    ({"snsShankMap": "(1,2,480)(0:0:0:x)"}, CorruptFileError, "snsShankMap"),
    ({"snsShankMap": "(1,2,480)(0:0:0:1)"}, LengthMismatchError, "snsShankMap"),
    ({"rows": ["0:0:480:1", "0:1:0:1", "0:0:1:1", "0:1:1:1"]}, UnknownValueError, "channel 0"),
    ({"rows": ["0:0:1:1", "0:1:0:1", "0:0:1:1", "0:1:1:1"]}, FileFormatError, "electrode 3"),
    ({"snsShankMap": None, "snsGeomMap": "(NP1000,1,0,70)(0:27:nan:1)"}, CorruptFileError, "Geom"),
    ({"snsShankMap": None, "snsGeomMap": "(NP1000)(0:27:0:1)"}, CorruptFileError, "snsGeomMap"),
    ({"snsShankMap": None, "snsGeomMap": "(NP1000,1,0,70)(0:28:0:1)"}, UnknownValueError, "Geom"),
    ({"imroTbl": None}, FileFormatError, "imroTbl"),
    (
        {"imroTbl": f"(0,4)(0 0 0 1{'0' * 400} 250 1)" + "(0 0 0 500 250 1)" * 3},
        CorruptFileError,
        "imroTbl",
    ),
    ({"imroTbl": "(0,4)(0 0 0 500 250 1)"}, LengthMismatchError, "imroTbl"),
    ({"imroTbl": "(0,4)(0 0 0 0)(1 0 0 0)(2 0 0 0)(3 0 0 0)"}, CorruptFileError, "imroTbl"),
    ({"fileCreateTime": "yesterday"}, CorruptFileError, "fileCreateTime"),
    ({"trgTTLMarginS": "soon"}, CorruptFileError, "trgTTLMarginS"),
    ({"trgTTLMarginS": "1e200"}, CorruptFileError, "trgTTLMarginS"),
]


@pytest.mark.parametrize(("changes", "kind", "place"), BAD, ids=[f"{c[0]}" for c in BAD])
def test_bad_values(meta, changes, kind, place):
    with pytest.raises(kind) as caught:
        READER.read(make(meta, **changes))
    assert caught.value.file == str(meta)
    assert place in str(caught.value)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"", CorruptFileError),
        (b" \r\n\r\n", CorruptFileError),
        (bytes(range(256)) * 9, CorruptFileError),
        (b"typeThis=imec\nnSav", CorruptFileError),
        (b"\x93NUMPY\x01\x00v\x00{", CorruptFileError),
        (b"imSampRate=1\nimSampRate=2\n", FileFormatError),
        (b"a=\xff\xfe\xe9\n", UnknownValueError),
    ],
)
def test_bad_files(meta, content, kind):
    meta.write_bytes(content)
    with pytest.raises(kind) as caught:
        READER.read(meta)
    assert caught.value.file == str(meta)


def test_missing_and_unreadable(tmp_path):
    with pytest.raises(MissingFileError):
        READER.read(tmp_path / "none.ap.meta")
    (tmp_path / "folder.ap.meta").mkdir()
    with pytest.raises(MaplakeError):
        READER.read(tmp_path / "folder.ap.meta")


def test_notes_over_several_lines(meta):
    make(meta)
    meta.write_bytes(meta.read_bytes().replace(b"a=b\n", b"a=b\nand more\n"))
    assert parse_meta(meta)["userNotes"] == "gain = 500; a=b\nand more"


def test_recording_beside_the_metadata(meta):
    make(meta)
    binary = meta.with_suffix(".bin")
    binary.write_bytes(b"\0" * 99)
    with pytest.raises(CorruptFileError, match="99 bytes; expected 100 bytes"):
        READER.read(meta)
    binary.write_bytes(b"\0" * 100)
    assert READER.read(meta).info["bin_path"] == binary


def test_find(tmp_path):
    names = [
        "a/run_g0_imec0/run_g0_t0.imec0.ap.meta",
        "a/run_g0_imec0/run_g0_t0.imec0.lf.meta",
        "a/run_g0_imec1/run_g0_t0.imec1.ap.meta",
        "catgt_run_g0/run_g0_imec0/run_g0_tcat.imec0.ap.meta",
    ]
    for name in (*names, "a/run_g0_imec0/._run_g0_t0.imec0.ap.meta"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert READER.find(tmp_path) == [tmp_path / names[2], tmp_path / names[3]]
    assert READER.find(tmp_path / "a/run_g0_imec0") == [tmp_path / names[0]]
    assert READER.find(tmp_path / names[0]) == [tmp_path / names[0]]
    assert READER.find(tmp_path / names[1]) == []
    assert READER.find(tmp_path / "nothing") == []


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, 900), noise=st.binary(max_size=20))
def test_damage_never_lets_a_foreign_error_out(tmp_path_factory, cut, noise):
    path = make(tmp_path_factory.mktemp("damage") / "run_g0_t0.imec0.ap.meta")
    data = path.read_bytes()
    path.write_bytes(data[:cut] + noise + data[cut + len(noise) :])
    try:
        records = READER.read(path)
    except MaplakeError:
        return
    assert len(records.arrays["electrode"]) == records.info["ap_channels"]
