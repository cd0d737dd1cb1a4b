"""Cells of sheets: dates, times, numbers as people and programs write them."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maplake.readers.cells import to_date, to_number, to_time


@pytest.mark.parametrize(
    "text", ["2018-02-25", "20180225", "2018-02-25 00:00:00", "2018-02-25T10:25:08", "2/25/2018",
             "02/25/2018 10:25", "2018-2-25", "2018/02/25", "2018/2/25 10:25"],
)  # fmt: skip
def test_dates(text):
    assert to_date(text) == dt.date(2018, 2, 25)


@pytest.mark.parametrize("text", ["25/2/2018", "2018-02-30", "25.2.2018", "2/25/18", "43156", "x"])
def test_bad_dates(text):
    with pytest.raises(ValueError, match="YYYY-MM-DD"):
        to_date(text)


@pytest.mark.parametrize(
    "text",
    [
        *("092508", "92508", "92508.0", "9:25:08", "1899-12-31 09:25:08", "09:25:08.000"),
        *("9:25:08 AM", "09:25:08am", "9:25:08 a.m."),
    ],
)
def test_times(text):
    assert to_time(text) == dt.time(9, 25, 8)


@pytest.mark.parametrize(
    ("text", "hour"), [("12:25:08 AM", 0), ("12:25:08 PM", 12), ("1:25:08 PM", 13)]
)
def test_halves_of_the_day(text, hour):
    assert to_time(text) == dt.time(hour, 25, 8)


@pytest.mark.parametrize("text", ["13:25:08 PM", "0:25:08 AM"])
def test_hours_that_no_half_of_the_day_has(text):
    with pytest.raises(ValueError, match="HHMMSS"):
        to_time(text)


@pytest.mark.parametrize("text", ["nan", "inf", "1e999", "1,5", "1_000", "0x10", "", "-", "١"])
def test_bad_numbers(text):
    with pytest.raises(ValueError, match="number"):
        to_number(text)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_finite_number_is_read_back(value):
    assert to_number(repr(value)) == value
