"""What people see while they wait: one line a stage, no flood, and time left that is arithmetic."""

from __future__ import annotations

import io

import pytest

from fedcart.simulation import progress
from fedcart.simulation.progress import Lines, Silent, duration, shown


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.6, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations_read_as_people_say_them(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_a_file_gets_a_line_a_stage_and_at_most_one_every_few_seconds(clock: Clock) -> None:
    stream = io.StringIO()
    with shown(Lines(stream)) as lines:
        lines.stage("training", 1, 2)
        for done in range(1, 101):
            clock.now += 0.2
            lines.step(done, 100, "rounds")
        lines.stage("ranking", 2, 2)
        clock.now += 1
    written = stream.getvalue().splitlines()
    assert written[0] == "[1/2] training"
    assert written[1] == "[1/2] training: 25/100 rounds, 15 s left"
    assert len([line for line in written if "left" in line]) == 4
    assert "[1/2] training: 20 s" in written
    assert written[-2:] == ["[2/2] ranking", "[2/2] ranking: 1 s"]
    assert "\x1b" not in stream.getvalue()


def test_a_terminal_gets_one_line_that_is_rewritten(clock: Clock) -> None:
    stream = Terminal()
    with shown(Lines(stream)) as lines:
        lines.stage("training", 1, 1)
        clock.now += 1
        lines.step(1, 4)
        clock.now += 0.05
        lines.step(2, 4)  # too soon to be shown
    assert stream.getvalue().count("\n") == 1
    assert "1/4, 3 s left" in stream.getvalue()
    assert "2/4" not in stream.getvalue()


def test_the_line_is_ended_when_the_work_fails() -> None:
    stream = Terminal()

    def work() -> None:
        with shown(Lines(stream)) as lines:
            lines.stage("training", 1, 1)
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        work()
    assert stream.getvalue().endswith("\n")


def test_nothing_done_and_nothing_to_do_are_no_division_by_zero(clock: Clock) -> None:
    stream = io.StringIO()
    lines = Lines(stream)
    lines.stage("training", 1, 1)
    clock.now += 10
    lines.step(0, 0)
    lines.step(0, 5)
    lines.close()
    lines.close()
    assert stream.getvalue().splitlines() == ["[1/1] training", "[1/1] training: 10 s"]


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with shown(Silent()) as silent:
        silent.stage("training", 1, 1)
        silent.step(1, 1)
    assert capsys.readouterr() == ("", "")
