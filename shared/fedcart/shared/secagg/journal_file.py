"""A journal in a file of its own: fixed records, hash-chained, fsynced one by one, one writer.

What a crash leaves of a record that was never acknowledged is cut off; any other damage stops the store.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from fedcart.shared.errors import DataError, ProtocolError
from fedcart.shared.secagg.journal import RECORD_BYTES, Past, Record, refuse_gone_by
from fedcart.shared.secagg.keys import digest
from fedcart.shared.secagg.pins import HASH
from fedcart.shared.storage import named_failures, sync_directory

SLOT = RECORD_BYTES + HASH


class FileJournal:
    """Records of every run of one store or coordinator; `remember` returns once a record is on disk.

    Attributes:
      path: mode 0600; locked while this object is open.
    """

    def __init__(self, path: Path, head: Callable[[], bytes] | None = None) -> None:
        """Open or make the file.

        Args:
          path: of the file.
          head: of the store's ledger, 32 bytes; the journal's own chain unless given.

        Raises:
          InputError: it cannot be opened, or another process has it.
          DataError: it is damaged.
        """
        self.path, self._other_head, self._broken = path, head, False
        with named_failures(path, "open as the only writer"):
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                sync_directory(path.parent)
                self._pasts: dict[bytes, Past] = {}
                self._count, self._chain = self._read()
            except BaseException:
                os.close(self._file)
                raise

    def past(self, run: bytes) -> Past:
        """See `Journal`."""
        return self._pasts.get(run, Past())

    def remember(self, record: bytes) -> None:
        """See `Journal`. After a write that failed this object refuses everything."""
        new = Record.parse(record)
        if self._broken:
            raise ProtocolError(f"{self.path}: a write failed before; nothing more is remembered", "restart the store")
        refuse_gone_by(new, self.past(new.run))
        chain = digest("journal", self._chain, record)
        self._broken = True
        with named_failures(self.path, "append"):
            if os.pwrite(self._file, record + chain, self._count * SLOT) != SLOT:
                raise OSError("a record was written in part")
            os.fsync(self._file)
        self._broken = False
        self._learn(new)
        self._count, self._chain = self._count + 1, chain

    def head(self) -> bytes:
        """See `Journal`."""
        return self._chain if self._other_head is None else self._other_head()

    def close(self) -> None:
        """Give the lock back."""
        self._broken = True
        os.close(self._file)

    def _learn(self, record: Record) -> None:
        self._pasts[record.run] = self.past(record.run).after(record)

    def _read(self) -> tuple[int, bytes]:
        """How many records there are, and the last one's hash."""
        size = os.fstat(self._file).st_size
        raw = b""
        while len(raw) < size and (part := os.pread(self._file, size - len(raw), len(raw))):
            raw += part
        whole = size // SLOT
        if whole and not any(raw[(whole - 1) * SLOT : whole * SLOT]):
            whole -= 1  # the file grew before its data came: never acknowledged
        chain = digest("journal")
        for at in range(0, whole * SLOT, SLOT):
            record, found = raw[at : at + RECORD_BYTES], raw[at + RECORD_BYTES : at + SLOT]
            chain = digest("journal", chain, record)
            if found != chain:
                raise DataError(
                    f"{self.path}: record {at // SLOT} is damaged; no epoch was entered",
                    "restore the whole file, or join the coalition again under a new identity",
                )
            self._learn(Record.parse(record))
        if size != whole * SLOT:
            os.ftruncate(self._file, whole * SLOT)
            os.fsync(self._file)
        return whole, chain
