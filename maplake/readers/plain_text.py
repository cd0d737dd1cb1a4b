"""Text files that may have been written by programs of Windows."""

from __future__ import annotations

__all__ = ["decode"]


def decode(data: bytes) -> str:
    """Return the text of UTF-8 or, if it is none, of Windows in Western Europe and America.

    That is code page 1252, which has dashes and quotes where Latin-1 has none; the five bytes that
    it leaves out are taken as Latin-1.
    """
    for encoding in ("utf-8-sig", "cp1252"):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            continue
    return data.decode("latin-1")
