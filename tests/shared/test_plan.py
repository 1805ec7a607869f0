"""The plan: one meaning has one hash, a file is read back exactly, and anything odd in it is refused."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedcart.shared.canonical import content_hash
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError, InputError
from fedcart.shared.plan import Plan, build_learner, describe, exact, hyper_parameters, inexact
from fedcart.shared.privacy.release import Release
from fedcart.shared.privacy.terms import PrivacyTerms

CATALOGUE = Catalogue(("a", "b", "c"), "given", {"price": np.array([1.0, 2.5, np.nan])})


TERMS = PrivacyTerms(epsilon=4.0, delta=1e-3, bounds=build_learner("als", {}).bounds())


def plan(learner: str = "als", settings: dict[str, Any] | None = None, **fields: Any) -> Plan:
    given = {
        "catalogue_hash": CATALOGUE.hash,
        "catalogue_source": CATALOGUE.source,
        "as_of": 86_400,
        "participants": 3,
        "learner": learner,
        "hyper_parameters": {"embedding_dim": 2, "sweeps": 2} if settings is None else settings,
        "customers_bound": 10,
        "seed": 7,
    }
    return Plan(**{**given, **fields})


@pytest.mark.parametrize(
    ("learner", "settings"),
    [
        ("popularity", {}),
        ("gram", {"model": "itemknn", "max_items": 3, "shrink": 2}),
        ("als", {"embedding_dim": 4, "regularization": 0.1 + 0.2, "sweeps": 1}),
        ("als", {"regularization": 1}),
    ],
)
@pytest.mark.parametrize("as_of", [None, 3])
def test_what_was_saved_is_loaded_with_the_same_hash(
    tmp_path: Path, learner: str, settings: dict[str, Any], as_of: int | None
) -> None:
    path = tmp_path / "plan.json"
    written = plan(learner, settings, as_of=as_of)
    digest = written.save(path, CATALOGUE)
    loaded = Plan.load(path)
    assert content_hash(loaded.document(CATALOGUE)) == digest == content_hash(json.loads(path.read_bytes()))
    assert loaded.build_learner() == written.build_learner()
    assert dataclasses.replace(loaded, hyper_parameters={}) == dataclasses.replace(written, hyper_parameters={})
    assert [p.name for p in tmp_path.iterdir()] == ["plan.json"]


def test_a_plan_holds_no_float(tmp_path: Path) -> None:
    plan().save(tmp_path / "plan.json", CATALOGUE)

    def refuse(text: str) -> None:
        raise AssertionError(text)

    json.loads((tmp_path / "plan.json").read_bytes(), parse_float=refuse, parse_constant=refuse)


def digest(**changes: Any) -> str:
    return content_hash(plan(**changes).document(CATALOGUE))


def test_equal_settings_hash_alike_however_they_are_written() -> None:
    assert digest(settings={"regularization": 1}) == digest(settings={"regularization": 1.0})
    assert digest(settings={}) == digest(settings=hyper_parameters(build_learner("als", {})))


@pytest.mark.parametrize(
    "changes",
    [
        {"as_of": None},
        {"participants": 4},
        {"learner": "popularity", "settings": {}},
        {"settings": {"embedding_dim": 3, "sweeps": 2}},
        {"customers_bound": 11},
        {"seed": 8},
        {"attempts": 2},
        {"trust": "local", "privacy": TERMS},
    ],
)
def test_every_field_is_part_of_the_hash(changes: dict[str, Any]) -> None:
    assert digest(**changes) != digest()


def test_another_catalogue_is_refused() -> None:
    other = Catalogue(("a", "b"), "given")
    with pytest.raises(ConfigError, match="nothing was run"):
        plan().rounds(other)


def test_every_release_of_every_round_is_spelled_out() -> None:
    written = plan()
    rounds = written.rounds(CATALOGUE)
    listed = written.document(CATALOGUE)["rounds"]
    assert [r["index"] for r in listed] == list(range(len(rounds)))
    assert [[x["name"] for x in r["releases"]] for r in listed] == [[x.name for x in r.releases] for r in rounds]


def test_a_description_covers_every_field_of_a_release() -> None:
    release = Release(name="x", shape=(2, 3), clip_norm=0.5, noise_multiplier=1.25)
    described = describe(release)
    assert set(described) == {f.name for f in dataclasses.fields(Release)} | {"sensitivity", "variance", "unit"}
    assert (described["clip_norm"], described["weight_clip_norm"], described["shape"]) == ("0.5", "inf", [2, 3])


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"version": None},
        {"seed": "7"},
        {"seed": True},
        {"surprise": 1},
        {"participants": 2.5},
        {"trust": "blind"},
        {"learner": "als2"},
        {"hyper_parameters": {"embedding_dim": "two"}},
        {"hyper_parameters": {"regularization": "small"}},
        {"hyper_parameters": {"sweeps": 0}},
        {"hyper_parameters": {"breadth": 1}},
        {"hyper_parameters": []},
    ],
)
def test_a_file_with_a_wrong_field_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "plan.json"
    document = plan().document(CATALOGUE) | change
    path.write_text(json.dumps(document))
    with pytest.raises(ConfigError) as caught:
        Plan.load(path)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("field", ["version", "rounds", "seed", "trust", "hyper_parameters", "attempts"])
def test_a_file_without_a_field_is_refused(tmp_path: Path, field: str) -> None:
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({k: v for k, v in plan().document(CATALOGUE).items() if k != field}))
    with pytest.raises(ConfigError, match=r"plan\.json"):
        Plan.load(path)


@pytest.mark.parametrize("raw", [b"", b"[]", b"{", b"\xff\xfe", b"3"])
def test_what_is_not_a_plan_is_refused_with_its_name(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "plan.json"
    path.write_bytes(raw)
    with pytest.raises(ConfigError, match=r"plan\.json"):
        Plan.load(path)


def test_a_missing_plan_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"none\.json"):
        Plan.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("settings", "message", "hint"),
    [
        ({"sweep": 2}, "learner 'als': unknown key 'sweep'", "did you mean 'sweeps'?"),
        ({"sweeps": 2.5}, "learner 'als': sweeps: int is needed, not 2.5", None),
        ({"regularization": "x"}, "learner 'als': regularization: float is needed, not 'x'", None),
        ({"embedding_dim": True}, "learner 'als': embedding_dim: int is needed, not True", None),
    ],
)
def test_a_setting_that_the_learner_cannot_have_is_refused(
    settings: dict[str, Any], message: str, hint: str | None
) -> None:
    with pytest.raises(ConfigError) as caught:
        build_learner("als", settings)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_an_unknown_learner_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match="unknown learner 'alss'") as caught:
        build_learner("alss", {})
    assert caught.value.hint == "did you mean 'als'?"


@given(st.floats(allow_nan=False, min_value=0) | st.lists(st.floats(allow_nan=False, min_value=0), max_size=3))
def test_inexact_undoes_exact(value: Any) -> None:
    default = tuple([1.0] * len(value)) if isinstance(value, list) else 1.0
    back = inexact(exact(value), default)
    assert back == (tuple(value) if isinstance(value, list) else value)


def test_minus_infinity_is_not_written_as_infinity() -> None:
    assert inexact(exact(-math.inf), 1.0) == -math.inf
