"""Session numbers: given once, in order of start, and never again to another session."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime

from maplake.errors import IntegrityError
from maplake.layout import Layout, spare_file
from maplake.recordfile import MOST, read_json
from maplake.writers import files


class SessionNumbers:
    """The registry file: subject_id → name of the behavior session → number.

    A session that cannot be read yet has its number already, so that the numbers do not depend
    on how many tries it took.
    """

    def __init__(self, layout: Layout) -> None:
        self._path = layout.session_registry
        self._spare = layout.root / spare_file(self._path.relative_to(layout.root).as_posix())
        self._numbers = self._load()
        self._known = json.dumps(self._numbers)
        self._changed = False

    @property
    def changed(self) -> bool:
        """Whether a session got a number that is not saved yet."""
        return self._changed

    def _load(self) -> dict[str, dict[str, int]]:
        try:
            numbers: dict[str, dict[str, int]] = read_json(self._path)
            _check(numbers)
        except FileNotFoundError as error:
            if not self._spare.exists():
                return {}
            raise self._lost("missing") from error  # sessions would be numbered anew
        except (ValueError, TypeError, AttributeError) as error:
            raise self._lost("damaged") from error
        return numbers

    def _lost(self, how: str) -> IntegrityError:
        return IntegrityError(
            f"the registry of session numbers is {how}",
            file=self._path,
            hint="`maplake rebuild --spare` puts it right.",
        )

    def assign(self, subject_id: int, sessions: Iterable[tuple[str, datetime]]) -> None:
        """Give a number to each session (name, start) of an animal that has none yet."""
        known = self._numbers.setdefault(str(subject_id), {})
        new = sorted((start, name) for name, start in sessions if name not in known)
        for number, (_, name) in enumerate(new, start=max(known.values(), default=0) + 1):
            known[name] = number
            self._changed = True

    def number(self, subject_id: int, name: str) -> int | None:
        """Return the number of a session, or None if it has none."""
        return self._numbers.get(str(subject_id), {}).get(name)

    def save(self) -> bool:
        """Write the registry if anything changed; the caller holds the write lock.

        Returns
        -------
        False if another writer gave numbers meanwhile: nothing is written then.
        """
        if self._changed:
            if json.dumps(self._load()) != self._known:
                return False
            files.write_json(self._path, self._numbers)
            files.write_json(self._spare, self._numbers)
            self._known = json.dumps(self._numbers)
            self._changed = False
        return True


def _check(numbers: dict[str, dict[str, int]]) -> None:
    for names in numbers.values():
        for number in names.values():
            if type(number) is not int or not 0 < number <= MOST:
                raise ValueError(number)
        if len(set(names.values())) < len(names):
            raise ValueError("two sessions of an animal have one number")
