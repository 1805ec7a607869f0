"""Seconds to draw discrete Gaussian noise on one thread, by its standard deviation.

    python tests/benchmarks/noise.py [--samples 10000000] [--repeats 9] [--log-sigmas 0 5 10 18 20 30]

Prints one JSON object: best and median seconds after one draw that does not count (processor time), milliseconds to
build the cells of a variance, the share of points that need a float comparison, and random words a sample.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time

import numpy as np

from fedcart.shared.privacy import discrete_gaussian as module
from fedcart.shared.privacy.keystream import Keystream


class Counted(Keystream):
    """Counts the words that are drawn."""

    drawn = 0

    def words(self, count: int) -> np.ndarray:
        self.drawn += count
        return super().words(count)


def measure(log_sigma: int, samples: int, repeats: int) -> dict[str, float]:
    """One standard deviation, 2^log_sigma."""
    variance = 1 << 2 * log_sigma
    module._cells.cache_clear()
    begun = time.process_time()
    cells = module._cells(variance)
    built = time.process_time() - begun
    found = []
    for _ in range(repeats + 1):
        stream = Keystream(os.urandom(32))
        begun = time.process_time()
        module.discrete_gaussian(variance, samples, stream)
        found.append(time.process_time() - begun)
    counted = Counted(os.urandom(32))
    module.discrete_gaussian(variance, samples, counted)
    return {
        "best": round(min(found[1:]), 3),
        "median": round(statistics.median(found[1:]), 3),
        "cells_ms": round(1000 * built, 2),
        "compared": round(1 - cells.whole / (1 << module.CELL_BITS), 4),
        "words_per_sample": round(counted.drawn / samples, 4),
    }


def main() -> None:
    """Measure every scale."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--log-sigmas", type=int, nargs="+", default=[0, 5, 10, 18, 20, 30])
    given = parser.parse_args()
    found = {f"sigma 2^{x}": measure(x, given.samples, given.repeats) for x in given.log_sigmas}
    print(json.dumps({"samples": given.samples, "seconds": found}))


if __name__ == "__main__":
    main()
