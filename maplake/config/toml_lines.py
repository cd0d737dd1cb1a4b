"""In which line of a TOML text a key stands: :mod:`tomllib` gives values, but no positions.

The text is known to be valid TOML (tomllib has read it), so the scanner only follows its
structure: headers, keys, arrays and inline tables.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["Path", "find_lines", "nearest_line"]

#: Keys and array indices from the top of the document, e.g. ``("behavior", "rigs", 0, "name")``.
Path = tuple[str | int, ...]

_TOKEN = re.compile(
    r'''(?P<string>"""(?:\\.|[^\\])*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*')'''
    r"|(?P<skip>\#[^\n]*|[ \t\r]+)|(?P<newline>\n)|(?P<mark>[\[\]{}=,.])"
    r"|(?P<word>[^\s\[\]{}=,.\#\"']+)",
    re.DOTALL,
)


def find_lines(text: str) -> dict[Path, int]:
    """Return the line, from 1, of every table, key and array item of a valid TOML text."""
    return _Scanner(list(_tokens(text))).scan()


def nearest_line(lines: Mapping[Path, int], path: Path) -> int | None:
    """Return the line of ``path``, else that of the closest thing around it, else None."""
    while path:
        if path in lines:
            return lines[path]
        path = path[:-1]
    return None


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    line: int


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind = str(match.lastgroup)
        if kind != "skip":
            yield _Token(kind, match.group(), line)
        line += match.group().count("\n")
    yield _Token("end", "", line)


def _unquote(token: _Token) -> str:
    if token.kind != "string":
        return token.text
    import tomllib

    return str(tomllib.loads(f"key = {token.text}")["key"])


@dataclass
class _Scanner:
    tokens: list[_Token]
    at: int = 0
    lines: dict[Path, int] = field(default_factory=dict)
    items: dict[Path, int] = field(default_factory=dict)  # last index of each array of tables

    def scan(self) -> dict[Path, int]:
        table: Path = ()
        while self.here.kind != "end":
            if self.here.text == "[" and self.here.kind == "mark":
                table = self._header()
            elif self.here.kind == "newline":
                self.at += 1
            else:
                self._assignment(table)
        return self.lines

    @property
    def here(self) -> _Token:
        return self.tokens[self.at]

    def _is(self, text: str) -> bool:
        return self.here.kind == "mark" and self.here.text == text

    def _header(self) -> Path:
        line, start = self.here.line, self.at
        while self._is("["):
            self.at += 1
        many = self.at - start == 2
        path = self._current(self._key("]"), many)
        for depth in range(1, len(path) + 1):
            self.lines.setdefault(path[:depth], line)
        while self._is("]"):
            self.at += 1
        return path

    def _current(self, keys: list[str], many: bool) -> Path:
        """Resolve the keys of a header to the last item of each array of tables among them."""
        path: Path = ()
        for depth, key in enumerate(keys, start=1):
            path = (*path, key)
            if many and depth == len(keys):
                self.items[path] = self.items.get(path, -1) + 1
            if path in self.items:
                path = (*path, self.items[path])
        return path

    def _key(self, stop: str) -> list[str]:
        keys = []
        while self.here.kind != "end" and not self._is(stop):
            if self.here.kind in ("word", "string"):
                keys.append(_unquote(self.here))
            self.at += 1
        return keys

    def _assignment(self, table: Path) -> None:
        line = self.here.line
        path = table
        for key in self._key("="):
            path = (*path, key)
            self.lines.setdefault(path, line)
        self.at += 1
        self._value(path)

    def _value(self, path: Path) -> None:
        self.lines.setdefault(path, self.here.line)
        if self._is("["):
            index = iter(range(len(self.tokens)))
            self._inside("]", lambda: self._value((*path, next(index))))
        elif self._is("{"):
            self._inside("}", lambda: self._assignment(path))
        else:  # a date and a float are several tokens
            while self.here.kind in ("word", "string") or self._is("."):
                self.at += 1

    def _inside(self, stop: str, one: Callable[[], None]) -> None:
        self.at += 1
        while self.here.kind != "end" and not self._is(stop):
            if self._is(",") or self.here.kind == "newline":
                self.at += 1
            else:
                one()
        self.at += 1
