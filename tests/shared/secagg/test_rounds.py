"""Full rounds of real stores and a real coordinator: the sum is exact whoever drops, or there is none."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcart.shared.errors import RoundFailed
from fedcart.shared.secagg import pins
from fedcart.shared.secagg.masks import BLOCK_BYTES, Bits
from secagg_kit import MODEL, Coalition, make_pins


def values_of(n: int, length: int, bits: Bits, seed: int) -> dict[int, np.ndarray]:
    """Values whose sums stay inside the modulus, the extremes among them."""
    rng = np.random.default_rng(seed)
    limit = (2 ** (bits - 1) - 1) // n
    made = {i: rng.integers(-limit, limit, length, endpoint=True) for i in range(n)}
    for row in made.values():
        row[:1] = limit
        row[1:2] = -limit
    return made


def exact(values: dict[int, np.ndarray], survivors: tuple[int, ...]) -> list[int]:
    """The plain sum, in Python's integers."""
    rows = [list(map(int, values[i])) for i in survivors]
    return [sum(column) for column in zip(*rows, strict=True)]


@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_the_sum_is_exact_whoever_drops_and_in_whatever_order_they_answer(data: st.DataObject) -> None:
    n = data.draw(st.integers(3, 12))
    c = data.draw(st.integers(1, max(1, (n - 1) // 3)))
    t = (n + c) // 2 + 1
    m = data.draw(st.integers(t, n))
    bits: Bits = data.draw(st.sampled_from([32, 64]))
    length = data.draw(st.sampled_from([0, 1, 5]))
    spare, drops = n - m, random.Random(data.draw(st.integers(0, 2**32)))
    stages: list[list[int]] = [[], [], [], [], []]
    for i in range(n):
        stages[drops.randrange(len(stages) * 2) % len(stages)].append(i)
    for stage, left in zip(stages, (spare, spare, spare, n, n), strict=True):
        drops.shuffle(stage)
        del stage[drops.randint(0, left) :]
    while sum(map(len, stages[:3])) > spare:
        max(stages[:3], key=len).pop()
    while sum(map(len, stages[:4])) > n - t:
        stages[3].pop()
    while sum(map(len, stages)) > n - t:
        stages[4].pop()
    coalition = Coalition(make_pins(n, c, m, length=length, bits=bits))
    values = values_of(n, length, bits, n)

    def shuffled(ids: list[int]) -> list[int]:
        drops.shuffle(ids)
        return ids

    begun = coalition.open_epoch(stages[0], stages[1]).begin(0, 0, MODEL)
    total = coalition.finish(begun, values, *stages[2:], order=shuffled)
    assert set(begun.survivors) == set(range(n)) - set(itertools.chain(*stages[:3]))
    assert total.tolist() == exact(values, begun.survivors)


@pytest.mark.parametrize("bits", [32, 64])
@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_the_sum_is_exact_at_the_edges_of_a_block(bits: Bits, spare: int) -> None:
    length = BLOCK_BYTES * 8 // bits + spare
    coalition = Coalition(make_pins(4, 1, 3, length=length, bits=bits))
    values = values_of(4, length, bits, 1)
    begun = coalition.open_epoch().begin(0, 0, MODEL)
    assert coalition.finish(begun, values, no_upload=[2]).tolist() == exact(values, (0, 1, 3))


@pytest.mark.parametrize(("n", "enough"), [(4, 3), pytest.param(5, 4, marks=pytest.mark.slow)])
def test_every_set_of_drops_that_leaves_enough_gives_the_exact_sum_and_every_other_none(n: int, enough: int) -> None:
    """c = 1, t = m: all sets of up to two stores missing before TRAIN, before CONFIRM and before UNMASK."""
    values = {i: [1 << i] * 3 for i in range(n)}
    for gone in itertools.product(range(4), repeat=n):  # 0: never; 1, 2, 3: missing before that flow
        if sum(stage > 0 for stage in gone) > 2:
            continue
        coalition = Coalition(make_pins(n, 1, enough))
        begun = coalition.open_epoch().begin(0, 0, MODEL)
        missing = [[i for i in range(n) if gone[i] == stage] for stage in (1, 2, 3)]
        if n - sum(map(len, missing)) >= enough:
            total = coalition.finish(begun, values, *missing)
            assert set(total) == {sum(1 << i for i in begun.survivors)}
        else:
            with pytest.raises(RoundFailed):
                coalition.finish(begun, values, *missing)


def test_an_epoch_serves_several_rounds_each_with_its_own_drops() -> None:
    coalition = Coalition(make_pins(5, 1, 4, rounds=4))
    epoch = coalition.open_epoch(no_boxes=[])
    values = {i: [1 << i] * 3 for i in range(5)}
    for number, gone in ((0, []), (1, [3]), (3, [0])):
        begun = epoch.begin(number, number, MODEL)
        total = coalition.finish(begun, values, no_upload=gone)
        assert set(total) == {31 - sum(1 << i for i in gone)}


def test_a_failed_round_is_repeated_under_the_next_index() -> None:
    coalition = Coalition(make_pins(5, 1, 4, rounds=2))
    epoch = coalition.open_epoch()
    values = {i: [1 << i] * 3 for i in range(5)}
    with pytest.raises(RoundFailed, match="3 stores uploaded, 4 are needed; nothing was revealed"):
        coalition.finish(epoch.begin(0, 7, MODEL), values, no_upload=[0, 1])
    again = epoch.begin(1, 7, MODEL)
    assert set(coalition.finish(again, values)) == {31}


def test_words_on_the_wire_say_nothing_about_a_zero_vector() -> None:
    """Chi-square of the bytes of one masked zero vector, 255 degrees: 400 is passed by chance once in 10^8."""

    def chi_square(raw: bytes) -> float:
        counts = np.bincount(np.frombuffer(raw, np.uint8), minlength=256)
        expected = len(raw) / 256
        return float(((counts - expected) ** 2).sum() / expected)

    coalition = Coalition(make_pins(3, length=2**14))
    begun = coalition.open_epoch().begin(0, 0, MODEL)
    upload = coalition.upload(1, begun, np.zeros(2**14))
    assert chi_square(upload.vector.tobytes()) < 400
    biased = bytearray(upload.vector.tobytes())
    biased[::16] = bytes(len(biased[::16]))
    assert chi_square(bytes(biased)) > 400


@pytest.mark.slow
@pytest.mark.parametrize("n", [47, 100, 200])
def test_the_sum_is_exact_with_many_stores(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "MAX_COMPLETE", 200)  # the plan's limit of the complete graph is 100
    c = n // 10
    coalition = Coalition(make_pins(n, c, (8 * n) // 10, length=5))
    values = values_of(n, 5, 32, n)
    rng = random.Random(n)
    gone = rng.sample(range(n), 2 * n // 10)
    begun = coalition.open_epoch(gone[: n // 20], gone[n // 20 : n // 10]).begin(0, 0, MODEL)
    late = gone[n // 10 :]
    survivors = [i for i in range(n) if i not in gone]
    t = coalition.pins.cohort.threshold
    total = coalition.finish(begun, values, late, no_unmask=rng.sample(survivors, len(survivors) - t))
    assert total.tolist() == exact(values, begun.survivors)
    assert len(begun.survivors) == n - len(gone)
