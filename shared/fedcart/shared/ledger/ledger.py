"""A store's ledger: every release is charged here, durably, before anything computed from customers leaves.

A crash can only over-count. Whatever cannot be made durable stops the store: nothing is released on a charge that
might not be there tomorrow. docs/ledger.md is the file format; this is its one writer.
"""

from __future__ import annotations

import threading
import time as clocks
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

from fedcart.shared.canonical import decimal_string
from fedcart.shared.errors import InputError, PrivacyRefused, ProtocolError
from fedcart.shared.identity import Identity
from fedcart.shared.ledger import torn
from fedcart.shared.ledger.chain import rotation_proof
from fedcart.shared.ledger.charged import Charged
from fedcart.shared.ledger.disk import Disk
from fedcart.shared.ledger.facts import Facts
from fedcart.shared.ledger.file import LedgerFile
from fedcart.shared.ledger.kinds import EVENT, bucket
from fedcart.shared.ledger.lines import Fault, Line, make_line, parse_line
from fedcart.shared.ledger.receipts import Receipt, SignedHead
from fedcart.shared.ledger.remembered import Remembered, Verified
from fedcart.shared.ledger.spending import epsilon_of, epsilon_string, fraction_string
from fedcart.shared.privacy.accounting import charge_rho

MOST = 10**100
"""Above D and variance."""
WITNESSED_WITHIN = 2
"""Rounds: what round r was charged is witnessed by a receipt before round r + 2 is answered, and of all plans' rounds
no more than these are unwitnessed at once."""
CHECKPOINT_EVERY = 256
"""Lines between checkpoints."""
DISK = Disk()
MEMORY = Remembered()
"""Of this process; of ledgers on `DISK` only."""


def now() -> int:
    """Whole seconds since 1970 UTC."""
    return int(clocks.time())


class Ledger(Facts):
    """An open, locked ledger. Close it, or use it in a `with` block; while it is open nobody else can open it."""

    def __init__(self, file: LedgerFile, identity: Identity, clock: Callable[[], int]) -> None:
        """Use `create` or `open`."""
        self.path = file.path
        self._file, self._identity, self._clock = file, identity, clock
        self._remembers = file.on(DISK)
        self._verified = Verified()
        self._guard = threading.RLock()

    # ---- opening

    @classmethod
    def create(
        cls,
        path: Path,
        identity: Identity,
        *,
        coalition: str,
        rehearsal: bool,
        disk: Disk = DISK,
        clock: Callable[[], int] = now,
    ) -> Ledger:
        """Start a ledger with its genesis line, durably (file and directory).

        Raises:
          ConfigError: `path` exists.
          InputError: it cannot be written.
          PrivacyRefused: `coalition` is no name, or the line could not be made durable.
        """
        file = LedgerFile.create(path, disk)
        try:
            self = cls(file, identity, clock)
            self._append("genesis", {"coalition": coalition, "public": identity.public.hex(), "rehearsal": rehearsal})
            file.sync_name()
        except BaseException as error:
            file.discard()
            if isinstance(error, OSError):
                raise InputError(f"{path}: cannot create a ledger: {error.strerror}") from error
            raise
        return self

    @classmethod
    def open(cls, path: Path, identity: Identity, *, disk: Disk = DISK, clock: Callable[[], int] = now) -> Ledger:
        """Lock a ledger, verify its chain, recover a torn last line, and make sure of its last line on the medium.

        What this process verified before, and finds unchanged, it does not verify again.

        Raises:
          InputError: there is no such file, or it cannot be read or written.
          PrivacyRefused: it is in use, stopped, damaged, or another key's. Nothing is released.
        """
        file = LedgerFile.open(path, disk)
        try:
            self = cls(file, identity, clock)
            self._load()
        except BaseException as error:
            file.close()
            if isinstance(error, OSError):
                reason = error.strerror or type(error).__name__
                raise InputError(f"{path}: cannot read the ledger: {reason}; nothing was released") from error
            raise
        return self

    def close(self) -> None:
        """Give the lock back; the object can do nothing afterwards."""
        if self._file.usable and self._remembers:
            self._verified.version = self._file.version
            MEMORY.keep(self.path, self._verified)
        self._file.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _load(self) -> None:
        raw = self._file.read()
        if self._remembers:
            self._verified = MEMORY.recall(self.path, raw)
        known = self._verified.size
        lines, tail = torn.split(raw[known:])
        last: Line | None = None
        for number, text in enumerate(lines, self._chain.seq + 1):
            try:
                last = parse_line(text)
                signer = self._chain.key
                self._chain.admit(last)
            except Fault as fault:
                raise self._damaged(number, fault.rule, fault.message) from fault
            self._verified.add(text + b"\n")
        if self._chain.key is None:
            raise self._damaged(1, "genesis", "no finished line")
        if self._chain.key != self._identity.public:
            raise PrivacyRefused(
                f"{self.path} is the ledger of another key; nothing was released",
                "use the key of its genesis, or of its last rotation",
            )
        if last is not None:
            try:
                last.check_signature(signer or self._identity.public)
            except Fault as fault:
                raise self._damaged(self._chain.seq, fault.rule, fault.message) from fault
            self._file.settle(last.raw + b"\n", len(raw) - len(tail))
        elif self._verified.version == self._file.version:
            self._file.trust(known)
        else:
            self._file.settle(raw[raw.rfind(b"\n", 0, known - 1) + 1 : known], known)
        self._recover(tail)

    def _recover(self, tail: bytes) -> None:
        if tail:
            self._file.cut(self._chain.seq, tail)
        for part in torn.kept(self.path):
            if self._chain.recovered.get(part.hash, -1) < part.seq:
                rho = fraction_string(self._chain.dearest_charge)
                self._append("recovery", {"hash": part.hash, "bytes": part.size, "rho": rho})

    def _damaged(self, line: int, rule: str, message: str) -> PrivacyRefused:
        return PrivacyRefused(
            f"{self.path}: line {line}: {rule}: {message}; nothing was released",
            "the store stays stopped: find out what changed the file, and show it to an auditor",
        )

    # ---- what is written

    def policy(self, digest: str) -> None:
        """Record the policy in force, by hash."""
        self._append("policy", {"hash": digest})

    def plan(self, digest: str, *, epsilon: str, delta: float, dearest: Fraction, attempts: int) -> None:
        """Record a plan that this store approved.

        Args:
          epsilon: decimal string.
          dearest: rho of the plan's dearest release; no charge of it may cost more, and a torn line costs that.
          attempts: repeats that the plan pays for.
        """
        cost = fraction_string(dearest)
        delta_text = decimal_string(delta)
        body = {"hash": digest, "epsilon": epsilon, "delta": delta_text, "dearest": cost, "attempts": attempts}
        self._append("plan", body)

    def charge(
        self,
        *,
        plan: str,
        round: int,
        attempt: int,
        release: str,
        D: int,
        variance: int,
        honest: int,
        delta: float,
    ) -> Charged:
        """Charge one release; when this returns, the charge is on the medium.

        Args:
          plan: hash of a plan that stands in this ledger.
          D: integer sensitivity of the release.
          variance: of this store's own noise, in D's units squared.
          honest: h, stores whose shares add up; 1 when this store's noise stands alone.
          delta: of the epsilon that the line shows.

        Returns:
          A token that one release uses up.

        Raises:
          PrivacyRefused: charged before, dearer than its plan says, a clock behind the last line, or the ledger
            stopped. Nothing may be released.
        """
        if not (1 <= D < MOST and 1 <= variance < MOST and 1 <= honest < 2**53):
            raise PrivacyRefused("D, variance and honest are whole numbers from 1; nothing was charged or released")
        with self._guard:
            rho = charge_rho(D, variance, honest)
            after = self.would_spend(rho, delta)
            body = {"plan": plan, "round": round, "attempt": attempt, "release": release, "event": EVENT}
            body |= {"D": str(D), "variance": str(variance), "honest": honest, "rho": fraction_string(rho)}
            body |= {"delta": decimal_string(delta), "epsilon_after": epsilon_string(after)}
            line = self._append("charge", body | {"rehearsal": self.rehearsal})
            return Charged(line.seq, rho, after, self._file.refuse_unusable)

    def release(self, charged: Charged, digest: str) -> None:
        """Record the hash of what is about to be sent on a spent token; once for each charge."""
        if not charged.spent:
            raise PrivacyRefused(f"the charge at line {charged.seq + 1} is not spent; nothing was released")
        self._append("release", {"charge": charged.seq, "hash": digest})

    def abort(self, *, plan: str, round: int, attempt: int, reason: str) -> None:
        """Record that a round ended without a result. Refunds nothing.

        Args:
          reason: one lower-case word, such as "below-quorum".
        """
        self._append("abort", {"plan": plan, "round": round, "attempt": attempt, "reason": reason})

    def witness(self, receipt: Receipt, coordinator: bytes) -> None:
        """Append the coordinator's receipt of a round; one that stands here already is not appended again.

        Args:
          coordinator: its pinned public key.

        Raises:
          PrivacyRefused: the receipt carries this store's own signature on a head that is not here: the ledger was
            rolled back. The store stops, whoever sent it.
          ProtocolError: it is forged, or does not witness this ledger. It is not appended; the store goes on.
        """
        with self._guard:
            self._file.refuse_unusable()
            own = [head for head in self._chain.own(receipt) if head.holds()]
            if any(head.head not in self._chain.heads for head in own):
                self.rolled_back("a receipt", "a head that its own key signed")
            if receipt.coordinator != coordinator.hex():
                raise ProtocolError("a receipt is of another coordinator than the pinned one; it was not used")
            receipt.check()
            if not own:
                raise ProtocolError("a receipt lacks this store's own signed head; it was not used")
            if receipt.sig not in self._chain.receipts:
                self._append("receipt", receipt.body())

    def rolled_back(self, proof: str, lacks: str) -> NoReturn:
        """Stop for good: a signature by this ledger's own key, which the caller verified, is of something that stood
        here and does not any more.

        Raises:
          PrivacyRefused: always.
        """
        with self._guard:
            self._file.refuse_unusable()
            self._file.stop(f"{proof} proves that it was rolled back: it lacks {lacks}")

    def refuse_unwitnessed(self, plan: str, round: int) -> None:
        """Refuse round `round` of a plan while nobody witnessed what rounds up to `round` - 2 of it were charged, or
        while two other rounds, of whatever plans, are unwitnessed: so a chain of short plans needs its receipts too.

        Raises:
          PrivacyRefused: no receipt here names a head at or after the last of those charges.
        """
        beside = self._chain.unwitnessed_beside(plan, round)
        if beside >= WITNESSED_WITHIN:
            raise PrivacyRefused(
                f"round {round} was asked for before a receipt came: {beside} other rounds, of this plan or earlier "
                f"ones, are unwitnessed, and at most {WITNESSED_WITHIN - 1} may be; nothing was charged or released",
                "the coordinator sends receipts when a run begins and after each round; it must send the missing ones",
            )
        if self._chain.charged_until(plan, round - WITNESSED_WITHIN) > self._chain.witnessed:
            raise PrivacyRefused(
                f"round {round} was asked for before a receipt of round {round - WITNESSED_WITHIN} came back; nothing "
                "was charged or released",
                "the coordinator sends a receipt after each round; it must send the ones that are missing",
            )

    def erased(self, customers: int) -> None:
        """Record that customers were forgotten: a bucket and a day, nothing more. Writes nothing when none were."""
        if customers > 0:
            day = datetime.fromtimestamp(self._clock(), UTC).date().isoformat()
            self._append("erasure", {"customers": bucket(customers), "date": day})

    def rotate(self, new: Identity) -> None:
        """Hand the ledger to a new key: signed by the old, accepted by the new. Later lines are the new key's."""
        with self._guard:
            proof = rotation_proof(new, self.head, self._identity.public)
            self._append("rotation", {"public": new.public.hex(), "proof": proof})
            self._identity = new

    def checkpoint(self) -> None:
        """Record the running total; also written by itself every `CHECKPOINT_EVERY` lines."""
        spending = self._chain.spending
        self._append("checkpoint", {"charges": spending.charges, "rho": fraction_string(spending.lifetime)})

    # ---- what it says

    def signed_head(self) -> SignedHead:
        """The head with this store's signature: travels with every message, comes back in receipts."""
        with self._guard:
            self._file.refuse_unusable()
            return SignedHead.make(self._identity, self.head)

    def window_epsilon(self, days: int, delta: float, at: int, *, and_rho: Fraction = Fraction(0)) -> float:
        """Epsilon of what was charged in the last `days` x 24 h up to `at`, and of `and_rho` if it were too.

        Raises:
          PrivacyRefused: `at` is before the last line: an earlier now would see less of what was spent.
        """
        if at < self._chain.time:
            raise self._behind(at)
        return epsilon_of(self._chain.spending.window(days, at) + and_rho, delta)

    # ---- how it is written

    def _append(self, kind: str, body: Mapping[str, Any]) -> Line:
        """Admit, write and fsync one line."""
        with self._guard:
            self._file.refuse_unusable()
            due = self._chain.seq - self._chain.checkpointed >= CHECKPOINT_EVERY
            if due and kind not in ("checkpoint", "erasure"):  # before an erasure it would tell the hour
                self.checkpoint()
            at = self._clock()
            if at < self._chain.time:
                raise self._behind(at)
            self._file.begin()
            line = self._admitted(kind, body, self._chain.time if kind == "erasure" else at)
            self._file.append(line.raw + b"\n", kind)
            self._verified.add(line.raw + b"\n")
            return line

    def _admitted(self, kind: str, body: Mapping[str, Any], at: int) -> Line:
        chain = self._chain
        try:
            line = make_line(self._identity, seq=chain.seq, prev=chain.head, time=at, kind=kind, body=body)
            chain.admit(line)
        except InputError:  # no canonical bytes: nothing was changed
            self._file.withdraw()
            raise
        except Fault as fault:  # nor here
            self._file.withdraw()
            raise PrivacyRefused(
                f"{self.path}: a {kind} line was refused: {fault.rule}: {fault.message}; nothing was released"
            ) from fault
        return line

    def _behind(self, at: int) -> PrivacyRefused:
        return PrivacyRefused(
            f"the clock is {self._chain.time - at} s behind the ledger's last line; nothing was released",
            "set the clock right: a ledger's time never runs backwards",
        )
