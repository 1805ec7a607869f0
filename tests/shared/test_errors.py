"""The exception tree: exit codes, what is printed, and hints."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcart.shared import errors
from fedcart.shared.errors import FedcartError, did_you_mean

TREE = {
    "FedcartError": 1,
    "InputError": 2,
    "ConfigError": 2,
    "DataError": 2,
    "PrivacyRefused": 3,
    "ProtocolError": 4,
    "RoundFailed": 4,
}


def branches(kind: type[FedcartError] = FedcartError) -> dict[str, int]:
    found = {kind.__name__: kind.exit_code} if kind.__module__ == errors.__name__ else {}
    for child in kind.__subclasses__():
        found |= branches(child)
    return found


def test_every_branch_has_its_exit_code() -> None:
    assert branches() == TREE


def test_the_module_draws_the_whole_tree() -> None:
    drawing = (errors.__doc__ or "").split("A message says")[0]
    for name in TREE:
        assert name in drawing


def test_the_hint_stands_on_its_own_line() -> None:
    assert str(errors.DataError("no rows", "give some")) == "no rows\nhint: give some"
    assert str(errors.DataError("no rows")) == "no rows"


@pytest.mark.parametrize("hint", [None, "do this"])
def test_an_error_survives_another_process(hint: str | None) -> None:
    """Ray sends exceptions between processes by pickle."""
    sent = errors.RoundFailed("2 of 5 stores", hint)
    received = pickle.loads(pickle.dumps(sent))
    assert type(received) is errors.RoundFailed
    assert (received.message, received.hint, received.exit_code) == (sent.message, sent.hint, 4)


def test_a_near_word_is_offered_and_else_all_words() -> None:
    assert did_you_mean("epsilom", ["delta", "epsilon"]) == "did you mean 'epsilon'?"
    assert did_you_mean("zzz", ["b", "a"]) == "known: a, b"
    assert did_you_mean("zzz", []) is None


@given(word=st.text(max_size=12), known=st.lists(st.text(max_size=12), max_size=6))
def test_a_hint_never_offers_what_is_not_known(word: str, known: list[str]) -> None:
    hint = did_you_mean(word, known)
    assert (hint is None) == (not known)
    if hint and hint.startswith("did you mean"):
        assert any(repr(x) in hint for x in known)
