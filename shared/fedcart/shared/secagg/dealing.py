"""A store's secrets of one epoch: for each round b and a round key, their shares for the peers, and the peers' shares.

They live in memory only. Erasing drops every reference; Python cannot promise that no copy stays in freed memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from fedcart.shared.errors import ProtocolError
from fedcart.shared.secagg import field as numbers
from fedcart.shared.secagg.keys import (
    Private,
    commitment,
    load,
    open_box,
    pair_mask_key,
    public_key,
    seal_box,
    self_mask_key,
)
from fedcart.shared.secagg.keys import share_hash as hash_of
from fedcart.shared.secagg.messages import Keys, Row
from fedcart.shared.secagg.shamir import split

Draw = Callable[[int], bytes]
Shares = tuple[bytes, bytes]
"""One holder's (share of b, share of the round key)."""


@dataclass(slots=True)
class Secrets:
    """What only this store knows.

    Attributes:
      box: X25519 private key of the epoch's boxes; None once they are opened.
      rounds: r -> (b, X25519 private key of the round).
      held: r -> owner -> this store's shares of the owner's secrets, its own among them.
    """

    box: bytes | None = field(repr=False)
    rounds: dict[int, tuple[bytes, bytes]] = field(repr=False)
    held: dict[int, dict[int, Shares]] = field(repr=False)

    @staticmethod
    def fresh(rounds: int, draw: Draw) -> Secrets:
        """New ones; each below p, since each is shared."""
        pairs = {r: (numbers.draw_secret(draw), numbers.draw_secret(draw)) for r in range(rounds)}
        return Secrets(draw(32), pairs, {r: {} for r in range(rounds)})

    def close_before(self, number: int) -> None:
        """Erase every round below `number`."""
        for r in [r for r in self.rounds if r < number]:
            del self.rounds[r]
        for r in [r for r in self.held if r < number]:
            del self.held[r]

    def erase(self) -> None:
        """Erase all."""
        self.box = None
        self.rounds.clear()
        self.held.clear()


def announce(secrets: Secrets, tag: bytes, index: int, head: bytes) -> Keys:
    """KEYS, not signed yet."""
    if secrets.box is None:
        raise ProtocolError("the box key is erased; no keys were announced")
    rounds = tuple((public_key(rsk), commitment(tag, index, r, b)) for r, (b, rsk) in sorted(secrets.rounds.items()))
    return Keys(tag, index, head, public_key(secrets.box), rounds)


def deal(
    secrets: Secrets, threshold: int, own: Keys, peers: Iterable[Keys], head: bytes, draw: Draw
) -> tuple[tuple[bytes, ...], dict[int, Row]]:
    """Split every secret over the peers and this store; keep the own shares; seal the others.

    Returns:
      H(share) of the own shares; receiver -> row, not signed yet.
    """
    if secrets.box is None:
        raise ProtocolError("the box key is erased; no shares were dealt")
    keys = {peer.sender: peer.box_key for peer in peers}
    holders = [own.sender, *keys]
    dealt: dict[int, list[Shares]] = {holder: [] for holder in holders}
    for r, (b, rsk) in sorted(secrets.rounds.items()):
        halves = [_split(secret, threshold, holders, draw) for secret in (b, rsk)]
        for holder in holders:
            dealt[holder].append((halves[0][holder], halves[1][holder]))
        secrets.held[r][own.sender] = dealt[own.sender][-1]
    rows, private = {}, load(secrets.box)
    for holder, key in keys.items():
        content = b"".join(b + rsk for b, rsk in dealt[holder])
        box = seal_box(private, key, own.tag, own.sender, holder, content, draw)
        hashes = share_hashes(own.tag, own.sender, holder, dealt[holder])
        rows[holder] = Row(own.tag, own.sender, holder, head, box, hashes)
    return share_hashes(own.tag, own.sender, own.sender, dealt[own.sender]), rows


def accept(secrets: Secrets, private: Private, row: Row, key: bytes) -> None:
    """Open one row's box, for the box key `private`, and hold its shares.

    Raises:
      ProtocolError: it does not open, or its shares are not those that its hashes name.
    """
    content = open_box(private, key, row.tag, row.sender, row.receiver, row.box)
    shares = [(content[at : at + 32], content[at + 32 : at + 64]) for at in range(0, len(content), 64)]
    if share_hashes(row.tag, row.sender, row.receiver, shares) != row.hashes:
        raise ProtocolError(f"store {row.sender} dealt other shares than it signed; its box was not used")
    for pair in shares:
        for share in pair:
            numbers.to_int(share)
    for r, pair in enumerate(shares):
        secrets.held[r][row.sender] = pair


def share_hashes(tag: bytes, owner: int, holder: int, shares: list[Shares]) -> tuple[bytes, ...]:
    """H(share) of b and round key for each round, in a row's order."""
    return tuple(
        hash_of(tag, owner, holder, r, kind, share)
        for r, pair in enumerate(shares)
        for kind, share in zip((b"b", b"key"), pair, strict=True)
    )


def mask_keys(
    secrets: Secrets, index: int, number: int, context: bytes, cohort: dict[int, bytes]
) -> list[tuple[bytes, bool]]:
    """The masks of one upload: (key, negative) for `add_masks`. `cohort`: peer -> its public round key."""
    b, rsk = secrets.rounds[number]
    private = load(rsk)
    pairs = [(pair_mask_key(private, public, context, index, j), index > j) for j, public in cohort.items()]
    return [(self_mask_key(b, context), False), *pairs]


def _split(secret: bytes, threshold: int, holders: list[int], draw: Draw) -> dict[int, bytes]:
    points = [holder + 1 for holder in holders]
    below = lambda _: numbers.to_int(numbers.draw_secret(draw))  # noqa: E731  (uniform below p: drawn again, not reduced)
    return {x - 1: share for x, share in split(secret, threshold, points, below).items()}
