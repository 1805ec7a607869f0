"""`fedcart audit transcript`: every archived epoch of secure aggregation, replayed from its signed messages.

It needs the messages and the pins only: no key, no vector, no trust in whoever kept them. What the pins say is believed
only as far as --plan and --roster, told by another way, agree with them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedcart.shared.audit.inspection import finding_document, refuse
from fedcart.shared.errors import ConfigError, DataError, FedcartError, InputError
from fedcart.shared.ledger.kinds import HASH
from fedcart.shared.ledger.verify import Finding
from fedcart.shared.secagg.pins import Pins
from fedcart.shared.secagg.replay import AuditedRound, verify_transcript
from fedcart.shared.secagg.transcript import Transcript
from fedcart.shared.storage import named_failures

SCHEMA = 1
PINS, EPOCHS = "pins.json", "epoch-*.json"
PLACES = (Path("ledger", "transcript"), Path("transcript"), Path())
"""Where transcripts lie in the folder of a run, in one with ledgers, or by themselves."""
UNDETECTABLE = (
    "a second transcript that the coordinator kept to itself, or an epoch that was left out",
    "whether a store's vector held the noise that its ledger was charged for, or its data at all",
    "who holds a key: two stores may be one company, and one with the coordinator",
)


@dataclass(frozen=True, slots=True)
class Replayed:
    """One epoch's file; no rounds when it was refused."""

    path: Path
    epoch: int | None
    rounds: tuple[AuditedRound, ...]


@dataclass(frozen=True, slots=True)
class Transcripts:
    """A folder of transcripts.

    Attributes:
      pins: as they lie there; None when they cannot be read.
      told: whether --plan and --roster were both given.
    """

    directory: Path
    pins: Pins | None
    epochs: tuple[Replayed, ...]
    findings: tuple[Finding, ...]
    told: bool

    def require(self) -> None:
        """Raise ProtocolError when there is a finding, after everything was shown."""
        refuse(self.findings, "these messages are no evidence")

    def document(self) -> dict[str, Any]:
        """For --json."""
        return {
            "schema": SCHEMA,
            "command": "audit transcript",
            "directory": str(self.directory),
            "told": self.told,
            "pins": _pins_document(self.pins),
            "epochs": [
                {"file": one.path.name, "epoch": one.epoch, "rounds": [_round_document(r) for r in one.rounds]}
                for one in self.epochs
            ],
            "findings": [finding_document(finding) for finding in self.findings],
            "undetectable": list(UNDETECTABLE),
        }


def replay_folder(directory: Path, plan: str | None = None, roster: str | None = None) -> Transcripts:
    """Replay every epoch of a folder.

    Args:
      plan, roster: hashes of 64 digits that the pins must have, obtained out of band.

    Raises:
      InputError: no such directory, no transcripts, or one cannot be read.
      ConfigError: a hash has another form.
    """
    told = {"plan": plan, "roster": roster}
    for name, value in told.items():
        if value is not None and not HASH(value):
            raise ConfigError(f"--{name} {value!r:.80}: 64 lower-case hex digits are needed")
    place, paths = _find(directory)
    findings: list[Finding] = []
    pins = _read_pins(place / PINS, told, findings)
    epochs = [] if pins is None else [_replay(path, pins, findings) for path in paths]
    findings += _between(epochs)
    return Transcripts(place, pins, tuple(epochs), tuple(findings), None not in told.values())


def transcript_lines(found: Transcripts) -> Iterator[str]:
    """What the command prints for people."""
    if found.pins is not None:
        cohort = found.pins.cohort
        yield f"plan {found.pins.plan.hex()}, roster {found.pins.roster.hex()}"
        yield (
            f"{cohort.participants} stores, {cohort.colluders} of which may collude; sums of {cohort.min_survivors} or "
            f"more, {cohort.honest} of them honest; {cohort.quorum} sign each survivor set"
        )
    for one in found.epochs:
        yield f"{one.path.name}: {'refused' if one.epoch is None else f'epoch {one.epoch}'}"
        for r in one.rounds:
            end = f"opened over {len(r.survivors)} stores" if r.opened else "not opened"
            asked = f"{len(r.cohort)} asked, {len(r.survivors)} uploaded, {len(r.confirmed)} confirmed"
            yield f"  round {r.round}, release {r.release}: {asked}; {end}"
    yield from (f"finding: {finding}" for finding in found.findings)
    if not found.told:
        yield "whose plan and roster these are, nobody told: compare out of band, then give --plan and --roster"
    yield "no replay can find:"
    yield from (f"  {words}" for words in UNDETECTABLE)


def _find(directory: Path) -> tuple[Path, list[Path]]:
    if not directory.is_dir():
        raise InputError(f"{directory}: no such directory; nothing was audited")
    for place in (directory / part for part in PLACES):
        with named_failures(place, "list"):
            paths = sorted(place.glob(EPOCHS)) if place.is_dir() else []
        if paths:
            return place, paths
    raise InputError(
        f"{directory}: no transcripts ({EPOCHS}) here, in transcript/ or in ledger/transcript/; nothing was audited",
        "a run without secure aggregation has none",
    )


def _read_pins(path: Path, told: dict[str, str | None], findings: list[Finding]) -> Pins | None:
    with named_failures(path, "read"):
        raw = path.read_bytes()
    try:
        pins = Pins.parse(raw)
    except DataError as error:
        findings.append(Finding(path, 0, "pins", error.message))
        return None
    for name, value in told.items():
        if value is not None and getattr(pins, name).hex() != value:
            findings.append(Finding(path, 0, "pins", f"the {name} is not the one that --{name} names"))
    return pins


def _replay(path: Path, pins: Pins, findings: list[Finding]) -> Replayed:
    with named_failures(path, "read"):
        raw = path.read_bytes()
    try:
        transcript = Transcript.parse(raw)
        rounds = verify_transcript(transcript, pins)
    except FedcartError as error:
        findings.append(Finding(path, 0, "replay", error.message))
        return Replayed(path, None, ())
    if path.name != f"epoch-{transcript.epoch:04d}.json":
        findings.append(Finding(path, 0, "epoch", f"it holds epoch {transcript.epoch}, another than its name says"))
    return Replayed(path, transcript.epoch, rounds)


def _between(epochs: list[Replayed]) -> Iterator[Finding]:
    """What one epoch cannot show: a release asked for again after a later one. Honest stores answer none."""
    last = -1
    for one in sorted((x for x in epochs if x.epoch is not None), key=lambda x: x.epoch or 0):
        answered = [r.release for r in one.rounds if r.survivors]
        if answered and answered[0] < last:
            message = f"release {answered[0]} was summed after release {last} of an epoch before"
            yield Finding(one.path, 0, "release", message)
        last = max([last, *answered])


def _pins_document(pins: Pins | None) -> dict[str, Any] | None:
    if pins is None:
        return None
    return {
        "plan": pins.plan.hex(),
        "roster": pins.roster.hex(),
        "participants": pins.cohort.participants,
        "colluders": pins.cohort.colluders,
        "min_survivors": pins.cohort.min_survivors,
        "honest": pins.cohort.honest,
        "neighbours": 2 * pins.reach or pins.cohort.participants - 1,
    }


def _round_document(one: AuditedRound) -> dict[str, Any]:
    return {
        "round": one.round,
        "release": one.release,
        "block": one.block,
        "model": one.model.hex(),
        "context": one.context.hex(),
        "cohort": list(one.cohort),
        "survivors": list(one.survivors),
        "confirmed": list(one.confirmed),
        "opened": one.opened,
    }
