"""A small lake with what analyses need: events, licks, both hemispheres, and what is missing."""

from __future__ import annotations

import numpy as np
from lakefiles import finish, make_probe, make_session, write_lab, write_session, write_table

RIGHT, LEFT = 1500.0, -1200.0
#: Where each probe is: None = not in the sheet of insertion locations, 0 = on the midline.
ML = {
    (101, 1, 1): RIGHT,
    (101, 1, 2): LEFT,
    (101, 2, 1): None,
    (101, 2, 2): 0.0,
    (102, 1, 1): LEFT,
    (102, 1, 2): LEFT,
}


class Events:
    """The events of a session, as the behavior rig gives them."""

    def __init__(self, rng, session):
        self.rows = []  # trial, type, time, duration
        self.licks = []  # trial, type, time
        for trial in session.columns["trial"].tolist():
            delay = 1.2 if rng.random() < 0.8 else 2.0
            first = round(float(rng.uniform(0.3, 0.6)), 4)
            second = first + 0.7
            go = second + 1.15 + delay
            self.rows += [(trial, "sample", first, 0.1), (trial, "sample", second, 0.1)]
            self.rows += [(trial, "delay", second + 1.15, delay), (trial, "go", go, 0.1)]
            for time in np.sort(rng.uniform(0, 5.5, rng.integers(0, 5))).tolist():
                side = "left lick" if rng.random() < 0.5 else "right lick"
                self.licks.append((trial, side, time))

    def times(self, kind, trial):
        return [t for n, k, t, _ in self.rows if (n, k) == (trial, kind)]

    def lick_times(self, kind, trial):
        return [t for n, k, t in self.licks if n == trial and kind in (k, "lick")]

    def has_short_delay(self, trial):
        return any(k == "delay" and d == 1.2 for n, k, _, d in self.rows if n == trial)

    def write(self, root, key):
        trial, kind, time, duration = map(list, zip(*self.rows, strict=True))
        write_table(
            root,
            "experiment.trial_event",
            key,
            trial=trial,
            trial_event_id=numbered(trial),
            trial_event_type=kind,
            trial_event_time=time,
            duration=duration,
        )
        trial, kind, time = map(list, zip(*self.licks, strict=True))
        write_table(
            root,
            "experiment.action_event",
            key,
            trial=trial,
            action_event_id=numbered(trial),
            action_event_type=kind,
            action_event_time=time,
        )


def numbered(trials):
    seen = {}
    return [seen.setdefault(t, []).append(0) or len(seen[t]) - 1 for t in trials]


def build(root, **options):
    """Write the lake; returns sessions with their events by (subject_id, session)."""
    rng = np.random.default_rng(11)
    sessions = {}
    for key in ((101, 1), (101, 2), (102, 1)):
        s = make_session(rng, *key, trials=60)
        if key == (102, 1):
            s.columns["outcome"] = np.array(["ignore"] * 60)
        for insertion in (1, 2):
            s.probes[insertion] = make_probe(rng, s, insertion)
        write_session(root, s)
        events = Events(rng, s)
        events.write(root, s.key)
        for insertion in (1, 2):
            locate(root, {**s.key, "insertion_number": insertion})
        sessions[key] = s, events
    write_lab(root, [101, 102])
    finish(root, **options)
    return sessions


def locate(root, key):
    path = write_table(
        root,
        "ephys.insertion_location",
        key,
        skull_reference=["Bregma"],
        ml_location=[ML[tuple(key.values())] or 0.0],
    )
    if ML[tuple(key.values())] is None:
        path.unlink()
