"""The analyses of a lake: methods that :class:`maplake.query.lake.Lake` inherits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

# What computes with arrays is imported where it is used: opening a lake must not wait for numpy.
from maplake.errors import QueryError, near
from maplake.query.absent import absent
from maplake.query.aligned import ALPHA, Aligned, check_occurrence, frame, where
from maplake.query.asked import moment, number, span, unit_key, whole, word, words
from maplake.query.asked import window as window_of
from maplake.query.hemisphere import contra_ipsi, hemisphere
from maplake.query.sqltext import literal

if TYPE_CHECKING:
    import polars as pl

    from maplake.query.counts import TrialCounts
    from maplake.query.decoding import CodingDirection
    from maplake.query.effects import Tuning

_GO = {"event": "go", "occurrence": "last"}


P = ParamSpec("P")
T = TypeVar("T")


def _of_one_moment(
    ask: Callable[Concatenate[Analyses, P], T],
) -> Callable[Concatenate[Analyses, P], T]:
    """Let all that an analysis reads be from between the same two commits."""

    @wraps(ask)
    def asked(self: Analyses, /, *args: P.args, **options: P.kwargs) -> T:
        return self._aligned.con.steady(lambda: ask(self, *args, **options))

    return asked


class Analyses:
    """Analyses of the sessions of a lake. ``None`` for a part of a key means all."""

    _aligned: Aligned

    @_of_one_moment
    def trial_counts(
        self,
        subject_id: int,
        session: int,
        insertion_number: int | None = None,
        unit: int | None = None,
        condition: str = "good_noearlylick_hit",
        *,
        bin: float = 0.04,  # noqa: A002  (the word that SQL and numpy use)
        start: float = -3.0,
        stop: float = 3.0,
        event: str = "go",
        occurrence: str = "last",
        clustering_method: str | None = None,
        all_units: bool = False,
    ) -> TrialCounts:
        """Count spikes in the bins of single trials, e.g. for decoding.

        Parameters
        ----------
        subject_id, session, insertion_number, unit, clustering_method
            Whose; None = all.
        condition
            Name of a trial condition.
        bin, start, stop
            Width of the bins and window around the event (s).
        event, occurrence
            What trials are aligned to, see :meth:`Lake.psth`.
        all_units
            Whether to keep units of quality ``all``.

        Returns
        -------
        Counts of shape (units, trials, bins), with ``.rate``, ``.smoothed`` and ``.to_xarray``.

        Raises
        ------
        NotFoundError
            If there are no such units.
        QueryError
            If there is no such condition or event, or the counts are too many to hold.
        """
        from maplake.query.counts import trial_counts
        from maplake.query.numbers import bin_edges

        keys = unit_key(subject_id, session, insertion_number, clustering_method, unit)
        options = {**moment(event, occurrence), "all_units": all_units}
        edges = bin_edges(**span(start, stop), bin=number("bin", bin))
        return trial_counts(self._aligned, keys, word("condition", condition), options, edges)

    @_of_one_moment
    def hemisphere(self, subject_id: int, session: int, insertion_number: int | None = None) -> str:
        """Return the side of a probe, or of all of a session: ``left`` or ``right``.

        Raises
        ------
        NotFoundError
            If there is no insertion location.
        QueryError
            If the probes are on both sides, or on the midline.
        """
        keys = unit_key(subject_id, session, insertion_number)
        return hemisphere(self._aligned, keys)

    @_of_one_moment
    def selectivity(
        self,
        subject_id: int,
        session: int,
        insertion_number: int | None = None,
        unit: int | None = None,
        *,
        periods: str | Sequence[str] | None = None,
        good_trials_only: bool = False,
        alpha: float = ALPHA,
        clustering_method: str | None = None,
        all_units: bool = False,
    ) -> pl.DataFrame:
        """Test whether units fire differently in contra- and ipsilateral trials.

        Compared are hits of the audio delay task with a delay of 1.2 s, without early licks,
        auto or free water and photostimulation. The rate of a trial is that in [start, stop) of
        the period; the test is Student's, with equal variances.

        Parameters
        ----------
        subject_id, session, insertion_number, unit, clustering_method
            Whose; None = all whose insertion has a location.
        periods
            Names of ``experiment.period``; None = all.
        good_trials_only
            Whether good trials of the insertion restrict the trials; as published they do not.
        alpha
            Units with a p value up to it are selective.

        Returns
        -------
        A row per unit and period: unit key, period, period_selectivity, ipsi_firing_rate and
        contra_firing_rate (Hz), p_value. Rates are null without trials of that side; the p value
        is null without any trial and 1 where the test says nothing.

        Raises
        ------
        NotFoundError
            If no insertion has a location.
        QueryError
            If an insertion is on the midline or there is no such period.
        """
        from maplake.query.selectivity import selectivity

        keys = unit_key(subject_id, session, insertion_number, clustering_method, unit)
        options = {
            "periods": None if periods is None else words("period", periods),
            "good_trials_only": good_trials_only,
            "alpha": number("alpha", alpha),
            "all_units": all_units,
        }
        return selectivity(self._aligned, keys, options)

    @_of_one_moment
    def coding_direction(
        self,
        subject_id: int,
        session: int,
        insertion_number: int | None = None,
        *,
        window: tuple[float, float] = (-0.4, 0.0),
        condition: str = "good_noearlylick_{side}_hit",
        bin: float = 0.04,  # noqa: A002
        start: float = -3.0,
        stop: float = 3.0,
        clustering_method: str | None = None,
    ) -> CodingDirection:
        """Compute the coding direction of the units of a probe, or of a session's probes.

        Parameters
        ----------
        subject_id, session, insertion_number, clustering_method
            Whose units; all probes must be in one hemisphere.
        window
            Start and end (s from the go cue) of the rates that make the direction: bins whose
            right edge is in [start, end).
        condition
            Names of the conditions, with ``{side}`` in place of left and right.
        bin, start, stop
            Bins of the projected trials (s).

        Returns
        -------
        The direction, shape (units,), and the trials that all probes recorded projected on it,
        shapes (trials, bins).

        Raises
        ------
        NotFoundError
            If there are no units or no insertion location.
        QueryError
            If the probes are on both sides, a side has no trial, or no unit tells them apart.
        """
        from maplake.query.decoding import (
            CodingDirection,
            direction,
            project_on_coding_direction,
        )

        window = window_of(window)
        if "{side}" not in word("condition", condition):
            raise QueryError("the condition must hold {side}", found=condition)
        side = self.hemisphere(subject_id, session, insertion_number)
        contra, ipsi = (
            self.trial_counts(
                subject_id,
                session,
                insertion_number,
                condition=condition.replace("{side}", name),
                bin=bin,
                start=start,
                stop=stop,
                clustering_method=clustering_method,
            ).complete()
            for name in contra_ipsi(side)
        )
        axis = direction(contra, ipsi, window)
        return CodingDirection(
            axis,
            project_on_coding_direction(contra, axis),
            project_on_coding_direction(ipsi, axis),
            contra.trial,
            ipsi.trial,
            contra.time,
            window,
            side,
            contra.units,
        )

    @_of_one_moment
    def photostim_effect(
        self,
        subject_id: int,
        session: int,
        insertion_number: int | None = None,
        *,
        stimulated: str = "all_noearlylick_both_alm_stim",
        control: str = "all_noearlylick_nostim",
        window: tuple[float, float] | None = None,
        clustering_method: str | None = None,
    ) -> pl.DataFrame:
        """Compare the rates of units with and without photostimulation.

        Parameters
        ----------
        stimulated, control
            Names of trial conditions.
        window
            Start and end (s from the go cue); None = mean onset and duration of the stimuli.

        Returns
        -------
        A row per unit: unit key, control_rate, stim_rate and their difference (Hz), p_value
        (t-test over trials, equal variances), control_trials, stim_trials. Null without trials.

        Raises
        ------
        NotFoundError
            If there are no units, or no stimulus and no window.
        """
        import numpy as np

        from maplake.query.counts import trial_counts
        from maplake.query.effects import photostim_effect, stimulus_window

        keys = unit_key(subject_id, session, insertion_number, clustering_method)
        names = word("control", control), word("stimulated", stimulated)
        if window is None:
            window = stimulus_window(self._aligned, keys, stimulated)
        edges = np.array(window_of(window))
        options = {**_GO, "all_units": False}
        return photostim_effect(
            *(trial_counts(self._aligned, keys, name, options, edges) for name in names)
        )

    @_of_one_moment
    def event_times(
        self,
        subject_id: int,
        session: int,
        event: str,
        condition: str | None = None,
        *,
        occurrence: str | None = None,
    ) -> pl.DataFrame:
        """Return when an event happened in the trials of a session, by the behavior rig.

        Parameters
        ----------
        event
            An event of the trial's structure, ``left lick``, ``right lick``, ``middle lick``,
            ``lick`` for any, or ``photostim``.
        condition
            Only the trials of this condition; None = all behavior trials.
        occurrence
            ``first``, ``last``, ``after go`` (the first from the go cue on); None = all.

        Returns
        -------
        Rows of trial, event_time (s from trial start) and time_from_go (s; from the last go cue
        of the trial, null without one), sorted.

        Raises
        ------
        NotFoundError
            If there is no such session.
        QueryError
            If there is no such event, condition or occurrence.
        """
        keys = unit_key(subject_id, session)
        key = where(keys)
        known = frame(self._aligned.con, "SELECT unnest(psth.event_types()) AS name")["name"]
        if word("event", event).lower() not in known.to_list():
            raise QueryError(
                "there is no such event",
                found=event,
                expected=", ".join(known),
                hint=near(event, known),
            )
        if occurrence is not None:
            check_occurrence(word("occurrence", occurrence))
        chosen = {
            None: "",
            "first": "QUALIFY row_number() OVER (PARTITION BY e.trial ORDER BY e.event_time) = 1",
            "last": "QUALIFY row_number() OVER ("
            "PARTITION BY e.trial ORDER BY e.event_time DESC) = 1",
            "after go": "QUALIFY e.event_time >= g.event_time AND row_number() OVER ("
            "PARTITION BY e.trial, e.event_time >= g.event_time ORDER BY e.event_time) = 1",
        }[occurrence and occurrence.lower()]
        member = "true"
        if condition is not None:
            name = literal(word("condition", condition))
            member = f"list_contains(c.conditions, psth.condition_name({name}))"
        con = self._aligned.con
        found = self._aligned.of_probe(
            keys,
            "SELECT e.trial, e.event_time, e.event_time - g.event_time AS time_from_go "
            f"FROM (FROM psth.event WHERE {key} AND event_type = {literal(event.lower())}) AS e "
            f"JOIN (FROM psth.trial_set WHERE {key}) AS c USING (trial) "
            f"LEFT JOIN (FROM psth.last_event WHERE {key} AND trial_event_type = 'go') AS g "
            f"USING (trial) WHERE {member} {chosen} ORDER BY e.trial, e.event_time",
        )
        if not len(found) and (error := absent(lambda query: frame(con, query), keys)):
            raise error
        return found

    @_of_one_moment
    def tuning(
        self,
        subject_id: int,
        session: int,
        insertion_number: int,
        unit: int,
        *,
        feature: str = "jaw",
        coordinate: str = "y",
        tracking_device: str = "Camera 0",
        bins: int | Sequence[float] = 20,
        min_likelihood: float = 0.0,
        clustering_method: str | None = None,
    ) -> Tuning:
        """Compute a unit's rate against the position of a tracked feature.

        A spike belongs to the last frame before it; a frame lasts until the next one.

        Parameters
        ----------
        feature, coordinate, tracking_device
            What: its ``x`` or ``y`` (px) in this camera.
        bins
            Number of bins between the extremes, or ascending edges (px).
        min_likelihood
            Frames with less are left out.

        Returns
        -------
        Edges (px), time (s), spikes and rate (Hz) of each bin.

        Raises
        ------
        NotFoundError
            If there is no such unit or nothing was tracked.
        QueryError
            If the bins are none.
        """
        from maplake.query.effects import tuning

        insertion_number, unit = whole("insertion_number", insertion_number), whole("unit", unit)
        keys = unit_key(subject_id, session, insertion_number, clustering_method, unit)
        options = {
            "feature": feature,
            "coordinate": coordinate,
            "tracking_device": tracking_device,
            "bins": bins,
            "min_likelihood": number("min_likelihood", min_likelihood),
        }
        return tuning(self._aligned, keys, options)

    @_of_one_moment
    def to_pynapple(
        self,
        subject_id: int,
        session: int,
        insertion_number: int,
        clustering_method: str | None = None,
    ) -> Any:
        """Return a probe's units as a pynapple ``TsGroup``, times in s from the first trial.

        Raises
        ------
        QueryError
            If pynapple is not installed: pip install 'maplake[pynapple]'.
        NotFoundError
            If there is no such clustering, or several and none is named.
        """
        from maplake.query.handover import as_pynapple

        return as_pynapple(
            self._aligned, (subject_id, session, insertion_number, clustering_method)
        )

    @_of_one_moment
    def to_neo(
        self,
        subject_id: int,
        session: int,
        insertion_number: int,
        clustering_method: str | None = None,
    ) -> Any:
        """Return a probe's units as a Neo ``Segment``: a ``SpikeTrain`` (s) per unit.

        Raises
        ------
        QueryError
            If Neo is not installed: pip install 'maplake[neo]'.
        NotFoundError
            If there is no such clustering, or several and none is named.
        """
        from maplake.query.handover import as_neo

        return as_neo(self._aligned, (subject_id, session, insertion_number, clustering_method))
