"""A small lake with something for every figure, and with everything that can be missing.

Sessions: 101/1 has photostimulation, histology, tracking and two hemispheres; 101/2 has a probe
without and one with a location on the midline; 102/1 has no hit; 103/1 is foraging; 104/1 is
multi-target-licking; 105/1 has trials and nothing else.
"""

from __future__ import annotations

from datetime import datetime

import analysis_lake
import numpy as np
from lakefiles import METHOD, finish, make_probe, make_session, write_probe, write_table

SITES = [1, 2, 3, 4]
HISTOLOGY = {"subject_id": 101, "session": 1, "insertion_number": 1}
FORAGING = {"subject_id": 103, "session": 1}
PORTS = {"subject_id": 104, "session": 1}
EMPTY = {"subject_id": 105, "session": 1}


def build(root):
    """Write the lake; returns the sessions of :func:`analysis_lake.build` by key."""
    sessions = analysis_lake.build(root)
    rng = np.random.default_rng(3)
    _brain(root)
    _tracking(root, sessions[101, 1][1])
    _foraging(root, rng)
    _ports(root, rng)
    started(root, EMPTY, "audio delay", 3)
    _behavior(root, EMPTY, ["hit"] * 3, "audio delay")
    finish(root)
    return sessions


def started(root, key, task, trials):
    write_table(
        root, "experiment.session", key, session_datetime=[datetime(2024, 2, key["session"], 10)],
        task=[task], task_protocol=[100 if task == "foraging" else 1], trial_count=[trials],
    )  # fmt: skip
    start = np.arange(trials) * 8.0
    write_table(
        root, "experiment.session_trial", key, trial=np.arange(1, trials + 1), start_time=start,
        stop_time=start + 6,
    )  # fmt: skip


def _behavior(root, key, outcome, task):
    count = len(outcome)
    write_table(
        root, "experiment.behavior_trial", key, trial=np.arange(1, count + 1), task=[task] * count,
        task_protocol=[100 if task == "foraging" else 1] * count, outcome=outcome,
        trial_instruction=["none" if task != "audio delay" else "left"] * count,
        early_lick=["no early"] * count,
    )  # fmt: skip


def _brain(root):
    write_table(
        root, "lab.probe_type_electrode", {}, probe_type=["np"] * 4, electrode=SITES,
        shank=[1, 1, 2, 2], shank_col=[1] * 4, shank_row=[1, 2, 1, 2],
        x_coord=[0.0, 0.0, 250.0, 250.0], y_coord=[0.0, 20.0, 0.0, 20.0],
    )  # fmt: skip
    write_table(
        root, "histology.electrode_ccf_position", HISTOLOGY, electrode=SITES,
        ccf_x=[4000, 4000, 4200, 4200], ccf_y=[2020, 2000, 2020, 2000], ccf_z=[3000] * 4,
    )  # fmt: skip
    write_table(root, "histology.labeled_probe_track", HISTOLOGY, dye_color=["red"])
    write_table(
        root, "histology.labeled_probe_track_point", HISTOLOGY, order=[0, 1], shank=[1, 1],
        ccf_x=[3900.0, 4000.0], ccf_y=[400.0, 2020.0], ccf_z=[3000.0, 3000.0],
    )  # fmt: skip
    write_table(
        root, "histology.pseudocoronal_slice", HISTOLOGY, shank=[1, 1, 1], ccf_y=[2000, 2000, 2020],
        ccf_z=[3000] * 3, ccf_x_start=[3960, 4020, 3980], ccf_x_stop=[4000, 4060, 4020],
        region_id=[10, 11, 10],
    )  # fmt: skip
    version = {"annotation_version": "v"}
    write_table(root, "ccf.annotation_version", {}, annotation_version=["v"], resolution=[20])
    write_table(
        root, "ccf.ccf_brain_region", {}, annotation_version=["v", "v"], region_id=[10, 11],
        region_name=["here", "there"], color_code=["112233", "445566"],
    )  # fmt: skip
    write_table(
        root, "ccf.annotation_run", version, region_id=[10, 10], ccf_x=[4000, 4200],
        ccf_z=[3000, 3000], ccf_y_start=[1980, 2000], ccf_y_stop=[2040, 2040], voxel_size=[20, 20],
    )  # fmt: skip
    write_table(
        root, "ccf.annotated_brain_surface", {}, annotated_brain_name=["b"],
        vertices=[[[0.0, 0, 0], [500.0, 0, 0], [0, 500.0, 400.0]]], faces=[[[0, 1, 2]]],
    )  # fmt: skip


def _tracking(root, events):
    """A side camera at 100 frames per s that sees 5 s of 20 trials; the tongue in half of them."""
    key = {"subject_id": 101, "session": 1, "tracking_device": "Camera 0"}
    trials = np.arange(10, 30)
    write_table(root, "tracking.tracking", key, trial=trials, tracking_samples=[500] * len(trials))
    trial = np.repeat(trials, 1000)
    frame = np.tile(np.repeat(np.arange(500), 2), len(trials))
    feature = np.tile(["jaw", "tongue"], 500 * len(trials))
    time = frame / 100.0
    write_table(
        root, "tracking.tracking_position", key, trial=trial, feature=feature.tolist(), frame=frame,
        time=time, x=np.zeros(len(trial)), y=100 + 5 * np.sin(2 * np.pi * 8 * time),
        likelihood=np.where(frame % 2, 0.99, 0.1),
    )  # fmt: skip
    phase = np.linspace(0, 2 * np.pi, 20, endpoint=False) + np.pi / 20
    write_table(
        root, "tracking.jaw_tuning", HISTOLOGY, clustering_method=[METHOD] * 2, unit=[40, 50],
        spike_count=[5, 0], phase=[phase.tolist()] * 2,
        rate=[[1.0] * 19 + [None], [None] * 20], preferred_phase=[1.5, None],
        modulation_index=[0.4, None], p_value=[0.03, None],
    )  # fmt: skip


def _probe_of(root, rng, key, trials):
    s = make_session(rng, *key.values(), trials=trials)
    start = np.arange(trials) * 8.0
    s.columns["start_time"] = start
    probe = make_probe(rng, s, 1, units=3, per_trial=30)
    write_probe(root, s, 1, probe)


def _foraging(root, rng):
    trials = 90
    number = np.arange(1, trials + 1)
    started(root, FORAGING, "foraging", trials)
    port = rng.choice(["left", "right", None], trials, p=[0.45, 0.45, 0.1])
    outcome = [
        "ignore" if p is None else str(rng.choice(["hit", "miss"], p=[0.6, 0.4])) for p in port
    ]
    _behavior(root, FORAGING, outcome, "foraging")
    write_table(
        root, "experiment.water_port_choice", FORAGING, trial=number, water_port=port.tolist()
    )
    write_table(root, "experiment.session_block", FORAGING, block=[1, 2])
    write_table(
        root, "experiment.block_trial", FORAGING, trial=number, block=np.where(number <= 45, 1, 2)
    )
    write_table(
        root, "experiment.block_reward_probability", FORAGING, block=[1, 1, 2, 2],
        water_port=["left", "right"] * 2, reward_probability=[0.4, 0.1, 0.1, 0.4],
    )  # fmt: skip
    kinds = ["bitcodestart", "go", "choice", "trialend"]
    write_table(
        root, "experiment.trial_event", FORAGING, trial=np.repeat(number, 4),
        trial_event_id=np.tile(np.arange(4), trials), trial_event_type=kinds * trials,
        trial_event_time=np.tile([0.0, 3.2, 3.5, 5.0], trials), duration=np.zeros(4 * trials),
    )  # fmt: skip
    write_table(
        root, "experiment.action_event", FORAGING, trial=number, action_event_id=np.zeros(trials),
        action_event_type=np.where(number % 2, "left lick", "right lick").tolist(),
        action_event_time=3.25 + 0.01 * (number % 50),
    )  # fmt: skip
    _probe_of(root, rng, FORAGING, trials)


def _ports(root, rng):
    trials = 12
    number = np.arange(1, trials + 1)
    started(root, PORTS, "multi-target-licking", trials)
    _behavior(root, PORTS, ["N/A"] * trials, "multi-target-licking")
    write_table(root, "experiment.mtl_session_block", PORTS, block=[1, 2])
    write_table(
        root, "experiment.mtl_block_water_port", PORTS, block=[1, 2], water_port=["mtl-2", "mtl-5"]
    )
    write_table(
        root, "experiment.mtl_block_trial", PORTS, trial=number, block=np.where(number <= 5, 1, 2)
    )
    _probe_of(root, rng, PORTS, trials)
