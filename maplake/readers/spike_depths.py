"""Depth of every spike: where along the probe its first principal component is centred."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from maplake.errors import CorruptFileError, FileFormatError, LengthMismatchError
from maplake.readers import npy
from maplake.readers.waveforms import local_channels

__all__ = ["centre_of_mass"]

_ROWS = 16384  # spikes at a time


def centre_of_mass(
    folder: Path, y: NDArray[np.float64], template: NDArray[Any], peak: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return sum(y f^2) / sum(f^2) over the channels of each spike's features.

    f is the first component, 0 where it is negative. Spikes without any positive feature get the
    depth of their template's peak channel.

    Parameters
    ----------
    folder
        With ``pc_features.npy`` (spikes, components, local channels), or with the last two axes
        swapped as some exports have them, and ``pc_feature_ind.npy`` (templates, local channels).
    y
        (channels,) depths of the sorter's channels in um.
    template
        (spikes,) template of each spike.
    peak
        (templates,) peak channel of each template, an index into ``y``.

    Returns
    -------
    depth
        (spikes,) in um.

    Raises
    ------
    SourceError
        If a file is unreadable or damaged, a feature is not finite or shapes contradict.

    Notes
    -----
    The features are read piece by piece; memory stays at some tens of MB whatever their size.
    """
    path = folder / "pc_features.npy"
    header = npy.read_header(path)
    index = local_channels(folder / "pc_feature_ind.npy", len(y))
    channels_last = _check(header, index, len(template), len(peak))
    there = index >= 0
    # A weight of 0 keeps out the places of a template's list that name no channel.
    weight = there.astype(np.float64)
    heights = np.where(there, y[index], 0.0)
    full = bool(there.all())
    depth = np.empty(len(template))
    # The same two for all pieces, laid out as these are: new memory for each, or a sum along the
    # other axis, takes longer than all the rest.
    shape = (min(_ROWS, len(template)), index.shape[1])
    powers, places = (np.empty(shape, order="F" if header.fortran else "C") for _ in range(2))
    by_channel = np.ascontiguousarray(heights.T)
    for start, piece in npy.first_features(header, channels_last=channels_last, rows=_ROWS):
        rows = slice(start, start + len(piece))
        kinds = template[rows]
        with np.errstate(over="ignore", invalid="ignore"):  # damage is found by its sum
            power = np.maximum(piece, 0, out=powers[: len(piece)])
            power *= power
            if not full:
                power *= weight[kinds]
            total = power.sum(axis=1)
        if not np.isfinite(total).all():
            bad = start + int((~np.isfinite(total)).argmax())
            raise CorruptFileError("a feature is not finite", file=path, place=f"spike {bad}")
        place = places[: len(piece)]
        if header.fortran:
            np.take(by_channel, kinds, axis=1, out=place.T, mode="clip")
        else:
            np.take(heights, kinds, axis=0, out=place, mode="clip")
        moment = np.einsum("ij,ij->i", power, place)
        silent = total == 0
        depth[rows] = np.where(silent, y[peak[kinds]], moment / np.where(silent, 1.0, total))
    return depth


def _check(header: npy.NpyHeader, index: NDArray[Any], spikes: int, templates: int) -> bool:
    """Return whether the channels are the last axis, having checked all shapes."""
    shape, name = header.shape, header.path.name
    if len(shape) != 3:
        raise FileFormatError(
            "another number of dimensions", file=header.path, found=f"shape {shape}", expected=3
        )
    if shape[0] != spikes:
        raise LengthMismatchError(
            f"{name} and the spike times differ in length",
            file=header.path,
            found=shape[0],
            expected=spikes,
        )
    if len(index) != templates:
        raise LengthMismatchError(
            "pc_feature_ind.npy and templates.npy differ in length",
            file=header.path.with_name("pc_feature_ind.npy"),
            found=len(index),
            expected=templates,
        )
    if index.shape[1] not in shape[1:]:
        raise LengthMismatchError(
            f"{name} and pc_feature_ind.npy differ in their channels",
            file=header.path,
            found=f"shape {shape}",
            expected=f"an axis of {index.shape[1]}",
        )
    return bool(shape[2] == index.shape[1])
