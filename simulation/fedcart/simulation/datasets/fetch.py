"""Download one public original: resumable, checked before it gets its name, never half-written under that name.

Bytes go to FILE.part; a cut connection or Ctrl-C leaves it and the next try goes on from there (HTTP Range). Only
when the checksum agrees does it become FILE. A wrong checksum removes it: nothing a later run would trust is left.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from fedcart.shared.errors import DataError
from fedcart.simulation.datasets.originals import Original

Progress = Callable[[int, int | None], None]
"""Called with bytes done and bytes in all (None = not known)."""
BLOCK = 1 << 18
TIMEOUT_S = 30.0


class _Cut(Exception):
    """The connection ended early; what came is in the .part file."""


def fetch(
    original: Original, folder: Path, *, progress: Progress | None = None, tries: int = 5, pause_s: float = 1.0
) -> bool:
    """Put `original` into `folder` (made when absent). True = downloaded, False = it was already there, whole.

    Raises:
      DataError: another file of that name is there; no address, no space, no permission; the connection was cut
        `tries` times in a row without a byte between; the checksum is not the listed one.
    """
    _check_address(original.url)
    target, part = folder / original.file, folder / f"{original.file}.part"
    with _writing(part):
        folder.mkdir(parents=True, exist_ok=True)
        if target.exists():
            if _digest(target, original.algorithm) == original.checksum:
                return False
            hint = f"move it away: {target}"
            raise DataError(f"{target} is there already with another {original.algorithm}; nothing was fetched", hint)
        _download(original.url, part, progress or _silent, tries, pause_s)
        found = _digest(part, original.algorithm)
        if found != original.checksum:
            part.unlink()
            raise DataError(
                f"{original.url}: {original.algorithm} is {found}, not {original.checksum}; the download was removed",
                "the publisher changed the file or something on the way did; try again",
            )
        _rename(part, target)
    return True


def _check_address(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")):
        raise DataError(f"{url}: only https addresses are fetched")


def _download(url: str, part: Path, progress: Progress, tries: int, pause_s: float) -> None:
    """Fill `part` until it is whole; a try that brought bytes does not count."""
    failed = 0
    while True:
        before = _size(part)
        try:
            _one_try(url, part, progress)
            return
        except _Cut as cut:
            failed = 0 if _size(part) > before else failed + 1
            if failed >= tries:
                raise DataError(
                    f"{url}: {cut} ({tries} tries); {_size(part)} bytes are kept in {part}",
                    "run the same command again to go on from there",
                ) from cut
            time.sleep(pause_s * failed)


def _one_try(url: str, part: Path, progress: Progress) -> None:
    have = _size(part)
    request = urllib.request.Request(url, headers={"User-Agent": "fedcart"})  # noqa: S310 (_check_address)
    if have:
        request.add_header("Range", f"bytes={have}-")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:  # noqa: S310 (_check_address)
            resumed = reply.status == http.client.PARTIAL_CONTENT
            if resumed and not str(reply.headers.get("Content-Range", "")).startswith(f"bytes {have}-"):
                part.unlink()
                raise _Cut("the server answered with another range")
            start = have if resumed else 0
            length = reply.headers.get("Content-Length")
            _copy(reply, part, start, None if length is None else start + int(length), progress)
    except urllib.error.HTTPError as error:
        if error.code == http.client.REQUESTED_RANGE_NOT_SATISFIABLE and have:
            if _whole_length(error) == have:
                return  # all of it is here; the checksum decides
            part.unlink()
            raise _Cut("the file there is shorter than what is here") from error
        if error.code >= 500:
            raise _Cut(f"the server answered {error.code} {error.reason}") from error
        hint = "the publisher moved the file, or asks for a login"
        raise DataError(f"{url}: the server answered {error.code} {error.reason}; nothing was fetched", hint) from error
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        reason = getattr(error, "reason", None) or error
        raise _Cut(f"the connection failed: {str(reason) or type(error).__name__}") from error


def _copy(reply: http.client.HTTPResponse, part: Path, start: int, total: int | None, progress: Progress) -> None:
    done = start
    with open(part, "r+b" if start else "wb") as out:
        out.seek(start)
        progress(done, total)
        while block := _next_block(reply):
            out.write(block)
            done += len(block)
            progress(done, total)
        out.flush()
        os.fsync(out.fileno())
    if total is not None and done < total:
        raise _Cut(f"the connection was cut after {done} of {total} bytes")


def _next_block(reply: http.client.HTTPResponse) -> bytes:
    try:
        return reply.read1(BLOCK)
    except http.client.IncompleteRead as cut:
        return cut.partial


def _whole_length(error: urllib.error.HTTPError) -> int | None:
    """The length in 'Content-Range: bytes */LENGTH' of a 416 answer."""
    length = str(error.headers.get("Content-Range", "")).rpartition("/")[2]
    return int(length) if length.isdigit() else None


def _rename(part: Path, target: Path) -> None:
    os.replace(part, target)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _writing(part: Path) -> Iterator[None]:
    """Disk errors as one line that names the file."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            kept = f"{part} is kept and will be resumed"
            raise DataError(f"no space is left for {part}; {kept}", "make room, then run it again") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise DataError(
                f"{part.parent} cannot be written; nothing was fetched", "name another --data-dir"
            ) from error
        raise DataError(f"{part}: {error.strerror or error}; nothing was fetched") from error


def _digest(path: Path, algorithm: str) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _silent(done: int, total: int | None) -> None:
    return None
