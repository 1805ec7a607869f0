"""What the privacy kernel adds to a noiseless run: `OMP_NUM_THREADS=1 python tests/benchmarks/kernel.py`.

One `cross` release of 4,000 x 32 over 100,000 customers with 60 items each, a = z V as a `spectral` round computes it,
and als' releases over the same catalogue. Prints one JSON object: processor seconds of the plain sums,
of the clipped integer sums, of the noise; the ratio; what the kernel adds for each number of the factors, nanoseconds;
best of --repeats.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from fedcart.shared.interactions import Histories
from fedcart.shared.learners.base import Block
from fedcart.shared.privacy.clipped_sums import ClippedSums, unclipped
from fedcart.shared.privacy.discrete_gaussian import add_discrete_gaussian
from fedcart.shared.privacy.grid import share_variance
from fedcart.shared.privacy.keystream import Keystream
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.sums import PlainSums

CUSTOMERS, ITEMS, WIDTH, LENGTH, BLOCK = 100_000, 4_000, 32, 60, 4_096
Add = Callable[[Any, Block, csr_array, npt.NDArray[np.float64]], None]
BASIS = np.linalg.qr(np.random.default_rng(1).normal(size=(ITEMS, WIDTH)))[0]
Z = {"clip_norm": 1.0, "noise_multiplier": 1.5}
RELEASES: dict[str, tuple[Release, Add]] = {
    "cross": (
        Release(name="x", shape=(ITEMS, WIDTH), kind="cross", **Z),  # type: ignore[arg-type]
        lambda sums, block, z, a: sums.cross("x", block, z, z @ BASIS),
    ),
    "als pull": (
        Release(name="x", shape=(ITEMS, WIDTH), kind="per_item", weight_clip_norm=1.0, **Z),  # type: ignore[arg-type]
        lambda sums, block, z, a: sums.per_item("x", block, z, a),
    ),
    "als curvature": (
        Release(
            name="x",
            shape=(ITEMS, WIDTH * (WIDTH + 1) // 2),
            kind="per_item",
            order=2,
            weight_clip_norm=1.0,
            **Z,  # type: ignore[arg-type]
        ),
        lambda sums, block, z, a: sums.per_item("x", block, z, a),
    ),
    "outer": (
        Release(name="x", shape=(ITEMS * (ITEMS + 1) // 2,), kind="outer", **Z),  # type: ignore[arg-type]
        lambda sums, block, z, a: sums.outer("x", block, z),
    ),
}


def blocks() -> list[tuple[Block, csr_array, npt.NDArray[np.float64]]]:
    """Made-up customers: distinct items, uneven weights."""
    generator = np.random.default_rng(0)
    made = []
    for key, start in enumerate(range(0, CUSTOMERS, BLOCK)):
        count = min(BLOCK, CUSTOMERS - start)
        step = generator.integers(1, ITEMS // LENGTH, (count, LENGTH))
        items = (np.cumsum(step, axis=1) - 1).reshape(-1)
        indptr = np.arange(count + 1) * LENGTH
        z = csr_array((generator.random(count * LENGTH), items, indptr), shape=(count, ITEMS))
        empty = np.zeros(0, np.float32)
        nobody = Histories(
            ITEMS, np.zeros(count + 1, np.int64), empty.astype(np.int32), empty, empty.astype(np.uint8), empty
        )
        made.append((Block(key, start, nobody), z, generator.normal(size=(count, WIDTH))))
    return made


def seconds(work: Callable[[], object]) -> float:
    """Processor seconds."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def measure(release: Release, add: Add, data: Any, repeats: int) -> dict[str, float]:
    """Best of `repeats`, each part by itself."""

    def sums(made: Any) -> Any:
        for block, z, a in data:
            add(made, block, z, a)
        return made

    total = np.zeros(release.shape, np.int64)
    variance = share_variance(release, 1)
    plain = min(seconds(lambda: sums(PlainSums([unclipped(release)]))) for _ in range(repeats))
    clipped = min(seconds(lambda: sums(ClippedSums([release])).units()) for _ in range(repeats))
    noise = min(
        seconds(lambda: add_discrete_gaussian(total, variance, Keystream(os.urandom(32)))) for _ in range(repeats)
    )
    numbers = float(CUSTOMERS * (LENGTH + WIDTH))
    words = {"words": float(release.words), "factor_numbers": numbers}
    found = {
        "ratio": round((clipped + noise) / plain, 3),
        "added_ns_a_number": round(1e9 * (clipped - plain) / numbers, 1),
    }
    return {**words, "plain_s": plain, "clipped_s": clipped, "noise_s": noise, **found}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", default=",".join(RELEASES))
    given = parser.parse_args()
    data = blocks()
    print(json.dumps({n: measure(*RELEASES[n], data, given.repeats) for n in given.only.split(",")}, indent=1))


if __name__ == "__main__":
    main()
