"""Schema ``tracking``: body parts followed through videos (DeepLabCut)."""

from __future__ import annotations

from maplake.tables.model import (
    INT,
    LABEL,
    REAL,
    SESSION,
    SESSION_KEY,
    SUBJECT_ID,
    TEXT,
    TO_SESSION,
    TO_SESSION_TRIAL,
    TRIAL,
    TRIAL_KEY,
    Column,
    Ref,
    Store,
    Table,
)

DEVICE = Column("tracking_device", TEXT, "camera, e.g. Camera 0")
FEATURE = Column("feature", LABEL, "tracked body part or object, e.g. tongue")
_DEVICE_KEY = (*SESSION_KEY, "tracking_device")
_TO_DEVICE = Ref(("tracking_device",), "tracking.tracking_device")
_TO_TRACKING = Ref((*TRIAL_KEY, "tracking_device"), "tracking.tracking")

_FRAMES = INT.listed()

#: Time from one frame to the next in s, by where a camera looks.
FRAME_INTERVAL = {"side": 0.0034, "bottom": 0.0034, "body": 0.01}
_CHAMELEON = "Chameleon3 CM3-U3-13Y3M-CS (FLIR)"
_BLACKFLY = "Blackfly S BFS-U3-04S2M-CS (FLIR)"

TABLES = (
    Table(
        "tracking",
        "tracking_device",
        "cameras; 0 to 2 stand at most rigs, 3 to 5 at RRig-MTL",
        (
            DEVICE,
            Column("tracking_position", TEXT, "where it looks: side, bottom or body"),
            Column("sampling_rate", REAL, "frame rate", "Hz"),
            Column("tracking_device_description", TEXT, "what it is"),
        ),
        key=("tracking_device",),
        store=Store.LOOKUP,
        rows=tuple(
            (f"Camera {number}", position, 1 / interval, model)
            for first, model in ((0, _CHAMELEON), (3, _BLACKFLY))
            for number, (position, interval) in enumerate(FRAME_INTERVAL.items(), first)
        ),
    ),
    Table(
        "tracking",
        "tracking",
        "tracked videos: one per trial and camera",
        (
            SUBJECT_ID,
            SESSION,
            TRIAL,
            DEVICE,
            Column("tracking_samples", INT, "number of frames"),
        ),
        key=(*TRIAL_KEY, "tracking_device"),
        refs=(TO_SESSION_TRIAL, _TO_DEVICE),
        store=Store.CAMERA,
        kind="tracking",
    ),
    Table(
        "tracking",
        "tracking_position",
        "where each feature is in each frame; null where the tracker found nothing",
        (
            SUBJECT_ID,
            SESSION,
            TRIAL,
            DEVICE,
            FEATURE,
            Column("frame", INT, "frame of the trial's video, from 0"),
            Column("time", REAL, "time from trial start", "s"),
            Column("x", REAL, "column of the image, from the left", "px", nullable=True),
            Column("y", REAL, "row of the image, from the top", "px", nullable=True),
            Column("likelihood", REAL, "the tracker's confidence, 0 to 1", nullable=True),
        ),
        # A row is unique by trial, camera, feature and frame: the reader makes sure of it, and
        # counting millions of keys again would cost more than reading them.
        key=(),
        order=("trial", "feature", "frame"),
        encodings=dict.fromkeys(("x", "y", "likelihood"), "BYTE_STREAM_SPLIT"),
        refs=(_TO_TRACKING,),
        row_group=500_000,
        store=Store.CAMERA,
        kind="tracking",
    ),
    Table(
        "tracking",
        "tracking_frame",
        "when cameras took their frames, as the recording of the probes saw it (foraging)",
        (
            SUBJECT_ID,
            SESSION,
            TRIAL,
            DEVICE,
            Column("frame", INT, "frame of the trial's video, from 0"),
            Column("frame_time", REAL, "time on the recording's clock", "s"),
        ),
        key=(*TRIAL_KEY, "tracking_device", "frame"),
        refs=(TO_SESSION_TRIAL, _TO_DEVICE),
        kind="ephys_event",
    ),
    Table(
        "tracking",
        "tracked_whisker",
        "tracked features that are whiskers, and which whisker where the name tells",
        (
            SUBJECT_ID,
            SESSION,
            DEVICE,
            FEATURE,
            Column("whisker", TEXT, "row and column, e.g. C2", nullable=True),
        ),
        key=(*_DEVICE_KEY, "feature"),
        refs=(TO_SESSION, _TO_DEVICE, Ref(("whisker",), "lab.whisker")),
        store=Store.CAMERA,
        kind="tracking",
    ),
    Table(
        "tracking",
        "qc_limit",
        "how far a feature may move from frame to frame, where that is not 20 px",
        (
            DEVICE,
            Column("feature", TEXT, "tracked body part or object"),
            Column("max_jump", REAL, "largest step in x or y that is no jump", "px"),
        ),
        key=("tracking_device", "feature"),
        store=Store.GLOBAL,
        refs=(_TO_DEVICE,),
    ),
    Table(
        "tracking",
        "frame_jump",
        "how far features move from each frame to the next one",
        (
            SUBJECT_ID,
            SESSION,
            TRIAL,
            DEVICE,
            Column("feature", TEXT, "tracked body part or object"),
            Column("frame", INT, "frame before the step"),
            Column("jump", REAL, "step in x or y, the larger one", "px", nullable=True),
        ),
        key=(*TRIAL_KEY, "tracking_device", "feature", "frame"),
        store=Store.VIEW,
        refs=(_TO_TRACKING,),
    ),
    Table(
        "tracking",
        "tracking_qc",
        "frames before which a feature jumps more than 20 px in x or y, or than tracking.qc_limit "
        "says; for another limit tracking.qc(limit_px)",
        (
            SUBJECT_ID,
            SESSION,
            TRIAL,
            DEVICE,
            Column("feature", TEXT, "tracked body part or object"),
            Column("frame_count", INT, "number of frames"),
            Column("bad_count", INT, "number of jumps"),
            Column("bad_percentage", REAL, "jumps among the frames", "%"),
            Column("bad_frames", _FRAMES, "frames before the jumps"),
        ),
        key=(*TRIAL_KEY, "tracking_device", "feature"),
        store=Store.VIEW,
        refs=(_TO_TRACKING,),
    ),
    Table(
        "tracking",
        "tracking_bad_frame",
        "the jumps of tracking.tracking_qc",
        (
            SUBJECT_ID,
            SESSION,
            TRIAL,
            DEVICE,
            Column("feature", TEXT, "tracked body part or object"),
            Column("frame", INT, "frame before the jump"),
        ),
        key=(*TRIAL_KEY, "tracking_device", "feature", "frame"),
        store=Store.VIEW,
        refs=(_TO_TRACKING,),
    ),
)
