"""Every spike of a clustering, read from its array store when asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from maplake.errors import LakeError, NotFoundError
from maplake.layout import spike_store
from maplake.query.asked import whole, word
from maplake.query.refusal import DAMAGED

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


class Spikes:
    """Spikes of one clustering, or of one of its units, sorted by unit, then time.

    Nothing is read before an attribute is used; one unit reads its own part only.

    Parameters
    ----------
    store
        Folder of the Zarr group.
    unit
        The unit; None = all.

    Raises
    ------
    NotFoundError
        If the clustering has no such unit.
    """

    def __init__(self, store: Path, unit: int | None = None) -> None:
        import zarr

        self._store = store
        with self._reading("opened"):
            self._group: Any = zarr.open_group(str(store), mode="r")
        self._unit = unit
        self._place = 0 if unit is None else self._find(unit)

    @contextmanager
    def _reading(self, doing: str = "read") -> Iterator[None]:
        """Say of what file it is that zarr and its codecs complain, in many ways."""
        try:
            yield
        except LakeError:
            raise
        except Exception as error:
            raise LakeError(
                f"the array store cannot be {doing}: {error}",
                file=self._store,
                hint=DAMAGED,
            ) from error

    def _values(self, name: str, where: Any = slice(None)) -> Any:
        with self._reading():
            return self._group[name][where]

    def _attribute(self, name: str) -> Any:
        with self._reading():
            return self._group.attrs[name]

    def _find(self, unit: int) -> int:
        units = self._values("unit")
        place = np.flatnonzero(units == unit)
        if not len(place):
            raise NotFoundError(
                f"there is no unit {unit}",
                file=self._store,
                found=f"{len(units)} units from {units.min()} to {units.max()}"
                if len(units)
                else "no units",
            )
        return int(place[0])

    @cached_property
    def _span(self) -> slice:
        if self._unit is None:
            return slice(None)
        first, last = self._offsets[self._place : self._place + 2]
        return slice(int(first), int(last))

    @cached_property
    def _offsets(self) -> Integers:
        """Where each unit's spikes begin, and the end of the last one's."""
        offsets: Integers = self._values("unit_offset")
        with self._reading():
            count = int(self._group["spike_sample"].shape[0])
            rises = bool((offsets[1:] >= offsets[:-1]).all())
            if (int(offsets[0]), int(offsets[-1]), rises) != (0, count, True):
                raise ValueError("unit_offset does not divide the spikes")
        return offsets

    def _read(self, name: str) -> Any:
        return self._values(name, self._span)

    def __len__(self) -> int:
        if self._unit is None:
            with self._reading():
                return int(self._group["spike_sample"].shape[0])
        return self._span.stop - self._span.start  # type: ignore[no-any-return]

    @property
    def sampling_rate(self) -> float:
        """Sampling rate of the sorter's clock (Hz)."""
        return float(self._attribute("sampling_rate"))

    @property
    def clustering_method(self) -> str:
        """The spike sorter."""
        return str(self._attribute("clustering_method"))

    @property
    def units(self) -> npt.NDArray[np.int32]:
        """Unit numbers, shape (units,): those of the store, or the one asked for."""
        everything: npt.NDArray[np.int32] = self._values("unit")
        return everything if self._unit is None else everything[self._place : self._place + 1]

    @property
    def unit(self) -> npt.NDArray[np.int32]:
        """Unit of every spike, shape (spikes,)."""
        if self._unit is not None:
            return np.full(len(self), self._unit, np.int32)
        with self._reading():
            return np.repeat(self.units, np.diff(self._offsets))

    @property
    def sample(self) -> Integers:
        """Time of every spike on the sorter's clock (samples), shape (spikes,)."""
        return self._read("spike_sample")  # type: ignore[no-any-return]

    @property
    def time(self) -> Floats:
        """Time of every spike from the first recorded trial's start (s), shape (spikes,)."""
        with self._reading():
            first = int(self._attribute("first_trial_sample"))
            return (self.sample - first) / self.sampling_rate

    @property
    def site(self) -> npt.NDArray[np.int32]:
        """Electrode of every spike, shape (spikes,)."""
        return self._read("spike_site")  # type: ignore[no-any-return]

    @property
    def depth(self) -> Floats:
        """Position of every spike along the probe (um from the tip), shape (spikes,)."""
        return self._read("spike_depth")  # type: ignore[no-any-return]

    @property
    def amplitude(self) -> Floats:
        """Amplitude of every spike, as the sorter gives it, shape (spikes,)."""
        return self._read("spike_amplitude")  # type: ignore[no-any-return]

    @property
    def waveform(self) -> npt.NDArray[np.float32]:
        """Mean waveforms (uV): (units, channels, samples), of one unit (channels, samples)."""
        where = slice(None) if self._unit is None else self._place
        return self._values("waveform", where)  # type: ignore[no-any-return]

    @property
    def waveform_electrode(self) -> npt.NDArray[np.int32]:
        """Electrode of each channel of the waveforms, shape (channels,)."""
        return self._values("waveform_electrode")  # type: ignore[no-any-return]

    def __repr__(self) -> str:
        what = f"unit {self._unit}" if self._unit is not None else f"{len(self.units)} units"
        return f"<Spikes of {what} ({self.clustering_method}): {len(self):,} spikes>"


def open_spikes(
    root: Path,
    subject_id: int,
    session: int,
    insertion_number: int,
    unit: int | None,
    clustering_method: str | None,
) -> Spikes:
    """Find the array store of a clustering; see :meth:`maplake.query.lake.Lake.spikes`."""
    partition = {
        "subject_id": whole("subject_id", subject_id),
        "session": whole("session", session),
        "insertion_number": whole("insertion_number", insertion_number),
    }
    folder = root / spike_store(partition, "x").parent
    found = there = sorted(folder.glob("*.zarr"))
    if clustering_method is not None:
        wanted = root / spike_store(partition, word("clustering_method", clustering_method))
        found = [path for path in found if path == wanted]
    place = f"subject {subject_id}, session {session}, insertion {insertion_number}"
    if not found:
        raise NotFoundError(
            f"there are no spikes{f' by {clustering_method}' if clustering_method else ''}",
            place=place,
            expected=", ".join(path.stem for path in there) or None,
            hint="lake.table('ephys.clustering_label') lists what there is.",
        )
    if len(found) > 1:
        raise NotFoundError(
            "there are several clusterings",
            place=place,
            found=", ".join(path.stem for path in found),
            hint="Give clustering_method.",
        )
    return Spikes(found[0], None if unit is None else whole("unit", unit))
