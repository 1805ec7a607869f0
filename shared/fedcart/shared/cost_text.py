"""The cost of a plan as an aligned table for people; `cost.Cost.document` is the same for programs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from decimal import ROUND_CEILING, Decimal, localcontext

from fedcart.shared.cost import ACCOUNTANT, Cost, ReleaseCost, RoundCost

UNITS = {
    "pair": "customer_store_pair",
    "declared": "customer, who declares one home store",
    "weights": "customer, whose stores divide one clip by a linkage that is trusted",
}
HEADINGS = ("round", "release", "words", "bytes", "clip", "D", "noise", "a store's", "rho", "eps alone", "eps so far")


def cost_lines(cost: Cost) -> list[str]:
    """The table, then the run as a whole. Rounds in a row that cost the same are one line."""
    lines = table([HEADINGS, *_rows(cost)], left=(0, 1))
    lines.append("")
    lines += [f"{name:<12} {value}" for name, value in _facts(cost)]
    return lines


def table(rows: Sequence[Sequence[str]], left: Sequence[int] = (0,)) -> list[str]:
    """Aligned columns, those in `left` to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            f"{cell:<{width}}" if at in left else f"{cell:>{width}}"
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def rounded(epsilon: float) -> str:
    """Four decimals, rounded up."""
    if math.isinf(epsilon):
        return "inf"
    with localcontext() as context:
        context.prec = 400
        return format(Decimal(epsilon).quantize(Decimal("0.0001"), ROUND_CEILING), "f")


def _rows(cost: Cost) -> Iterator[tuple[str, ...]]:
    for alike in _runs(cost.rounds):
        first, last = alike[0], alike[-1]
        where = str(first.index) if len(alike) == 1 else f"{first.index}-{last.index}"
        for number, release in enumerate(first.releases):
            begins = number == 0
            yield (
                where if begins else "",
                release.name if release.times == 1 else f"{release.name} x {release.times}",
                f"{release.words:,}",
                f"{release.bytes:,}",
                _clip(release),
                "-" if release.sensitivity is None else f"{release.sensitivity:,}",
                _number(release.sigma),
                _number(release.sigma_store),
                "-" if release.rho is None else f"{float(release.rho):.4g}",
                _epsilon(first.epsilon) if begins else "",
                _epsilon(last.epsilon_after) if begins else "",
            )


def _runs(rounds: Sequence[RoundCost]) -> Iterator[list[RoundCost]]:
    alike: list[RoundCost] = []
    for one in rounds:
        if alike and alike[0].releases != one.releases:
            yield alike
            alike = []
        alike.append(one)
    if alike:
        yield alike


def _facts(cost: Cost) -> Iterator[tuple[str, str]]:
    if cost.epsilon is None or cost.epsilon_once is None:
        yield "epsilon", "none: trust none adds no noise, and no customer is promised anything"
    else:
        yield "epsilon", f"{rounded(cost.epsilon)} at delta {cost.delta:g} ({ACCOUNTANT}; promised: {cost.promised:g})"
        yield "attempts", _attempts(cost)
        unit = UNITS[cost.overlap or "pair"]
        yield "unit", f"{unit}; at most {cost.customers_bound:,} customers"
        several = ", ".join(f"{rounded(value)} in {stores}" for stores, value in (cost.in_stores or {}).items())
        if several:
            yield "in stores", f"epsilon of one person who is a customer of several: {several}"
    yield "trust", cost.trust + (f": {_cohort(cost)}" if cost.cohort else "")
    if cost.catalogue == "derived":
        yield "items", "item list derived from interactions: not covered by epsilon"
    yield "upload", f"{cost.upload_bytes:,} bytes a store over {len(cost.rounds)} rounds, each once"
    for name, value in (cost.opinions or {}).items():
        yield "2nd opinion", f"{value:.4f} ({name})"


def _attempts(cost: Cost) -> str:
    if cost.attempts == 1:
        return "1: no round is repeated"
    once = cost.epsilon_once or 0.0
    return (
        f"{cost.attempts}: each round once costs {rounded(once)}, and {cost.attempts - 1} more of the dearest "
        f"{rounded((cost.epsilon or 0.0) - once)} on top"
    )


def _cohort(cost: Cost) -> str:
    found = cost.cohort or {}
    return (
        f"n = {found['n']} stores, c = {found['c']} may collude, m = {found['m']} in every sum, "
        f"h = {found['h']} shares of noise are certain, t = {found['t']} open a sum"
    )


def _clip(release: ReleaseCost) -> str:
    if release.clip_norm is None:
        return "-"
    if release.weight_clip_norm is None:
        return f"{release.clip_norm:g}"
    return f"{release.weight_clip_norm:g} x {release.clip_norm:g}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _epsilon(value: float | None) -> str:
    return "-" if value is None else rounded(value)
