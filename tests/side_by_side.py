"""Many writers and readers on one lake at once, counted; the whole of it by one command.

    python tests/side_by_side.py --json figures.json --page docs/reliability.md

Writers are processes of the command line, each with one session; two more take the same one. While
they work, and while sessions are deleted and taken in again, readers ask in a loop how many rows
of each table each session has: all that it should have, or none.
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
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from labs import content  # noqa: E402

import maplake  # noqa: E402
from maplake import simulate  # noqa: E402
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
)
BEGIN, END = "<!-- concurrency:begin -->", "<!-- concurrency:end -->"
SPAWN = multiprocessing.get_context("spawn")


def counts_sql(name=str):
    """Rows by table and session."""
    parts = [
        f"SELECT '{t}' AS t, subject_id, session, count(*) AS n FROM {name(t)} GROUP BY ALL"
        for t in TABLES
    ]
    return "\nUNION ALL ".join(parts)


def half(found, whole):
    """Number of sessions that are there in part."""
    seen = {}
    for table, subject, session, n in found:
        seen.setdefault((subject, session), {})[table] = n
    return sum(seen[key] != whole[key] for key in seen)


def by_maplake(root, whole, stop, out):
    """Every query through maplake: no half session and no error is allowed."""
    figures = {"queries": 0, "half": 0, "errors": []}
    with maplake.open(root) as lake:
        while not stop.is_set():
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
    while not stop.is_set():
        try:
            with duckdb.connect(str(root / "lake.duckdb"), read_only=True) as con:
                figures["half"] += half(con.execute(counts_sql()).fetchall(), whole)
        except Exception as error:
            figures["errors"].append(repr(error)[:300])
        figures["queries"] += 1
    out.put(("duckdb", figures))


def by_polars(root, whole, stop, out):
    """The folders with polars: each table by itself."""
    import polars as pl

    figures = {"queries": 0, "half": 0, "errors": []}
    while not stop.is_set():
        for table in TABLES:
            folder = root.joinpath("tables", *table.split("."))
            if not folder.is_dir():  # no session yet
                continue
            try:
                frame = pl.scan_parquet(folder, hive_partitioning=True)
                rows = frame.group_by("subject_id", "session").len().collect().rows()
                figures["half"] += sum(whole[r[0], r[1]].get(table) != r[2] for r in rows)
            except Exception as error:
                if "expanded paths were empty" not in str(error):
                    figures["errors"].append(repr(error)[:300])
            figures["queries"] += 1
    out.put(("polars", figures))


READERS = (by_maplake, by_duckdb, by_polars)


def write_together(config, sessions):
    """Take each session in by a process of its own, the first by three; return the exit codes."""
    found, _ = pipeline.prepare(config)
    keys = [(s.subject_id, s.session) for s in found][:sessions]
    command = [sys.executable, "-m", "cli", "--config", str(config.file), "--lake"]
    command += [str(config.lake.root), "--quiet", "ingest", "--no-compute"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    jobs = [
        subprocess.Popen(
            [*command, "--subject", str(subject), "--session", str(session)],
            cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )
        for subject, session in [*keys, keys[0], keys[0]]
    ]  # fmt: skip
    errors = [job.communicate(timeout=600)[1].decode() for job in jobs]
    return [job.returncode for job in jobs], [text for text in errors if text]


def delete_and_read_again(config, times):
    """Delete the first session and take it in again, again and again."""
    first = min(load_keys(config))
    for _ in range(times):
        target = delete.Target(*first)
        delete.delete(config, target)
        delete.undelete(config, target)
        pipeline.run(config, subject=first[0], session=first[1])


def load_keys(config):
    with maplake.open(config.lake.root) as lake:
        return lake.sql("SELECT subject_id, session FROM experiment.session").fetchall()


def run(folder, *, sessions=8, again=5):
    """Do all of it below a folder and return the figures."""
    lab = simulate.lab(
        folder / "lab", animals=(sessions + 1) // 2, sessions=2, probes=1, trials=30, units=6,
        sorting=simulate.Sorting(pc_features=False), recording=simulate.Recording(channels=48),
    )  # fmt: skip
    config = load(lab.config)
    serial = replace(config, lake=replace(config.lake, root=folder / "serial"))
    pipeline.run(serial)
    with maplake.open(serial.lake.root) as lake:
        whole = {}
        for table, subject, session, n in lake.sql(counts_sql()).fetchall():
            whole.setdefault((subject, session), {})[table] = n
    expected = content(serial.lake.root)
    root = config.lake.root
    init(config)
    stop, out = SPAWN.Event(), SPAWN.Queue()
    readers = [SPAWN.Process(target=read, args=(root, whole, stop, out)) for read in READERS]
    for reader in readers:
        reader.start()
    begin = time.perf_counter()
    codes, errors = write_together(config, sessions)
    seconds = time.perf_counter() - begin
    pipeline.run(config)
    delete_and_read_again(config, again)
    stop.set()
    figures = dict(out.get(timeout=120) for _ in readers)
    for reader in readers:
        reader.join()
    left = [p for n in ("staging", "journal") for p in (root / ".maplake" / n).iterdir()]
    return {
        "writers": len(codes),
        "writers_failed": sum(code != 0 for code in codes),
        "messages": errors,
        "seconds": round(seconds, 1),
        "deleted_and_read_again": again,
        "same_bytes_as_serial": content(root) == expected,
        "left_behind": len(left),
        "check_findings": len(list(check(root))),
        "readers": figures,
    }


def as_page(figures):
    """The figures as the block of docs/reliability.md."""
    names = {
        "maplake": "maplake (`lake.sql`)",
        "duckdb": "a DuckDB client on `lake.duckdb`",
        "polars": "polars on the folders, each table by itself",
    }
    told = (
        f"{figures['writers']} writers at once, three of them on the same session: "
        f"{figures['writers_failed']} failed; same bytes as by one process: "
        f"{'yes' if figures['same_bytes_as_serial'] else 'NO'}; files left behind: "
        f"{figures['left_behind']}; findings of `maplake check`: {figures['check_findings']}. "
        f"Then a session was deleted and taken in again {figures['deleted_and_read_again']} times."
    )
    command = (
        "`python tests/side_by_side.py --page docs/reliability.md`. What clients other than "
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
