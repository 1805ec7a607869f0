"""A user's own table: structure is refused by file, column, row and value; bad rows are dropped by rule and counted."""

from __future__ import annotations

import gzip
import sqlite3
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedcart.shared.errors import DataError
from fedcart.shared.interactions import BEHAVIOURS, NO_TIME
from fedcart.simulation.datasets import TableOptions, load
from fedcart.simulation.datasets.table import read

NOW = 2_000
ALL = TableOptions(max_bad_rows=1.0)


def csv(folder: Path, text: str, name: str = "sales.csv", encoding: str = "utf-8") -> str:
    (folder / name).write_bytes(text.encode(encoding))
    return str(folder / name)


def good_rows(count: int) -> str:
    return "".join(f"c{i % 7},i{i % 5},{i}\n" for i in range(count))


def test_a_mapped_csv_becomes_interactions(tmp_path: Path) -> None:
    path = csv(tmp_path, "who;what;when;how;much;where\nbob;x;10;buy;2;North\nann;y;20;buy;3;South\n")
    options = TableOptions(
        columns={
            "customer": "who",
            "item": "what",
            "time": "when",
            "behaviour": "how",
            "value": "much",
            "store": "where",
        },
        behaviours={"buy": "purchase"},
        separator=";",
    )
    found = read(path, options)
    events = found.interactions
    assert found.catalogue.ids == ("x", "y")
    assert found.catalogue.source == "derived"
    assert found.store_names == ("North", "South")
    assert not found.named
    assert events.customer.tolist() == [1, 0]  # customers are numbered in the order of their ids
    assert events.item.tolist() == [0, 1]
    assert events.time.tolist() == [10, 20]
    assert events.value.tolist() == [2, 3]
    assert events.store.tolist() == [0, 1]
    assert events.behaviour.tolist() == [BEHAVIOURS.index("purchase")] * 2
    assert found.homes is not None
    assert found.homes.tolist() == [1, 0]


@pytest.mark.parametrize(
    "time", ["1970-01-01T00:01:40", "1970-01-01 00:01:40+00:00", "1970-01-01T02:01:40+02:00", "100"]
)
def test_times_are_seconds_or_iso_8601(tmp_path: Path, time: str) -> None:
    found = read(csv(tmp_path, f"customer,item,time\na,x,{time}\n"), TableOptions())
    assert found.interactions.time.tolist() == [100]


def test_columns_of_the_roles_own_names_need_no_mapping(tmp_path: Path) -> None:
    found = read(csv(tmp_path, "item,customer\nx,1\nx,1\n"), TableOptions())
    assert len(found.interactions) == 2  # without a time a repeat may be real
    assert (found.interactions.time == NO_TIME).all()


def test_gzip_parquet_and_a_database_read_alike(tmp_path: Path) -> None:
    frame = pd.DataFrame({"customer": [3, 1, 3], "item": [7, 7, 9], "time": [5, 6, 7]})
    text = frame.to_csv(index=False)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(text.encode(), mtime=0))
    frame.to_parquet(tmp_path / "t.parquet")
    with sqlite3.connect(tmp_path / "t.db") as database:
        frame.to_sql("sales", database, index=False)
    url, query = f"sqlite:///{tmp_path / 't.db'}", TableOptions(query="SELECT * FROM sales")
    found = [
        load(str(tmp_path / "t.csv.gz")),
        load(str(tmp_path / "t.parquet")),
        load(url, options=query),
    ]
    for one in found:
        assert one.catalogue.ids == ("7", "9")
        assert one.interactions.customer.tolist() == [1, 0, 1]
        assert one.interactions.time.tolist() == [5, 6, 7]


def test_an_item_file_gives_the_catalogue_in_its_order(tmp_path: Path) -> None:
    items = csv(tmp_path, "id,title,price,colour\nz,Zed,1.5,red\nx,,,blue\n", "items.csv")
    table = csv(tmp_path, "customer,item\na,x\na,z\na,unheard\n")
    found = read(table, TableOptions(items=Path(items), max_bad_rows=0.5))
    assert found.catalogue.source == "given"
    assert found.catalogue.ids == ("z", "x")
    assert found.catalogue.columns["title"].tolist() == ["Zed", ""]
    assert np.isnan(found.catalogue.columns["price"][1])
    assert set(found.catalogue.columns) == {"title", "price"}
    assert found.interactions.item.tolist() == [1, 0]
    assert found.reading.dropped == {"unknown item": 1}


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (",x,1,1,N", "no customer"),
        ("a,,1,1,N", "no item"),
        ("  ,x,1,1,N", "no customer"),
        ("a,x,1,1,", "no store"),
        ("a,x,yesterday,1,N", "unreadable time"),
        ("a,x,,1,N", "unreadable time"),
        ("a,x,2001,1,N", "future time"),
        ("a,x,1,NaN,N", "value is not a number"),
        ("a,x,1,many,N", "value is not a number"),
        ("a,x,1,inf,N", "value is not a number"),
        ("a,x,1,-1,N", "negative value"),
        ("c,i,5,1,N", "duplicate"),
    ],
)
def test_a_bad_row_is_dropped_by_its_rule(tmp_path: Path, row: str, rule: str) -> None:
    table = csv(tmp_path, f"customer,item,time,value,store\nc,i,5,1,N\nd,i,6,1,N\ne,i,7,1,N\n{row}\n")
    found = read(table, ALL, now=NOW)
    assert found.reading.dropped == {rule: 1}
    assert (found.reading.rows, found.reading.kept, len(found.interactions)) == (4, 3, 3)


def test_too_many_bad_rows_refuse_the_table_and_show_three(tmp_path: Path) -> None:
    table = csv(tmp_path, "customer,item,time\n" + good_rows(196) + ",x,1\na,,1\na,x,9999\n,y,1\n")
    with pytest.raises(DataError) as caught:
        read(table, TableOptions(), now=NOW)
    message = caught.value.message
    assert "4 of 200 rows are bad, over the limit of 0.01" in message
    assert "row 197: no customer (customer = nan)" in message
    assert "row 198: no item" in message
    assert "row 199: future time (time = '9999')" in message
    assert "row 200" not in message


def test_one_bad_row_in_a_hundred_is_within_the_limit(tmp_path: Path) -> None:
    table = csv(tmp_path, "customer,item,time\n" + good_rows(99) + ",x,1\n")
    assert read(table, TableOptions(), now=NOW).reading.dropped == {"no customer": 1}


def test_a_cancellation_undoes_its_purchase_and_is_no_bad_row(tmp_path: Path) -> None:
    rows = "a,x,1,buy,2\na,x,2,buy,3\na,x,3,refund,-3\nb,x,4,buy,5\nb,x,5,refund,-1\nb,y,6,refund,-1\n"
    table = csv(tmp_path, "customer,item,time,behaviour,value\n" + rows)
    found = read(table, TableOptions(behaviours={"buy": "purchase", "refund": "cancelled"}), now=NOW)
    assert found.reading.dropped == {"cancellation": 3, "undone by a cancellation": 1}
    assert found.reading.seen == {"purchases reduced by a cancellation": 1, "cancellations without purchase": 1}
    assert found.interactions.value.tolist() == [2, 4]
    assert found.reading.kept == 2


HEADER = "customer,item,time,value\n"


@pytest.mark.parametrize(
    ("text", "options", "words"),
    [
        ("", TableOptions(), ("the file is empty",)),
        (HEADER, TableOptions(), ("has no row",)),
        (
            "costumer,item\na,x\n",
            TableOptions(columns={"customer": "customer"}),
            ("'customer'", "did you mean 'costumer'"),
        ),
        ("who,item\na,x\n", TableOptions(), ("no column is mapped to 'customer'", "item, who")),
        (HEADER, TableOptions(columns={"custmer": "a"}), ("'custmer'", "did you mean 'customer'")),
        (HEADER + "a,x,soon,1\n", TableOptions(), ("column 'time', row 1: 'soon' is not a time",)),
        (HEADER + "a,x,1,lots\n", TableOptions(), ("column 'value', row 1: 'lots' is not a number",)),
        (HEADER + "7,x,1,1\n7.0,x,2,1\n", TableOptions(), ("column 'customer', row 2: '7.0'", "mixed id types")),
        (HEADER + "a,x,1,1,9\n", TableOptions(), ("more values", "separator")),
        (HEADER + "a,x,1,1\na,x,1,1,9\n", TableOptions(), ("line 3",)),
        ("customer,item,behaviour\na,x,purchas\n", TableOptions(), ("row 1: 'purchas'", "did you mean 'purchase'")),
        (HEADER + ",x,1,1\n", ALL, ("1 of 1 rows are bad",)),
        (HEADER + "a,x,1,1\n", TableOptions(behaviour="buy"), ("no behaviour 'buy'",)),
        (HEADER + "a,x,1,1\n", TableOptions(max_bad_rows=2), ("max_bad_rows is 2",)),
        (HEADER + "a,x,1,1\n", TableOptions(encoding="utf-9"), ("'utf-9' is no known encoding",)),
        (HEADER + "a,x,1,1\n", TableOptions(items=Path("nowhere.csv")), ("nowhere.csv does not exist",)),
    ],
)
def test_refuses(tmp_path: Path, text: str, options: TableOptions, words: tuple[str, ...]) -> None:
    with pytest.raises(DataError) as caught:
        read(csv(tmp_path, text), options)
    assert all(word in str(caught.value) for word in words), str(caught.value)
    assert "\n" not in caught.value.message
    assert caught.value.exit_code == 2


def test_a_missing_file_is_refused_with_the_nearest_name(tmp_path: Path) -> None:
    csv(tmp_path, HEADER)
    with pytest.raises(DataError, match=r"sale\.csv does not exist") as caught:
        load(str(tmp_path / "sale.csv"))
    assert caught.value.hint == "did you mean 'sales.csv'?"


def test_a_wrong_encoding_is_refused_by_line(tmp_path: Path) -> None:
    table = csv(tmp_path, "customer,item\na,x\nb,café\n", encoding="latin-1")
    with pytest.raises(DataError, match="line 3 is not utf-8"):
        read(table, TableOptions())
    assert read(table, TableOptions(encoding="latin-1")).catalogue.ids == ("café", "x")


@pytest.mark.parametrize("name", ["t.xlsx", "t"])
def test_an_unknown_kind_of_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="are not read"):
        read(csv(tmp_path, HEADER, name), TableOptions())


def test_an_id_with_a_nul_byte_is_refused_by_its_row(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pd.DataFrame({"customer": ["ann", "an\0n"], "item": ["x", "y"]}).to_parquet(path)
    with pytest.raises(DataError, match=r"row 2: 'an\\x00n' holds a NUL byte; nothing was read"):
        read(str(path), TableOptions())


def test_a_file_that_is_no_parquet_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.parquet: not a whole Parquet file"):
        read(csv(tmp_path, HEADER, "t.parquet"), TableOptions())


def test_mixed_ids_of_a_database_are_refused_by_row_and_value(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "t.db") as database:
        database.execute("CREATE TABLE sales (customer, item)")
        database.executemany("INSERT INTO sales VALUES (?, ?)", [(1, "x"), ("two", "y")])
    with pytest.raises(DataError, match=r"column 'customer', row 2: 'two'.*mixed id types"):
        read(f"sqlite:///{tmp_path / 't.db'}", TableOptions(query="SELECT * FROM sales"))


@pytest.mark.parametrize(
    ("url", "query", "words"),
    [
        ("sqlite:///{}/t.db", None, "needs a query"),
        ("sqlite:///{}/t.db", "SELECT * FROM nowhere", "no such table"),
        ("sqlite:///{}/absent.db", "SELECT 1", "does not exist"),
        ("nosuchsql://u:secret@h/db", "SELECT 1", "nosuchsql"),
    ],
)
def test_a_database_is_refused_in_one_line(tmp_path: Path, url: str, query: str | None, words: str) -> None:
    sqlite3.connect(tmp_path / "t.db").close()
    with pytest.raises(DataError, match=words) as caught:
        read(url.format(tmp_path), TableOptions(query=query))
    assert "\n" not in caught.value.message
    assert "secret" not in str(caught.value)
    assert not (tmp_path / "absent.db").exists()


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ("title\nA\n", "no column 'id'"),
        ("id\n1\n1\n", "row 2: '1' repeats an id"),
        ("id,title\n1,A\n,B\n", "row 2: <NA> has no id|row 2: nan has no id"),
        ("id,price\n1,2\n2,cheap\n", "column 'price', row 2: 'cheap' is not a number"),
        ("id\n", "has no row"),
    ],
)
def test_a_bad_item_file_is_refused(tmp_path: Path, items: str, words: str) -> None:
    table = csv(tmp_path, "customer,item\na,1\n")
    with pytest.raises(DataError, match=words):
        read(table, TableOptions(items=Path(csv(tmp_path, items, "items.csv"))))


def test_one_customer_and_one_item_are_enough(tmp_path: Path) -> None:
    found = read(csv(tmp_path, "customer,item\n1,1\n"), TableOptions())
    assert (found.customers, len(found.catalogue), len(found.interactions)) == (1, 1, 1)


_cell = st.one_of(
    st.sampled_from(["", "a", "7", "7.0", "-1", "nan", "1e400", "2999-01-01", "0", "x y"]), st.text(max_size=4)
)


@given(rows=st.lists(st.tuples(_cell, _cell, _cell, _cell), max_size=12))
@settings(max_examples=30, deadline=None)
def test_any_table_is_read_or_refused_in_words(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]]
) -> None:
    path = tmp_path_factory.mktemp("any") / "t.csv"
    pd.DataFrame(rows, columns=["customer", "item", "time", "value"]).to_csv(path, index=False, encoding="utf-8")
    try:
        found = read(str(path), ALL, now=NOW)
    except DataError:
        return
    events = found.interactions
    assert found.reading.kept + sum(found.reading.dropped.values()) == found.reading.rows
    assert events.customer.max() < found.customers
    assert (events.item >= 0).all()
    assert (events.item < len(found.catalogue)).all()
    assert (events.value >= 0).all()
    assert (events.time <= NOW).all()
