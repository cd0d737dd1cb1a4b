"""Many writers and readers on one lake at once, counted; the whole of it by one command.

    python tests/side_by_side.py --json figures.json --page docs/reliability.md

Writers are processes of the command line, each with one session; two more take the same one. Then
a session is sorted anew and replaced while another process computes, again and again, and deleted
and taken in again. All the while readers ask in a loop how many rows of each table each session
has: all that it should have, or none; of a session that is replaced, all of one sorting.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from labs import content  # noqa: E402
from tried import commit  # noqa: E402

import maplake  # noqa: E402
from maplake import simulate  # noqa: E402
from maplake.compute import run as compute  # noqa: E402
from maplake.config import load  # noqa: E402
from maplake.ingest import delete, pipeline  # noqa: E402
from maplake.ingest.lakes import init  # noqa: E402
from maplake.query.check import check  # noqa: E402

TABLES = (
    "experiment.session",
    "experiment.session_trial",
    "experiment.trial_event",
    "ephys.probe_insertion",
    "ephys.unit",
    "ephys.spike",
    "ephys.ephys_trial",
    "ephys.trial_spikes",
)
#: May be absent: they are computed after the session is in.
COMPUTED = ("ephys.map_cluster_metric", "psth.period_selectivity")
BEGIN, END = "<!-- concurrency:begin -->", "<!-- concurrency:end -->"
#: Between two queries of a reader (s), so that writers have a share of few processors.
PAUSE_S = 0.02
SPAWN = multiprocessing.get_context("spawn")


def counts_sql(name=str):
    """Rows by table and session."""
    parts = [
        f"SELECT '{t}' AS t, subject_id, session, count(*) AS n FROM {name(t)} GROUP BY ALL"
        for t in (*TABLES, *COMPUTED)
    ]
    return "\nUNION ALL ".join(parts)


def half(found, whole):
    """Number of sessions that are there in part: each must be as in one of its whole states.

    One that there never was counts, too.
    """
    seen = {}
    for table, subject, session, n in found:
        seen.setdefault((subject, session), {})[table] = n
    return sum(
        not any(_is_state(rows, one) for one in whole.get(key, ())) for key, rows in seen.items()
    )


def _is_state(rows, state):
    must = all(rows.get(table) == state.get(table) for table in TABLES)
    return must and all(rows.get(table, state.get(table)) == state.get(table) for table in COMPUTED)


def goes_on(stop):
    """Whether to ask once more: not when told to stop, nor after whoever would tell was killed."""
    parent = multiprocessing.parent_process()
    return not stop.wait(PAUSE_S) and (parent is None or parent.is_alive())


def by_maplake(root, whole, stop, out):
    """Every query through maplake: no half session and no error is allowed."""
    figures = {"queries": 0, "half": 0, "errors": []}
    with maplake.open(root) as lake:
        while goes_on(stop):
            try:
                figures["half"] += half(lake.sql(counts_sql()).fetchall(), whole)
            except Exception as error:
                figures["errors"].append(repr(error)[:300])
            figures["queries"] += 1
    out.put(("maplake", figures))


def by_duckdb(root, whole, stop, out):
    """A DuckDB client that knows nothing of maplake, a new connection each time."""
    import duckdb

    figures = {"queries": 0, "half": 0, "errors": []}
    while goes_on(stop):
        try:
            with duckdb.connect(str(root / "lake.duckdb"), read_only=True) as con:
                figures["half"] += half(con.execute(counts_sql()).fetchall(), whole)
        except Exception as error:
            figures["errors"].append(repr(error)[:300])
        figures["queries"] += 1
    out.put(("duckdb", figures))


def by_program(root, whole, stop, out):
    """The program ``duckdb`` (DuckDB 1.5), a process for each query."""
    figures = {"queries": 0, "half": 0, "errors": []}
    command = [PROGRAM, "-readonly", "-json", str(root / "lake.duckdb"), counts_sql()]
    while goes_on(stop):
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        if done.returncode:
            figures["errors"].append(done.stderr[:300])
        else:
            rows = json.loads(done.stdout or "[]")
            found = [(r["t"], r["subject_id"], r["session"], r["n"]) for r in rows]
            figures["half"] += half(found, whole)
        figures["queries"] += 1
    out.put(("program", figures))


def by_polars(root, whole, stop, out):
    """The folders with polars: each table by itself."""
    import polars as pl

    figures = {"queries": 0, "half": 0, "errors": []}
    while goes_on(stop):
        for table in (*TABLES, *COMPUTED):
            folder = root.joinpath("tables", *table.split("."))
            if not folder.is_dir():  # no session yet
                continue
            try:
                frame = pl.scan_parquet(folder, hive_partitioning=True)
                rows = frame.group_by("subject_id", "session").len().collect().rows()
                figures["half"] += sum(
                    all(state.get(table) != n for state in whole[subject, session])
                    for subject, session, n in rows
                )
            except Exception as error:
                if "expanded paths were empty" not in str(error):
                    figures["errors"].append(repr(error)[:300])
            figures["queries"] += 1
    out.put(("polars", figures))


PROGRAM = shutil.which("duckdb", path=str(Path(sys.executable).parent)) or shutil.which("duckdb")
READERS = (by_maplake, by_duckdb, *((by_program,) if PROGRAM else ()), by_polars)


def write_together(config, sessions):
    """Take each session in by a process of its own, the first by three; return the exit codes."""
    found, _ = pipeline.prepare(config)
    keys = [(s.subject_id, s.session) for s in found][:sessions]
    jobs = [
        start(
            config, "ingest", "--no-compute", "--subject", str(subject), "--session", str(session)
        )
        for subject, session in [*keys, keys[0], keys[0]]
    ]
    return ended(jobs)


def start(config, *arguments):
    """Start the command line in a process of its own."""
    command = [sys.executable, "-m", "cli", "--config", str(config.file), "--lake"]
    command += [str(config.lake.root), "--quiet", *arguments]
    return subprocess.Popen(
        command, cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


def ended(jobs):
    """Return the exit codes of processes, and what they said."""
    errors = [job.communicate(timeout=600)[1].decode() for job in jobs]
    return [job.returncode for job in jobs], [text for text in errors if text]


class Sorting:
    """The sorting of the first session's probe, and one with a unit less and fewer spikes."""

    def __init__(self, lab):
        clusters = min(lab.rglob("spike_clusters.npy"))
        self.of_spikes, self.time_ns = {}, clusters.stat().st_mtime_ns
        units = np.load(clusters)
        for file in clusters.parent.glob("*.npy"):
            values = np.load(file)
            if len(values) == len(units):
                self.of_spikes[file] = values
        self.clusters, self.names = clusters, np.unique(units)

    def put(self, *, is_other):
        """Write the one or the other, each always with the same times."""
        for file, values in self.of_spikes.items():
            kept = values[: -len(values) // 4] if is_other else values
            if is_other and file == self.clusters:
                kept = np.where(kept == self.names[0], self.names[1], kept)
            np.save(file, kept)
            os.utime(file, ns=(self.time_ns,) * 2)


def replace_and_compute(config, sorting, times):
    """Let sortings replace each other while another process computes; return codes and words."""
    codes, errors = [], []
    for is_other in (True, False) * times:
        sorting.put(is_other=is_other)
        job = start(config, "compute")
        pipeline.run(config, replace=True)
        code, words = ended([job])
        codes, errors = codes + code, errors + words
        compute.run(config)
    return codes, errors


def delete_and_read_again(config, times):
    """Delete the first session and take it in again, again and again."""
    first = min(load_keys(config))
    for _ in range(times):
        target = delete.Target(*first)
        delete.delete(config, target)
        delete.undelete(config, target)
        pipeline.run(config, subject=first[0], session=first[1])
        compute.run(config)


def load_keys(config):
    with maplake.open(config.lake.root) as lake:
        return lake.sql("SELECT subject_id, session FROM experiment.session").fetchall()


def run(folder, *, sessions=8, again=5):
    """Do all of it below a folder and return the figures."""
    lab = simulate.lab(
        folder / "lab", animals=(sessions + 1) // 2, sessions=2, probes=1, trials=30, units=6,
        sorting=simulate.Sorting(pc_features=False), recording=simulate.Recording(channels=48),
    )  # fmt: skip
    config, sorting = load(lab.config), Sorting(folder / "lab")
    serial = replace(config, lake=replace(config.lake, root=folder / "serial"))
    whole = whole_states(serial, sorting)
    expected = content(serial.lake.root)
    root = config.lake.root
    init(config)
    with reading(root, whole) as figures:
        begin = time.perf_counter()
        codes, errors = write_together(config, sessions)
        seconds = time.perf_counter() - begin
        pipeline.run(config)
        more, words = replace_and_compute(config, sorting, again)
        delete_and_read_again(config, again)
    left = [p for n in ("staging", "journal") for p in (root / ".maplake" / n).iterdir()]
    return {
        "commit": commit(),
        "writers": len(codes),
        "writers_failed": sum(code != 0 for code in codes + more),
        "messages": errors + words,
        "seconds": round(seconds, 1),
        "replaced": 2 * again,
        "deleted_and_read_again": again,
        "same_bytes_as_serial": content(root) == expected,
        "left_behind": len(left),
        "check_findings": len(list(check(root, deep=True))),
        "readers": figures,
    }


def whole_states(config, sorting):
    """Fill a lake by one process; return what each session may be: rows by table, some of them.

    The lake ends as the one that many write at once must end.
    """
    whole = {}
    for is_other in (False, True, False):
        sorting.put(is_other=is_other)
        pipeline.run(config, replace=True)
        compute.run(config)
        found = {}
        with maplake.open(config.lake.root) as lake:
            for table, subject, session, n in lake.sql(counts_sql()).fetchall():
                found.setdefault((subject, session), {})[table] = n
        for key, rows in found.items():
            whole.setdefault(key, []).append(rows)
    delete_and_read_again(config, 1)
    if whole[min(whole)][0] == whole[min(whole)][1]:
        raise RuntimeError("the two sortings cannot be told from each other")
    return whole


@contextmanager
def reading(root, whole):
    """Let all readers ask meanwhile; what is yielded has their figures at the end."""
    stop, out, figures = SPAWN.Event(), SPAWN.Queue(), {}
    readers = [SPAWN.Process(target=read, args=(root, whole, stop, out)) for read in READERS]
    for reader in readers:
        reader.start()
    try:
        yield figures
    finally:
        stop.set()
        figures.update(out.get(timeout=120) for _ in readers)
        for reader in readers:
            reader.join()


def as_page(figures):
    """The figures as the block of docs/reliability.md."""
    names = {
        "maplake": "maplake (`lake.sql`)",
        "duckdb": "DuckDB in Python, `lake.duckdb`",
        "program": "the program `duckdb` 1.5, `lake.duckdb`",
        "polars": "polars on the folders, each table by itself",
    }
    told = (
        f"{figures['writers']} writers at once, three of them on the same session: "
        f"{figures['writers_failed']} failed; same bytes as by one process: "
        f"{'yes' if figures['same_bytes_as_serial'] else 'NO'}; files left behind: "
        f"{figures['left_behind']}; findings of `maplake check`: {figures['check_findings']}. "
        f"Meanwhile another sorting of a session replaced the former {figures['replaced']} times, "
        "each time with `maplake compute` in another process, and the session was deleted and "
        f"taken in again {figures['deleted_and_read_again']} times."
    )
    command = (
        f"`python tests/side_by_side.py --page docs/reliability.md`, commit {figures['commit']}. "
        "What clients other than "
        "maplake can see is said in [cluster.md](cluster.md#readers-meanwhile)."
    )
    lines = [
        told,
        "",
        "| reader, all the while | queries | half sessions seen | errors |",
        "|---|---|---|---|",
        *(
            f"| {names[n]} | {f['queries']} | {f['half']} | {len(f['errors'])} |"
            for n, f in sorted(figures["readers"].items(), key=lambda i: list(names).index(i[0]))
        ),
        "",
        command,
    ]
    return "\n".join(lines)


def put_on_page(page, text):
    """Replace the block of a page, or add it."""
    old = page.read_text(encoding="utf-8") if page.exists() else "# Reliability\n"
    block = f"{BEGIN}\n{text}\n{END}"
    pattern = re.compile(f"{re.escape(BEGIN)}.*{re.escape(END)}", re.DOTALL)
    new = pattern.sub(lambda _: block, old) if pattern.search(old) else f"{old}\n{block}\n"
    page.write_text(new, encoding="utf-8", newline="\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=8)
    parser.add_argument("--again", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="maplake-"))
    try:
        figures = run(folder, sessions=options.sessions, again=options.again)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    text = json.dumps(figures, indent=2)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    if options.page:
        put_on_page(options.page, as_page(figures))
    sys.stdout.write(text + "\n")
    ours = figures["readers"]["maplake"]
    bad = figures["writers_failed"] or ours["half"] or ours["errors"] or figures["left_behind"]
    sys.exit(bool(bad or not figures["same_bytes_as_serial"]))


if __name__ == "__main__":
    main()
