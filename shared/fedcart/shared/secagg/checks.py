"""What a store checks before it does anything: pure functions of the pins and the message. Each raises or is silent."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from fedcart.shared.errors import ProtocolError
from fedcart.shared.secagg.graph import Graph
from fedcart.shared.secagg.keys import digest
from fedcart.shared.secagg.messages import Signed
from fedcart.shared.secagg.pins import Pins
from fedcart.shared.secagg.requests import Train
from fedcart.shared.secagg.wire import check


class Answers(dict[str, tuple[bytes, bytes]]):
    """Name of a request -> (its hash, the answer): each is answered once, and again only with the same bytes."""

    def again(self, name: str, raw: bytes) -> bytes | None:
        """The answer to an identical request; None if there was no request of that name.

        Raises:
          ProtocolError: there was another one.
        """
        if name not in self:
            return None
        asked, answer = self[name]
        if asked != digest("request", raw):
            raise ProtocolError(f"a second and different {name} request came; refused, the first answer stands")
        return answer

    def keep(self, name: str, raw: bytes, answer: bytes) -> bytes:
        """Remember and return an answer."""
        self[name] = digest("request", raw), answer
        return answer


def public_of(pins: Pins, index: int) -> bytes:
    """The Ed25519 key that the roster pins for a store."""
    public = pins.identities.get(index)
    if public is None:
        raise ProtocolError(f"store {index} is not in the roster; the message was not used")
    return public


def check_count(least: int, what: str, count: int) -> None:
    """At least m, which is never below t, or what a ring asks for; the checking store counted."""
    if count < least:
        raise ProtocolError(f"{count} {what}, this store among them, are under the plan's {least}; refused")


def check_signatures(pins: Pins, words: Iterable[Signed]) -> None:
    """Each by the participant that it names."""
    for word in words:
        check(word, public_of(pins, word.sender))


def check_graph(graph: Graph, live: Collection[int], cohort: Collection[int]) -> None:
    """The graph still holds together: see `graph`."""
    if gap := graph.gap(live, cohort):
        raise ProtocolError(f"{gap}; refused")


def check_train(pins: Pins, graph: Graph, index: int, opened: Collection[int], train: Train, model: bytes) -> None:
    """Round, model and cohort of a TRAIN request, for a store that opened the boxes of `opened` (itself among them)."""
    if not opened:
        raise ProtocolError("a TRAIN request came before the boxes; nothing was computed")
    if train.round >= pins.rounds:
        raise ProtocolError(f"round {train.round} is not one of the plan's {pins.rounds}; nothing was computed")
    if train.model != model:
        raise ProtocolError("the model that came is not the one the request names; nothing was computed")
    cohort, neighbours = set(train.cohort), graph.holders(index)
    if index not in cohort or not cohort <= pins.identities.keys() or not cohort & neighbours <= set(opened):
        raise ProtocolError(
            "a cohort leaves this store out or names one whose box it did not open; nothing was computed"
        )
    check_count(pins.cohort.min_survivors, "stores in the cohort", len(cohort))
    check_graph(graph, cohort, cohort)


def check_order(train: Train, before: Train | None, last_release: int) -> None:
    """A later round than the last one answered, for the next release or a repeat.

    Args:
      before: the last TRAIN answered in this epoch.
      last_release: of the run, if there was none in this epoch; -1 at first.
    """
    if before is not None and train.round <= before.round:
        raise ProtocolError(f"round {train.round} came after round {before.round} was answered; nothing was computed")
    last = before.release if before else last_release
    reach = last + train.round - before.round if before else train.release
    if not last <= train.release <= reach:
        raise ProtocolError(
            f"round {train.round} is for release {train.release}, but the last one answered was {last}: "
            "neither a repeat nor the next; nothing was computed"
        )
