"""How long each figure takes, and the figures of all units of a probe.

    python benchmarks/bench_figures.py LAKE

Draws every figure of up to five sessions, probes or units that it is for, and all units of the
largest probe. Prints ms: drawing includes the queries; saving is a PNG of 150 dpi.
"""

from __future__ import annotations

import io
import sys
import time
from dataclasses import replace

import maplake
from maplake.plots import FIGURES, Key
from maplake.plots.unit_data import probe_unit_data

MOST = 5  # of a figure


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


def main(root):
    lake = maplake.open(root)
    print(f"{'figure':25} {'n':>4} {'draw':>6} {'save':>6}  (median ms)")
    for name, figure in FIGURES.items():
        times = []
        for key in keys(lake, figure.level):
            if len(times) < MOST and (figure.level == "project" or figure.fits(lake, key)):
                made, drawing = timed(figure.draw, lake, key)
                times.append((drawing, timed(saved, made, 150)[1]))
        drawing, saving = (sorted(part)[len(part) // 2] for part in zip(*times, strict=True))
        print(f"{name:25} {len(times):4} {drawing:6.0f} {saving:6.0f}", flush=True)
    units(lake)


def units(lake):
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


if __name__ == "__main__":
    main(sys.argv[1])
