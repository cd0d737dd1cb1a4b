"""What ``fuzz.py`` found, kept in a file from which a search goes on, and in a page."""

from __future__ import annotations

import json
import platform
from collections import Counter
from pathlib import Path
from typing import Any

from tried import commit

_BEGIN, _END = "<!-- fuzz:begin -->", "<!-- fuzz:end -->"
COMMAND = "python tests/fuzz.py --report docs/fuzz.json --page docs/reliability.md"


class Tally:
    """Outcomes by format, seed and range of case numbers.

    Ranges with a violation are not kept: the next search repeats them.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.ranges: dict[str, dict[str, Any]] = {}
        self.failures: list[dict[str, Any]] = []
        self.open: dict[str, list[str]] = {}  # ranges with violations, until they pass
        commit()  # now, as it may change meanwhile
        if path is not None and path.exists():
            known = json.loads(path.read_bytes())
            self.ranges, self.open = known["ranges"], known["open"]

    def has(self, key: str) -> bool:
        """Whether a range has been searched."""
        return key in self.ranges

    def add(self, key: str, part: dict[str, Any]) -> None:
        """Take in a range: its counts by outcome, seconds, and failures."""
        self.failures += part["failures"]
        self.open.pop(key, None)
        if part["failures"]:
            self.open[key] = [f"{one['number']} {one['kind']}" for one in part["failures"]]
        else:
            kept = {name: part[name] for name in ("counts", "seconds")}
            self.ranges[key] = kept | {"code": commit()}
        self.write()

    def write(self) -> None:
        """Write the file aside and rename it."""
        if self._path is None:
            return
        system = f"{platform.system()}, Python {platform.python_version()}"
        ranges = dict(sorted(self.ranges.items()))
        content = {"system": system, "open": self.open, "ranges": ranges}
        aside = self._path.with_name(f"{self._path.name}.part")
        aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        aside.replace(self._path)

    def codes(self) -> list[str]:
        """Return the commits on which cases were tried."""
        return sorted({part.get("code", "unknown") for part in self.ranges.values()})

    def by_format(self) -> dict[str, Counter[str]]:
        """Return the outcomes of each format; ``seconds`` is among the counts."""
        found: dict[str, Counter[str]] = {}
        for key, part in self.ranges.items():
            counts = found.setdefault(key.split(" ")[0], Counter())
            counts.update(part["counts"])
            counts["seconds"] += part["seconds"]
        return dict(sorted(found.items()))


def page(tally: Tally) -> str:
    """Return the block of the page."""
    rows, total = [], Counter()
    for name, counts in tally.by_format().items():
        total.update(counts)
        rows.append(_row(f"`{name}`", counts))
    cases = sum(total[kind] for kind in ("rows", "skip", "error"))
    violations = sum(map(len, tally.open.values()))
    told = (
        f"**{cases:,} cases, {violations} violations**: no other exception, no hang over "
        "10 s, no 2 GB, nothing executed, nothing written elsewhere, no value that went wrong "
        f"unseen{_still(tally)}. {total['seconds'] / 60:.0f} minutes of one process; "
        f"commit {', '.join(tally.codes())}."
    )
    lines = [
        told,
        "",
        "| what is damaged | cases | rows | rows, some skipped | refused |",
        "|---|---:|---:|---:|---:|",
        *rows,
        _row("in all", total),
        "",
        f"`{COMMAND}`",
    ]
    return "\n".join(lines)


def _still(tally: Tally) -> str:
    """Name the ranges that had a violation and have not passed since."""
    if not tally.open:
        return ""
    return f", but for these ranges, not counted below: {'; '.join(sorted(tally.open))}"


def _row(name: str, counts: Counter[str]) -> str:
    cells = [counts[kind] for kind in ("rows", "skip", "error")]
    return f"| {name} | {sum(cells):,} | " + " | ".join(f"{c:,}" for c in cells) + " |"


def rewrite(path: Path, tally: Tally) -> None:
    """Put the figures between the marks of a page; without marks, it stays as it is."""
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if begin and end:
        block = f"{before}{begin}\n{page(tally)}\n{end}{after}"
        path.write_text(block, encoding="utf-8", newline="\n")
