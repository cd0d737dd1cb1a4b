"""Raw files of a small lab, in their real formats, with the truth about what is in them.

``lab()`` writes them for the delay-response task and Kilosort, ``whole_lab()`` all of them, and
returns a :class:`~maplake.simulate.truth.Lab`, which answers from the definitions what a lake made
from the files must hold. There is a module per format; all of them
write from the same objects of :mod:`maplake.simulate.truth`. Nothing here uses the rest of maplake.
"""

from maplake.simulate.lab import lab
from maplake.simulate.options import Recording, Sorting, Task
from maplake.simulate.trials import Trials
from maplake.simulate.truth import Animal, Events, Lab, Probe, Session, Units, psth_counts
from maplake.simulate.whole import WholeLab, whole_lab

__all__ = [
    "Animal",
    "Events",
    "Lab",
    "Probe",
    "Recording",
    "Session",
    "Sorting",
    "Task",
    "Trials",
    "Units",
    "WholeLab",
    "lab",
    "psth_counts",
    "whole_lab",
]
