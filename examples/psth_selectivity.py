# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # PSTHs and selectivity
#
# Which units tell contra from ipsi trials, when, and where on the probe? Beside `maplake-demo`,
# as `maplake demo` leaves it.

# %%
import matplotlib.pyplot as plt
import numpy as np
import polars as pl

import maplake
from maplake.plots import FIGURES, Key
from maplake.plots.population import average, by_side, stacked
from maplake.plots.psth import raster_and_psth
from maplake.plots.selectivity import by_position, selectivity_of
from maplake.plots.style import SETTINGS

plt.rcParams.update(SETTINGS)  # the looks of maplake's own figures
lake = maplake.open("maplake-demo/lake")
key = Key(subject_id=400002, session=2, insertion_number=1)

# %% [markdown]
# Selectivity is computed by every ingest: for each unit and period a t test of its rates in
# contra and ipsi hits without early licks and without light.

# %%
table = (
    lake.table("psth.period_selectivity").filter(subject_id=400002, session=2, insertion_number=1)
).collect()
table.group_by("period", "period_selectivity").len("units").sort("period", "period_selectivity")

# %% [markdown]
# The unit that is surest in the delay, in full.

# %%
best = table.filter(period="delay").sort("p_value").row(0, named=True)
upper, lower = raster_and_psth(lake, 400002, 2, 1, best["unit"])

# %% [markdown]
# The same from numbers. A PSTH of several conditions reads the spikes once. `rate` is in Hz, of
# shape (units, bins); `time` is the right edge of a bin, in s from the go cue.

# %%
names = ["good_noearlylick_left_hit", "good_noearlylick_right_hit"]
sides = lake.psth(400002, 2, 1, condition=names, bin=0.05)
difference = sides[names[1]].rate - sides[names[0]].rate
time = sides[names[0]].time

_, ax = plt.subplots(figsize=(6, 3), layout="constrained")
ax.plot(time, np.abs(difference).mean(axis=0), color="0.2")
ax.axvline(0, color="0.5", ls="--", lw=1)
ax.set(xlabel="time from the go cue (s)", ylabel="|right - left| (Hz)", title="mean over all units")

# %% [markdown]
# Where do selective units sit? Circles are as large as the difference of the rates.

# %%
_, axes = plt.subplots(1, 3, figsize=(8, 5), layout="constrained")
found = selectivity_of(lake, key)
for ax, period in zip(axes, ("sample", "delay", "response"), strict=True):
    by_position(found, period, ax=ax)

# %% [markdown]
# All units as a picture, contra minus ipsi, and their averages.

# %%
contra, ipsi = by_side(lake, key, "good_noearlylick_{}_hit")
units = contra.units
_, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
stacked(contra, ipsi, units, ax=left)
average(contra, ipsi, ax=right, title="all units")

# %% [markdown]
# Reports have the same figure, with contra- and ipsi-selective units apart.

# %%
FIGURES["group-psth"].draw(lake, key)

# %% [markdown]
# Is the share of selective units larger than chance would have it? One of twenty would pass the
# test by chance alone.

# %%
share = (
    lake.table("psth.period_selectivity")
    .group_by("subject_id", "session", "insertion_number", "period")
    .agg(selective=(pl.col("period_selectivity") != "non-selective").mean(), units=pl.len())
    .sort("subject_id", "session", "insertion_number", "period")
    .collect()
)
share

# %% [markdown]
# **Try:** align to the sample instead of the go cue (`event="sample"`), or write a condition of
# your own: `lake.conditions.add("late hits", "outcome = 'hit' AND trial > 100")`.
