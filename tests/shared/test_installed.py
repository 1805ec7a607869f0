"""The hash of the installed code, and the plan's fields that say whose it is and when it holds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from fedcart.shared.errors import ConfigError
from fedcart.shared.installed import add_files, installed_app_hash
from fedcart.shared.plan import Plan
from fedcart.shared.policy import Coordination, Limits, Policy


def hashed(root: Path) -> str:
    digest = hashlib.sha256()
    add_files(digest, "fedcart.client", root)
    return digest.hexdigest()


def test_every_byte_and_name_of_the_code_is_in_its_hash(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("a = 1\n")
    (tmp_path / "__pycache__").mkdir()
    before = hashed(tmp_path)
    (tmp_path / "__pycache__" / "a.pyc").write_bytes(b"x")
    assert hashed(tmp_path) == before
    (tmp_path / "a.py").write_text("a = 2\n")
    changed = hashed(tmp_path)
    (tmp_path / "a.py").rename(tmp_path / "b.py")
    assert len({before, changed, hashed(tmp_path)}) == 3
    assert len(installed_app_hash()) == 64


def objections(policy: Policy | None = None, **fields: object) -> list[str]:
    plan = Plan(
        catalogue_hash="0" * 64, catalogue_source="given", as_of=None, participants=3, learner="popularity",
        hyper_parameters={}, customers_bound=10, seed=0, **fields,
    )  # type: ignore[arg-type]  # fmt: skip
    allowed = policy or Policy(limits=Limits(epsilon_total=1.0), trust=Coordination(coordinator_key="1" * 64))
    return [x for x in allowed.objections(plan, ()) if not x.startswith("trust none")]


def test_a_policy_asks_whose_plan_it_is_for_which_code_and_when_it_holds() -> None:
    assert objections() == []
    good = {"coordinator_key": "1" * 64, "app_hash": installed_app_hash(), "not_before": 0, "not_after": 4_000_000_000}
    assert objections(**good) == []
    for field, value, told in (
        ("coordinator_key", "2" * 64, "it is coordinator 2222222222222222…'s"),
        ("app_hash", "2" * 64, "it is for the code 2222222222222222…"),
        ("not_before", 3_999_999_999, "does not hold before 2096-10-02T07:06:39Z"),
        ("not_after", 1, "does not hold after 1970-01-01T00:00:01Z"),
    ):
        [found] = objections(**{**good, field: value})
        assert found.startswith(told) or told in found


def test_a_plan_that_ends_before_it_begins_is_none() -> None:
    with pytest.raises(ConfigError, match="not_before 2 is not before not_after 2"):
        objections(not_before=2, not_after=2)
