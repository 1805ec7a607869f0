"""The command as typed."""

from __future__ import annotations

import importlib.metadata

import pytest

from fedcart.shared import cli
from shared.audit.audit_cases import Answer, Audit


@pytest.fixture
def audit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Audit:
    """`fedcart audit ...`, whether or not the installed package is as new as this file."""
    point = importlib.metadata.EntryPoint("audit", "fedcart.shared.audit.cli:audit", cli.GROUP)
    monkeypatch.setitem(cli.root.__dict__, "_points", {"audit": point})

    def ask(*words: object) -> Answer:
        capsys.readouterr()
        code = cli.run(["audit", *map(str, words)])
        return Answer(code, *capsys.readouterr())

    return ask
