"""What all benchmarks share: figures beside their floors, what ran them, and their history."""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

#: Libraries whose versions a figure depends on.
LIBRARIES = (
    *("maplake", "duckdb", "polars", "pyarrow", "numpy", "zarr"),
    *("h5py", "scipy", "pynapple", "pandas", "pynwb"),
)
#: A ratio that grew by more than this share of its median so far is a fault.
WORSE = 4 / 3


@dataclass(frozen=True)
class Figure:
    """One figure of a benchmark.

    Attributes
    ----------
    name
        What was measured.
    seconds
        How long it took: the shortest of several times, s.
    floor, floor_seconds
        What it is held against, measured in the same run, and how long that took.
    limit
        What was promised, s; None = nothing.
    """

    name: str
    seconds: float
    floor: str = ""
    floor_seconds: float | None = None
    limit: float | None = None

    @property
    def ratio(self) -> float | None:
        """Time as a multiple of the floor's."""
        return self.seconds / self.floor_seconds if self.floor_seconds else None


def shortest(works: Mapping[str, Callable[[], object]], repeat: int = 5) -> dict[str, float]:
    """Return the shortest time (s) of each piece of work; they take turns, so that all see the same
    machine."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeat):
        for name, work in works.items():
            times[name].append(took(work))
    return {name: min(found) for name, found in times.items()}


def took(work: Callable[[], object]) -> float:
    """Return how long work takes (s)."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def save(figures: Sequence[Figure], file: Path | None) -> None:
    """Print figures, and write them to a JSON file if there is one."""
    for figure in figures:
        print(line(asdict(figure) | {"ratio": figure.ratio}))
    if file is not None:
        text = json.dumps([asdict(figure) for figure in figures], indent=1)
        file.write_text(text, encoding="utf-8")


def load(file: Path) -> list[Figure]:
    """Read figures; also a dictionary of times, of which the first is the floor of all others."""
    found = json.loads(file.read_bytes())
    if isinstance(found, list):
        return [Figure(**item) for item in found]
    (floor, first), *others = found.items()
    seconds = first["min_ms"] / 1e3
    return [Figure(name, t["min_ms"] / 1e3, floor, seconds) for name, t in others]


def line(figure: Mapping[str, Any]) -> str:
    """Return a figure as a line of text."""
    ratio = "" if figure["ratio"] is None else f"{figure['ratio']:8.2f} x {figure['floor']}"
    limit = "" if figure["limit"] is None else f"  (at most {figure['limit'] * 1e3:g} ms)"
    return f"{figure['name']:60s}{figure['seconds'] * 1e3:10.1f} ms{ratio}{limit}"


def machine() -> dict[str, Any]:
    """Return what tells one kind of machine from another."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        lines = cpuinfo.read_text(encoding="utf-8").splitlines()
        name = next((x.split(":", 1)[1].strip() for x in lines if x.startswith("model name")), name)
    return {
        "processor": name,
        "cores": os.cpu_count(),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str]:
    """Return the versions of the libraries that are installed."""
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def worsened(run: Mapping[str, Any], history: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each ratio that is a third above its median on machines of the kind."""
    same = [h for h in history if (h["machine"], h["quick"]) == (run["machine"], run["quick"])]
    lines = []
    for figure in run["figures"]:
        past = [
            old["ratio"]
            for entry in same
            for old in entry["figures"]
            if old["name"] == figure["name"] and old["ratio"] is not None
        ]
        if not past or figure["ratio"] is None:
            continue
        usual = statistics.median(past)
        if figure["ratio"] > WORSE * usual:
            lines.append(f"{figure['name']}: {figure['ratio']:.2f} x, was {usual:.2f} x")
    return lines
