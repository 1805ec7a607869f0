"""When an epoch of keys is begun early: for whom, how often, and when no longer."""

from __future__ import annotations

from fedcart.server.returns import EARLY_TRIES, MOST_BEHIND, Returns
from fedcart.shared.secagg.participant import EPOCH_REACH

NODES = {10, 11, 12, 13}
STORES = range(4)


def entered(returns: Returns, epoch: int, without: int | None = None, why: str = "NodeUnavailable") -> None:
    stores = [store for store in STORES if store != without]
    returns.entered(epoch, stores, {} if without is None else {10 + without: why})


def test_nothing_is_begun_while_all_who_are_there_take_part() -> None:
    returns = Returns(STORES)
    entered(returns, 0, without=3)
    assert not any(returns.call(1, {10, 11, 12}, {10, 11, 12}) for _ in range(20))


def test_the_next_comes_after_some_tries_whoever_asks() -> None:
    returns = Returns(STORES)
    entered(returns, 0)
    assert returns.call(1, NODES, NODES - {13}) == {13}
    entered(returns, 1)
    calls = [bool(returns.call(2, NODES, NODES - {12})) for _ in range(EARLY_TRIES)]
    assert calls == [False] * (EARLY_TRIES - 1) + [True]


def test_a_node_that_uploads_nothing_in_its_epoch_gets_no_other() -> None:
    returns = Returns(STORES)
    entered(returns, 0)
    assert returns.call(1, NODES, NODES - {13})
    entered(returns, 1)
    assert not any(returns.call(2, NODES, NODES - {13}) for _ in range(20))
    returns.uploaded(13)
    assert returns.call(2, NODES, NODES - {13}) == {13}


def test_a_node_that_was_not_reached_is_waited_for_again_and_one_that_refused_is_not() -> None:
    for why, again in (("NoReply", True), ("PrivacyRefused", False)):
        returns = Returns(STORES)
        entered(returns, 0)
        assert returns.call(1, NODES, NODES - {13})
        entered(returns, 1, without=3, why=why)
        assert any(returns.call(2, NODES, NODES - {13}) for _ in range(EARLY_TRIES)) is again


def test_one_that_keeps_falling_over_does_not_lock_out_one_that_is_away() -> None:
    returns = Returns(STORES)
    entered(returns, 0)
    epoch = 0
    for _ in range(40 * EARLY_TRIES):
        if returns.call(epoch + 1, NODES - {12}, {10, 11}):  # 13 falls over, 12 is away
            epoch += 1
            entered(returns, epoch, without=2)
            returns.uploaded(13)
    assert epoch == MOST_BEHIND < EPOCH_REACH
    for must in range(epoch + 1, EPOCH_REACH + 2):  # the plan's own go on: then 12 is locked out in any case
        entered(returns, must, without=2)
    assert any(returns.call(EPOCH_REACH + 2, NODES - {12}, {10, 11}) for _ in range(EARLY_TRIES))
