"""Work on a Dask cluster: workers read and stage, the process that asked commits."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Self, TypeVar

from maplake.errors import ClusterError, MaplakeError, WorkerLostError

__all__ = ["Cluster", "code_version"]

T = TypeVar("T")
R = TypeVar("R")

#: Libraries that what is written, or sent, depends on.
_LIBRARIES = ("duckdb", "numpy", "polars", "pyarrow", "zarr")
_CONNECT_S = 30


@cache
def code_version() -> dict[str, str]:
    """Return what has to be the same everywhere: a hash of maplake's files, and libraries."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.suffix in (".py", ".sql")):
        digest.update(f"{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    found = {"maplake": digest.hexdigest()[:12]}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent"
    return found


class Cluster:
    """A Dask cluster.

    Parameters
    ----------
    scheduler
        Its address, or its scheduler file.
    lake
        The lake's folder, which its workers must see at the same place.

    Raises
    ------
    ClusterError
        If ``distributed`` is not installed, the scheduler does not answer, or a worker has other
        code or does not see the lake.
    """

    def __init__(self, scheduler: str, lake: Path | None = None) -> None:
        self._scheduler = scheduler
        self._lake = lake
        self._client: Any = _connect(scheduler)

    def __enter__(self) -> Self:
        try:
            self._check()
        except BaseException:
            self._client.close()
            raise
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._client.close()

    def _check(self) -> None:
        """Ask every worker that is there now; those that join later are asked with each task."""
        found = self._client.run(_probe, None if self._lake is None else str(self._lake))
        for worker, (code, sees) in found.items():
            _compare(code_version(), code, worker)
            if not sees:
                raise ClusterError(
                    "a worker of the cluster does not see the lake",
                    file=self._lake,
                    place=f"worker {worker}",
                    hint="The lake and the raw files must be on a file system that all workers "
                    "share, at the same path.",
                )

    def run(
        self, function: Callable[[T], R], tasks: Iterable[T]
    ) -> Iterator[tuple[T, R | WorkerLostError]]:
        """Yield each task with its result, as they are ready; Dask repeats those of lost workers.

        Raises
        ------
        ClusterError
            If a worker has other code, or the scheduler is lost.
        """
        import distributed

        ready: Callable[[list[Any]], Iterable[Any]] = distributed.as_completed
        expected = code_version()
        futures = {
            self._client.submit(_carry_out, expected, function, task, pure=False): task
            for task in tasks
        }
        try:
            for future in ready(list(futures)):
                yield futures.pop(future), self._result(future)
        finally:
            if futures:
                self._client.cancel(list(futures))

    def _result(self, future: Any) -> Any:
        from distributed import KilledWorker

        try:
            return future.result()
        except KilledWorker as error:
            return WorkerLostError(
                "the workers that worked on it were lost",
                found=f"{error.last_worker.address}, last",
                hint="The usual cause is a lack of memory: give the workers more.",
            )
        except MaplakeError:
            raise
        except (OSError, ImportError, AttributeError) as error:
            # What a worker without maplake, or a connection that breaks, comes to.
            raise ClusterError(
                f"the cluster cannot carry this out ({type(error).__name__}: {error})",
                place=self._scheduler,
                hint="Its workers need the same maplake as this machine.",
            ) from error


def _connect(scheduler: str) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError(
            "a Dask scheduler is named, but dask is not installed",
            place=scheduler,
            hint="pip install 'maplake[dask]', here and on the workers",
        ) from error
    where = {"scheduler_file": scheduler} if scheduler.endswith(".json") else {"address": scheduler}
    make: Callable[..., Any] = Client
    try:
        if scheduler.endswith(".json") and not Path(scheduler).is_file():
            raise FileNotFoundError("there is no such scheduler file")
        return make(**where, timeout=_CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise ClusterError(
            f"the Dask scheduler does not answer ({error})",
            place=scheduler,
            hint="Check [dask] scheduler of lake.toml, or --scheduler.",
        ) from error


def _probe(lake: str | None) -> tuple[dict[str, str], bool]:
    """Tell, on a worker, what code it has and whether it sees the lake."""
    return code_version(), lake is None or (Path(lake) / ".maplake").is_dir()


def _carry_out(expected: dict[str, str], function: Callable[[T], R], task: T) -> R:
    _compare(expected, code_version(), "one that joined")
    return function(task)


def _compare(here: dict[str, str], there: dict[str, str], worker: str) -> None:
    names = sorted(name for name in here.keys() | there.keys() if here.get(name) != there.get(name))
    if names:
        raise ClusterError(
            "a worker of the cluster runs other code than this machine",
            place=f"worker {worker}",
            found=", ".join(f"{name} {there.get(name)}" for name in names),
            expected=", ".join(f"{name} {here.get(name)}" for name in names),
            hint="Install the same versions on all machines and start the workers anew.",
        )
