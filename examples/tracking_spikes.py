# ---
# jupyter:
#   jupytext:
#     formats: py:percent
# ---

# %% [markdown]
# # Tracking with spikes
#
# Jaw and tongue from video, frame by frame, beside the spikes of the same trials. Beside
# `maplake-demo`, as `maplake demo` leaves it.

# %%
import matplotlib.pyplot as plt
import polars as pl

import maplake
from maplake.plots import FIGURES, Key
from maplake.plots.style import SETTINGS

plt.rcParams.update(SETTINGS)  # the looks of maplake's own figures
lake = maplake.open("maplake-demo/lake")
key = Key(subject_id=400001, session=1, insertion_number=1)

# %% [markdown]
# Which features were tracked, by which camera, in how many trials?

# %%
positions = lake.table("tracking.tracking_position").filter(subject_id=400001, session=1)
positions.group_by("tracking_device", "feature").agg(
    trials=pl.col("trial").n_unique(), frames=pl.len()
).sort("tracking_device", "feature").collect()

# %% [markdown]
# Can they be trusted? A frame is bad where a feature jumps by more pixels than its camera's
# limit.

# %%
lake.table("tracking.tracking_qc").filter(subject_id=400001, session=1).group_by(
    "tracking_device", "feature"
).agg(bad_percentage=pl.col("bad_percentage").mean()).sort("tracking_device", "feature").collect()

# %% [markdown]
# One trial: the jaw, the tongue where the tracker is sure of it, and the spikes of the busiest
# unit. Times of frames are in s from the start of the trial. Spikes are in s from the go cue, so
# the time of the cue is added. (Videos of the demo last half a second; yours go on.)

# %%
probe = {"subject_id": 400001, "session": 1, "insertion_number": 1}
starts = lake.table("ephys.ephys_trial").filter(**probe)
busiest = lake.table("ephys.unit").filter(**probe).sort("spike_count").collect().row(-1, named=True)
spikes = (
    lake.table("ephys.trial_spikes")
    .filter(unit=busiest["unit"], **probe)
    .join(starts, on=["subject_id", "session", "insertion_number", "trial"])
    .select("trial", time=pl.col("spike_time") + pl.col("go_time") - pl.col("start_time"))
    .collect()
)
early = spikes.filter(pl.col("time").is_between(0, 0.5))
trial = int(early.group_by("trial").len().sort("len", "trial")["trial"][-1])

side_view = positions.filter(tracking_device="Camera 0", trial=trial).collect()
jaw = side_view.filter(feature="jaw")
tongue = side_view.filter(pl.col("likelihood") > 0.9, feature="tongue")
when = early.filter(trial=trial)["time"]

_, (ax, below) = plt.subplots(
    2, 1, figsize=(8, 4), sharex=True, height_ratios=(5, 1), layout="constrained"
)
ax.plot(jaw["time"], jaw["y"], color="0.3", lw=1, label="jaw")
ax.plot(tongue["time"], tongue["y"], ".", ms=3, color="tab:orange", label="tongue")
ax.set(ylabel="y (px)", title=f"trial {trial}")
ax.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1, 1))
below.eventplot(when, color="black")
below.set(
    xlabel="time from the start of the trial (s)", ylabel=f"unit {busiest['unit']}", yticks=[]
)

# %% [markdown]
# The phase of the jaw's movement, and the rate of each unit in it, are computed by every ingest.
# The unit that follows the jaw most:

# %%
tuning = (
    lake.table("tracking.jaw_tuning")
    .filter(pl.col("spike_count") > 100, subject_id=400001, session=1, insertion_number=1)
    .sort("modulation_index", descending=True)
    .collect()
)
unit = int(tuning["unit"][0])
FIGURES["unit-tracking"].draw(
    lake, Key(subject_id=400001, session=1, insertion_number=1, unit=unit)
)

# %% [markdown]
# Any feature and coordinate will do: rate by the position of the jaw. Each spike belongs to the
# last frame before it; bins with less than half a second of video are left out.

# %%
curve = lake.tuning(400001, 1, 1, unit, feature="jaw", coordinate="y", bins=15)
middle = (curve.edges[:-1] + curve.edges[1:]) / 2
enough = curve.occupancy > 0.5

_, ax = plt.subplots(figsize=(5, 3), layout="constrained")
ax.plot(middle[enough], curve.rate[enough], "o-", color="0.2")
ax.set(xlabel="jaw y (px)", ylabel="rate (Hz)", title=f"unit {unit}", ylim=(0, None))

# %% [markdown]
# **Try:** do units that follow the jaw also tell the sides apart? Join `tuning` with
# `psth.period_selectivity`.
