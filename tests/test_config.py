"""lake.toml: what it may say, where it is found, and how mistakes are reported."""

from __future__ import annotations

import dataclasses
import logging
import pickle
import re
import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maplake import config as cfg
from maplake.config.toml_lines import find_lines
from maplake.errors import ConfigError

EXAMPLE = Path(__file__).parents[1] / "lake.toml.example"


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch):
    monkeypatch.delenv("MAPLAKE_CONFIG", raising=False)
    monkeypatch.delenv("MAPLAKE_LOGLEVEL", raising=False)


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "lake.toml") -> Path:
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        return file

    return write


def fails(file: Path) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        cfg.load(file)
    assert caught.value.file == str(file)
    return caught.value


def switched_on() -> str:
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    return "\n".join(re.sub(r"^#(?=[^ ])", "", line) for line in lines)


# ------------------------------------------------------------------------------- the example


def test_example_is_the_defaults(tmp_path):
    config = cfg.load(EXAMPLE)
    default = cfg.Config(lake=cfg.LakeSettings(root=EXAMPLE.parent / "lake"))
    for field in dataclasses.fields(cfg.Settings):
        if field.name != "photostim":  # spelled out there, built in here
            assert getattr(config, field.name) == getattr(default, field.name)
    assert config.behavior_context == default.behavior_context
    assert sorted(default.behavior_context.photostim) == [4, 5, 6]


def keys_of(cls: type, prefix: str = "") -> set[str]:
    return {prefix + field.name for field in dataclasses.fields(cls)}


def test_example_has_every_key(write):
    data = tomllib.loads(switched_on())
    config = cfg.load(write(switched_on()))
    for field in dataclasses.fields(cfg.Settings):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            assert set(data[field.name]) == keys_of(type(value)), field.name
        else:
            assert data[field.name], field.name
    assert set(data["behavior"]["rigs"][0]) == keys_of(cfg.BehaviorRig)
    assert set(data["tracking"]["rigs"][0]) == keys_of(cfg.TrackingRig)
    assert set(data["align_types"]["delay_start"]) == keys_of(cfg.AlignType)
    assert set(data["publish"]["source"]) == keys_of(cfg.Endpoint)
    assert set(data["conditions"]["left_free"]) == keys_of(cfg.Condition)
    assert set(data["photostim"][0]) == keys_of(type(config.photostim[0]))
    assert set(data["photostim"][0]["sites"][0]) == keys_of(type(config.photostim[0].sites[0]))


# ------------------------------------------------------------------------------- what is read


def test_empty_file_gives_defaults(write):
    file = write("")
    assert cfg.load(file).lake.root == file.parent / "lake"
    assert cfg.load(file).paths("behavior") == ()


def test_paths_are_relative_to_the_file(write, tmp_path, monkeypatch):
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("USERPROFILE", str(tmp_path / "home"))
    config = cfg.load(write('[ephys]\npaths = ["raw", "/abs", "~/x"]\n[lake]\nroot = "../l"'))
    assert config.ephys.paths == (tmp_path / "raw", Path("/abs"), tmp_path / "home" / "x")
    assert config.lake.root == tmp_path / ".." / "l"


def test_byte_order_mark_and_windows_lines(tmp_path):
    file = tmp_path / "lake.toml"
    file.write_bytes(b'\xef\xbb\xbf[behavior]\r\nsession_user = "ann"\r\nfoo = 1\r\n')
    assert "line 3" in str(fails(file))


def test_own_photostim_replaces_by_number(write):
    text = """
    [[photostim]]
    photo_stim = 6
    power = 2
    sites = [{ brain_area = "vS1", ap_location = -1500, ml_location = 3000 }]
    [[photostim]]
    photo_stim = 9
    sites = [{ brain_area = "ALM", ap_location = 2500, ml_location = 1500, depth = -100 }]
    """
    protocols = cfg.load(write(text)).behavior_context.photostim
    assert sorted(protocols) == [4, 5, 6, 9]
    assert protocols[6].power == 2.0
    assert protocols[6].sites[0].brain_area == "vS1"
    assert protocols[4].sites[0].ml_location == -1500
    assert protocols[5].sites[0].ml_location == 1500
    assert protocols[9].duration == 0.5


def test_conditions_short_and_long(write):
    text = '[conditions]\na = "x = 1"\nb = { predicate = "y", description = "why" }'
    rows = cfg.load(write(text)).condition_rows
    assert rows == (("a", "x = 1", None), ("b", "y", "why"))


def test_align_rows(write):
    text = '[align_types]\nlate = { event = "DELAY", time_offset = 0.6 }'
    assert cfg.load(write(text)).align_rows == (("late", "delay", 0, 0.6, -2.0, 5.0),)


def test_config_crosses_processes(write):
    config = cfg.load(write(switched_on()))
    again = pickle.loads(pickle.dumps(config))  # noqa: S301 - our own bytes
    assert again == config
    assert again.lines == config.lines


# ------------------------------------------------------------------------------- mistakes


TWO_RIGS = """[behavior]
rigs = [
  { name = 'R', path = 'a' },
  # another
  { path = 'b', name = 'R' },
]"""
STIM = """[[photostim]]
photo_stim = 7
sites = [{ brain_area = 'ALM', ap_location = 1, ml_location = 1 }]
"""


@pytest.mark.parametrize(
    ("text", "line", "key", "words"),
    [
        ("[behaviour]\n", 1, "behaviour", "Did you mean 'behavior'?"),
        ('[lake]\n\nrot = "x"', 3, "lake.rot", "Did you mean 'root'?"),
        ("[behavior]\nmin_file_kib = '5'", 2, "behavior.min_file_kib", "expected a number"),
        ("[behavior]\nmin_file_kib = true", 2, "behavior.min_file_kib", "found true"),
        ("[behavior]\nmin_file_kib = -1", 2, "behavior.min_file_kib", "at least 0"),
        ("[behavior]\nmin_file_kib = nan", 2, "behavior.min_file_kib", "finite"),
        ("[ccf]\nresolution_um = 20.5", 2, "ccf.resolution_um", "whole number"),
        ("[ccf]\nresolution_um = 0", 2, "ccf.resolution_um", "more than 0"),
        ("[lake]\nroot = ''", 2, "lake.root", "not empty"),
        ("[lake]\nroot = 1979-05-27 07:32:00", 2, "lake.root", "a path in quotes"),
        ("[ephys]\npaths = 'a'", 2, "ephys.paths", "a list"),
        ("[ephys]\npaths = [\n 'a',\n 3,\n]", 4, "ephys.paths[1]", "a path in quotes"),
        ("lake = 3", 1, "lake", "a table"),
        ("[logging]\nlevel = 'LOUD'", 2, "logging.level", "one of DEBUG, INFO"),
        ("[behavior]\nlate_delay_subjects = '('", 2, "late_delay_subjects", "regular expression"),
        ("[behavior]\nrigs = [{ path = 'a' }]", 2, "behavior.rigs[0]", "'name' is missing"),
        (TWO_RIGS, 5, "behavior.rigs[1].name", "'R' is given twice"),
        ("[[tracking.rigs]]\nname='a'\npath='b'\n[[tracking.rigs]]\nname='c'\npth='d'", 6,
         "tracking.rigs[1].pth", "Did you mean 'path'?"),
        ("[align_types]\na = { event = 'goo' }", 2, "align_types.a.event", "go"),
        ("[align_types.a]\nevent = 'go'\nstart = 2\nstop = 1", 4, "a.stop", "more than"),
        ("[align_types]\nGO_cue = { event = 'go' }", 2, "align_types.GO_cue", "already one"),
        ("[conditions]\na = 'x'\nA = 'y'", 3, "conditions.A", "already one"),
        ("[conditions]\na = ' '", 2, "conditions.a.predicate", "not empty"),
        ("[[photostim]]\nsites = []\nphoto_stim = 4", 2, "photostim[0].sites", "at least one site"),
        ("[[photostim]]\nphoto_stim = 4", 1, "photostim[0]", "'sites' is missing"),
        (STIM + "power = -1", 4, "photostim[0].power", "at least 0"),
        (STIM + "duration = 0", 4, "photostim[0].duration", "more than 0"),
        (STIM + "photostim_device = 'torch'", 4, "photostim_device", "OBIS470"),
        (STIM + STIM, 5, "photostim[1].photo_stim", "7 is given twice"),
    ],
)  # fmt: skip
def test_mistakes_name_line_and_key(write, text, line, key, words):
    error = fails(write(text))
    assert f"line {line}," in error.place
    assert key in error.place
    assert words in str(error)
    assert error.exit_code == 3


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[lake\nroot = 'x'", "line 1, column"),
        ("[lake]\nroot = x", "line 2, column 8"),
        ("[lake]\nroot = ", "line 2"),
        ("a = 1\na = 2", "line 2"),
        ("a = [" * 5000, ""),
    ],
)
def test_syntax_errors_name_the_line(write, text, place):
    error = fails(write(text))
    assert "is not valid TOML" in error.message
    assert place in (error.place or "")


def test_a_path_without_quotes_is_shown_with_a_hint(write):
    error = fails(write("[lake]\nroot = lake\n"))
    assert error.found == "root = lake"
    assert "in quotes" in error.hint


def test_windows_path_gets_a_hint(write):
    assert "single quotes" in str(fails(write('[lake]\nroot = "C:\\Users"')))


def test_unreadable_files(tmp_path):
    assert "no such settings file" in str(fails(tmp_path / "nothing.toml"))
    assert "cannot be read" in str(fails(tmp_path))
    (tmp_path / "b.toml").write_bytes(b"a = '\xff'")
    assert "byte 5" in str(fails(tmp_path / "b.toml"))


# ------------------------------------------------------------------------------- where it is


def test_found_here_and_upward(write, tmp_path):
    file = write("")
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert cfg.find_config(deep) == file.resolve()


def test_environment_wins_over_folder(write, tmp_path, monkeypatch):
    write("")
    other = write("[behavior]\nsession_user = 'ann'", "other.toml")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAPLAKE_CONFIG", str(other))
    assert cfg.load().behavior.session_user == "ann"
    monkeypatch.delenv("MAPLAKE_CONFIG")
    assert cfg.load().behavior.session_user == "unknown"


def test_nowhere(tmp_path, monkeypatch):
    monkeypatch.setattr(cfg.load.__globals__["Path"], "is_file", lambda _: False)
    with pytest.raises(ConfigError, match="maplake init"):
        cfg.find_config(tmp_path)


# ------------------------------------------------------------------------------- paths


def test_paths_are_looked_at_only_when_asked(write, tmp_path):
    config = cfg.load(write('[behavior]\nrigs = [\n  { name = "R", path = "gone" }\n]'))
    with pytest.raises(ConfigError) as caught:
        config.require_paths("behavior")
    assert caught.value.place == "line 3, key behavior.rigs[0].path"
    assert caught.value.found == str(tmp_path / "gone")
    (tmp_path / "gone").mkdir()
    assert config.require_paths("behavior") == (tmp_path / "gone",)
    assert config.require_paths("ephys") == ()


def test_every_kind_has_its_paths(write):
    config = cfg.load(write(switched_on()))
    assert {kind: len(config.paths(kind)) for kind in cfg.KINDS} == {
        "ccf": 4, "animals": 1, "behavior": 2, "foraging": 3, "ephys": 1,
        "insertion_locations": 1, "tracking": 1, "histology": 1,
    }  # fmt: skip
    with pytest.raises(ConfigError, match="Did you mean 'ephys'"):
        config.paths("ephy")


# ------------------------------------------------------------------------------- logging


def test_level_from_environment(write, monkeypatch):
    file = write("[logging]\nlevel = 'error'")
    assert cfg.load(file).logging.level == "ERROR"
    monkeypatch.setenv("MAPLAKE_LOGLEVEL", "debug")
    assert cfg.load(file).logging.level == "DEBUG"
    monkeypatch.setenv("MAPLAKE_LOGLEVEL", "loud")
    with pytest.raises(ConfigError, match="MAPLAKE_LOGLEVEL"):
        cfg.load(file)


@pytest.fixture
def log():
    logger = logging.getLogger("maplake")
    yield logger
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    logger.setLevel(logging.NOTSET)


def test_log_goes_to_the_file(write, tmp_path, log, capsys):
    config = cfg.load(write("[logging]\nlevel = 'INFO'\nfile = 'logs/m.log'"))
    cfg.setup_logging(config)
    cfg.setup_logging(config, quiet=True)
    assert len(log.handlers) == 2
    log.info("spikes: 5 µV")
    text = (tmp_path / "logs" / "m.log").read_text(encoding="utf-8")
    assert text.count("spikes: 5 µV") == 1
    assert capsys.readouterr().err == ""


def test_log_file_that_cannot_be_written_is_a_warning(write, log, capsys):
    cfg.setup_logging(cfg.load(write("[logging]\nfile = 'lake.toml/m.log'")))
    assert "cannot write the log file" in capsys.readouterr().err


# ------------------------------------------------------------------------------- line finder


def all_paths(value, path=()):
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items if isinstance(value, (dict, list)) else ():
        if isinstance(item, (dict, list)):
            yield from all_paths(item, (*path, key))
        else:
            yield (*path, key)


TRICKY = '''# [no] = "table"
a.b.c = 1   # dotted
"q.x" = """
[not]
a = 'header' \\""" still
"""
t = \'\'\'
x = 1\'\'\'
when = 1979-05-27 07:32:00
f = -1.5e3
[ one . "two three" ]
k = [ [1, 2],
  # ] comment
  ["]", { z = "}", y = [
     3 ] } ],
]
[[list]]
n = 1
[list.sub]
m = 2
[[list]]
n = 3
[[list.deep]]
o = 4
'''


def test_lines_of_a_tricky_document():
    lines = find_lines(TRICKY)
    assert {p for p in all_paths(tomllib.loads(TRICKY)) if p} == set(lines)
    expected = {
        ("a", "b", "c"): 2, ("q.x",): 3, ("t",): 7, ("when",): 9, ("f",): 10,
        ("one", "two three"): 11, ("one", "two three", "k", 0): 12,
        ("one", "two three", "k", 1, 1, "z"): 14, ("one", "two three", "k", 1, 1, "y", 0): 15,
        ("list", 0, "n"): 18, ("list", 0, "sub", "m"): 20, ("list", 1, "n"): 22,
        ("list", 1, "deep", 0, "o"): 24,
    }  # fmt: skip
    assert {path: lines[path] for path in expected} == expected


NAMES = st.text("abcxyz", min_size=1, max_size=4)
VALUES = st.recursive(
    st.integers() | st.booleans() | st.text("ab#[]{}=,.'\" ", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)


def inline(value) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k} = {inline(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[\n" + ",\n".join(map(inline, value)) + "]"
    if isinstance(value, str):
        return '"' + value.replace('"', '\\"') + '"'
    return str(value).lower()


@given(st.dictionaries(NAMES, VALUES, max_size=4))
def test_every_key_has_its_line(document):
    text = "\n\n".join(f"{name} = {inline(value)}" for name, value in document.items())
    lines = find_lines(text)
    paths = {p for p in all_paths(tomllib.loads(text)) if p}
    assert set(lines) == paths
    rows = text.split("\n")
    for path in paths:
        if isinstance(path[-1], str):
            assert f"{path[-1]} = " in rows[lines[path] - 1]


@given(st.text("[]{}=\"'#.\n a1", max_size=30))
def test_any_valid_text_is_scanned(text):
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert {p for p in all_paths(document) if p} <= set(find_lines(text))
