"""What the lines of one ledger mean together: each is admitted under rules, in order, or a `Fault` names the rule.

The store's own opening and an outsider's `verify` walk the same rules. An outsider checks every signature. A store
checks the last: it binds every byte before it, and only the store's own key could have made it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction

from fedcart.shared.errors import ProtocolError
from fedcart.shared.identity import Identity, verify
from fedcart.shared.ledger.lines import START, Fault, Line, line_hash
from fedcart.shared.ledger.receipts import Receipt, SignedHead
from fedcart.shared.ledger.spending import (
    LEAST_SHARE,
    Spending,
    epsilon_of,
    epsilon_string,
    fraction_string,
)
from fedcart.shared.privacy.accounting import charge_rho

ROTATION_DOMAIN = "ledger-rotation"
Attempt = tuple[str, int, int, str]
_TOLERANCE = Decimal("1e-8"), Decimal("2e-6")
"""Relative and absolute: another machine's logarithm may differ in the last place; six decimals are kept."""


class Chain:
    """Everything that follows from the lines so far.

    Attributes:
      seq: number of the next line.
      head: hash of the last line.
      time: of the last line.
      checkpointed: seq of the last checkpoint, 0 before the first.
      key: public key that signs the next line (None before genesis).
      spending: charges and recoveries.
      heads: hash -> seq of every line.
      charged: (plan, round, attempt, release) -> seq.
      released: seq of the charges whose release line stands.
      dearest: plan hash -> the most that one charge of it may cost.
      witnessed: seq of the last line that a receipt here names as this ledger's head; -1 before the first receipt.
      receipts: coordinators' signatures of the receipts that stand here.
    """

    def __init__(self, *, every_signature: bool = True) -> None:
        self._every = every_signature
        self.seq, self.head, self.time, self.checkpointed = 0, START, 0, 0
        self.key: bytes | None = None
        self.genesis = ""
        self.coalition, self.rehearsal = "", False
        self.keys: list[bytes] = []
        self.spending = Spending()
        self.heads: dict[str, int] = {}
        self.charged: dict[Attempt, int] = {}
        self.released: set[int] = set()
        self.dearest: dict[str, Fraction] = {}
        self.recovered: dict[str, int] = {}  # hash of a torn tail -> seq of its last recovery line
        self.witnessed = -1
        self.receipts: set[str] = set()
        self._last_of: dict[tuple[str, int], int] = {}  # (plan, round) -> seq of its last charge
        self._charges: set[int] = set()
        self._by_plan: dict[str, Counter[Fraction]] = {}

    def admit(self, line: Line) -> None:
        """Take the next line, or raise Fault and stay as before."""
        if line.seq != self.seq:
            raise Fault("sequence", f"line says {line.seq} where {self.seq} is next")
        if line.prev != self.head:
            raise Fault("chain", "prev is not the hash of the line before")
        if line.time < self.time:
            raise Fault("time", f"time runs back by {self.time - line.time} s")
        if (line.kind == "genesis") != (self.seq == 0):
            raise Fault("genesis", "genesis is the first line and no other")
        if self.key is None and line.kind != "genesis":
            raise Fault("genesis", "no genesis stands before it, so nobody is known to sign")
        signer = bytes.fromhex(line.body["public"]) if self.key is None else self.key
        if self._every or line.kind == "rotation":
            line.check_signature(signer)
        rule: Callable[[Line], None] | None = getattr(self, f"_{line.kind}", None)
        if rule is not None:
            rule(line)
        self._move(line.raw, line.time)

    def pass_over(self, raw: bytes) -> None:
        """Go on after a line that broke a rule: what follows is judged against its bytes, its meaning is not used."""
        self._move(raw, self.time)

    def plan_rho(self, plan: str) -> Fraction:
        """rho of all charges of one plan, exact."""
        return sum((rho * times for rho, times in self._by_plan.get(plan, {}).items()), Fraction(0))

    def charged_until(self, plan: str, round: int) -> int:
        """seq of the last charge of the plan's rounds up to `round`; -1 when there is none."""
        return max((seq for (of, at), seq in self._last_of.items() if of == plan and at <= round), default=-1)

    def unwitnessed_beside(self, plan: str, round: int) -> int:
        """How many rounds, of any plan but this one round, hold a charge that no receipt here covers."""
        return sum(seq > self.witnessed and of != (plan, round) for of, seq in self._last_of.items())

    @property
    def dearest_charge(self) -> Fraction:
        """The most that any charge may cost under the plans written here: the price of a torn line."""
        return max(self.dearest.values(), default=Fraction(0))

    def _move(self, raw: bytes, time: int) -> None:
        self.head, self.time = line_hash(raw), time
        self.heads[self.head] = self.seq
        self.seq += 1

    def _genesis(self, line: Line) -> None:
        self.key = bytes.fromhex(line.body["public"])
        self.keys.append(self.key)
        self.genesis = line.hash
        self.coalition, self.rehearsal = line.body["coalition"], line.body["rehearsal"]

    def _plan(self, line: Line) -> None:
        body = line.body
        if body["hash"] in self.dearest:
            raise Fault("plan", "this plan stands here already")
        if not 0 < float(body["delta"]) < 1:
            raise Fault("plan", "delta lies outside (0, 1)")
        self.dearest[body["hash"]] = _lowest(body["dearest"])

    def _charge(self, line: Line) -> None:
        body = line.body
        attempt = (body["plan"], body["round"], body["attempt"], body["release"])
        rho = charge_rho(int(body["D"]), int(body["variance"]), body["honest"])
        if body["plan"] not in self.dearest:
            raise Fault("plan", "a charge of a plan that does not stand here")
        if attempt in self.charged:
            raise Fault("charge-twice", f"charged before at line {self.charged[attempt] + 1}")
        if body["honest"] > 1 and int(body["variance"]) < LEAST_SHARE:
            raise Fault("rho", f"shares of a variance below {LEAST_SHARE} do not add up as one discrete Gaussian")
        if body["rho"] != fraction_string(rho):
            raise Fault("rho", "rho is not D^2 / (2 h variance)")
        if rho > self.dearest[body["plan"]]:
            raise Fault("dearest", "rho is above the dearest release of its plan")
        if body["rehearsal"] != self.rehearsal:
            raise Fault("rehearsal", "the charge and the genesis differ on rehearsal")
        if not 0 < float(body["delta"]) < 1:
            raise Fault("epsilon", "delta lies outside (0, 1)")
        if self._every:
            self._check_epsilon(body["epsilon_after"], rho, float(body["delta"]))
        self.charged[attempt] = line.seq
        self._charges.add(line.seq)
        self._last_of[body["plan"], body["round"]] = line.seq
        self._by_plan.setdefault(body["plan"], Counter())[rho] += 1
        self.spending.add(line.time, rho)

    def _check_epsilon(self, said: str, rho: Fraction, delta: float) -> None:
        right = Decimal(epsilon_string(epsilon_of(self.spending.lifetime + rho, delta)))
        if abs(Decimal(said) - right) > right * _TOLERANCE[0] + _TOLERANCE[1]:
            raise Fault("epsilon", f"epsilon_after is {said:.20} where the charges give {right}")

    def _release(self, line: Line) -> None:
        charge = line.body["charge"]
        if charge not in self._charges:
            raise Fault("release", f"a release of line {charge + 1}, which is no charge")
        if charge in self.released:
            raise Fault("release", f"a second release of the charge at line {charge + 1}")
        self.released.add(charge)

    def _receipt(self, line: Line) -> None:
        receipt = Receipt.parse(line.body)
        own = [head for head in self.own(receipt) if head.head in self.heads]
        if not own or (self._every and not any(head.holds() for head in own)):
            raise Fault("receipt", "it does not witness this ledger")
        if self._every:
            try:
                receipt.check()
            except ProtocolError:
                raise Fault("receipt", "its coordinator did not sign it") from None
        self.witnessed = max(self.witnessed, *(self.heads[head.head] for head in own))
        self.receipts.add(receipt.sig)

    def own(self, receipt: Receipt) -> list[SignedHead]:
        """The heads of a receipt that stand under a key of this ledger; whether they are signed is not asked here."""
        return [receipt.heads[key.hex()] for key in self.keys if key.hex() in receipt.heads]

    def _recovery(self, line: Line) -> None:
        if line.body["rho"] != fraction_string(self.dearest_charge):
            raise Fault("recovery", "a torn line costs the dearest charge of the plans before it")
        self.recovered[line.body["hash"]] = line.seq
        self.spending.add(line.time, self.dearest_charge)

    def _checkpoint(self, line: Line) -> None:
        if line.body["rho"] != fraction_string(self.spending.lifetime):
            raise Fault("checkpoint", "its rho is not the sum of the lines before it")
        if line.body["charges"] != self.spending.charges:
            raise Fault("checkpoint", "it counts other charges than stand before it")
        self.checkpointed = line.seq

    def _erasure(self, line: Line) -> None:
        if line.time != self.time:
            raise Fault("erasure", "its time is that of the line before: the day in the body is all it tells")
        if line.body["date"] < datetime.fromtimestamp(self.time, UTC).date().isoformat():
            raise Fault("erasure", "its day is before that of the line before it")

    def _rotation(self, line: Line) -> None:
        new = bytes.fromhex(line.body["public"])
        if self.key is None or new in self.keys:
            raise Fault("rotation", "the new key signed here before")
        try:
            verify(new, ROTATION_DOMAIN, rotation_bytes(self.head, self.key), bytes.fromhex(line.body["proof"]))
        except ProtocolError:
            raise Fault("rotation", "the new key did not accept this ledger") from None
        self.key = new
        self.keys.append(new)


def rotation_bytes(head: str, old: bytes) -> bytes:
    """What a new key signs: the ledger it takes over, and from whom."""
    return bytes.fromhex(head) + old


def rotation_proof(new: Identity, head: str, old: bytes) -> str:
    """128 hex digits: the new key's acceptance."""
    return new.sign(ROTATION_DOMAIN, rotation_bytes(head, old)).hex()


def _lowest(text: str) -> Fraction:
    value = Fraction(text)
    if fraction_string(value) != text:
        raise Fault("plan", "a fraction stands in lowest terms")
    return value
