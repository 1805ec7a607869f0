"""The conformance kit: what every learner must keep, shipped so that other learners can be held to it.

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_conforms(check):
        check(Case(MyLearner))

A check returns when the learner keeps it or when it does not apply (trained rounds have no contributions of single
customers) and raises NotConforming otherwise. All data are made up and small.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import FedcartError
from fedcart.shared.interactions import Histories, Interactions, build_histories
from fedcart.shared.learners.base import Array, Block, Learner, Round, State, Totals
from fedcart.shared.learners.memory import MemoryCustomers, run_rounds, store_totals
from fedcart.shared.learners.toy import CUSTOMERS, ITEMS, OneByOne, SeparateSums, toy_catalogue, toy_interactions

Read = Callable[[Interactions, int, int], Histories]
"""(raw table, customers, items) -> one row a customer."""


class NotConforming(FedcartError):
    """The learner breaks what the check's name says."""


@dataclass(frozen=True)
class Case:
    """A learner under test.

    Attributes:
      make: a fresh instance.
      read: from the raw table to histories; the package's own unless a reader is tested too.
      tolerance: of totals, relative to their largest number; rounding only.
      model_tolerance: the same for published models, which are single precision.
    """

    make: Callable[[], Learner]
    read: Read = build_histories
    tolerance: float = 1e-9
    model_tolerance: float = 1e-5

    @property
    def catalogue(self) -> Catalogue:
        """The kit's."""
        return toy_catalogue()

    def histories(self, seed: int = 1) -> Histories:
        """The kit's customers."""
        return self.read(toy_interactions(seed), CUSTOMERS, ITEMS)

    def trained(self) -> bool:
        """Whether the learner has trained rounds."""
        return any(round_.local_steps for round_ in self.rounds())

    def rounds(self) -> tuple[Round, ...]:
        """The run's."""
        return self.make().rounds(self.catalogue, CUSTOMERS)

    def run(self, *stores: Histories, seed: int = 0) -> State:
        """The last state over some stores."""
        customers = [MemoryCustomers(store) for store in stores]
        return run_rounds(self.make(), customers, self.catalogue, seed, CUSTOMERS)

    def replay(self, histories: Histories) -> list[tuple[Round, State, Totals]]:
        """Each round of a run over one store: the state published for it and the store's totals."""
        learner, store = self.make(), MemoryCustomers(histories)
        found: list[tuple[Round, State, Totals]] = []
        state = learner.initial_state(self.catalogue, 0)
        for round_ in learner.rounds(self.catalogue, CUSTOMERS):
            store.begin(round_.index)
            totals = store_totals(learner, state, round_, store)
            found.append((round_, state, {name: total.copy() for name, total in totals.items()}))
            state = learner.update(state, round_, totals)
        return found


def is_a_frozen_set_of_hyper_parameters(case: Case) -> None:
    """A frozen dataclass with a name and a summary; equal instances make equal runs, whatever was run before."""
    learner = case.make()
    if not dataclasses.is_dataclass(learner) or not learner.__dataclass_params__.frozen:
        raise NotConforming(f"{type(learner).__name__} is no frozen dataclass")
    if not learner.name or not learner.summary:
        raise NotConforming(f"{type(learner).__name__} lacks a name or a summary")


def rounds_do_not_depend_on_data(case: Case) -> None:
    """The run and its cost are known before it starts."""
    learner = case.make()
    before = learner.rounds(case.catalogue, CUSTOMERS)
    store = MemoryCustomers(case.histories())
    run_rounds(learner, [store], case.catalogue, 0, CUSTOMERS)
    if learner.rounds(case.catalogue, CUSTOMERS) != before or case.rounds() != before:
        raise NotConforming("rounds() changed once data had been seen")
    if [round_.index for round_ in before] != list(range(len(before))):
        raise NotConforming("rounds are not numbered 0, 1, 2, ...")


def no_customer_is_enough(case: Case) -> None:
    """A coalition without customers ends in a finite model that can score."""
    state = case.run(case.histories().slice(0, 0))
    _finite_scores(case, state, case.histories())


def one_customer_is_enough(case: Case) -> None:
    """So does one with a single customer."""
    state = case.run(case.histories().slice(0, 1))
    _finite_scores(case, state, case.histories())


def a_customer_without_interactions_contributes_nothing(case: Case) -> None:
    """An empty history moves no total."""
    if case.trained():
        return
    raw = toy_interactions(1)
    padded = case.read(raw, CUSTOMERS + 1, ITEMS)
    for (round_, _, totals), (_, _, without) in zip(case.replay(padded), case.replay(case.histories()), strict=True):
        _equal(totals, without, case.tolerance, f"round {round_.index}: an empty history moved the total")


def an_item_outside_the_catalogue_is_refused(case: Case) -> None:
    """It raises before anything is added; it must not count as somebody else's item."""
    raw = toy_interactions(1)
    for item in (ITEMS, -1):
        try:
            case.read(replace(raw, item=np.where(np.arange(len(raw)) == 0, item, raw.item)), CUSTOMERS, ITEMS)
        except FedcartError:
            continue
        raise NotConforming(f"item {item} of a catalogue of {ITEMS} was read without an error")


def a_weight_that_is_not_finite_contributes_nothing(case: Case) -> None:
    """Totals stay finite, and where weights matter the customer with a NaN or infinite one drops out."""
    histories = case.histories()
    for bad in (np.nan, np.inf):
        spoilt = _with_first_weight(histories, bad)
        doubled = _with_first_weight(histories, 2.0)
        for round_, state, totals in case.replay(histories):
            found, other = (_totals(case, state, round_, h) for h in (spoilt, doubled))
            without = _totals(case, state, round_, histories.slice(1, CUSTOMERS))
            for name, total in found.items():
                if not np.isfinite(total).all():
                    raise NotConforming(f"round {round_.index}: a weight {bad} spoilt the total {name!r}")
                if not case.trained() and not np.array_equal(other[name], totals[name]):
                    told = f"round {round_.index}: a customer with a weight {bad} moved {name!r}"
                    _equal({name: total}, {name: without[name]}, case.tolerance, told)


def a_batch_is_its_customers_one_by_one(case: Case) -> None:
    """Block sizes change neither totals nor scores."""
    histories = case.histories()
    learner = case.make()
    if not case.trained():
        single = OneByOne(histories)
        for round_, state, totals in case.replay(histories):
            single.begin(round_.index)
            again = store_totals(learner, state, round_, single)
            _equal(again, totals, case.tolerance, f"round {round_.index}: one by one differs from the batch")
    scorer = learner.scorer(case.run(histories), case.catalogue)
    together = scorer.score(Block(0, 0, histories), None)
    alone = [scorer.score(Block(0, row, histories.slice(row, row + 1)), None)[0] for row in range(CUSTOMERS)]
    _equal({"scores": together}, {"scores": np.array(alone)}, case.model_tolerance, "scores one by one differ")


def a_saved_state_goes_on_as_if_it_had_stayed(case: Case) -> None:
    """Every round's state survives a file; the store needs the public half alone."""
    histories = case.histories()
    learner = case.make()
    state = learner.initial_state(case.catalogue, 0)
    kept, read = MemoryCustomers(histories), MemoryCustomers(histories)
    for round_ in learner.rounds(case.catalogue, CUSTOMERS):
        kept.begin(round_.index)
        read.begin(round_.index)
        totals = store_totals(learner, state, round_, kept)
        public = State(_through_a_file(state.public))
        _same(store_totals(learner, public, round_, read), totals, f"round {round_.index}: the public state fell short")
        loaded = State(_through_a_file(state.public), _through_a_file(state.carried))
        state = learner.update(state, round_, {name: total.copy() for name, total in totals.items()})
        again = learner.update(loaded, round_, totals)
        _same(again.public, state.public, f"round {round_.index}: a saved state went on differently")
        _same(again.carried, state.carried, f"round {round_.index}: a saved state went on differently")
    block = Block(0, 0, histories)
    scores = learner.scorer(state, case.catalogue).score(block, None)
    public = State(_through_a_file(state.public))
    _same({"scores": learner.scorer(public, case.catalogue).score(block, None)}, {"scores": scores}, "scores")


def two_stores_are_one_merged_store(case: Case) -> None:
    """Federated equals centralised; trained rounds, which average, are exempt."""
    if case.trained():
        return
    histories = case.histories()
    merged = case.run(histories)
    half = CUSTOMERS // 2
    apart = case.run(histories.slice(0, half), histories.slice(half, CUSTOMERS))
    _equal(apart.public, merged.public, case.model_tolerance, "two stores differ from one merged store")


def a_seed_fixes_the_run(case: Case) -> None:
    """The same seed gives the same bits."""
    histories = case.histories()
    _same(case.run(histories, seed=3).public, case.run(histories, seed=3).public, "two runs of one seed differ")


def scores_are_numbers_for_customers_never_seen(case: Case) -> None:
    """[customers, items] without NaN, also for an empty history and one with a weight that is not finite."""
    state = case.run(case.histories(1))
    _finite_scores(case, state, case.histories(2))
    _finite_scores(case, state, case.read(toy_interactions(2), CUSTOMERS + 1, ITEMS))
    _finite_scores(case, state, _with_first_weight(case.histories(2), np.nan))


def a_hostile_state_makes_no_total_that_is_not_finite(case: Case) -> None:
    """A NaN in any published array is refused, or nothing is added for it."""
    histories = case.histories()
    for round_, state, _ in case.replay(histories):
        for spoilt in state.public:
            hostile = {**state.public, spoilt: np.full_like(state.public[spoilt], np.nan)}
            try:
                totals = _totals(case, State(hostile), round_, histories)
            except FedcartError:
                continue
            if not all(np.isfinite(total).all() for total in totals.values()):
                raise NotConforming(f"round {round_.index}: a NaN published in {spoilt!r} reached the total")


def deleting_a_customer_from_the_raw_table_changes_only_their_contribution(case: Case) -> None:
    """For each customer: everyone else's contribution stays, and the total moves by exactly theirs.

    From the raw table on: reading, histories, contributions. An IDF over customers, a k-core or a scale taken from
    the store's counts breaks it, wherever it hides.
    """
    if case.trained():
        return
    raw = toy_interactions(1)
    everyone = case.read(raw, CUSTOMERS, ITEMS)
    rounds = case.replay(everyone)
    full = _contributions(case, rounds, everyone)
    for gone in range(CUSTOMERS):
        left = raw.select(raw.customer != gone)
        renumbered = replace(left, customer=left.customer - (left.customer > gone).astype(np.int32))
        without = case.read(renumbered, CUSTOMERS - 1, ITEMS)
        part = _contributions(case, rounds, without)
        totals = _replayed_totals(case, rounds, without)
        for (round_, _, total), separate, less, short in zip(rounds, full, part, totals, strict=True):
            told = f"round {round_.index}: deleting customer {gone} moved"
            stay = separate[:gone] + separate[gone + 1 :]
            for before, after in zip(stay, less, strict=True):
                _equal(after, before, case.tolerance, f"{told} another customer's contribution")
            moved = {name: total[name] - short[name] for name in total}
            _equal(moved, separate[gone], case.tolerance, f"{told} the total by more than their contribution", total)


CHECKS: tuple[Callable[[Case], None], ...] = (
    is_a_frozen_set_of_hyper_parameters,
    rounds_do_not_depend_on_data,
    no_customer_is_enough,
    one_customer_is_enough,
    a_customer_without_interactions_contributes_nothing,
    an_item_outside_the_catalogue_is_refused,
    a_weight_that_is_not_finite_contributes_nothing,
    a_batch_is_its_customers_one_by_one,
    a_saved_state_goes_on_as_if_it_had_stayed,
    two_stores_are_one_merged_store,
    a_seed_fixes_the_run,
    scores_are_numbers_for_customers_never_seen,
    a_hostile_state_makes_no_total_that_is_not_finite,
    deleting_a_customer_from_the_raw_table_changes_only_their_contribution,
)
"""All of them."""


def _totals(case: Case, state: State, round_: Round, histories: Histories) -> Totals:
    return store_totals(case.make(), state, round_, MemoryCustomers(histories))


def _replayed_totals(case: Case, rounds: list[tuple[Round, State, Totals]], histories: Histories) -> list[Totals]:
    learner, store, found = case.make(), MemoryCustomers(histories), []
    for round_, state, _ in rounds:
        store.begin(round_.index)
        found.append(store_totals(learner, state, round_, store))
    return found


def _contributions(case: Case, rounds: list[tuple[Round, State, Totals]], histories: Histories) -> list[list[Totals]]:
    """[rounds][customers] each customer's contribution against the published states."""
    learner, store, found = case.make(), MemoryCustomers(histories), []
    for round_, state, _ in rounds:
        store.begin(round_.index)
        sums = SeparateSums(round_.releases, histories.customers)
        learner.contribute(state, round_, store, sums)
        found.append(sums.contributions())
    return found


def _with_first_weight(histories: Histories, value: float) -> Histories:
    weights = histories.weights.copy()
    weights[0] = value
    return replace(histories, weights=weights)


def _finite_scores(case: Case, state: State, histories: Histories) -> None:
    if not all(np.isfinite(array).all() for array in state.public.values()):
        raise NotConforming("the model is not finite")
    scores = case.make().scorer(state, case.catalogue).score(Block(0, 0, histories), None)
    if scores.shape != (histories.customers, ITEMS) or np.isnan(scores).any():
        raise NotConforming(f"scores of shape {scores.shape}, {int(np.isnan(scores).sum())} of them NaN")


def _through_a_file(arrays: Mapping[str, Array]) -> dict[str, Array]:
    buffer = io.BytesIO()
    np.savez(buffer, *arrays.values())
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as loaded:
        return {name: loaded[f"arr_{index}"] for index, name in enumerate(arrays)}


def _same(found: Mapping[str, Array], wanted: Mapping[str, Array], told: str) -> None:
    if set(found) != set(wanted) or not all(np.array_equal(found[n], wanted[n], equal_nan=True) for n in wanted):
        raise NotConforming(told)


def _equal(
    found: Mapping[str, Array],
    wanted: Mapping[str, Array],
    tolerance: float,
    told: str,
    scale: Mapping[str, Array] | None = None,
) -> None:
    for name, array in wanted.items():
        largest = float(np.abs((scale or wanted)[name]).max(initial=1.0))
        difference = float(np.abs(found[name] - array).max(initial=0.0))
        if not difference <= tolerance * largest:
            raise NotConforming(f"{told}: {name!r} differs by {difference:.3g}, over {tolerance * largest:.3g}")
