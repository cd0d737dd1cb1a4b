"""Polars frames that are collected between commits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from maplake.query.refusal import refused
from maplake.query.steady import Steady

__all__ = ["steady_frame"]

#: Polars makes each new frame of the class of the old one, and joins frames of one class only.
_KINDS: dict[object, Any] = {}
_PAIRS = ("join", "join_asof", "join_where", "merge_sorted", "update")


def steady_frame(frame: pl.LazyFrame, steady: Steady) -> pl.LazyFrame:
    """Return a LazyFrame whose ``collect``, and that of frames made from it, is steady."""
    made: pl.LazyFrame = _kind_of(steady)._from_pyldf(frame._ldf)
    return made


def _kind_of(steady: Steady) -> Any:
    """Return the class of the frames of a lake."""
    if steady.root not in _KINDS:
        _KINDS[steady.root] = type("LazyFrame", (_Frame,), {"_steady": steady})
    return _KINDS[steady.root]


class _Frame(pl.LazyFrame):
    _steady: Steady

    def collect(self, *args: Any, **options: Any) -> Any:
        import duckdb  # it reads views

        collect = super().collect
        try:
            return self._steady(lambda: collect(*args, **options))
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, duckdb.Error) as error:
            raise refused(error) from error

    def group_by(self, *args: Any, **options: Any) -> Any:
        return _Grouped(super().group_by(*args, **options), type(self))


def _pair(name: str) -> Callable[..., Any]:
    plain = getattr(pl.LazyFrame, name)

    def method(self: _Frame, other: pl.LazyFrame, *args: Any, **options: Any) -> Any:
        if isinstance(other, _Frame) and type(other) is not type(self):  # of another lake
            other = pl.LazyFrame._from_pyldf(other._ldf)
        return plain(self, other, *args, **options)

    method.__doc__ = plain.__doc__
    return method


for _name in _PAIRS:
    setattr(_Frame, _name, _pair(_name))


class _Grouped:
    """Groups of a steady frame: what comes of them is one again."""

    def __init__(self, groups: Any, kind: Any) -> None:
        self._groups = groups
        self._kind = kind

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._groups, name)

        def call(*args: Any, **options: Any) -> Any:
            return self._kind._from_pyldf(method(*args, **options)._ldf)

        return call
