"""`fedcart learners` lists every learner with all its hyper-parameters."""

from __future__ import annotations

import dataclasses
import json

import pytest

from fedcart.shared import learners
from fedcart.shared.cli import run
from fedcart.shared.learners import cli
from fedcart.shared.learners.als import Als


def test_json_names_every_hyper_parameter_with_its_default(capsys):
    assert run(["learners", "als", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["hyper_parameters"] == {f.name: f.default for f in dataclasses.fields(Als)}
    assert found["extra"] is None


def test_an_unknown_learner_gets_a_hint(capsys):
    assert run(["learners", "alss"]) == 2
    error = capsys.readouterr().err
    assert "unknown learner 'alss'" in error
    assert "did you mean 'als'?" in error


def test_a_missing_extra_is_named_and_the_others_are_listed(capsys, monkeypatch):
    real = learners.learner_class

    def without_torch(name):
        if name in cli.EXTRAS:
            raise learners.ConfigError(f"learner {name!r} needs torch, which is not installed")
        return real(name)

    monkeypatch.setattr(learners, "learner_class", without_torch)
    assert run(["learners"]) == 0
    out = capsys.readouterr().out
    assert "missing: pip install 'fedcart[neural]'" in out
    assert "embedding_dim = 64" in out


@pytest.mark.parametrize("name", [name for name in learners.BUILT_IN if name not in cli.EXTRAS])
def test_every_learner_has_a_line(name, capsys):
    assert run(["learners", name]) == 0
    assert name in capsys.readouterr().out
