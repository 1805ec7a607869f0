"""From a simulated coalition to a store's customers: `simulate` leaves the public model, a store recommends from it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from fedcart.client import Store
from fedcart.shared.model_files import FILES, load_model
from plan_kit import command
from store_kit import Shop

ITEMS = 10


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two shops in one table, a catalogue, and a run over both with a learner that carries arrays of its own."""
    folder = tmp_path_factory.mktemp("coalition")
    lines = ["customer,item,time,store"]
    for customer in range(60):
        for event in range(4):
            item = (2 * event + customer // 2) % ITEMS // 2 * 2 + customer % 2
            lines.append(f"c{customer},i{item},{1000 + event},{'north' if customer % 3 else 'south'}")
    (folder / "sales.csv").write_text("\n".join(lines) + "\n")
    (folder / "items.csv").write_text("id\n" + "".join(f"i{n}\n" for n in range(ITEMS)))
    words = ("--data", folder / "sales.csv", "--items", folder / "items.csv", "--learner", "spectral")
    code, _, err = command("simulate", *words, "--baselines", "random", "--no-alone", "--out", folder / "run")
    assert code == 0, err
    return folder


def test_the_model_is_the_public_half_and_the_runs_own(home: Path) -> None:
    place = home / "run" / "model"
    assert sorted(path.name for path in place.iterdir()) == sorted(FILES)
    model = load_model(place)
    assert model.agreement.plan_hash == json.loads((home / "run" / "run.json").read_text())["plan_hash"]
    first = model.agreement.learner.initial_state(model.agreement.catalogue, 0)
    assert first.carried
    assert not set(model.state.public) & set(first.carried)
    assert all(array.dtype == np.float32 for array in model.state.public.values())


def test_a_store_recommends_from_it(home: Path, tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, (home / "sales.csv").read_text(), catalogue=str(home / "items.csv"))
    shop.set("[data]\n", '[data]\nstore = "north"\n')
    shop.read()
    store = Store(shop.directory)
    store.use(home / "run")
    listed = store.recommend("c1", 3, repeats="always")
    assert listed.source == "model with store"
    assert {int(one.item.removeprefix("i")) % 2 for one in listed.items} == {1}
    found = store.evaluate()
    assert (found.at, found.may_have_been_learned) == (1003, False)  # the run trained on what came before
