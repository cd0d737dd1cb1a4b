"""Reports: figures and HTML pages of the lake in a folder that any browser opens."""

from __future__ import annotations

from maplake.reports.model import LEVELS, Failure, Report, Wanted
from maplake.reports.run import make_report

__all__ = ["LEVELS", "Failure", "Report", "Wanted", "make_report"]
