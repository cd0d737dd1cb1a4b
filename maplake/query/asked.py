"""What Python hands over to ask with, checked: keys, numbers, words and windows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from maplake.errors import QueryError


def whole(name: str, value: object) -> int:
    """Return a whole number: an int, one of numpy's, or a float or text that says one.

    Raises
    ------
    QueryError
        If it is none; a number with a fraction is not cut.
    """
    given: Any = value
    try:
        found = int(given)
        if isinstance(value, str) or found == given:
            return found
    except (TypeError, ValueError, OverflowError):
        pass
    hint = "lake.sessions() lists all." if name == "subject_id" else None
    raise QueryError(f"{name} must be a whole number", found=repr(value), hint=hint)


def number(name: str, value: object) -> float:
    """Return a number; it may be infinite or not a number.

    Raises
    ------
    QueryError
        If it is none.
    """
    given: Any = value
    try:
        return float(given)
    except (TypeError, ValueError, OverflowError):
        raise QueryError(f"{name} must be a number", found=repr(value)) from None


def word(name: str, value: object) -> str:
    """Return a text.

    Raises
    ------
    QueryError
        If it is none.
    """
    if isinstance(value, str):
        return value
    raise QueryError(f"{name} must be text", found=repr(value))


def words(name: str, value: object) -> list[str]:
    """Return texts; of one alone a list.

    Raises
    ------
    QueryError
        If these are none.
    """
    if isinstance(value, str) or not isinstance(value, Iterable):
        return [word(name, value)]
    return [word(name, one) for one in value]


def window(value: object) -> tuple[float, float]:
    """Return start and end (s) of a window.

    Raises
    ------
    QueryError
        If these are not two numbers, the first one before the second.
    """
    given: Any = value
    try:
        start, stop = (float(one) for one in given)
    except (TypeError, ValueError, OverflowError):
        raise QueryError("a window is its start and end (s)", found=repr(value)) from None
    if not float("-inf") < start < stop < float("inf"):
        raise QueryError("the window must end after its start", found=[start, stop])
    return start, stop


def span(start: object, stop: object) -> dict[str, float]:
    """Return the ends of a window (s) as they are looked up by; see :func:`number`."""
    return {"start": number("start", start), "stop": number("stop", stop)}


def moment(event: object, occurrence: object) -> dict[str, str]:
    """Return what trials are aligned to, as it is looked up by; see :func:`word`."""
    return {"event": word("event", event), "occurrence": word("occurrence", occurrence)}


def unit_key(
    subject_id: object,
    session: object,
    insertion_number: object = None,
    clustering_method: object = None,
    unit: object = None,
) -> dict[str, Any]:
    """Return the key of a session or of what is in it; None = all of the session.

    Raises
    ------
    QueryError
        If a part cannot be one.
    """
    method = clustering_method
    return {
        "subject_id": whole("subject_id", subject_id),
        "session": whole("session", session),
        "insertion_number": _or_all("insertion_number", insertion_number),
        "clustering_method": None if method is None else word("clustering_method", method),
        "unit": _or_all("unit", unit),
    }


def _or_all(name: str, value: object) -> int | None:
    return None if value is None else whole(name, value)
