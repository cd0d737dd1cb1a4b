"""Rules of Windows and macOS, where the systems themselves cannot be had: emulated or read off."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import unicodedata
from importlib.util import find_spec
from pathlib import Path, PureWindowsPath

import pyarrow as pa
import pytest
from labs import content, ingest, lake_root, statuses

from maplake import simulate
from maplake.errors import LakeError
from maplake.layout import Layout, archived_store, lfp_store, safe_name, spare_file, table_file
from maplake.tables import get, stored
from maplake.writers import files, spikes
from maplake.writers.commit import Stage, commit, recover
from maplake.writers.lock import staging_run, write_lock

ROOT = Path(__file__).resolve().parent.parent
TRIALS = get("experiment.session_trial")
KEY = {"subject_id": 400001, "session": 1}
CLI = "maplake_cli" if find_spec("maplake_cli") else "cli"


def trials(n):
    return pa.table(
        {
            "trial": pa.array(range(1, n + 1), pa.int32()),
            "start_time": [float(i) for i in range(n)],
            "stop_time": [i + 0.5 for i in range(n)],
        }
    )


def small_lab(folder):
    return simulate.lab(
        folder,
        animals=1,
        sessions=1,
        probes=1,
        trials=15,
        units=4,
        recording=simulate.Recording(channels=24),
        sorting=simulate.Sorting(pc_features=False),
    )


class Windows:
    """Files held open: they, and the folders above them, cannot be renamed, replaced or removed."""

    def __init__(self, monkeypatch):
        self.held: set[Path] = set()
        self.refused = self.patience = 0
        monkeypatch.setattr(files, "WINDOWS", True)
        monkeypatch.setattr(files, "_PAUSE_S", 0.005)
        for owner, name in ((os, "replace"), (os, "unlink"), (os, "rmdir"), (os, "rename")):
            monkeypatch.setattr(owner, name, self._guarded(getattr(owner, name)))
        monkeypatch.setattr(os, "open", self._no_folder(os.open))

    def _guarded(self, real):
        def guarded(*args, **options):
            if "dir_fd" not in options or options["dir_fd"] is None:
                for path in args[:2]:
                    if isinstance(path, str | Path) and self._is_held(Path(path)):
                        self.refused += 1
                        if self.refused == self.patience:
                            self.held.clear()
                        raise PermissionError(13, "used by another process", str(path))
            return real(*args, **options)

        return guarded

    def _is_held(self, path):
        return any(one == path or path in one.parents for one in self.held)

    def _no_folder(self, real):
        def opened(path, *args, **options):
            if "dir_fd" not in options and Path(path).is_dir() and not _removing():
                raise PermissionError(13, "folders cannot be opened", str(path))
            return real(path, *args, **options)

        return opened

    def hold(self, path, times):
        """Hold a file until it stood in the way so many times."""
        self.held.add(path)
        self.patience = times


def _removing():
    """Whether shutil removes a tree: it opens folders on Linux, and not on Windows."""
    frame = sys._getframe()
    while frame:
        if frame.f_code.co_filename == shutil.__file__:
            return True
        frame = frame.f_back
    return False


@pytest.fixture
def windows(monkeypatch):
    return Windows(monkeypatch)


@pytest.fixture
def layout(tmp_path):
    return Layout(tmp_path / "lake")


def put(layout, n, *, store=False):
    with write_lock(layout.root), staging_run(layout.root) as run:
        recover(layout)
        stage = Stage(layout, run)
        stage.table(TRIALS, KEY, trials(n))
        if store:
            target = archived_store({**KEY, "insertion_number": 1}, "a")
            spikes.write(stage.array(target), {"unit": pa.array(range(n)).to_numpy()}, {})
        commit(layout, [stage.finish()], {})


class TestWindows:
    def test_a_commit_needs_nothing_that_windows_lacks(self, windows, layout):
        put(layout, 3, store=True)
        put(layout, 4, store=True)
        assert not any(layout.staging.iterdir())
        assert len(content(layout.root)) > 3

    def test_a_file_that_a_reader_has_open_is_waited_for(self, windows, layout):
        put(layout, 3)
        path = layout.root / table_file(TRIALS, KEY)
        old = path.read_bytes()
        windows.hold(path, 3)
        put(layout, 4)
        assert windows.refused == 3
        assert path.read_bytes() != old

    def test_a_file_that_stays_open_leaves_a_decided_commit_for_later(self, windows, layout):
        put(layout, 3, store=True)
        before = content(layout.root)
        path = layout.root / table_file(TRIALS, KEY)
        windows.held.add(path)
        with pytest.raises(LakeError, match="whoever opens the lake next finishes it"):
            put(layout, 4)
        assert path.relative_to(layout.root).as_posix() in before
        windows.held.clear()
        with write_lock(layout.root):
            assert recover(layout) == 1
        assert content(layout.root) != before

    def test_a_folder_with_an_open_file_in_it_is_waited_for(self, windows, layout):
        put(layout, 3, store=True)
        store = layout.root / archived_store({**KEY, "insertion_number": 1}, "a")
        windows.hold(next(p for p in store.rglob("*") if p.is_file()), 3)
        put(layout, 5, store=True)
        assert windows.refused == 3

    def test_what_cannot_be_cleared_away_now_is_cleared_later(self, windows, layout):
        put(layout, 3)
        with staging_run(layout.root) as run:
            stage = Stage(layout, run)
            stage.table(TRIALS, KEY, trials(2))
        left = next(p for p in stage.folder.rglob("*") if p.is_file())
        windows.held.add(left)
        put(layout, 4)  # an indexer that holds it stops no writer
        windows.held.clear()
        with write_lock(layout.root):
            recover(layout)
        assert not any(layout.staging.iterdir())

    def test_a_path_that_is_too_long_is_told(self, windows, tmp_path):
        with (
            pytest.raises(LakeError, match="longer than the system allows") as caught,
            files.lake_faults(tmp_path),
        ):
            raise FileNotFoundError(2, "cannot find the path", str(tmp_path / ("x" * 300)))
        assert "long paths" in str(caught.value)

    @pytest.mark.skipif(os.name == "nt", reason="Windows has another limit")
    def test_a_name_that_is_too_long_is_told(self, tmp_path):
        with (
            pytest.raises(LakeError, match="longer than the system allows"),
            files.lake_faults(tmp_path),
        ):
            (tmp_path / ("x" * 300)).mkdir()


_DEVICES = ("CON", "nul", "aux.txt", "PRN", "com1", "LPT9.zarr", "Con.tar.gz")


class TestNames:
    @pytest.mark.parametrize(
        "name", [*_DEVICES, "a.", "a..", "a ", " a", "a:b", "a?b", "x" * 300, "ä" * 200, ".", ".."]
    )
    def test_are_such_as_windows_can_have(self, name):
        safe = safe_name(name)
        assert not PureWindowsPath(safe).is_reserved()
        assert not set(safe) & set('<>:"/\\|?* ')
        assert not safe.endswith((".", " "))
        assert 0 < len(safe) < 200
        assert safe == safe_name(name)

    def test_stay_different(self):
        names = ["CON", "%43ON", "a.", "a%2E", "x" * 300, "x" * 301, "ä" * 200, "ä" * 201]
        assert len({safe_name(name) for name in names}) == len(names)

    def test_of_tables_differ_by_more_than_case(self):
        names = [table.full_name for table in stored()]
        assert len({name.lower() for name in names}) == len(names)
        assert all(name == name.lower() for name in names)

    def test_paths_below_a_lake_are_short(self):
        """Windows has 260 characters in all; 40 are left for the lake's folder."""
        values = {"subject_id": 9_999_999, "session": 9_999, "insertion_number": 99}
        values |= {"source": "tracking-Camera 10", "archive": "kilosort2_20240131T120000"}
        values |= {"annotation_version": "CCF_2017", "voxel_size": 20}
        staged = f".maplake/staging/20260101T000000-{'0' * 8}.{'0' * 8}"
        paths = []
        for table in stored():
            path = table_file(table, {n: values.get(n, "x" * 20) for n in table.partition})
            paths += [path, spare_file(path)]
        chunk = f"waveform_electrode/c/0.{'0' * 32}.partial"
        paths += [f"{archived_store(values, 'kilosort2_20240131T120000')}/{chunk}"]
        paths += [f"{lfp_store(values)}/{chunk}"]
        longest = max(paths, key=lambda path: len(str(path)))
        assert len(f"{staged}/{longest}") <= 220, longest


def test_every_path_of_a_lake_is_one_that_every_system_can_have(ingested_lab):
    """No two that differ by case or composition alone, none that Windows refuses or cuts."""
    root = lake_root(ingested_lab)
    paths = [path.relative_to(root).as_posix() for path in root.rglob("*")]
    assert len(paths) > 200
    folded = [unicodedata.normalize("NFC", path).casefold() for path in paths]
    assert len(set(folded)) == len(paths)
    wrong = [
        path
        for path in paths
        if len(path) > 220
        or PureWindowsPath(path).is_reserved()
        or any(set(part) & set('<>:"\\|?*') or part[-1] in ". " for part in path.split("/"))
    ]
    assert not wrong


#: Runs commands one after the other; the last argument has their words.
_ALL = f"""
import json, runpy, sys
for words in json.loads(sys.argv[-1]):
    sys.argv = ["maplake", *words]
    try:
        runpy.run_module({CLI!r}, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise
"""


def _run(lab, *commands, **variables):
    """Run the command line in a process whose default encoding is that of old systems."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG"))}
    environment |= {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", **variables}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), environment.get("PYTHONPATH", "")])
    return subprocess.run(
        [
            *(sys.executable, "-X", "warn_default_encoding", "-W", "always::EncodingWarning"),
            *(
                "-c",
                _ALL,
                json.dumps([["--config", str(lab.config), *words] for words in commands]),
            ),
        ],
        check=False,
        capture_output=True,
        env=environment,
        cwd=ROOT,
    )


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    lab = small_lab(tmp_path_factory.mktemp("plain") / "lab")
    rows = lab.animals_file.read_text(encoding="utf-8").splitlines()
    lab.animals_file.write_text("\n".join(rows) + "\n", encoding="utf-8", newline="\n")
    (lab.directory / "people.csv").write_text(
        "username,fullname\nada,Ada Lovelace\nramon,Santiago Ramón y Cajal 脑\n", encoding="utf-8"
    )
    report = ingest(lab)
    assert not report.failed
    return lab


def moved(lab, folder):
    """Copy a lab's raw files alone."""
    shutil.copytree(lab.directory, folder, ignore=shutil.ignore_patterns("lake"))
    return simulate.Lab(**{**vars(lab), "directory": folder, "config": folder / "lake.toml"})


class TestTexts:
    def test_nothing_depends_on_the_systems_encoding(self, lab, tmp_path):
        here = moved(lab, tmp_path / "lab")
        people = str(here.directory / "people.csv")
        commands = (
            ("ingest",),
            ("load", "lab.person", people),
            ("status",),
            ("check", "--deep"),
            ("sql", "FROM lab.person"),
        )
        done = _run(here, *commands, PYTHONIOENCODING="cp1252:replace")
        assert done.returncode == 0, done.stderr.decode("cp1252")
        assert "Ramón" in done.stdout.decode("cp1252")
        ours = re.compile(
            rb"[^\n]*[/\\](?:maplake|cli|maplake_cli)[/\\][^\n]*EncodingWarning[^\n]*"
        )
        assert b"EncodingWarning" in done.stderr  # of other packages: they are told
        assert not ours.findall(done.stderr)
        found = content(lake_root(here))
        for path, digest in content(lake_root(lab)).items():
            if "tables/lab/person" not in path:
                assert found[path] == digest, path

    def test_lines_may_end_as_on_windows(self, lab, tmp_path):
        here = moved(lab, tmp_path / "lab")
        texts = {".meta", ".csv", ".tsv", ".txt", ".py", ".toml"}
        changed = [p for p in here.directory.rglob("*") if p.suffix in texts]
        for path in changed:
            path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))
        assert len(changed) > 5
        assert not ingest(here).failed
        assert content(lake_root(here)) == content(lake_root(lab))

    def test_records_name_files_with_slashes(self, lab):
        meta = lake_root(lab) / ".maplake"
        names = []
        for path in (*(meta / "manifest").glob("*.json"), *(meta / "state").glob("*.json")):
            found = json.loads(path.read_bytes())
            names += found.get("files", {})
            names += [o for source in found.get("sources", []) for o in source["outputs"]]
        assert len(names) > 20
        assert not any("\\" in name for name in names)


class TestTimes:
    def test_coarse_times_of_files_cost_a_second_look_and_change_nothing(self, lab, tmp_path):
        """Copied to FAT, times have a grain of 2 s; on NTFS one of 100 ns."""
        here = moved(lab, tmp_path / "lab")
        ingest(here)
        before = content(lake_root(here))
        for path in here.directory.rglob("*"):
            if path.is_file() and "lake" not in path.relative_to(here.directory).parts[:1]:
                coarse = path.stat().st_mtime_ns // 2_000_000_000 * 2_000_000_000
                os.utime(path, ns=(coarse, coarse))
        report = ingest(here)
        assert set(statuses(report).values()) == {"unchanged"}
        assert content(lake_root(here)) == before


class TestMac:
    @pytest.mark.parametrize("form", ["NFC", "NFD"])
    def test_folders_with_composed_and_decomposed_letters(self, lab, tmp_path, form):
        folder = tmp_path / unicodedata.normalize(form, "Mäuse é 脑")
        here = moved(lab, folder)
        assert not ingest(here).failed
        assert set(statuses(ingest(here)).values()) == {"unchanged"}
        assert content(lake_root(here)) == content(lake_root(lab))


# --------------------------------------------------------------------------- what the code names

#: Names of what some systems lack; a function that uses one must ask for the system or catch.
_LACKING = {
    *("fork", "forkpty", "sync", "getuid", "geteuid", "getgid", "setsid", "killpg", "mkfifo"),
    *("chown", "statvfs", "uname", "getloadavg", "sched_getaffinity", "sched_setaffinity"),
    *("sendfile", "pread", "pwrite", "O_DIRECTORY", "O_NOFOLLOW", "posix_fadvise", "fdatasync"),
    *("SIGKILL", "SIGALRM", "SIGUSR1", "SIGHUP", "SIGCHLD", "alarm", "setitimer", "getrusage"),
    *("setrlimit", "getrlimit", "flock", "lockf", "locking", "symlink"),
}
_MODULES = {"fcntl", "resource", "pwd", "grp", "termios", "pty", "msvcrt", "winreg"}
_ASKS = {"os.name", "sys.platform", "WINDOWS", "files.WINDOWS"}
#: What is raised where a system lacks something.
_RAISED = {"AttributeError", "ImportError", "NotImplementedError", "OSError", "FileNotFoundError"}


def _functions(tree):
    """Yield every function, else the module, with what is directly in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            yield node
    yield tree


def _is_guarded(function):
    nodes = list(ast.walk(function))
    asks = any(isinstance(n, ast.Attribute | ast.Name) and ast.unparse(n) in _ASKS for n in nodes)
    asks |= any(isinstance(n, ast.Name) and n.id in ("hasattr", "getattr") for n in nodes)
    caught = {
        name.id
        for n in nodes
        if isinstance(n, ast.ExceptHandler) and n.type is not None
        for name in ast.walk(n.type)
        if isinstance(name, ast.Name)
    }
    return asks or bool(caught & _RAISED)


@pytest.mark.parametrize(
    ("body", "is_fine"),
    [
        ("return os.getuid()", False),
        ("return os.getuid() if path.name else 0", False),
        ("try:\n        return os.getuid()\n    except KeyError:\n        return 0", False),
        ("try:\n        return os.getuid()\n    except OSError:\n        return 0", True),
        ('return os.getuid() if os.name != "nt" else 0', True),
    ],
)  # fmt: skip
def test_a_guard_is_told_from_what_only_looks_like_one(body, is_fine):
    (function,) = ast.parse(f"def f(path):\n    {body}\n").body
    assert _is_guarded(function) == is_fine


def _lacking(node):
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return (
            node.attr
            if node.value.id in ("os", "signal", "fcntl") and node.attr in _LACKING
            else None
        )
    if isinstance(node, ast.Import):
        return next((a.name for a in node.names if a.name in _MODULES), None)
    if isinstance(node, ast.ImportFrom):
        return node.module if node.module in _MODULES else None
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value if node.value.startswith(("/proc/", "/dev/")) else None
    return None


@pytest.mark.parametrize("folder", ["maplake", "cli"])
def test_nothing_that_one_system_lacks_is_used_without_another_way(folder):
    wrong = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        fine: set[int] = set()
        for function in _functions(tree):
            if function is not tree and _is_guarded(function):
                fine |= {id(node) for node in ast.walk(function)}
        wrong += [
            f"{path.relative_to(ROOT)}:{node.lineno} {_lacking(node)}"
            for node in ast.walk(tree)
            if _lacking(node) and id(node) not in fine
        ]
    assert not wrong


@pytest.mark.parametrize("folder", ["maplake", "cli"])
def test_texts_are_opened_with_their_encoding(folder):
    wrong = []
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                given = {word.arg for word in node.keywords}
                if node.func.attr in ("read_text", "write_text") and "encoding" not in given:
                    wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not wrong


def test_a_lock_held_for_a_moment_is_waited_for(tmp_path):
    held, ended = threading.Event(), threading.Event()

    def hold():
        with write_lock(tmp_path):
            held.set()
            time.sleep(0.2)
            ended.set()

    thread = threading.Thread(target=hold)
    thread.start()
    assert held.wait(10)
    with write_lock(tmp_path, timeout_s=10):
        assert ended.is_set()
    thread.join()
