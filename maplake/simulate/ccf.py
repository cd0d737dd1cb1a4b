"""A small Common Coordinate Framework: volume, names, colours and surface mesh."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import nrrd
import numpy as np
import tifffile

from maplake.simulate.mat import write_mat

__all__ = ["Framework", "simulate_framework", "write_framework"]

Array = np.ndarray[Any, Any]

_MADE = datetime(2019, 6, 25, 8, 21, 12)
_SHELLS = ("Isocortex", "Olfactory areas", "Caudoputamen", "Thalamus, medial part")
_LARGE_ID = 614454277  # the largest id of the real annotation
_OUTLINE_ID = 997  # labelled, and without a name


@dataclass(frozen=True)
class Framework:
    """What is true about it.

    Attributes
    ----------
    volume
        Region ids, uint32, by AP, DV, ML; 0 = outside.
    voxel_um
        Size of a voxel in um.
    names, colors
        By region id; one id of the volume has none.
    vertices, faces
        Mesh in px of 20 um: ML, AP, DV (vertices, 3), and places from 0 (faces, 3).
    """

    volume: Array
    voxel_um: int
    names: dict[int, str]
    colors: dict[int, str]
    vertices: Array
    faces: Array


def simulate_framework(
    shape: tuple[int, int, int] = (66, 40, 57), voxel_um: int = 200
) -> Framework:
    """Return an egg of nested shells, each half a region of its own.

    Parameters
    ----------
    shape
        Voxels along AP, DV, ML; the default has the size of the real framework.
    voxel_um
        Size of a voxel in um.
    """
    axes = [(np.arange(count) + 0.5) / count * 2 - 1 for count in shape]
    ap, dv, ml = np.meshgrid(*axes, indexing="ij")
    radius = np.sqrt(ap**2 + dv**2 + ml**2)
    volume = np.zeros(shape, dtype=np.uint32)
    names, colors = {}, {}
    for place, name in enumerate(_SHELLS):
        shell = radius < 0.92 - 0.2 * place
        for side, mask in (("left", ml < 0), ("right", ml >= 0)):
            number = 10 * (place + 1) + (side == "right")
            number = _LARGE_ID if number == 41 else number
            volume[shell & mask] = number
            names[number] = f"{name}, {side}"
            colors[number] = f"{(number * 40503) % 2**24:06X}"
    volume[(radius >= 0.92) & (radius < 0.95)] = _OUTLINE_ID
    names[_LARGE_ID + 1], colors[_LARGE_ID + 1] = "a region without voxels", "00FF00"
    vertices, faces = _octahedron(np.array(shape) * voxel_um / 20)
    return Framework(volume, voxel_um, names, colors, vertices, faces)


def _octahedron(size_px: Array) -> tuple[Array, Array]:
    ap, dv, ml = size_px
    center = np.array([ml, ap, dv]) / 2
    tips = np.concatenate([np.diag(center), -np.diag(center)]) * 0.9 + center
    faces = [[x, y, z] for x in (0, 3) for y in (1, 4) for z in (2, 5)]
    return tips, np.array(faces)


def write_framework(folder: Path, framework: Framework, *, tiff: bool = False) -> dict[str, Path]:
    """Write the files that ``[ccf]`` of the configuration names.

    Parameters
    ----------
    folder
        Where to.
    framework
        What to write.
    tiff
        Write the volume as a TIFF stack and not as NRRD.

    Returns
    -------
    The files by their key in the configuration.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = {
        "annotation": folder / f"annotation_{framework.voxel_um}{'.tif' if tiff else '.nrrd'}",
        "region_csv": folder / "mousebrainontology_2.csv",
        "hexcode_csv": folder / "hexcode.csv",
        "surface_mesh": folder / "brain_isosurf.mat",
    }
    if tiff:
        tifffile.imwrite(paths["annotation"], framework.volume, photometric="minisblack")
    else:
        size = float(framework.voxel_um)
        header = {
            "space": "left-posterior-superior",
            "space directions": np.diag([size] * 3),
            "encoding": "gzip",
        }
        nrrd.write(str(paths["annotation"]), framework.volume, header)
    for key, values in (("region_csv", framework.names), ("hexcode_csv", framework.colors)):
        with paths[key].open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(values.items())
    mesh = {"vertices": framework.vertices, "faces": (framework.faces + 1).astype(np.int32)}
    write_mat(paths["surface_mesh"], {"mesh": mesh}, _MADE)
    return paths
