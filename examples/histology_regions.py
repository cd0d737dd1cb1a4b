# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Histology and regions
#
# Where the probes went, which regions their units lie in, and what differs between regions.
# Beside `maplake-demo`, as `maplake demo` leaves it; its brain is small and made of blocks.

# %%
import matplotlib.pyplot as plt
import polars as pl

import maplake
from maplake.plots import FIGURES, Key
from maplake.plots.project import units_by_region
from maplake.plots.slices import pseudocoronal
from maplake.plots.style import SETTINGS

plt.rcParams.update(SETTINGS)  # the looks of maplake's own figures
lake = maplake.open("maplake-demo/lake")
key = Key(subject_id=400001, session=1, insertion_number=1)

# %% [markdown]
# All probes in the brain. Each colour is a session.

# %%
FIGURES["all-probe-tracks"].draw(lake, Key())

# %% [markdown]
# `ephys.unit_ccf` joins a unit with its electrode's place in the Common Coordinate Framework (um:
# left to right, dorsal to ventral, front to back) and with the region there. `interpolated` marks
# sites that histology left out and that were put between their neighbours.

# %%
placed = lake.table("ephys.unit_ccf").collect()
placed.group_by("region_name").agg(units=pl.len(), interpolated=pl.col("interpolated").sum()).sort(
    "units", descending=True
)

# %%
_, ax = plt.subplots(figsize=(6, 4), layout="constrained")
units_by_region(lake, Key(), ax=ax)

# %% [markdown]
# The slice of the brain that a shank lies in, with its recorded sites.

# %%
_, ax = plt.subplots(figsize=(6, 5), layout="constrained")
pseudocoronal(lake, key, shank=1, ax=ax)

# %% [markdown]
# Spikes over time and depth with the regions along the shank: a drifting brain would bend the
# bands.

# %%
FIGURES["drift-map"].draw(lake, key)

# %% [markdown]
# Do regions differ in rate? A box per region, colours of the atlas.

# %%
unit = ["subject_id", "session", "insertion_number", "clustering_method", "unit"]
rates = (
    lake.table("ephys.unit_stat")
    .join(lake.table("ephys.unit_ccf"), on=unit)
    .filter(pl.col("firing_rate").is_not_null(), pl.col("region_name").is_not_null())
    .collect()
)
groups = rates.group_by("region_name", "color_code").agg("firing_rate").sort("region_name")

_, ax = plt.subplots(figsize=(6, 0.5 * len(groups) + 1.2), layout="constrained")
boxes = ax.boxplot(
    groups["firing_rate"].to_list(), orientation="horizontal", patch_artist=True, widths=0.6
)
for box, color in zip(boxes["boxes"], groups["color_code"], strict=True):
    box.set_facecolor(f"#{color}")
for line in boxes["medians"]:
    line.set_color("black")
names = [f"{row[0]} (n = {len(row[2])})" for row in groups.iter_rows()]
ax.set_yticks(range(1, len(names) + 1), names)
ax.set(xlabel="rate in trials (Hz)", xlim=(0, None))

# %% [markdown]
# What a paper on one region shares is a lake of its own: `maplake export lake --region
# "Isocortex, left" --out isocortex`.
#
# **Try:** how deep below the brain's surface is each unit? `histology.shank_brain_surface_point`
# has the surface for each shank.
