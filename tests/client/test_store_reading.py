"""A store reads what is new, keeps whose consent it has, and maps its items; a reading that fails changes nothing."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fedcart.client.consent import OPTED_OUT
from fedcart.client.data import kept as kept_module
from fedcart.client.data.forgetting import forget_customer
from fedcart.client.data.gtin import gtin14
from fedcart.client.data.kept import load_kept, locked
from fedcart.client.data.records import write_store_records
from fedcart.client.data.view import View, open_view
from fedcart.client.forget import opt_out
from fedcart.client.records import StoreRecords, open_records
from fedcart.shared.catalogue import Catalogue
from fedcart.shared.errors import ConfigError, DataError, InputError
from store_kit import DAY, NOW, Shop

HEAD = "customer,item,time\n"


def seen(shop: Shop) -> set[tuple[str, str, int]]:
    """(customer, item, time) of every event in the folder."""
    view = open_view(shop.folder)
    events = view.events
    return {
        (view.kept.customers[c], view.catalogue.ids[i], t)
        for c, i, t in zip(events.customer.tolist(), events.item.tolist(), events.time.tolist(), strict=True)
    }


def test_the_first_reading_reads_everything_and_the_second_adds_what_is_new(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, HEAD + "b,x,10\na,y,20\n")
    first = shop.read()
    assert (first.everything, first.rows, first.added, first.kept) == (True, 2, 2, 2)
    shop.write(HEAD + "b,x,10\na,y,20\na,z,20\nc,x,30\n")
    second = shop.read()
    assert (second.everything, second.rows, second.earlier, second.added, second.again) == (False, 4, 0, 2, 2)
    assert seen(shop) == {("b", "x", 10), ("a", "y", 20), ("a", "z", 20), ("c", "x", 30)}
    third = shop.read()
    assert (third.added, third.again, third.kept) == (0, 4, 4)


def test_a_delta_that_holds_only_new_rows_adds_to_what_was_read(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, HEAD + "b,x,10\na,y,20\n")
    shop.read()
    shop.write(HEAD + "c,x,30\n")
    assert shop.read().kept == 3
    assert seen(shop) == {("b", "x", 10), ("a", "y", 20), ("c", "x", 30)}


def sales(home: Path, rows: list[tuple[str, str, int]], form: str) -> None:
    """The shop's table: a file, or a database's."""
    if form == "file":
        (home / "sales.csv").write_text(HEAD + "".join(f"{c},{i},{t}\n" for c, i, t in rows))
        return
    with sqlite3.connect(home / "shop.db") as database:
        database.execute("DROP TABLE IF EXISTS s")
        database.execute("CREATE TABLE s (customer, item, time)")
        database.executemany("INSERT INTO s VALUES (?, ?, ?)", rows)


def asked_for_new_rows(home: Path) -> Shop:
    """A shop whose source is a database, read by a query with `:since`."""
    home.mkdir(exist_ok=True)
    shop = Shop.make(home, query="SELECT * FROM s WHERE time >= :since")
    shop.set(f"{home}/sales.csv", f"sqlite:///{home}/shop.db")
    shop.set("[data]\n", '[data]\nsince = "seconds"\n')
    return shop


def test_rows_of_a_file_are_found_however_late_they_come(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, HEAD + f"a,x,{10 * DAY}\n")
    shop.read()
    shop.write(HEAD + f"a,x,{10 * DAY}\nb,late,{9 * DAY}\nc,later,{5 * DAY}\n")
    assert shop.read().added == 2


def test_rows_of_a_database_that_come_late_are_found_within_the_overlap(tmp_path: Path) -> None:
    shop = asked_for_new_rows(tmp_path)
    rows = [("a", "x", 10 * DAY)]
    sales(tmp_path, rows, "database")
    shop.read(now=20 * DAY)
    sales(tmp_path, [*rows, ("b", "late", 19 * DAY), ("c", "later", 12 * DAY)], "database")
    assert shop.read(now=20 * DAY).added == 0
    shop.set("overlap_days = 0", "overlap_days = 2")
    assert shop.read(now=20 * DAY).added == 1
    assert ("b", "late", 19 * DAY) in seen(shop)
    assert shop.read(everything=True, now=20 * DAY).kept == 3


def test_a_clock_that_ran_ahead_hides_no_new_row(tmp_path: Path) -> None:
    shop = asked_for_new_rows(tmp_path)
    sales(tmp_path, [("a", "x", 10 * DAY)], "database")
    shop.read(now=90 * DAY)
    sales(tmp_path, [("a", "x", 10 * DAY), ("a", "y", 20 * DAY)], "database")
    assert shop.read(now=20 * DAY).added == 1


day_of = st.integers(1, 30).map(lambda day: day * DAY)
some_rows = st.lists(st.tuples(st.sampled_from(["x", "y", "z"]), day_of), max_size=4)


@pytest.mark.parametrize("form", ["file", "database"])
@given(mine=some_rows, mine_later=some_rows, theirs=some_rows, theirs_later=some_rows)
@example(mine=[("x", 2 * DAY)], mine_later=[("y", 10 * DAY)], theirs=[("x", 14 * DAY)], theirs_later=[])
@settings(max_examples=15, deadline=None)
def test_what_is_read_of_a_customer_does_not_depend_on_another(
    form: str,
    tmp_path_factory: pytest.TempPathFactory,
    mine: list[tuple[str, int]],
    mine_later: list[tuple[str, int]],
    theirs: list[tuple[str, int]],
    theirs_later: list[tuple[str, int]],
) -> None:
    """Over two readings, with and without all rows of customer b; c keeps the table from being empty."""
    found = []
    for others in ((theirs, theirs_later), ([], [])):
        home = tmp_path_factory.mktemp("home")
        shop = Shop.make(home) if form == "file" else asked_for_new_rows(home)
        rows: list[tuple[str, str, int]] = [("c", "x", DAY)]
        shop.set("max_bad_rows = 0.01", "max_bad_rows = 1.00")
        for now, own, other in ((15 * DAY, mine, others[0]), (30 * DAY, mine_later, others[1])):
            rows += [("a", *row) for row in own] + [("b", *row) for row in other]
            sales(home, rows, form)
            shop.read(now=now)
        found.append({event for event in seen(shop) if event[0] == "a"})
    assert found[0] == found[1]


def test_without_times_everything_is_read_again(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, "customer,item\na,x\na,y\n")
    shop.read()
    shop.write("customer,item\na,x\nb,x\n")
    assert shop.read().everything
    assert {(c, i) for c, i, _ in seen(shop)} == {("a", "x"), ("b", "x")}


def test_a_customers_number_is_for_ever(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, HEAD + "m,x,10\nz,x,10\n")
    shop.read()
    shop.write(HEAD + "a,x,30\nm,x,30\n")
    shop.read()
    shop.read(everything=True)
    assert open_view(shop.folder).kept.customers == ("m", "z", "a")


def test_other_settings_read_everything_again(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, "customer,item,other,time\na,x,y,10\n")
    shop.read()
    shop.set('item = "item"', 'item = "other"')
    assert shop.read().everything
    assert seen(shop) == {("a", "y", 10)}


def test_a_reading_that_fails_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop.make(tmp_path, HEAD + "a,x,10\n")
    shop.read()
    before = (shop.folder.data / kept_module.FILE).read_bytes()
    shop.write(HEAD + "a,x,10\n,x,20\n")
    with pytest.raises(DataError, match="row 2: no customer"):
        shop.read()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    shop.write(HEAD + "a,x,10\nb,x,20\n")
    with monkeypatch.context() as patched:
        patched.setattr("numpy.savez", full)
        with pytest.raises(InputError, match="No space left"):
            shop.read()
    assert (shop.folder.data / kept_module.FILE).read_bytes() == before
    assert shop.read().added == 1


def test_nobody_else_reads_the_folder(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, HEAD + "a,x,10\n")
    shop.read()
    assert stat.S_IMODE(shop.folder.data.stat().st_mode) == 0o700
    with locked(shop.folder.data), pytest.raises(DataError, match="in use by another command; nothing was read"):
        shop.read()


def test_a_damaged_folder_is_refused(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, HEAD + "a,x,10\n")
    with pytest.raises(DataError, match="no data were read yet"):
        open_view(shop.folder)
    shop.read()
    (shop.folder.data / kept_module.FILE).write_bytes(b"no")
    with pytest.raises(InputError, match="not a readable array file"):
        shop.read()


# ---- consent


def test_whoever_opted_out_contributes_nothing(tmp_path: Path) -> None:
    table = "customer,item,time,ok\na,x,10,yes\nb,y,10,no\nc,z,10,\n"
    shop = Shop.make(tmp_path, table, consent_column="ok")
    shop.read()
    view = open_view(shop.folder)
    assert view.kept.consent.tolist() == [True, False, False]
    assert view.learned_from.tolist() == [0]
    run = tmp_path / "run"
    run.mkdir()
    assert write_store_records(shop.folder, run, view.catalogue, NOW) == 1
    assert StoreRecords.open(run, 0).count == 1
    assert open_records(run)[0].customers == 3
    assert np.load(run / OPTED_OUT).tolist() == [False, True, True]


def test_an_opt_out_is_seen_in_old_rows_and_an_opt_in_too(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, "customer,item,time,ok\na,x,10,yes\nb,x,20,no\n", consent_column="ok")
    shop.read()
    shop.write("customer,item,time,ok\na,x,10,no\nb,x,20,yes\n")
    shop.read()
    assert open_view(shop.folder).kept.consent.tolist() == [False, True]


def test_a_table_of_consents_is_read_whole_and_no_answer_is_a_no(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, HEAD + "a,x,10\nb,x,20\n", consent_column="ok")
    shop.set("# [consent] ", f'[consent]\nsource = "{tmp_path}/consents.csv"\ncustomer = "who"\n#')
    shop.write("who,ok\na,yes\nz,yes\n", "consents.csv")
    shop.read()
    assert open_view(shop.folder).kept.consent.tolist() == [True, False]
    shop.write("who,ok\na,no\nb,yes\n", "consents.csv")
    shop.read()
    assert open_view(shop.folder).kept.consent.tolist() == [False, True]


def run_of(shop: Shop) -> Path:
    """A plan's directory with the records of its run."""
    run = shop.directory / "plans" / "spring"
    run.mkdir(parents=True)
    write_store_records(shop.folder, run, open_view(shop.folder).catalogue, NOW)
    return run


def test_an_opt_out_reaches_a_run_that_goes_on_and_an_opt_in_too(tmp_path: Path) -> None:
    table = "customer,item,time,ok\na,x,10,yes\nb,y,10,no\nc,x,10,yes\n"
    shop = Shop.make(tmp_path, table, consent_column="ok")
    shop.read()
    run = run_of(shop)
    assert StoreRecords.open(run, 0).count == 2
    opt_out(run, [2])  # somebody asked at the counter
    shop.write("customer,item,time,ok\na,x,10,no\nb,y,10,yes\nc,x,10,yes\nd,x,11,yes\n")
    shop.read()
    assert np.load(run / OPTED_OUT).tolist() == [True, False, True]
    assert StoreRecords.open(run, 0).count == 1


def test_an_opt_out_counts_before_the_reading_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shop = Shop.make(tmp_path, "customer,item,time,ok\na,x,10,yes\n", consent_column="ok")
    shop.read()
    run = run_of(shop)
    shop.write("customer,item,time,ok\na,x,10,no\n")

    def crash(*_: Any) -> None:
        raise InputError("No space left")

    monkeypatch.setattr("fedcart.client.data.reading.save_kept", crash)
    with pytest.raises(InputError):
        shop.read()
    assert np.load(run / OPTED_OUT).tolist() == [True]


def test_a_run_keeps_the_customers_it_began_with(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, HEAD + f"a,x,10\nb,y,{NOW - 5}\n")
    shop.read()
    view, run = open_view(shop.folder), run_of(shop)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    shop.write(HEAD + f"a,y,{NOW - 4}\nc,x,{NOW - 3}\n")
    shop.read()
    assert write_store_records(shop.folder, run, view.catalogue, NOW) == 2
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_run_learns_from_nothing_at_or_after_its_time(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, HEAD + "a,x,10\na,y,20\nb,y,21\n")
    shop.read()
    run = tmp_path / "run"
    run.mkdir()
    assert write_store_records(shop.folder, run, open_view(shop.folder).catalogue, 20) == 1
    assert open_records(run)[0].counts.tolist() == [1, 0]


def test_records_of_another_numbering_stop_the_store(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, HEAD + "a,x,10\nb,y,10\n")
    shop.read()
    run = run_of(shop)
    (shop.folder.data / kept_module.FILE).unlink()
    with pytest.raises(DataError, match="numbers customers otherwise") as caught:
        shop.read()
    assert str(run / "records") in str(caught.value.hint)
    assert not (shop.folder.data / kept_module.FILE).exists()


def test_a_query_for_new_rows_that_would_miss_an_opt_out_is_refused(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, query="SELECT * FROM s WHERE time >= :since", consent_column="ok")
    with pytest.raises(ConfigError, match="would be missed; nothing was read"):
        shop.read()


def test_a_table_of_consents_needs_its_column(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, HEAD + "a,x,10\n")
    shop.set("# [consent] ", '[consent]\nsource = "c.csv"\n#')
    with pytest.raises(ConfigError, match="consent_column"):
        shop.read()


def test_old_rows_go_after_the_retention(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, HEAD + f"a,x,{NOW - 31 * DAY}\na,y,{NOW - 10 * DAY}\n")
    shop.set("# retention_days = 730", "retention_days = 30", "policy.toml")
    assert shop.read().dropped == {"past retention": 1}
    assert shop.read(now=NOW + 25 * DAY).kept == 0


# ---- databases and stores


def test_a_database_is_asked_for_new_rows_only(tmp_path: Path) -> None:
    shop = asked_for_new_rows(tmp_path)
    rows = [("a", "x", 5 * DAY), ("b", "y", 10 * DAY)]
    sales(tmp_path, rows, "database")
    assert shop.read(now=10 * DAY).added == 2
    sales(tmp_path, [*rows[1:], ("c", "z", 11 * DAY)], "database")
    second = shop.read(now=11 * DAY)
    assert (second.added, second.earlier, second.kept) == (1, 0, 3)
    assert shop.read(everything=True, now=11 * DAY).kept == 2


def test_a_folder_is_one_store(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, "customer,item,time,store\na,x,10,North\nb,y,20,South\n")
    with pytest.raises(DataError, match="rows of 2 stores"):
        shop.read()
    shop.set("[data]\n", '[data]\nstore = "Nort"\n')
    with pytest.raises(DataError, match="no row is of store 'Nort'") as caught:
        shop.read()
    assert caught.value.hint == "did you mean 'North'?"
    shop.set("Nort", "North")
    assert shop.read().dropped == {"of another store": 1}
    assert open_view(shop.folder).kept.customers == ("a",)
    shop.write("customer,item,time,store\na,x,10,North\nb,y,20,South\n")
    assert shop.read().added == 0


# ---- items


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("4006381333931", "04006381333931"),
        ("036000291452", "00036000291452"),
        ("96385074", "00000096385074"),
        ("0 40-0638-1333931", "04006381333931"),
        ("4006381333932", None),
        ("36000291452", None),
        ("400638133393x", None),
        ("٤٠٠٦٣٨١٣٣٣٩٣١", None),
        ("00000000", None),
        ("", None),
    ],
)
def test_a_gtin_is_fourteen_digits_or_none(text: str, found: str | None) -> None:
    assert gtin14(text) == found


@given(st.integers(0, 10**12 - 1), st.integers(0, 11), st.integers(1, 9))
def test_no_gtin_survives_a_wrong_digit(number: int, place: int, change: int) -> None:
    body = f"{number:012d}"
    check = -sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(body)) % 10
    wrong = body[:place] + str((int(body[place]) + change) % 10) + body[place + 1 :]
    assert gtin14(wrong + str(check)) is None
    assert (gtin14(body + str(check)) is None) == (number == 0)


def mapped(tmp_path: Path, table: str, ids: tuple[str, ...], **edits: str) -> View:
    shop = Shop.make(tmp_path, table)
    Catalogue(ids, "given").save(shop.directory / "catalogue.json")
    for old, new in edits.items():
        shop.set({"match": 'match = "id"', "map": '# map = "item-map.csv"'}[old], new)
    shop.read()
    return open_view(shop.folder)


def test_items_are_found_by_their_own_id(tmp_path: Path) -> None:
    view = mapped(tmp_path, HEAD + "a,x,1\na,y,2\na,z,3\n", ("z", "x"))
    assert view.events.item.tolist() == [1, 0]
    assert view.mapped.reasons == {"not in the catalogue": 1}


def test_items_are_found_by_gtin_however_it_is_written(tmp_path: Path) -> None:
    table = HEAD + "a,036000291452,1\na,4006381333931,2\na,123,3\na,96385074,4\n"
    view = mapped(tmp_path, table, ("4006381333931", "00036000291452"), match='match = "gtin"')
    assert view.events.item.tolist() == [1, 0]
    assert view.mapped.reasons == {"no valid GTIN": 1, "not in the catalogue": 1}


def test_items_are_found_by_an_own_table(tmp_path: Path) -> None:
    (tmp_path / "map.csv").write_text("own,catalogue\n1,x\n2,x\n3,nowhere\n")
    table = HEAD + "a,1,1\na,2,2\na,3,3\na,4,4\n"
    view = mapped(tmp_path, table, ("w", "x"), map=f'map = "{tmp_path}/map.csv"')
    assert view.events.item.tolist() == [1, 1]
    assert view.mapped.reasons == {"not in the map": 1, "not in the catalogue": 1}


def test_a_list_without_any_of_the_stores_items_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of the store's 1 items is in the catalogue \(1 not in the catalogue\)"):
        mapped(tmp_path, HEAD + "a,x,1\n", ("other",))


def test_a_list_that_names_a_gtin_twice_is_refused(tmp_path: Path) -> None:
    ids = ("036000291452", "00036000291452")
    with pytest.raises(DataError, match="lists GTIN 00036000291452 twice, at items 1 and 2"):
        mapped(tmp_path, HEAD + "a,036000291452,1\n", ids, match='match = "gtin"')


def test_without_a_list_the_items_that_occur_are_one_and_it_is_marked(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, HEAD + "a,x,1\na,b,2\n")
    shop.read()
    view = open_view(shop.folder)
    assert (view.catalogue.ids, view.catalogue.source) == (("b", "x"), "derived")


def test_a_cancellation_undoes_a_purchase_of_an_earlier_reading(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, "customer,item,time,behaviour\na,x,1,purchase\na,y,2,purchase\n")
    shop.read()
    shop.write("customer,item,time,behaviour\na,x,5,cancelled\n")
    shop.read()
    view = open_view(shop.folder)
    assert [view.catalogue.ids[i] for i in view.events.item] == ["y"]
    assert view.cancelled["undone by a cancellation"] == 1


def test_records_that_a_crash_left_under_their_old_name_are_forgotten_in_too(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, HEAD + "a,x,10\nb,x,10\n")
    shop.read()
    run = shop.directory / "plans" / "spring"
    run.mkdir(parents=True)
    write_store_records(shop.folder, run, Catalogue(("x",), "given"), 20)
    (run / "records").rename(run / ".records.old")  # between the two renames of a replacement
    forget_customer(shop.folder, "a")
    assert open_records(run)[0].counts.tolist() == [0, 1]


def test_whoever_was_forgotten_stays_forgotten(tmp_path: Path) -> None:
    shop = Shop.make(tmp_path, HEAD + "ann,x,10\nbob,y,20\n")
    shop.read()
    kept = load_kept(shop.folder.data)
    assert kept is not None
    kept_module.save_kept(shop.folder.data, kept.without(kept.index["ann"]))
    assert shop.read(everything=True).dropped == {"forgotten": 1}
    view = open_view(shop.folder)
    assert view.kept.customers == ("", "bob")
    assert view.number_of("ann") is None
    assert view.number_of("") is None
    assert b"ann" not in (shop.folder.data / kept_module.FILE).read_bytes()
