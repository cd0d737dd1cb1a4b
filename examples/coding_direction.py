# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Coding direction
#
# The direction in the space of rates along which contra and ipsi trials differ most, and how far
# each trial has gone along it. Beside `maplake-demo`, as `maplake demo` leaves it.

# %%
import matplotlib.pyplot as plt
import numpy as np

import maplake
from maplake.plots import FIGURES, Key
from maplake.plots.coding import projection
from maplake.plots.style import SETTINGS
from maplake.query.decoding import project_on_coding_direction

plt.rcParams.update(SETTINGS)  # the looks of maplake's own figures
lake = maplake.open("maplake-demo/lake")
key = Key(subject_id=400002, session=2, insertion_number=1)

# %% [markdown]
# The direction is the difference of the mean rates in a window before the go cue, of length 1.
# Every contra and ipsi trial is projected on it.

# %%
found = lake.coding_direction(400002, 2, 1)
found.direction.shape, found.contra.shape, found.ipsi.shape  # (units,), (trials, bins)

# %%
_, ax = plt.subplots(figsize=(6, 4), layout="constrained")
projection(lake, key, ax=ax, found=found)

# %% [markdown]
# Which units carry it? A few with large weights, or all of them a little?

# %%
weights = np.sort(np.abs(found.direction))[::-1]
_, ax = plt.subplots(figsize=(5, 3), layout="constrained")
ax.bar(np.arange(1, len(weights) + 1), weights, color="0.4")
ax.set(xlabel="unit, by weight", ylabel="|weight|", title="sum of squares is 1")

# %% [markdown]
# Trials with light were not used for the direction. Projected on it, do they still tell the sides
# apart? Counts of any trials of the same units can be projected; so can PSTHs.

# %%
lit = {
    side: lake.psth(400001, 1, 1, condition=f"all_noearlylick_both_alm_stim_{side}", bin=0.1)
    for side in ("left", "right")
}
dark = {
    side: lake.psth(400001, 1, 1, condition=f"all_noearlylick_nostim_{side}", bin=0.1)
    for side in ("left", "right")
}
direction = lake.coding_direction(400001, 1, 1).direction

_, ax = plt.subplots(figsize=(6, 4), layout="constrained")
for rates, style in ((dark, "-"), (lit, "--")):
    for side, color in (("left", "tab:red"), ("right", "tab:blue")):
        one = rates[side]
        along = project_on_coding_direction(one.rate, direction)
        light = "light" if style == "--" else "no light"
        trials = int(one.trial_count.max())
        ax.plot(one.time, along, style, color=color, label=f"{side}, {light} (n = {trials})")
ax.axvline(0, color="0.5", lw=1)
ax.set(xlabel="time from the go cue (s)", ylabel="projection (Hz)")
ax.legend(fontsize=8)

# %% [markdown]
# Two probes of a session: does a trial that is far along one direction lie far along the other,
# too?

# %%
FIGURES["coding-direction"].draw(lake, Key(subject_id=400002, session=2))

# %% [markdown]
# **Try:** does the direction of the sample (`window=(-2.4, -1.2)`) point the same way as that of
# the delay? Their inner product says so. Make the direction from odd trials and project the even
# ones.
