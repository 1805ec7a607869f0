"""From shares to the masks that remain in a sum, every step checked against what the owners signed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedcart.shared.errors import ProtocolError, RoundFailed
from fedcart.shared.secagg.field import to_int
from fedcart.shared.secagg.graph import Graph
from fedcart.shared.secagg.keys import commitment, load, pair_mask_key, public_key, self_mask_key, share_hash
from fedcart.shared.secagg.messages import Boxes, Keys, Unmask
from fedcart.shared.secagg.requests import Train
from fedcart.shared.secagg.shamir import combine


@dataclass(frozen=True, slots=True)
class Offence:
    """What one store's own signature proves against it."""

    store: int
    what: str


def check_shares(
    graph: Graph, reply: Unmask, train: Train, survivors: tuple[int, ...], boxes: Mapping[int, Boxes]
) -> None:
    """The reply holds exactly the shares asked for, each the one that its owner dealt, and a field element.

    Raises:
      ProtocolError: it does not. The signed reply and the owner's signed BOXES prove it.
    """
    owners = graph.holders(reply.sender)  # being a neighbour is mutual
    if reply.alive.keys() != owners & set(survivors) or reply.dropped.keys() != (owners & set(train.cohort)) - set(
        survivors
    ):
        raise ProtocolError(f"store {reply.sender} sent other shares than were asked for; they were not used")
    for kind, shares in ((b"b", reply.alive), (b"key", reply.dropped)):
        for owner, share in shares.items():
            hashes = boxes[owner].hashes(reply.sender)
            known = hashes[2 * train.round + (kind == b"key")]
            if share_hash(train.tag, owner, reply.sender, train.round, kind, share) != known:
                raise ProtocolError(
                    f"store {reply.sender} sent a share of store {owner} that is not the one dealt; not used"
                )
            try:
                to_int(share)  # a dealer may have hashed anything, and dealt it to itself or to a colluder
            except ProtocolError:
                raise ProtocolError(
                    f"store {reply.sender} sent a share of store {owner} that is no field element; not used"
                ) from None


def remaining_masks(
    graph: Graph, train: Train, survivors: tuple[int, ...], keys: Mapping[int, Keys], replies: Mapping[int, Unmask]
) -> tuple[list[tuple[bytes, bool]], list[Offence]]:
    """What to add to the survivors' sum: (key, negative) for `add_masks`, all signs turned round.

    Raises:
      RoundFailed: fewer than t of the holders of a store's shares replied.
    """
    number, context = train.round, train.context()
    masks: list[tuple[bytes, bool]] = []
    offences: list[Offence] = []
    for j in survivors:
        b = combine({i + 1: replies[i].alive[j] for i in _holders(graph, replies, j)}, graph.threshold)
        if commitment(train.tag, j, number, b) != keys[j].rounds[number][1]:
            offences.append(Offence(j, "dealt shares that do not rebuild the b it committed to"))
        masks.append((self_mask_key(b, context), True))
    for j in set(train.cohort) - set(survivors):
        rsk = combine({i + 1: replies[i].dropped[j] for i in _holders(graph, replies, j)}, graph.threshold)
        if public_key(rsk) != keys[j].rounds[number][0]:
            offences.append(Offence(j, "dealt shares that do not rebuild the round key it announced"))
        # i added the mask if i < j: take it off again.
        private = load(rsk)
        near = sorted(graph.holders(j).intersection(survivors))
        masks += [(pair_mask_key(private, keys[i].rounds[number][0], context, i, j), i < j) for i in near]
    return masks, offences


def _holders(graph: Graph, replies: Mapping[int, Unmask], owner: int) -> list[int]:
    """The t holders of the owner's shares with the smallest indices among those that replied."""
    found = sorted(graph.holders(owner).intersection(replies))
    if len(found) < graph.threshold:
        raise RoundFailed(f"{len(found)} stores sent shares, {graph.threshold} are needed; the sum was not opened")
    return found[: graph.threshold]
