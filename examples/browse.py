# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Browse a lake
#
# What is in a lake, from the number of sessions down to the spikes of one unit. Run `maplake
# demo` first, and this beside the folder `maplake-demo` that it leaves.

# %%
import matplotlib.pyplot as plt
import polars as pl

import maplake
from maplake.plots import FIGURES, Key
from maplake.plots.behavior import performance
from maplake.plots.style import SETTINGS

plt.rcParams.update(SETTINGS)  # the looks of maplake's own figures
lake = maplake.open("maplake-demo/lake")
lake.sessions()

# %% [markdown]
# Tables with their number of rows; views are computed when asked and have none.

# %%
lake.tables().filter(pl.col("rows") > 0).sort("rows", descending=True).head(10)

# %% [markdown]
# A table is a polars LazyFrame. Filters on animal, session and insertion leave other files
# unread. How good are the animals? Free and automatic water do not count.

# %%
trials = lake.table("psth.trial").filter(~pl.col("free_water"), ~pl.col("auto_water"))
hits = pl.col("outcome") == "hit"
misses = pl.col("outcome") == "miss"
behavior = (
    trials.group_by("subject_id", "session", "task")
    .agg(
        trials=pl.len(),
        hit_rate=hits.sum() / (hits.sum() + misses.sum()),
        early=(pl.col("early_lick") == "early").mean(),
    )
    .sort("subject_id", "session")
    .collect()
)
behavior

# %% [markdown]
# One session, trial by trial, and the growth of the whole lab.

# %%
_, ax = plt.subplots(figsize=(8, 3), layout="constrained")
performance(lake, Key(subject_id=400001, session=1), ax=ax)

# %%
FIGURES["growth"].draw(lake, Key())

# %% [markdown]
# Units by sorter's verdict and cell type.

# %%
units = (
    lake.table("ephys.unit")
    .group_by("unit_quality", "cell_type")
    .agg(
        units=pl.len(), spikes=pl.col("spike_count").sum(), amplitude_uv=pl.col("unit_amp").median()
    )
    .sort("unit_quality", "cell_type")
    .collect()
)
units

# %% [markdown]
# The busiest unit of a probe. Its spikes are an array that is read when it is asked for.

# %%
busiest = (
    lake.table("ephys.unit")
    .filter(subject_id=400002, session=2, insertion_number=1)
    .sort("spike_count", descending=True)
    .collect()
)
unit = int(busiest["unit"][0])
spikes = lake.spikes(400002, 2, 1, unit=unit)

_, (left, right) = plt.subplots(1, 2, figsize=(8, 3), layout="constrained")
left.plot(spikes.time, spikes.amplitude, ",", color="0.2")
left.set(
    xlabel="time (s)",
    ylabel="amplitude (as the sorter gives it)",
    title=f"unit {unit}: {len(spikes.time)} spikes",
)
peak = abs(spikes.waveform).max(axis=1).argmax()
right.plot(spikes.waveform[peak], color="0.2")
right.set(xlabel="sample", ylabel="uV", title="mean waveform at its peak site")

# %% [markdown]
# What was left out, and why. Nothing is dropped silently.

# %%
lake.table("ingest.skipped").select("subject_id", "session", "item_type", "item", "reason").head(
    5
).collect()

# %% [markdown]
# **Try:** which session has the most early licks? What does `lake.table("ingest.source")` know of
# the files that it was read from?
