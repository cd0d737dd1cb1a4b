"""Record batches kept until all have been read: in memory, or on disk where they are many."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa

__all__ = ["spooled"]

#: More than this (bytes) goes to a temporary file.
_IN_MEMORY = 256 << 20


def spooled(reader: Any) -> pa.RecordBatchReader:
    """Read all batches and return a reader over them.

    Parameters
    ----------
    reader
        A record batch reader; it is read to its end and closed.
    """
    schema, kept, size = reader.schema, [], 0
    batches = iter(reader)
    for batch in batches:
        kept.append(batch)
        size += batch.nbytes
        if size > _IN_MEMORY:
            return _on_disk(schema, kept, batches)
    return pa.RecordBatchReader.from_batches(schema, kept)


def _on_disk(
    schema: pa.Schema, kept: list[pa.RecordBatch], rest: Iterator[pa.RecordBatch]
) -> pa.RecordBatchReader:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed when it has been read
    try:
        with pa.ipc.new_stream(file, schema) as writer:
            while kept:
                writer.write_batch(kept.pop(0))
            for batch in rest:
                writer.write_batch(batch)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return pa.RecordBatchReader.from_batches(schema, _read(file))


def _read(file: IO[bytes]) -> Iterator[pa.RecordBatch]:
    with file, pa.ipc.open_stream(file) as stream:
        yield from stream
