"""A report of the lake of figures, with pictures that cost nothing where only files matter."""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import figure_lake
from lakefiles import write_manifests, write_table
from matplotlib.figure import Figure

import maplake
from maplake.plots import FIGURES
from maplake.reports import make_report

#: An animal's name that breaks out of text, attributes, scripts, paths and formulas.
HOSTILE = "\"'><script>window.hacked=1</script>../..&amp;$\\frac{"


def build(folder):
    root = folder / "lake"
    figure_lake.build(root)
    name_animals(root, {101: HOSTILE, 102: "xx102"})
    return root


def name_animals(root, names):
    write_table(
        root, "lab.water_restriction", {}, subject_id=list(names),
        water_restriction_number=list(names.values()),
        wr_start_date=[datetime(2024, 1, 1).date()] * len(names),
    )  # fmt: skip
    write_manifests(root)


def copy(root, folder):
    return Path(shutil.copytree(root, folder / "lake"))


def cheap(monkeypatch, drawn=None, fault=None):
    """Let every figure be an empty picture; ``drawn`` gets its name and key."""

    def fake(one):
        def draw(_lake, key, **_options):
            if one.name == fault:
                raise RuntimeError("<b>no & such</b> picture")
            if drawn is not None:
                drawn.append((one.name, key))
            return Figure(figsize=(0.2, 0.2))

        return replace(one, draw=draw)

    for name, one in list(FIGURES.items()):
        monkeypatch.setitem(FIGURES, name, fake(one))


def report(root, out, *args, **options):
    with maplake.open(root) as lake:
        return make_report(lake, out, *args, **{"workers": 1, **options})
