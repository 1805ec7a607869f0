"""Milliseconds to add one mask of secure aggregation to a vector, by the width of its words.

    python tests/benchmarks/masks.py [--words 10000000] [--repeats 9]

Prints one JSON object: best and median processor milliseconds, after one mask that does not count.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time

from fedcart.shared.secagg.masks import Bits, add_masks, words


def milliseconds(length: int, bits: Bits, repeats: int) -> list[float]:
    """Processor time of each mask after the first."""
    vector, key, found = words(length, bits), os.urandom(32), []
    for _ in range(repeats + 1):
        begun = time.process_time()
        add_masks(vector, [(key, False)])
        found.append(1000 * (time.process_time() - begun))
    return found[1:]


def main() -> None:
    """Measure both widths."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--words", type=int, default=10_000_000)
    parser.add_argument("--repeats", type=int, default=9)
    given = parser.parse_args()
    widths: tuple[Bits, ...] = (32, 64)
    found = {f"{bits} bits": milliseconds(given.words, bits, given.repeats) for bits in widths}
    print(
        json.dumps(
            {name: {"best": round(min(x), 2), "median": round(statistics.median(x), 2)} for name, x in found.items()}
        )
    )


if __name__ == "__main__":
    main()
