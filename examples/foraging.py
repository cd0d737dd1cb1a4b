# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Foraging
#
# An animal chooses between two ports whose chances of water change from block to block. Does it
# follow them, and do its units know? Beside `maplake-demo`, as `maplake demo` leaves it.

# %%
import matplotlib.pyplot as plt
import polars as pl

import maplake
from maplake.plots import FIGURES, Key
from maplake.plots.foraging import choices, licking
from maplake.plots.style import SETTINGS

plt.rcParams.update(SETTINGS)  # the looks of maplake's own figures
lake = maplake.open("maplake-demo/lake")
key = Key(subject_id=400004, session=1)

# %% [markdown]
# The session in numbers: a view over trials, computed when asked.

# %%
lake.table("foraging.session_stats").filter(subject_id=400004, session=1).collect().transpose(
    include_header=True, header_name="what", column_names=["value"]
)

# %% [markdown]
# Choices, water, and the chances of water by block.

# %%
_, ax = plt.subplots(figsize=(9, 3.5), layout="constrained")
choices(lake, key, ax=ax)

# %% [markdown]
# Matching: does the share of choices follow the share of water? `foraging.session_matching` fits
# a line through blocks of more than 30 trials. These here are shorter, so count them by hand.

# %%
block = ["subject_id", "session", "block"]
trial = ["subject_id", "session", "trial"]
by_block = (
    lake.table("experiment.behavior_trial")
    .filter(subject_id=400004, session=1)
    .join(lake.table("experiment.water_port_choice"), on=trial)
    .join(lake.table("experiment.block_trial"), on=trial)
    .filter(pl.col("water_port").is_not_null())
    .group_by(block)
    .agg(
        chosen=(pl.col("water_port") == "right").mean(),
        water=((pl.col("water_port") == "right") & (pl.col("outcome") == "hit")).sum()
        / (pl.col("outcome") == "hit").sum(),
        trials=pl.len(),
    )
    .sort("block")
    .collect()
)

_, ax = plt.subplots(figsize=(4, 4), layout="constrained")
ax.plot([0, 1], [0, 1], "--", color="0.6", lw=1)
ax.scatter(by_block["water"], by_block["chosen"], s=4 * by_block["trials"], color="0.3")
for row in by_block.iter_rows(named=True):
    ax.annotate(
        str(row["block"]), (row["water"], row["chosen"]), (8, 4), textcoords="offset points"
    )
ax.set(xlabel="share of water on the right", ylabel="share of choices on the right")
ax.set_title("one circle per block, area by trials")

# %% [markdown]
# Does it stay where it got water, and leave where it did not?

# %%
stays = (
    lake.table("experiment.behavior_trial")
    .filter(subject_id=400004, session=1)
    .join(lake.table("experiment.water_port_choice"), on=trial)
    .filter(pl.col("water_port").is_not_null())
    .sort("trial")
    .with_columns(stay=pl.col("water_port") == pl.col("water_port").shift(-1))
    .drop_nulls("stay")
    .group_by("outcome")
    .agg(stays=pl.col("stay").mean(), trials=pl.len())
    .sort("outcome")
    .collect()
)
stays

# %% [markdown]
# Reaction times and licking.

# %%
_, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
reaction = lake.table("foraging.trial_stats").filter(subject_id=400004, session=1).collect()
left.hist(reaction["reaction_time"].drop_nulls(), bins=20, color="0.4")
left.set(xlabel="reaction time (s)", ylabel="trials")
licking(lake, key, ax=right)

# %% [markdown]
# Units. Align types reach into the next trial: here spikes around the start of the pause between
# trials, after water and without. Then the figure of reports, four alignments of one unit.

# %%
water = {
    name: lake.psth(400004, 1, 1, condition=f"LR_{name}_noearlylick", event="iti_start", bin=0.2)
    for name in ("hit", "miss")
}
difference = abs(water["hit"].rate - water["miss"].rate).mean(axis=1)
most = int(difference.argmax())

_, ax = plt.subplots(figsize=(6, 3), layout="constrained")
for name, color in (("hit", "tab:blue"), ("miss", "tab:red")):
    ax.step(water[name].time, water[name].rate[most], color=color, label=f"after a {name}")
ax.axvline(0, color="0.5", ls="--", lw=1)
ax.set(xlabel="time from the end of the trial (s)", ylabel="rate (Hz)", ylim=(0, None))
ax.legend(fontsize=8)

# %%
unit = int(water["hit"].units["unit"][most])
FIGURES["unit-psth-foraging"].draw(
    lake, Key(subject_id=400004, session=1, insertion_number=1, unit=unit)
)

# %% [markdown]
# **Try:** is the trial before the last one remembered, too? Shift by two. And do units tell what
# was chosen *before* the choice: `psth.period_foraging_activity('iti_last_2')` has their spikes.
