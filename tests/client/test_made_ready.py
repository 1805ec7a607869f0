"""A store's log never quotes its data: what a child that reads them tells its parent is free of rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedcart.client.membership.demo import change
from fedcart.client.membership.ready import make_ready, without_rows
from fedcart.client.store_folder import create_store
from fedcart.shared.errors import ConfigError, DataError, InputError
from small_run import write_small_run


@pytest.mark.parametrize("error", [DataError("row 3: customer = 'anna'"), KeyError("anna"), ValueError("anna")])
def test_an_error_that_can_quote_rows_is_told_by_its_class(error: Exception) -> None:
    told = without_rows(error, "north")
    assert "anna" not in told
    assert type(error).__name__ in told
    assert "fedcart store check north" in told


def test_an_error_of_a_file_is_told_whole() -> None:
    assert without_rows(InputError("sales.csv: no such file"), "north") == "sales.csv: no such file"


def test_bad_rows_of_a_real_table_do_not_reach_who_logs(tmp_path: Path) -> None:
    table = tmp_path / "sales.csv"
    table.write_text("customer,item,time\nanna,soap,yesterday\nbert,tea,never\n")
    columns = {"customer": "customer", "item": "item", "time": "time"}
    create_store(tmp_path / "north", source=str(table), columns=columns, coalition="demo")
    write_small_run(tmp_path / "plan")
    with pytest.raises(DataError, match="DataError") as caught:
        make_ready(tmp_path / "north", tmp_path / "plan")
    for word in ("anna", "bert", "yesterday", "never"):
        assert word not in str(caught.value)


def test_a_line_that_is_not_there_once_is_not_changed_in_silence(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text("auto = false\nauto = false\n")
    with pytest.raises(ConfigError, match="2 places"):
        change(path, {"auto = false": "auto = true"})
    assert path.read_text() == "auto = false\nauto = false\n"
