"""Rows of a store's own table: new ones only, who consents, and the small tables beside it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from fedcart.shared.errors import DataError
from fedcart.shared.tables.options import TableOptions
from fedcart.shared.tables.pairs import read_consents, read_map
from fedcart.shared.tables.rows import CANCELLED, CODES, Rows, read_rows
from fedcart.shared.tables.source import asks_for_new_rows, shown

DAY = 86_400


def csv(folder: Path, text: str, name: str = "sales.csv") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def events(rows: Rows) -> list[tuple[str, str, int]]:
    return [
        (rows.customers[c], rows.items[i], t)
        for c, i, t in zip(rows.customer.tolist(), rows.item.tolist(), rows.time.tolist(), strict=True)
    ]


def test_rows_before_since_are_passed_over_and_are_not_bad(tmp_path: Path) -> None:
    table = csv(tmp_path, "customer,item,time\na,x,10\n,x,10\nb,y,20\nc,z,21\n")
    found = read_rows(table, TableOptions(since=20))
    assert events(found) == [("b", "y", 20), ("c", "z", 21)]
    assert (found.read, found.earlier, found.dropped) == (2, 2, {})
    assert found.items == ("y", "z")


def test_a_bad_new_row_is_named_by_its_place_in_the_source(tmp_path: Path) -> None:
    table = csv(tmp_path, "customer,item,time\na,x,10\na,x,30\n,x,40\n")
    with pytest.raises(DataError, match=r"1 of 2 rows are bad.*row 3: no customer"):
        read_rows(table, TableOptions(since=20))


def test_nothing_new_is_no_error_but_an_empty_table_is(tmp_path: Path) -> None:
    table = csv(tmp_path, "customer,item,time\na,x,10\n")
    found = read_rows(table, TableOptions(since=20))
    assert (found.read, found.customers, found.customer.tolist()) == (0, (), [])
    with pytest.raises(DataError, match="no row"):
        read_rows(csv(tmp_path, "customer,item,time\n", "empty.csv"), TableOptions())


def test_new_rows_need_a_time(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no column is mapped to 'time'"):
        read_rows(csv(tmp_path, "customer,item\na,x\n"), TableOptions(since=20))


@pytest.mark.parametrize("since_as", ["text", "seconds"])
def test_a_database_is_asked_for_new_rows(tmp_path: Path, since_as: str) -> None:
    times = [10, 40 * DAY, 41 * DAY, 41 * DAY + 1]
    written = (
        times
        if since_as == "seconds"
        else ["1970-01-01 00:00:10", "1970-02-10 00:00:00", "1970-02-11", "1970-02-11 00:00:01"]
    )
    with sqlite3.connect(tmp_path / "shop.db") as database:
        database.execute("CREATE TABLE s (customer TEXT, item TEXT, time)")
        database.executemany("INSERT INTO s VALUES ('a', 'x', ?)", [(x,) for x in written])
    query = "SELECT * FROM s WHERE time >= :since ORDER BY time"
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    first = read_rows(url, TableOptions(query=query, since_as=since_as))  # type: ignore[arg-type]
    assert first.time.tolist() == times
    later = read_rows(url, TableOptions(query=query, since_as=since_as, since=41 * DAY))  # type: ignore[arg-type]
    assert later.time.tolist() == times[2:]
    assert later.earlier == 1  # a day more is asked for, and cut here
    last = read_rows(url, TableOptions(query=query, since_as=since_as, since=90 * DAY))  # type: ignore[arg-type]
    assert last.time.tolist() == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ann:secret@shop/sales",
        "postgresql://ann:p@secret@shop/sales",
        "postgresql://ann:p@x:secret@shop/sales",
        "postgresql://ann:p?secret@shop/sales",
        "postgresql://ann:p/secret@shop/sales",
        "postgresql://ann:p#secret@shop/sales",
        "postgresql://ann:secret@shop:port/sales",
        "postgresql://ann@shop/sales?password=secret",
        "nosuchsql://ann:p@secret@shop/sales",
        "no such sql://ann:secret@shop/sales",
    ],
)
def test_no_refusal_shows_a_password_however_it_is_written(url: str) -> None:
    assert "secret" not in shown(url)
    for query in (None, "SELECT 1"):
        with pytest.raises(DataError) as caught:
            read_rows(url.replace("shop", "127.0.0.1:1"), TableOptions(query=query))
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("query", "asks"),
    [("WHERE at >= :since", True), ("WHERE at::text > '1'", False), ("x::since", False), ("at > :sinces", False)],
)
def test_a_query_says_whether_it_asks_for_new_rows(query: str, asks: bool) -> None:
    assert asks_for_new_rows(TableOptions(query=query)) == asks


def test_the_latest_row_decides_on_consent_and_no_answer_is_a_no(tmp_path: Path) -> None:
    table = csv(
        tmp_path,
        "customer,item,time,ok\na,x,1,no\na,x,2,yes\nb,x,1,yes\nb,x,2,No\nc,x,5,1\nc,y,5,0\nd,x,1,\ne,x,1,TRUE\n",
    )
    found = read_rows(table, TableOptions(consent="ok", max_bad_rows=1))
    assert found.consent == {"a": True, "b": False, "c": False, "d": False, "e": True}


def test_consent_is_read_from_earlier_and_from_bad_rows_too(tmp_path: Path) -> None:
    table = csv(tmp_path, "customer,item,time,ok\na,x,1,no\nb,x,1,yes\nb,y,whenever,no\nc,x,50,yes\n")
    found = read_rows(table, TableOptions(consent="ok", since=40, max_bad_rows=1))
    assert events(found) == [("c", "x", 50)]
    assert found.consent == {"a": False, "b": False, "c": True}


@pytest.mark.parametrize("word", ["maybe", "2", "yes please"])
def test_an_unknown_answer_is_refused_by_its_row(tmp_path: Path, word: str) -> None:
    table = csv(tmp_path, f"customer,item,ok\na,x,yes\na,x,{word}\n")
    with pytest.raises(DataError, match=rf"column 'ok', row 2: '{word}' is neither yes nor no; nothing was read"):
        read_rows(table, TableOptions(consent="ok"))


def test_a_missing_consent_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no column 'ok'"):
        read_rows(csv(tmp_path, "customer,item\na,x\n"), TableOptions(consent="ok"))


def test_cancellations_are_rows(tmp_path: Path) -> None:
    options = TableOptions(behaviours={"back": CANCELLED})
    found = read_rows(csv(tmp_path, "customer,item,behaviour,value\na,x,purchase,2\na,x,back,-1\n"), options)
    assert found.behaviour.tolist() == [CODES["purchase"], CODES[CANCELLED]]
    assert found.value.tolist() == [2, -1]


def test_a_map_of_items(tmp_path: Path) -> None:
    table = csv(tmp_path, "own,catalogue\n1,a\n2,b\n1,a\n")
    assert read_map(table, TableOptions(), "own", "catalogue") == {"1": "a", "2": "b"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("own,catalogue\n1,a\n1,b\n", "row 2: '1' stands for 'a' and 'b'"),
        ("own,catalogue\n1,a\n2,\n", "column 'catalogue', row 2: no id"),
        ("own,catalog\n1,a\n", "did you mean 'catalog'?"),
        ("own,catalogue\n", "no row"),
    ],
)
def test_refuses_a_map(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        read_map(csv(tmp_path, text), TableOptions(), "own", "catalogue")
    assert words in str(caught.value)


def test_a_table_of_consents(tmp_path: Path) -> None:
    table = csv(tmp_path, "who,ok\n1,yes\n2,no\n3,yes\n3,no\n")
    assert read_consents(table, TableOptions(), "who", "ok") == {"1": True, "2": False, "3": False}


@pytest.mark.parametrize(("rows", "told"), [("a,x,1\na,x,1\n", True), ("a,x,1\n,x,2\n", False)])
def test_a_table_of_repeated_lines_is_told_so(tmp_path: Path, rows: str, told: bool) -> None:
    with pytest.raises(DataError, match="1 of 2 rows are bad") as caught:
        read_rows(csv(tmp_path, "customer,item,time\n" + rows), TableOptions())
    assert ("repeat in every mapped column" in str(caught.value.hint)) == told
