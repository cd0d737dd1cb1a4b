"""Watches every call by which a child process changes the file system, and makes chosen ones fail.

The kernel hands each such call of the child, and of all its threads and libraries (Arrow's C++ and
DuckDB's as well as Python's), to this process before it is carried out (``seccomp`` with user
notification; Linux 5.5 or newer, no privileges needed). Nothing of maplake is changed for it, and
nothing is timed: call number k is call number k.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import select
import signal
import socket
import struct
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_X86_64 = """
    write=1 open=2 pwrite64=18 writev=20 sendfile=40 fsync=74 fdatasync=75 truncate=76 ftruncate=77
    rename=82 mkdir=83 rmdir=84 creat=85 link=86 unlink=87 symlink=88 openat=257 mkdirat=258
    unlinkat=263 renameat=264 linkat=265 symlinkat=266 fallocate=285 pwritev=296 renameat2=316
    copy_file_range=326
"""
_AARCH64 = """
    mkdirat=34 unlinkat=35 symlinkat=36 linkat=37 renameat=38 truncate=45 ftruncate=46 fallocate=47
    openat=56 write=64 writev=66 pwrite64=68 pwritev=70 sendfile=71 fsync=82 fdatasync=83
    renameat2=276 copy_file_range=285
"""


def _numbers(text: str) -> dict[str, int]:
    return {name: int(n) for name, n in (word.split("=") for word in text.split())}


#: Number of each call by machine. ``openat`` counts where it opens to write.
CALLS = {"x86_64": _numbers(_X86_64), "aarch64": _numbers(_AARCH64)}

#: What a call does: its kind, and which arguments are a path, a descriptor of a folder before a
#: path, or a descriptor of a file.
KINDS = {
    **dict.fromkeys(("write", "writev", "pwrite64", "pwritev", "sendfile"), "write"),
    **dict.fromkeys(("fallocate", "copy_file_range"), "write"),
    **dict.fromkeys(("fsync", "fdatasync"), "sync"),
    **dict.fromkeys(("truncate", "ftruncate"), "truncate"),
    **dict.fromkeys(("rename", "renameat", "renameat2"), "rename"),
    **dict.fromkeys(("mkdir", "mkdirat"), "mkdir"),
    **dict.fromkeys(("unlink", "unlinkat", "rmdir"), "remove"),
    **dict.fromkeys(("open", "openat", "creat"), "open"),
    **dict.fromkeys(("link", "linkat", "symlink", "symlinkat"), "link"),
}
_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC
_NOTIFY, _ALLOW = 0x7FC00000, 0x7FFF0000
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTICE = struct.Struct("=QIIiIQ6Q")
_ANSWER = struct.Struct("=Qqii")
_GO_ON = 1
_HERE = -100  # AT_FDCWD
_TRIAL = re.compile(r"[a-z0-9_]{8}")

#: Whose calls count: those of all processes, of the command's own, of those that it starts.
EVERYBODY, OWN, WORKERS = "everybody", "own", "workers"

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Op:
    """One call: its number (from 1), what it does, to which path (below the root), with how much.

    The number is 0 if it is of a process whose calls do not count. ``other`` is the target of a
    rename; ``handle`` and ``flags`` are those of a write or open.
    """

    number: int
    kind: str
    path: str
    other: str = ""
    size: int = 0
    handle: int = -1
    flags: int = 0
    task: int = 0
    data: int = 0


@dataclass
class Run:
    """What came of a child: its exit code (negative: a signal), calls and words.

    ``outside`` are paths that it changed elsewhere than below the root.
    """

    code: int = 0
    ops: list[Op] = field(default_factory=list)
    text: str = ""
    outside: set[str] = field(default_factory=set)


#: Decides on a call: None lets it pass, "kill" and "torn" (half of a write) end the process before
#: it, a number makes it fail with that error.
Decide = Callable[[Op], "str | int | None"]


def why_not() -> str | None:
    """Return why calls cannot be watched here, or None if they can."""
    if sys.platform != "linux":
        return "calls are watched on Linux alone"
    if platform.machine() not in CALLS:
        return f"the numbers of the calls of {platform.machine()} are not known"
    try:
        found = watch(lambda: 0, Path(tempfile.gettempdir()), lambda _: None)
    except OSError as error:
        return f"the kernel does not let calls be watched: {error}"
    return None if found.code == 0 else found.text


def _filter() -> bytes:
    """Return the BPF program: which calls are handed over."""
    calls = CALLS[platform.machine()]
    code: list[tuple[int, int, int, int]] = [(0x20, 0, 0, 0)]  # load the call's number
    plain = [n for name, n in calls.items() if name not in ("openat", "open", "write", "writev")]
    code += [step for n in plain for step in ((0x15, 0, 1, n), (0x06, 0, 0, _NOTIFY))]
    for name, place in (("openat", 2), ("open", 1)):
        if name in calls:  # only if it opens to write
            code += [
                *((0x15, 0, 4, calls[name]), (0x20, 0, 0, 16 + 8 * place)),
                *((0x45, 0, 1, _TO_WRITE), (0x06, 0, 0, _NOTIFY), (0x06, 0, 0, _ALLOW)),
            ]
    for name in ("write", "writev"):  # not what is printed
        code += [
            *((0x15, 0, 4, calls[name]), (0x20, 0, 0, 16)),
            *((0x25, 0, 1, 2), (0x06, 0, 0, _NOTIFY), (0x06, 0, 0, _ALLOW)),
        ]
    code.append((0x06, 0, 0, _ALLOW))
    return b"".join(struct.pack("=HBBI", *step) for step in code)


def _install() -> int:
    """Have this process's calls handed over from now on; return the descriptor to take them."""
    program = _filter()
    buffer = ctypes.create_string_buffer(program)
    pointer = ctypes.create_string_buffer(
        struct.pack("@HP", len(program) // 8, ctypes.addressof(buffer))
    )
    number = 317 if platform.machine() == "x86_64" else 277
    _libc.prctl(38, 1, 0, 0, 0)  # no new privileges
    handle = _libc.syscall(number, 1, 8, ctypes.byref(pointer))
    if handle < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return handle


def _child(work: Callable[[], int], link: socket.socket, words: int) -> None:
    """Be the child: carry out ``work`` under watch and end with the number it returns."""
    code = 99
    try:
        os.dup2(words, 1)
        os.dup2(words, 2)
        sys.dont_write_bytecode = True
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"  # for processes that it starts
        socket.send_fds(link, [b"."], [_install()])
        code = work()
    except BaseException as error:
        os.write(2, f"{type(error).__name__}: {error}".encode())
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def watch(work: Callable[[], int], root: Path, decide: Decide, whose: str = EVERYBODY) -> Run:
    """Carry out ``work`` in a fork of this process and decide on each call that changes files.

    Calls of the processes that the fork starts are seen, too. It returns when all have ended.

    Parameters
    ----------
    work
        Returns the exit code. This process must have started no threads.
    root
        Calls below this folder count.
    decide
        Is asked about each.
    whose
        Whose calls are numbered and listed; what ends a process ends that of the call.
    """
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    mine, theirs = socket.socketpair()
    with mine, theirs, tempfile.TemporaryFile() as words:
        child = os.fork()
        if not child:
            _child(work, theirs, words.fileno())
        theirs.close()
        _, handles, _, _ = socket.recv_fds(mine, 1, 1)
        run = Run()
        try:
            if handles:
                _Watcher(child, handles[0], root, decide, run, whose).serve()
        finally:
            for handle in handles:
                os.close(handle)
            _, status = os.waitpid(child, 0)
        run.code = os.waitstatus_to_exitcode(status)
        words.seek(0)
        run.text = words.read().decode("utf-8", "replace")
    if not handles:
        raise OSError(errno.ENOSYS, run.text)
    return run


def _is_memory(path: str) -> bool:
    """Whether a path is a pipe, an event or the like, no file of a disk."""
    return not path.startswith("/") or path.startswith(("/dev/", "/proc/"))


def _is_trial(path: str) -> bool:
    """Whether Python tries there once in each process which folder for temporary files it has."""
    place = Path(path)
    return str(place.parent) == tempfile.gettempdir() and bool(_TRIAL.fullmatch(place.name))


class _Watcher:
    """Takes the calls of one child, and of those that it starts, and answers them."""

    def __init__(
        self, child: int, handle: int, root: Path, decide: Decide, run: Run, whose: str
    ) -> None:
        self.child, self.handle, self.decide, self.run = child, handle, decide, run
        self.whose = whose
        self.top = os.path.realpath(root)
        self.names = {n: name for name, n in CALLS[platform.machine()].items()}

    def serve(self) -> None:
        import fcntl

        poll = select.poll()
        poll.register(self.handle, select.POLLIN)
        while True:
            events = poll.poll()
            if not events[0][1] & select.POLLIN:
                return
            notice = bytearray(_NOTICE.size)
            try:
                fcntl.ioctl(self.handle, _RECEIVE, notice)
            except OSError as error:
                if error.errno != errno.ENOENT:  # it ended meanwhile
                    raise
                continue
            try:
                verdict = self._answer(_NOTICE.unpack(notice))
            except BaseException as error:
                task = _NOTICE.unpack(notice)[1]
                if isinstance(error, OSError) and not Path(f"/proc/{task}").exists():
                    continue  # it was killed meanwhile, as workers are
                os.kill(self.child, signal.SIGKILL)
                raise
            answer = _ANSWER.pack(_NOTICE.unpack(notice)[0], 0, -verdict, 0 if verdict else _GO_ON)
            try:
                fcntl.ioctl(self.handle, _SEND, answer)
            except OSError as error:
                if error.errno != errno.ENOENT:
                    raise

    def _answer(self, notice: tuple[int, ...]) -> int:
        """Return the error that a call gets; 0 = it is carried out."""
        _, task, _, number, _, _, *args = notice
        op = self._op(self.names[number], task, args)
        if op is None:
            return 0
        if op.number:
            self.run.ops.append(op)
        verdict = self.decide(op)
        if verdict in ("kill", "torn"):
            if verdict == "torn":
                self._tear(op)
            os.kill(self._process(task), signal.SIGKILL)
            return errno.EINTR  # no longer seen; told to go on, it might carry the call out
        return int(verdict or 0)

    def _process(self, task: int) -> int:
        """Return the process of a thread."""
        lines = Path(f"/proc/{task}/status").read_text(encoding="utf-8").splitlines()
        return next(int(x.split()[1]) for x in lines if x.startswith("Tgid:"))

    def _counts(self, task: int) -> bool:
        if self.whose == EVERYBODY:
            return True
        return (self._process(task) == self.child) == (self.whose == OWN)

    def _op(self, name: str, task: int, args: Sequence[int]) -> Op | None:
        kind = KINDS[name]
        extra: dict[str, int] = {"task": task}
        other = ""
        if name in ("sendfile", "copy_file_range"):
            path = self._of_handle(task, args[0] if name == "sendfile" else args[2])
        elif kind in ("write", "sync") or name == "ftruncate":
            path = self._of_handle(task, args[0])
            if name == "write":
                extra |= {"size": args[2], "handle": args[0], "data": args[1]}
            elif name == "pwrite64":
                extra["size"] = args[2]
            elif name == "ftruncate":
                extra["size"] = args[1]
        elif name.endswith("at") or name == "renameat2":
            path = self._path(task, args[0], args[1])
            if kind in ("rename", "link"):
                other = self._path(task, args[2], args[3])
            if kind == "open":
                extra["flags"] = args[2]
        else:
            path = self._path(task, _HERE, args[0])
            if kind in ("rename", "link"):
                other = self._path(task, _HERE, args[1])
            if kind == "open":
                extra["flags"] = args[1]
        found = self._below(path), self._below(other) if other else ""
        if found[0] is None or found[1] is None:
            elsewhere = (p for p in (path, other) if p and self._below(p) is None)
            known = (_is_memory, _is_trial)
            self.run.outside.update(p for p in elsewhere if not any(is_it(p) for is_it in known))
            if found == (None, "") or found == (None, None):
                return None
        number = len(self.run.ops) + 1 if self._counts(task) else 0
        return Op(number, kind, found[0] or path, found[1] or other, **extra)

    def _below(self, path: str) -> str | None:
        if path == self.top:
            return "."
        return path[len(self.top) + 1 :] if path.startswith(f"{self.top}/") else None

    def _of_handle(self, task: int, handle: int) -> str:
        try:
            return str(Path(f"/proc/{task}/fd/{handle}").readlink())
        except OSError:
            return "?"

    def _path(self, task: int, folder: int, place: int) -> str:
        text = self._text(task, place)
        if text.startswith("/"):
            return os.path.normpath(text)
        signed = ctypes.c_int(folder & 0xFFFFFFFF).value
        base = f"/proc/{task}/cwd" if signed == _HERE else f"/proc/{task}/fd/{signed}"
        return os.path.normpath(Path(base).readlink() / text)

    def _text(self, task: int, place: int) -> str:
        """Read a path from the child's memory."""
        with Path(f"/proc/{task}/mem").open("rb", 0) as memory:
            found = b""
            while b"\0" not in found and len(found) < 4096:
                end = 4096 - (place + len(found)) % 4096  # not beyond what is mapped
                memory.seek(place + len(found))
                found += memory.read(end)
        return os.fsdecode(found.split(b"\0", 1)[0])

    def _tear(self, op: Op) -> None:
        """Carry out the first half of a write."""
        if not op.data:
            return
        with Path(f"/proc/{op.task}/mem").open("rb", 0) as memory:
            memory.seek(op.data)
            half = memory.read(op.size // 2)
        place = Path(f"/proc/{op.task}/fdinfo/{op.handle}").read_text(encoding="ascii")
        with Path(f"/proc/{op.task}/fd/{op.handle}").open("r+b", 0) as file:
            file.seek(int(place.split()[1]))
            file.write(half)
