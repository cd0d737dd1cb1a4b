"""Run the benchmarks that have a history: fail where a ratio worsened by a third.

    python benchmarks/run.py [--quick] [--only NAME] [--folder DIR] [--no-history]
    python benchmarks/run.py --docs        # writes docs/performance.md from the last run of each

``--quick`` takes small lakes and leaves out the annotation volume. A ratio is held against the
median of the earlier runs on machines of the same kind; the history is benchmarks/history.jsonl.
A time over its limit is told and is no failure: machines differ.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent / "tests")]

from harness import line, load, machine, versions, worsened
from tried import commit

HISTORY = HERE / "history.jsonl"
PAGE = HERE.parent / "docs" / "performance.md"

#: Arguments of every benchmark, of a quick run and of a whole one; None = left out.
SUITES: dict[str, tuple[list[str] | None, list[str]]] = {
    "scale": (["--sessions", "40", "--repeat", "3"], []),
    "query": (["--spikes", "300000"], []),
    "analysis": (["--spikes", "300000"], []),
    "ingest": (["--trials", "60", "--units", "60", "--repeat", "2"], []),
    "tracking": (["--trials", "40"], []),
    "ccf": (None, []),
    "formats": (["--trials", "40", "--units", "20", "--repeat", "2"], []),
    "compact": (["--sessions", "20"], []),
    "exports": (["--spikes", "300000"], []),
    "figures": (["--most", "1"], []),
    "report": (["--units", "10", "--trials", "60"], []),
}

_HEAD = """\
# Speed

Every figure is the shortest of several times (what one more session costs: the median of pairs),
and most are held against a floor that was measured in the same run: what no program could do
without. Ratios can be compared between machines, times cannot. This page is written by
`python benchmarks/run.py --docs` from the last run of each by `python benchmarks/run.py`, which
fails when a ratio is a third above the median of the runs before it on machines of the same kind
(`benchmarks/history.jsonl`).
"""


def command(name: str, *, quick: bool) -> list[str]:
    """Return the command of a benchmark."""
    arguments = SUITES[name][0 if quick else 1]
    return ["python", f"benchmarks/bench_{name}.py", *(arguments or [])]


def run(name: str, *, quick: bool, folder: Path | None) -> list[dict[str, Any]]:
    """Run one benchmark in a process of its own and return its figures."""
    words = command(name, quick=quick)
    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / "figures.json"
        kept = ["--folder", str(folder / name)] if folder else []
        subprocess.run(
            [sys.executable, HERE.parent / words[1], *words[2:], *kept, "--json", file],
            check=True,
            env={**os.environ, "PYTHONPATH": str(HERE.parent)},  # it need not be installed
            stdout=subprocess.DEVNULL,
        )
        found = load(file)
    shown = " ".join(words)
    return [asdict(f) | {"ratio": f.ratio, "suite": name, "command": shown} for f in found]


def history() -> list[dict[str, Any]]:
    """Return the runs so far."""
    if not HISTORY.exists():
        return []
    return [json.loads(text) for text in HISTORY.read_text(encoding="utf-8").splitlines()]


def latest(before: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the last run, with the figures of suites that it left out from the last that had them.

    Quick runs do not count.
    """
    runs = [entry for entry in before if not entry["quick"]]
    of_suite: dict[str, list[dict[str, Any]]] = {}
    for entry in runs:
        names = {figure["suite"] for figure in entry["figures"]}
        told = {"date": entry["date"][:10], "code": entry.get("code", "not recorded")}
        of_suite |= {n: [f | told for f in entry["figures"] if f["suite"] == n] for n in names}
    return {**runs[-1], "figures": [f for name in SUITES for f in of_suite.get(name, [])]}


def page(entry: dict[str, Any]) -> str:
    """Return the page of one run."""
    kind = entry["machine"]
    used = ", ".join(f"{name} {number}" for name, number in entry["versions"].items())
    where = f"{kind['processor']}, {kind['cores']} cores, {kind['system']}"
    parts = [_HEAD, f"Run on {where}, Python {kind['python']}; {used}.\n"]
    for suite in dict.fromkeys(f["suite"] for f in entry["figures"]):
        figures = [f for f in entry["figures"] if f["suite"] == suite]
        when = f"{figures[0]['date']}, commit {figures[0]['code']}"
        parts.append(f"## {suite.capitalize()}\n\n`{figures[0]['command']}` ({when})\n")
        rows = ["| what | time | beside its floor | promised |", "|---|---|---|---|"]
        rows += [_row(figure) for figure in figures]
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _row(figure: dict[str, Any]) -> str:
    ratio = "" if figure["ratio"] is None else f"{figure['ratio']:.2f} × {figure['floor']}"
    limit = "" if figure["limit"] is None else f"< {_time(figure['limit'])}"
    return f"| {figure['name']} | {_time(figure['seconds'])} | {ratio} | {limit} |"


def _time(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds >= 1 else f"{seconds * 1e3:.3g} ms"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small lakes, some minutes")
    parser.add_argument("--only", choices=SUITES, action="append", help="only this benchmark")
    parser.add_argument("--folder", type=Path, help="keep the lakes here for the next run")
    parser.add_argument("--no-history", action="store_true", help="do not add to the history")
    parser.add_argument("--docs", action="store_true", help="only write docs/performance.md")
    options = parser.parse_args()
    before = history()
    if options.docs:
        PAGE.write_text(page(latest(before)), encoding="utf-8", newline="\n")
        return 0
    entry = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": commit(),
        "machine": machine(),
        "versions": versions(),
        "quick": options.quick,
        "figures": [],
    }
    for name in options.only or SUITES:
        if options.quick and SUITES[name][0] is None:
            continue
        print(f"\n{' '.join(command(name, quick=options.quick))}", flush=True)
        found = run(name, quick=options.quick, folder=options.folder)
        entry["figures"] += found
        for figure in found:
            print(line(figure), flush=True)
    faults = worsened(entry, before)
    if not options.no_history:
        with HISTORY.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
    for fault in faults:
        print(f"WORSE: {fault}")
    for figure in entry["figures"]:
        if figure["limit"] is not None and figure["seconds"] > figure["limit"]:
            print(f"OVER ITS LIMIT: {line(figure)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
