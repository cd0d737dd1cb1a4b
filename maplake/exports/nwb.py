"""Sessions as NWB files, one per session, named as the DANDI archive names them."""

from __future__ import annotations

import weakref
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maplake.errors import QueryError
from maplake.exports.nwb_clock import read_clock
from maplake.exports.place import faults, free, writing
from maplake.exports.select import Session, ask, place
from maplake.layout import safe_name

if TYPE_CHECKING:
    from maplake.exports.nwb_frame import Facts
    from maplake.query.lake import Lake

__all__ = ["export_nwb", "nwb_file", "require", "zone_of"]

_KINDS = """
SELECT EXISTS (FROM ephys.probe_insertion WHERE {key}),
    EXISTS (FROM experiment.photostim_event WHERE {key})
"""


def require() -> None:
    """Refuse to go on without pynwb.

    Raises
    ------
    QueryError
        If it is not installed.
    """
    try:
        import_module("pynwb")
    except ImportError as error:
        raise QueryError(
            "pynwb is not installed", hint="Install it: pip install 'maplake[nwb]'."
        ) from error


def zone_of(name: str) -> Any:
    """Return a time zone by its IANA name; None for none.

    Raises
    ------
    QueryError
        If there is no such zone.
    """
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name) if name else None
    except (OSError, ValueError, KeyError) as error:
        raise QueryError(
            f"there is no time zone {name!r}", expected="e.g. Europe/Berlin"
        ) from error


def nwb_file(folder: Path, lake: Lake, session: Session) -> Path:
    """Return the file of a session: ``sub-…/sub-…_ses-…_behavior+ecephys+ogen.nwb``."""
    ecephys, ogen = ask(lake, _KINDS.format(key=place(session.key))).row(0)
    kinds = ["behavior", *(["ecephys"] if ecephys else []), *(["ogen"] if ogen else [])]
    subject = safe_name(f"sub-{session.subject_id}")
    stem = safe_name(f"{subject}_ses-{session.start:%Y%m%dT%H%M%S}")
    return folder / subject / f"{stem}_{'+'.join(kinds)}.nwb"


def export_nwb(
    lake: Lake,
    session: Session,
    folder: Path,
    *,
    force: bool = False,
    with_lfp: bool = True,
    facts: Facts | None = None,
) -> Path:
    """Write a session's NWB file.

    Spikes and videos are read part by part while the file is written.

    Parameters
    ----------
    lake, session
        What to write.
    folder
        Where the animal's folder goes.
    force
        Replace a file that is there.
    with_lfp
        Whether to write local field potentials.
    facts
        What the lake does not know.

    Returns
    -------
    The file.

    Raises
    ------
    QueryError
        If pynwb is not installed, or the file is there already or cannot be written.
    """
    require()
    from pynwb import NWBHDF5IO

    path = nwb_file(folder, lake, session)
    free(path, force=force)
    with faults(path), writing(path, force=force) as temporary:
        # pynwb keeps what it wrote until the program ends: the lake must not be kept with it.
        made = _fill(weakref.proxy(lake), session, facts, with_lfp=with_lfp)
        with NWBHDF5IO(str(temporary), mode="w") as io:
            io.write(made, cache_spec=True)
    return path


def _fill(lake: Lake, session: Session, facts: Facts | None, *, with_lfp: bool) -> Any:
    from maplake.exports import nwb_behavior, nwb_ephys, nwb_frame
    from maplake.exports.nwb_trials import add_trials

    clock = read_clock(lake, session, with_lfp=with_lfp)
    key, lead = session.key, clock.lead
    made = nwb_frame.frame(lake, session, lead, facts or nwb_frame.Facts())
    add_trials(made, lake, key, lead)
    nwb_behavior.add_events(made, lake, key, lead)
    nwb_behavior.add_photostimulation(made, lake, key, lead)
    nwb_behavior.add_tracking(made, lake, key, lead)
    rows = nwb_ephys.add_probes(made, lake, key)
    nwb_ephys.add_units(made, lake, key, clock, rows)
    if with_lfp:
        nwb_ephys.add_lfp(made, lake, key, clock, rows)
    return made
