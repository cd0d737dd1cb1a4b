"""An NWB file's frame: the session, the animal, where the data came from."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from hdmf.common import DynamicTable
from pynwb import NWBFile
from pynwb.file import Subject

from maplake.exports.nwb_data import column
from maplake.exports.select import Session, ask, place
from maplake.layout import session_name, state_file

if TYPE_CHECKING:
    from maplake.query.lake import Lake

__all__ = ["Facts", "frame"]

_SESSION = """
SELECT s.*, c.session_comment, p.fullname, r.room, r.rig_description
FROM experiment.session AS s
LEFT JOIN experiment.session_comment AS c USING (subject_id, session)
LEFT JOIN lab.person AS p USING (username)
LEFT JOIN lab.rig AS r USING (rig)
WHERE {key}
"""
_SUBJECT = """
SELECT s.*, g.genotype, t.strain
FROM lab.subject AS s
LEFT JOIN (
    SELECT subject_id, string_agg(gene_modification || ' (' || zygosity || ')', ', '
        ORDER BY gene_modification) AS genotype
    FROM lab.subject_gene_modification GROUP BY subject_id
) AS g USING (subject_id)
LEFT JOIN (
    SELECT subject_id, string_agg(animal_strain, ', ' ORDER BY animal_strain) AS strain
    FROM lab.subject_strain GROUP BY subject_id
) AS t USING (subject_id)
WHERE s.subject_id = {subject}
"""
_TASKS = {
    "audio delay": "Delayed response: a tone instructs left or right, a delay, a go cue, a lick.",
    "audio mem": "Delayed response to a tone.",
    "s1 stim": "Delayed response to stimulation of the somatosensory cortex.",
    "foraging": "Dynamic foraging: two water ports whose reward probabilities change in blocks.",
    "foraging 3lp": "Dynamic foraging with three water ports.",
    "multi-target-licking": "Licking at a port that moves between targets in blocks.",
}


@dataclass(frozen=True)
class Facts:
    """What the lake does not know of a session.

    Attributes
    ----------
    zone
        Time zone of the rigs' clocks; None = that of this computer.
    institution, lab
        Where it was recorded.
    """

    zone: tzinfo | None = None
    institution: str = ""
    lab: str = ""


def frame(lake: Lake, session: Session, lead: float, facts: Facts) -> NWBFile:
    """Return the file of a session without data.

    Time 0 of the file is ``lead`` seconds before the session's start; its identifier depends on
    animal, session and start alone.
    """
    row = ask(lake, _SESSION.format(key=place(session.key, "s"))).to_dicts()[0]
    start = _zoned(session.start, facts.zone)
    name = f"maplake:{session.subject_id}/{session.session}/{session.start.isoformat()}"
    task = row["task"] or "no task"
    made = NWBFile(
        session_description=row["session_comment"] or f"{task} on rig {row['rig']}",
        identifier=str(uuid.uuid5(uuid.NAMESPACE_URL, name)),
        session_start_time=start,
        timestamps_reference_time=start - timedelta(seconds=lead),
        session_id=f"{session.start:%Y%m%dT%H%M%S}",
        experimenter=[_last_first(row["fullname"] or row["username"])],
        experiment_description=_TASKS.get(task, f"Task: {task}"),
        institution=facts.institution or None,
        lab=facts.lab or None,
        keywords=["mouse", "behavior", task],
        notes=f"session {session.session} of {session.h2o} in the lake; rig {row['rig']}"
        + (f" ({row['rig_description']})" if row["rig_description"] else ""),
        source_script="maplake export nwb",
        source_script_file_name="maplake",
    )
    made.subject = _subject(lake, session, facts.zone)
    _sources(made, lake, session)
    return made


def _zoned(time: datetime, zone: tzinfo | None) -> datetime:
    return time.astimezone() if zone is None else time.replace(tzinfo=zone)


def _last_first(name: str) -> str:
    first, _, last = name.strip().rpartition(" ")
    return name if "," in name or not first else f"{last}, {first}"


def _subject(lake: Lake, session: Session, zone: tzinfo | None) -> Subject:
    found = ask(lake, _SUBJECT.format(subject=session.subject_id)).to_dicts()
    row: dict[str, Any] = found[0] if found else {}  # a lake without lab.subject
    born: date | None = row.get("date_of_birth")
    days = (session.start.date() - born).days if born else -1
    known: dict[str, Any] = {}
    if born is not None and days >= 0:
        midnight = datetime(born.year, born.month, born.day)
        known = {"date_of_birth": _zoned(midnight, zone)}
    return Subject(
        subject_id=str(session.subject_id),
        description=f"water restriction number {session.h2o}",
        species="Mus musculus",
        sex={"M": "M", "F": "F"}.get(row.get("sex", ""), "U"),
        # Of an animal whose birth is not known, NWB can say that its age has no upper limit.
        age=f"P{days}D" if days >= 0 else "P1D/",
        genotype=row.get("genotype"),
        strain=row.get("strain"),
        **known,
    )


def _sources(file: NWBFile, lake: Lake, session: Session) -> None:
    """Add the names and hashes of the raw files that the session was read from."""
    path = lake.root / state_file(session_name(session.subject_id, session.session))
    try:
        states = json.loads(path.read_bytes())["sources"]
    except (OSError, ValueError, KeyError):
        return  # a lake that somebody wrote without maplake
    rows = [
        (state["kind"], state["name"], PurePath(name.replace("\\", "/")).name, digest)
        for state in states
        if state["kind"] != "computed" and state["status"] == "in"
        for name, digest in sorted(state["files"].items())
    ]
    if rows:
        words = ("kind of source", "name of the source", "file", "SHA-256 of the file")
        names = ("kind", "source", "file", "sha256")
        columns = [
            column(name, word, list(values))
            for name, word, values in zip(names, words, zip(*rows, strict=True), strict=True)
        ]
        text = "raw files that the session was read from; of recordings the hash is of parts"
        file.add_scratch(DynamicTable(name="source_files", description=text, columns=columns))
