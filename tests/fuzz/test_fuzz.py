"""What the fuzzer drives: its seeds get through to every step; broken ones are refused; and, slow, atheris itself."""

from __future__ import annotations

import importlib.util
import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent))

from ends import ENDS, SIGNED, CoordinatorEnd, StoreEnd, UploadEnd

HERE = Path(__file__).parent


@pytest.mark.parametrize(("name", "genuine"), [("store", 12), ("coordinator", 10), ("upload", 1)])
def test_every_genuine_message_of_an_end_is_answered(name: str, genuine: int) -> None:
    end = ENDS[name]()
    for seed in end.seeds():
        end(seed)
    assert end.answered == genuine


@pytest.mark.parametrize("make", [StoreEnd, CoordinatorEnd])
def test_a_changed_message_without_the_harness_signature_is_never_answered(
    make: type[StoreEnd] | type[CoordinatorEnd],
) -> None:
    end, random_ = make(), random.Random(7)
    for seed in end.seeds():
        for _ in range(50):
            changed = bytearray(seed)
            changed[random_.randrange(1, len(seed))] ^= 1 << random_.randrange(8)
            changed[0] &= ~SIGNED
            end(bytes(changed))
    assert end.answered == 0


@pytest.mark.parametrize("name", ENDS)
@given(data=st.data())
def test_any_bytes_are_answered_or_refused(name: str, data: st.DataObject) -> None:
    end = ENDS[name]()
    seed = data.draw(st.sampled_from(end.seeds()))
    at = data.draw(st.integers(1, len(seed)))
    end(seed[:at] + data.draw(st.binary(max_size=64)) + seed[at + data.draw(st.integers(0, 64)) :])


def test_the_harness_lets_a_crash_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def crash(*_: object) -> None:
        raise ZeroDivisionError

    end = UploadEnd()
    monkeypatch.setattr("ends.read_upload", crash)
    with pytest.raises(ZeroDivisionError):
        end(end.seeds()[0])


@pytest.mark.slow
@pytest.mark.parametrize("name", ENDS)
def test_atheris_finds_nothing_in_a_minute(name: str, tmp_path: Path) -> None:
    if importlib.util.find_spec("atheris") is None:
        pytest.skip("atheris is not installed: pip install -c constraints.txt -e '.[fuzz]' (wheels for Linux, CPython)")
    command = [sys.executable, str(HERE / "secagg.py"), "--end", name, "--seconds", "60"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "stat::number_of_executed_units" in done.stderr
