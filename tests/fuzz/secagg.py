"""Fuzzes what comes in at both ends of secure aggregation, with atheris (coverage-guided, libFuzzer).

    python tests/fuzz/secagg.py --end store|coordinator|upload [--seconds 60] [--corpus DIR]

The exit code is 0 if every message was answered or refused as a protocol error, within the memory that the message and
the plan account for. A finding is a traceback, and a file `crash-…` to give to `--replay FILE`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

MOST_BYTES = 4096
"""Longest message: over the longest genuine one of the harness."""
MOST_MEMORY = 2 * 2**20
"""Bytes that one message may take at a time, where a genuine one takes a quarter: the plan has 4 stores, 5 words."""


def guarded(end: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """The end, with an eye on what one message allocates."""

    def one_input(data: bytes) -> None:
        if not data:
            return
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        end(data)
        used = tracemalloc.get_traced_memory()[1] - before
        if used > MOST_MEMORY:
            raise MemoryError(f"a message of {len(data)} bytes took {used}")

    return one_input


def main() -> None:
    """Fuzz, or replay one file without atheris."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--end", choices=("store", "coordinator", "upload"), required=True)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--corpus", type=Path, default=None)
    parser.add_argument("--replay", type=Path, default=None)
    given = parser.parse_args()
    if given.replay is not None:
        from ends import ENDS

        ENDS[given.end]()(given.replay.read_bytes())
        return
    import atheris

    with atheris.instrument_imports(include=["fedcart.shared.secagg", "fedcart.shared.secagg_wire"]):
        from ends import ENDS
    end = ENDS[given.end]()
    with tempfile.TemporaryDirectory() as temporary:
        corpus = given.corpus or Path(temporary)
        corpus.mkdir(parents=True, exist_ok=True)
        for number, seed in enumerate(end.seeds()):
            (corpus / f"seed-{number:02d}").write_bytes(seed)
        tracemalloc.start()
        flags = [f"-max_total_time={given.seconds}", f"-max_len={MOST_BYTES}", "-timeout=20", "-print_final_stats=1"]
        atheris.Setup([sys.argv[0], *flags, str(corpus)], guarded(end))
        atheris.Fuzz()


if __name__ == "__main__":
    main()
