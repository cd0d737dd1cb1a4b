"""How long each figure takes, and the figures of all units of a probe.

    python benchmarks/bench_figures.py [LAKE] [--most 5] [--folder DIR] [--json FILE]

Draws every figure of up to five sessions, probes or units that it is for, and all units of the
largest probe; without LAKE, of the small one that the tests draw. Prints ms: drawing includes the
queries; saving is a PNG of 150 dpi. The floor is one empty figure, drawn and saved.
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
sys.path[:0] = [str(Path(__file__).parents[1] / "tests")]

import figure_lake
from harness import Figure, save
from matplotlib.figure import Figure as Canvas

import maplake
from maplake.plots import FIGURES, Key
from maplake.plots.unit_data import probe_unit_data

EMPTY = "an empty figure"


def keys(lake, level):
    if level == "project":
        return [Key()]
    if level == "session":
        return [
            Key(*row)
            for row in lake.sql("SELECT subject_id, session FROM experiment.session").fetchall()
        ]
    unit = ", min(unit)" if level == "unit" else ""
    query = f"SELECT subject_id, session, insertion_number{unit} FROM ephys.unit GROUP BY 1, 2, 3"
    return [Key(*row) for row in lake.sql(query).fetchall()]


def timed(do, *args, **options):
    start = time.perf_counter()
    found = do(*args, **options)
    return found, 1000 * (time.perf_counter() - start)


def saved(made, dpi):
    made.savefig(io.BytesIO(), dpi=dpi)


def empty():
    """Draw and save nothing: four axes, as many figures have."""
    made = Canvas()
    made.subplots(2, 2)
    saved(made, 150)


def each(lake, most, floor):
    print(f"{'figure':25} {'n':>4} {'draw':>6} {'save':>6}  (median ms)")
    for name, figure in FIGURES.items():
        times = []
        for key in keys(lake, figure.level):
            if len(times) < most and (figure.level == "project" or figure.fits(lake, key)):
                timed(figure.draw, lake, key)  # what it imports is not counted
                made, drawing = timed(figure.draw, lake, key)
                times.append((drawing, timed(saved, made, 150)[1]))
        if not times:
            print(f"{name:25} {0:4}  nothing in the lake fits it")
            continue
        drawing, saving = (sorted(part)[len(part) // 2] for part in zip(*times, strict=True))
        print(f"{name:25} {len(times):4} {drawing:6.0f} {saving:6.0f}", flush=True)
        shortest = min(sum(one) for one in times) / 1e3
        yield Figure(f"{name}, drawn and saved", shortest, EMPTY, floor)


def units(lake, floor):
    query = (
        "SELECT subject_id, session, insertion_number FROM ephys.unit GROUP BY ALL "
        "ORDER BY count(*) DESC, 1, 2, 3 LIMIT 1"
    )
    key = Key(*lake.sql(query).fetchall()[0])
    data, fetching = timed(probe_unit_data, lake, key)
    kinds = {"delay": "unit-psth", "ports": "unit-psth-by-port", "foraging": "unit-psth-foraging"}
    figure = FIGURES[kinds[data.kind]]
    total = [0.0, 0.0, 0.0]
    for unit in data.units["unit"].to_list():
        made, drawing = timed(figure.draw, lake, replace(key, unit=unit), data=data)
        total[0] += drawing
        total[1] += timed(saved, made, 100)[1]
        total[2] += timed(data.as_dict, unit)[1]
    print(f"{len(data.units)} units of a probe ({figure.name}): {fetching:.0f} ms for their data")
    for what, ms in zip(("draw", "save (100 dpi)", "as JSON"), total, strict=True):
        print(f"  {what:15} {ms / len(data.units):6.1f} ms per unit")
    seconds = sum(total[:2]) / len(data.units) / 1e3
    return Figure(f"{figure.name}, of every unit of a probe, each", seconds, EMPTY, floor)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lake", type=Path, nargs="?", help="default: the one of the tests")
    parser.add_argument("--most", type=int, default=5, help="of a figure")
    parser.add_argument("--folder", type=Path, help="keep that lake here; default: temporary")
    parser.add_argument("--json", type=Path, help="write the figures to this file, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = options.lake or (options.folder or Path(temporary)) / "lake"
        if not (root / "lake.duckdb").exists():
            figure_lake.build(root)
        empty()  # fonts are loaded once
        floor = min(timed(empty)[1] for _ in range(5)) / 1e3
        with maplake.open(root) as lake:
            save([*each(lake, options.most, floor), units(lake, floor)], options.json)


if __name__ == "__main__":
    main()
