"""Recommending at the store: model and history, popularity, repeats by rate, models swapped whole, clear refusals."""

from __future__ import annotations

import dataclasses
import json
import re
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedcart.client import Store
from fedcart.client.data.view import open_view
from fedcart.client.recommend import models as models_module
from fedcart.client.recommend.evaluate import evaluate
from fedcart.client.recommend.models import CURRENT, current_name, list_models, use_model
from fedcart.client.recommend.recommender import Recommender
from fedcart.client.recommend.repeats import RepeatRates, choose, repeat_rates
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError, DataError, InputError
from fedcart.shared.learners.base import Block, State
from fedcart.shared.model_files import ABOUT, STATE, load_model
from plan_kit import command
from store_kit import DAY, Shop, make_model

ITEMS = 12
CATALOGUE = Catalogue(
    tuple(f"p{n}" for n in range(ITEMS)),
    "given",
    {
        "title": np.array([f"Item {n}" for n in range(ITEMS)], object),
        "category": np.array(["tea" if n % 2 == 0 else "pots" for n in range(ITEMS)], object),
    },
)


def table(customers: int = 40) -> str:
    """Even customers buy even items, odd ones odd items; own numbers are i0, i1, … ; customer c0 lacks item 10."""
    lines = ["customer,item,time"]
    generator = np.random.default_rng(5)
    for customer in range(customers):
        mine = generator.permutation(np.arange(customer % 2, ITEMS, 2))[:4].tolist()
        mine = [0, 2, 4] if customer == 0 else mine
        lines += [f"c{customer},i{item},{(10 + at) * DAY}" for at, item in enumerate(mine)]
    return "\n".join(lines) + "\nnew,elsewhere,1\n"


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    """A store that read its data and has a model; item 11 is in the catalogue, and never sold here."""
    made = Shop.make(tmp_path, table().replace("i11,", "i9,"))
    (tmp_path / "map.csv").write_text("own,catalogue\n" + "".join(f"i{n},p{n}\n" for n in range(ITEMS)))
    made.set('# map = "item-map.csv"', f'map = "{tmp_path}/map.csv"')
    CATALOGUE.save(made.directory / "catalogue.json")
    made.read()
    histories = open_view(made.folder).histories
    use_model(made.folder, str(make_model(tmp_path / "run", CATALOGUE, histories, regularization=1.0)))
    return made


def shown(shop: Shop, *words: Any) -> list[str]:
    code, out, err = command("store", "recommend", *words, "--dir", shop.directory, "--json")
    assert code == 0, err
    return [one["item"] for one in json.loads(out)["items"]]


def refused(shop: Shop, *words: Any) -> str:
    code, out, err = command("store", *words, "--dir", shop.directory)
    assert (code, out) == (2, ""), err
    return err


def test_a_customer_gets_their_own_kind_by_the_stores_numbers(shop: Shop) -> None:
    code, out, err = command(
        "store", "recommend", "c0", "--k", 3, "--repeats", "never", "--dir", shop.directory, "--json"
    )
    assert code == 0, err
    told = json.loads(out)
    assert (told["source"], told["model"]) == ("model with store", current_name(shop.folder))
    assert {one["item"] for one in told["items"]} == {"i6", "i8", "i10"}
    first = told["items"][0]
    number = first["item"].removeprefix("i")
    assert (first["rank"], first["catalogue_id"], first["title"]) == (1, f"p{number}", f"Item {number}")
    assert not first["bought_before"]


def test_what_is_not_sold_here_is_never_shown(shop: Shop) -> None:
    everything = shown(shop, "c1", "--k", 50, "--repeats", "always")
    assert len(everything) == len(set(everything)) == ITEMS - 1
    assert "i11" not in everything
    (shop.home / "sold.csv").write_text("id\ni1\ni3\ni11\n")
    shop.set('# assortment = "items.csv"', f'assortment = "{shop.home}/sold.csv"')
    assert set(shown(shop, "c1", "--k", 50, "--repeats", "always")) == {"i1", "i3", "i11"}


def test_without_a_history_popular_items_are_shown(shop: Shop) -> None:
    view = open_view(shop.folder)
    counts = np.bincount(view.histories.items, minlength=ITEMS)
    ranked = [f"i{item}" for item in np.argsort(-counts, kind="stable").tolist() if counts[item]]
    assert shown(shop, "new", "--k", 5) == ranked[:5]
    assert shown(shop, "--items", "", "--k", 5) == ranked[:5]
    code, _, err = command("store", "recommend", "new", "--dir", shop.directory)
    assert (code, "model popularity" in err) == (0, True)


def test_items_of_a_visit_are_a_history(shop: Shop) -> None:
    assert {int(item[1:]) % 2 for item in shown(shop, "--items", "i1,i3", "--k", 3)} == {1}
    assert "i1" not in shown(shop, "--items", "i1,i3", "--k", 50, "--repeats", "never")


def test_the_reasons_are_items_of_the_history(shop: Shop) -> None:
    found = Store(shop.directory).recommend("c0", 2, repeats="never", because=True)
    for one in found.items:
        assert one.because
        assert set(one.because) <= {"i0", "i2", "i4"}
    alone = Store(shop.directory).recommend_for_items(["i2"], 1, because=True)
    assert alone.items[0].because == ("i2",)


def test_leaving_a_reason_out_lowers_the_score_most(shop: Shop) -> None:
    store = Store(shop.directory)
    history = ["i0", "i2", "i4"]
    best = store.recommend_for_items(history, 1, repeats="never", because=True).items[0]

    def score(items: list[str]) -> float:
        listed = store.recommend_for_items(items, 50, repeats="always").items
        return next(one.score for one in listed if one.item == best.item)

    left = {gone: score([item for item in history if item != gone]) for gone in history}
    assert min(left, key=left.__getitem__) == best.because[0]


def test_refusals_are_clear_and_show_no_customer(shop: Shop) -> None:
    err = refused(shop, "recommend", "zebra-77")
    assert "no such customer among the 41 that were read" in err
    assert "zebra" not in err
    assert "the store has no item 'i99'" in refused(shop, "recommend", "--items", "i99")
    assert "item 'elsewhere' is not in the model's catalogue" in refused(shop, "recommend", "--items", "elsewhere")
    assert "name one customer, or --items" in refused(shop, "recommend")
    assert "name one customer, or --items" in refused(shop, "recommend", "c0", "--items", "i1")


def test_no_model_and_no_data_are_refused(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, table())
    assert "has no model yet" in refused(shop, "recommend", "c0")
    assert "has no model yet" in refused(shop, "evaluate")
    run = make_model(tmp_path / "run", CATALOGUE, _empty(), learner="popularity")
    use_model(shop.folder, str(run))
    assert "no data were read yet" in refused(shop, "recommend", "c0")
    with pytest.raises(ConfigError, match="is no store"):
        Store(tmp_path)


def _empty() -> Any:
    from fedcart.shared.interactions import Interactions, build_histories

    return build_histories(Interactions.build([0], [0]), 1, ITEMS)


# ---- repeats


def rates_of(tmp_path: Path, rows: list[tuple[str, str, int]], **options: Any) -> RepeatRates:
    text = "customer,item,time\n" + "".join(f"{c},{i},{t}\n" for c, i, t in rows)
    shop = Shop.make(tmp_path, text, **options)
    CATALOGUE.save(shop.directory / "catalogue.json")
    shop.read()
    return repeat_rates(open_view(shop.folder))


def test_a_rate_is_the_share_of_purchases_that_buy_again_on_another_day(tmp_path: Path) -> None:
    tea = [(f"c{n}", "p0", day * DAY) for n in range(30) for day in (1, 2)]
    pots = [(f"c{n}", "p1", DAY + second) for n in range(60) for second in (1, 2)]  # twice on one day is once
    rates = rates_of(tmp_path, [*tea, *pots])
    assert rates.categories == {"tea": 0.5, "pots": 0.0}
    assert rates.overall == pytest.approx(30 / 120)
    assert rates.of("unheard") == rates.overall


def test_few_purchases_have_the_stores_rate_and_none_have_none(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    few = rates_of(tmp_path / "a", [("c", "p0", DAY), ("c", "p0", 2 * DAY)])
    assert (few.overall, few.categories) == (0.5, {})
    assert rates_of(tmp_path / "b", [("c", "p0", DAY)]).overall == 0


@pytest.mark.parametrize(
    ("repeats", "rate", "found"),
    [
        ("always", 0.0, [0, 1, 2, 3]),
        ("never", 1.0, [2, 3, 4, 5]),
        ("rate", 0.0, [2, 3, 4, 5]),
        ("rate", 1.0, [0, 1, 2, 3]),
        ("rate", 0.6, [0, 2, 3, 4]),
        ("rate", 0.3, [2, 3, 4, 5]),
    ],
)
def test_bought_items_get_the_share_of_their_categorys_places(repeats: Any, rate: float, found: list[int]) -> None:
    bought = np.array([True, True, False, False, False, False])
    names = np.full(6, "tea", object)
    assert choose(range(6), bought, names, RepeatRates(rate), repeats, 4) == found


def test_a_repeat_comes_when_its_category_has_the_places_for_it() -> None:
    bought = np.array([False, False, True, False])
    assert choose(range(4), bought, np.full(4, "tea", object), RepeatRates(0.3), "rate", 3) == [0, 1, 2]
    names = np.array(["tea", "tea", "pots", "tea"], object)
    assert choose(range(4), bought, names, RepeatRates(0.3), "rate", 3) == [0, 1, 3]


# ---- models


def another(shop: Shop, name: str, regularization: float) -> Path:
    histories = open_view(shop.folder).histories
    return make_model(shop.home / name, CATALOGUE, histories, regularization=regularization)


def test_an_older_model_is_restored(shop: Shop) -> None:
    first = current_name(shop.folder)
    code, out, _ = command("store", "use", another(shop, "second", 500.0), "--dir", shop.directory)
    second = out.strip()
    assert (code, current_name(shop.folder)) == (0, second)
    assert second != first
    assert {(entry.name, entry.used) for entry in list_models(shop.folder)} == {(first, False), (second, True)}
    before = shown(shop, "c3", "--k", 8)
    assert command("store", "use", first, "--dir", shop.directory)[0] == 0
    assert current_name(shop.folder) == first
    command("store", "use", second, "--dir", shop.directory)
    assert shown(shop, "c3", "--k", 8) == before
    code, out, _ = command("store", "models", "--dir", shop.directory)
    assert [line.split()[:2] for line in out.splitlines() if line.startswith("*")] == [["*", second]]


def test_the_same_model_twice_is_one(shop: Shop) -> None:
    use_model(shop.folder, str(shop.home / "run"))
    use_model(shop.folder, str(shop.home / "run" / "model"))
    assert len(list_models(shop.folder)) == 1


def test_an_open_store_sees_a_new_model_and_new_data(shop: Shop) -> None:
    store = Store(shop.directory)
    first = store.recommender()
    assert store.recommender() is first
    store.use(another(shop, "second", 500.0))
    assert store.recommend("c0").model == current_name(shop.folder) != first.model.name
    shop.write(table().replace("i11,", "i9,") + f"late,i1,{20 * DAY}\n")
    store.read()
    assert store.recommend("late").source == "model with store"


def test_a_model_is_swapped_in_whole_or_not_at_all(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    run, used = another(shop, "second", 500.0), current_name(shop.folder)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    for name in (f"{models_module.__name__}.replace_bytes", "fedcart.shared.folders.os.rename"):
        with monkeypatch.context() as patched:
            patched.setattr(name, full)
            with pytest.raises((InputError, OSError), match="No space left"):
                use_model(shop.folder, str(run))
        assert current_name(shop.folder) == used
        assert [entry.name for entry in list_models(shop.folder)] == [used]
        assert {path.name for path in shop.folder.models.iterdir()} == {used, CURRENT}


def test_everybody_sees_the_old_model_or_the_new_one(shop: Shop) -> None:
    names = [current_name(shop.folder), use_model(shop.folder, str(another(shop, "second", 500.0))).name]
    store, seen, stop = Store(shop.directory), set(), threading.Event()

    def ask() -> None:
        while not stop.is_set():
            seen.add(store.recommend("c0", 1).model)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for turn in range(10):
            use_model(shop.folder, str(names[turn % 2]))
    finally:
        stop.set()
        thread.join()
    assert seen <= set(names)


@pytest.mark.parametrize("damage", ["flip", "nan", "about", "missing", "plan"])
def test_a_damaged_model_is_not_used(shop: Shop, damage: str) -> None:
    run, used = another(shop, "second", 500.0), current_name(shop.folder)
    place = run / "model"
    if damage in ("flip", "nan"):
        model = load_model(place)
        arrays = {name: array.copy() for name, array in model.state.public.items()}
        arrays["popularity"][0] = np.nan if damage == "nan" else 9.0
        np.savez(place / STATE, **arrays)
    elif damage == "about":
        (place / ABOUT).write_text("{}")
    elif damage == "missing":
        (place / STATE).unlink()
    else:
        (place / "plan.json").write_bytes((place / "plan.json").read_bytes().replace(b'"seed":0', b'"seed":1'))
    with pytest.raises(InputError):
        use_model(shop.folder, str(run))
    assert current_name(shop.folder) == used


def test_a_model_of_other_items_is_not_used(shop: Shop) -> None:
    other, used = Catalogue(("q1", "q2"), "given"), current_name(shop.folder)
    from fedcart.shared.interactions import Interactions, build_histories

    run = make_model(
        shop.home / "other", other, build_histories(Interactions.build([0], [0]), 1, 2), learner="popularity"
    )
    with pytest.raises(DataError, match="none of the store's"):
        use_model(shop.folder, str(run))
    assert current_name(shop.folder) == used


def test_an_unknown_model_is_refused(shop: Shop) -> None:
    err = refused(shop, "use", "nowhere")
    assert "nowhere is no run with a model" in err
    assert "the model in use stays" in err
    assert refused(shop, "use", "..")


# ---- evaluating


def test_what_came_after_the_plan_measures_the_model(shop: Shop, tmp_path: Path) -> None:
    view = open_view(shop.folder)
    at = 12 * DAY
    run = make_model(tmp_path / "timed", CATALOGUE, view.histories_as_of(at), as_of=at, regularization=1.0)
    use_model(shop.folder, str(run))
    code, out, err = command("store", "evaluate", "--dir", shop.directory, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["held_out_from"], told["target"], told["may_have_been_learned"]) == ("1970-01-13", "purchase", False)
    assert told["new"]["model"]["customers"] == told["new"]["popularity"]["customers"] == 40
    assert told["new"]["model"]["ndcg@10"] > told["new"]["popularity"]["ndcg@10"] + 0.1
    code, out, _ = command("store", "evaluate", "--dir", shop.directory, "--since", "1970-01-12", "--json")
    assert (code, json.loads(out)["may_have_been_learned"]) == (0, True)


def test_without_a_plans_time_the_figures_are_marked_too_good(shop: Shop) -> None:
    code, out, err = command("store", "evaluate", "--dir", shop.directory)
    assert code == 0, err
    assert "each one's latest item" in out
    assert out.rstrip().endswith("these figures are too good")


def test_whoever_opted_out_is_not_measured(tmp_path: Path) -> None:
    lines = table().splitlines()
    answers = ["ok", *("no" if line.startswith("c7,") else "yes" for line in lines[1:])]
    text = "\n".join(f"{line},{word}" for line, word in zip(lines, answers, strict=True))
    text = re.sub(r",i(\d)", r",p\1", text)
    shop = Shop.make(tmp_path, text + "\n", consent_column="ok")
    CATALOGUE.save(shop.directory / "catalogue.json")
    shop.read()
    view = open_view(shop.folder)
    model = load_model(make_model(tmp_path / "run", CATALOGUE, view.histories.take(view.learned_from)) / "model")
    found = evaluate(model, view).results["new"]["model"]
    assert found is not None
    assert found.customers == 39
    use_model(shop.folder, str(tmp_path / "run"))
    assert Store(shop.directory).recommend("c7").source == "model with store"  # their own history still serves them


# ---- how the store stands, and forgetting


def test_status_and_budget_say_what_was_read_and_spent(shop: Shop) -> None:
    code, out, err = command("store", "status", "--dir", shop.directory, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert told["data"]["customers"] == 41
    assert told["model"] == current_name(shop.folder)
    assert told["budget"]["lifetime"] == {"epsilon": 0, "cap": 8.0}
    assert told["budget"]["window"] == {"days": 365, "epsilon": 0, "cap": None}
    assert command("store", "status", "--dir", shop.directory)[0] == 0
    code, out, _ = command("store", "budget", "--dir", shop.directory)
    assert out.splitlines()[1].split() == ["over", "the", "ledger's", "life", "0.0000", "8"]


def test_the_budget_is_the_ledgers(shop: Shop) -> None:
    from fractions import Fraction

    with shop.folder.open_ledger() as ledger:
        ledger.plan("a" * 64, epsilon="4", delta=1e-6, dearest=Fraction(1, 2), attempts=1)
        ledger.charge(plan="a" * 64, round=0, attempt=0, release="x", D=1000, variance=1_000_000, honest=1, delta=1e-5)
        spent = ledger.epsilon(1e-5)
    told = Store(shop.directory).budget()
    assert told["lifetime"]["epsilon"] == told["window"]["epsilon"] == spent > 4


def test_a_forgotten_customer_is_gone_from_data_records_and_lists(shop: Shop) -> None:
    from fedcart.client.data.records import write_store_records
    from fedcart.client.records import open_records

    run = shop.directory / "plans" / "spring"
    run.mkdir(parents=True)
    write_store_records(shop.folder, run, CATALOGUE, 100 * DAY)
    number = open_view(shop.folder).number_of("c3")
    assert number is not None
    assert open_records(run)[0].counts[number] == 4
    code, out, err = command("store", "forget", "c3", "--yes", "--dir", shop.directory)
    assert code == 0, err
    assert "Nothing is refunded" in out
    assert open_records(run)[0].counts[number] == 0
    assert np.load(run / "opted_out.npy")[number]
    assert "no such customer" in refused(shop, "recommend", "c3")
    assert "nothing was erased" in refused(shop, "forget", "c3", "--yes")
    lines = shop.folder.ledger_file.read_text().splitlines()
    assert [json.loads(line)["kind"] for line in lines] == ["genesis", "erasure"]
    assert shop.read(everything=True).dropped == {"forgotten": 4}


def test_forgetting_asks_first(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    for answer in ("n\n", ""):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        code, _, err = command("store", "forget", "c3", "--dir", shop.directory)
        assert (code, "nothing was erased" in err) == (2, True)
    assert shown(shop, "c3")


def test_a_crash_while_forgetting_is_mended_by_forgetting_again(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    from fedcart.client.data import forgetting

    def full(*_: Any, **__: Any) -> None:
        raise InputError("No space left")

    with monkeypatch.context() as patched:
        patched.setattr(f"{forgetting.__name__}.save_kept", full)
        with pytest.raises(InputError, match="No space"):
            Store(shop.directory).forget("c3")
    Store(shop.directory).forget("c3")
    assert open_view(shop.folder).number_of("c3") is None


def test_whoever_opted_out_moves_no_rate_no_popularity_and_no_figure(tmp_path: Path) -> None:
    """The same store with and without customers who said no; popularity is the store's, as where a model has none."""
    lines = re.sub(r",i(\d)", r",p\1", table()).splitlines()
    mine = "\n".join([lines[0] + ",ok", *(f"{line},yes" for line in lines[1:])]) + "\n"
    silent = "".join(f"z{n},p1,{day * DAY},no\n" for n in range(80) for day in (3, 30, 31))

    def seen(name: str, text: str) -> tuple[Any, ...]:
        home = tmp_path / name
        home.mkdir()
        shop = Shop.make(home, text, consent_column="ok")
        CATALOGUE.save(shop.directory / "catalogue.json")
        shop.read()
        use_model(shop.folder, str(tmp_path / "run"))
        store = Store(shop.directory)
        model, view = store.recommender().model, store.recommender().view
        public = {name: array for name, array in model.state.public.items() if name != "popularity"}
        bare = Recommender(model, view)
        bare.model = dataclasses.replace(model, state=State(public))
        listed = bare.for_customer("new", 8)
        assert listed.source == "store popularity"
        lists = [store.recommend("c1", 8, repeats="always"), listed]  # c1 has items that go with z's
        shown = [[(one.item, one.score) for one in found.items] for found in lists]
        return repeat_rates(view), shown, store.evaluate(12 * DAY)

    people = tmp_path / "plain"
    people.mkdir()
    plain = Shop.make(people, mine, consent_column="ok")
    CATALOGUE.save(plain.directory / "catalogue.json")
    plain.read()
    histories = open_view(plain.folder).histories
    make_model(tmp_path / "run", CATALOGUE, histories, learner="als", embedding_dim=2, sweeps=1)
    assert seen("without", mine) == seen("with", mine + silent)
    assert seen("counted", mine + silent.replace(",no", ",yes")) != seen("again", mine)


def test_what_the_stores_customers_have_together_can_be_left_out(shop: Shop) -> None:
    beside = Store(shop.directory).recommend("c0", 5, repeats="always")
    shop.set("# [serve]", "[serve]\nstore_cooccurrences = false\n#")
    store = Store(shop.directory)
    model = store.recommend("c0", 5, repeats="always")
    assert (beside.source, model.source) == ("model with store", "model")
    loaded = store.recommender()
    number = loaded.view.number_of("c0")
    assert number is not None
    scores = loaded.model.scorer().score(Block(0, 0, loaded.view.histories.slice(number, number + 1)), None)[0]
    assert [one.score for one in model.items] == sorted(scores.tolist(), reverse=True)[:5]
    assert [one.score for one in beside.items] != [one.score for one in model.items]
    measured = store.evaluate(12 * DAY).results["new"]
    assert measured["with_store"] is not None
    assert measured["with_store"] != measured["popularity"]


PRIVATE = "[serve]\nprivate_only = true\n#"


@pytest.mark.parametrize("learner", ["gram", "als", "spectral", "popularity"])
def test_with_private_only_no_row_of_another_customer_moves_a_list(tmp_path: Path, learner: str) -> None:
    """The same customers beside many others and alone: the raw table is cut, and everything is read anew."""
    lines = re.sub(r",i(\d)", r",p\1", table()).splitlines()
    lines += [f"z{n},p{n % 12},{day * DAY}" for n in range(80) for day in (3, 40, 41)]
    kept = [line for line in lines if line.startswith(("customer,", "c0,", "new,"))]
    small = {"als": {"embedding_dim": 2, "sweeps": 1}, "spectral": {"embedding_dim": 4, "order_weight": 0.5}}

    def seen(name: str, rows: list[str], private: bool) -> Any:
        home = tmp_path / name
        home.mkdir()
        shop = Shop.make(home, "\n".join(rows) + "\n")
        CATALOGUE.save(shop.directory / "catalogue.json")
        if private:
            (home / "sold.csv").write_text("id\n" + "".join(f"p{n}\n" for n in range(ITEMS)))
            shop.set('# assortment = "items.csv"', f'assortment = "{home}/sold.csv"')
            shop.set('repeats = "rate"', 'repeats = "always"')
            shop.set("# [serve]", PRIVATE)
        shop.read()
        if not (tmp_path / "run").exists():
            histories = open_view(shop.folder).histories
            make_model(tmp_path / "run", CATALOGUE, histories, learner=learner, **small.get(learner, {}))
        use_model(shop.folder, str(tmp_path / "run"))
        store = Store(shop.directory)
        lists = [store.recommend("c0", 12), store.recommend("new", 12), store.recommend_for_items(["p2"], 12)]
        return [[(one.item, one.score) for one in found.items] for found in lists]

    whole = seen("whole", lines, True)
    assert whole == seen("alone", kept, True)
    assert all(len(found) == ITEMS for found in whole)
    assert seen("open", lines, False) != seen("open alone", kept, False)


def test_with_private_only_what_counts_other_customers_is_refused(shop: Shop) -> None:
    shop.set("# [serve]", PRIVATE)
    assert "private_only with [recommend] repeats = 'rate'" in refused(shop, "recommend", "c1")
    shop.set('repeats = "rate"', 'repeats = "never"')
    assert "private_only without [recommend] assortment" in refused(shop, "recommend", "c1")
    (shop.home / "sold.csv").write_text("id\ni1\ni3\n")
    shop.set('# assortment = "items.csv"', f'assortment = "{shop.home}/sold.csv"')
    assert shown(shop, "c1", "--repeats", "always") != []
    assert "repeats by rate" in refused(shop, "recommend", "c1", "--repeats", "rate")
    loaded = Store(shop.directory).recommender()
    public = {name: array for name, array in loaded.model.state.public.items() if name != "popularity"}
    loaded.model = dataclasses.replace(loaded.model, state=State(public))
    with pytest.raises(DataError, match=r"carries no popularity, and .* private_only"):
        loaded.for_customer("new")
