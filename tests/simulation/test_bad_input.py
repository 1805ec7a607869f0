"""Bad input on the real command line: one line that names place and value, a hint, exit 2, nothing left behind."""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest

from fedcart.shared.cli import run

GOOD = "customer,item,time,store\n" + "".join(
    f"c{c},i{(c + k) % 9},{1000 + k},s{c % 2}\n" for c in range(12) for k in range(4)
)
FILES: dict[str, str | bytes] = {
    "good.csv": GOOD,
    "latin.csv": GOOD.encode() + "cé,i1,5,s1\n".encode("latin-1"),
    "words.csv": "customer,item,time\na,x,soon\nb,y,later\n",
    "header.csv": "customer,item\n",
    "nothing.csv": "",
    "one_customer.csv": "customer,item\na,x\na,y\na,z\n",
    "one_item.csv": "customer,item\na,x\nb,x\nc,x\n",
    "mixed.csv": "customer,item\n17850,x\n17850.0,y\n1,z\n",
    "twice.csv": GOOD.replace("time,store", "store,store"),
    "ragged.csv": "customer,item\na,b\nc,d,e\n",
    "dirty.csv": GOOD + ",i1,1000,s1\n" * 5,
    "views.csv": "customer,item,behaviour\na,x,view\na,y,view\nb,x,view\n",
    "odd_behaviour.csv": "customer,item,behaviour\na,x,bought\na,y,bought\n",
    "value.csv": "customer,item,value\na,x,many\na,y,few\n",
    "junk.parquet": b"PAR1 and nothing else",
    "picture.png": b"\x89PNG",
    "items.csv": "id,title\ni1,One\ni1,Again\n",
    "open.toml": "[data\nname = 'good.csv'\n",
    "key.toml": "[stores]\ncoutn = 3\n",
    "type.toml": "[stores]\ncount = 'three'\n",
    "latin.toml": "name = 'caf\u00e9'".encode("latin-1"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("tables").mkdir()
    for name, content in FILES.items():
        Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    pd.DataFrame({"customer": [[1, 2], [3]], "item": ["a", "b"]}).to_parquet("nested.parquet")
    return tmp_path


def simulate(capsys: pytest.CaptureFixture[str], *arguments: str, out: str = "out") -> tuple[int, list[str]]:
    """Exit code and the lines on standard error that are not progress."""
    capsys.readouterr()
    code = run(["simulate", "--learner", "popularity", "--baselines", "none", "--out", out, *arguments])
    captured = capsys.readouterr()
    if code:
        assert captured.out == ""
    return code, [line for line in captured.err.splitlines() if not line.startswith("[")]


CASES: dict[str, tuple[list[str], list[str], str | None]] = {
    # name: arguments, fragments of the error, fragment of the hint (None = the error says it all)
    "missing file": (["--data", "goood.csv"], ["goood.csv does not exist"], "did you mean 'good.csv'?"),
    "unknown set": (["--data", "ml-2m"], ["no data set and no file 'ml-2m'"], "did you mean"),
    "a folder": (["--data", "./tables"], ["tables is a folder"], "CSV"),
    "wrong encoding": (["--data", "latin.csv"], ["latin.csv", "line 50", "utf-8"], "encoding"),
    "another file type": (["--data", "picture.png"], ["picture.png", ".png"], "CSV"),
    "a broken Parquet": (["--data", "junk.parquet"], ["junk.parquet"], "Parquet"),
    "unknown column": (["--data", "good.csv", "--columns", "customer=who"], ["good.csv", "'who'"], "customer"),
    "unknown role": (["--data", "good.csv", "--columns", "client=customer"], ["'client'"], "customer"),
    "a role twice": (
        ["--data", "good.csv", "--columns", "store=store,store=time"],
        ["'store' is there twice"],
        "--help",
    ),
    "no pair": (["--data", "good.csv", "--columns", "customer"], ["'customer' is not NAME=VALUE"], "--help"),
    "wrong type of time": (["--data", "words.csv"], ["words.csv", "'time'", "row 1", "'soon'"], "ISO 8601"),
    "wrong type of value": (["--data", "value.csv"], ["value.csv", "'value'", "row 1", "'many'"], None),
    "odd behaviour": (["--data", "odd_behaviour.csv"], ["'behaviour'", "row 1", "'bought'"], "behaviours"),
    "a header alone": (["--data", "header.csv"], ["header.csv", "no row"], "rows"),
    "an empty file": (["--data", "nothing.csv"], ["nothing.csv", "empty"], None),
    "rows too long": (["--data", "ragged.csv"], ["ragged.csv", "line 3"], "columns"),
    "mixed id types": (["--data", "mixed.csv"], ["mixed.csv", "'customer'", "row 2", "'17850.0'"], "alike"),
    "several values a cell": (
        ["--data", "nested.parquet"],
        ["nested.parquet", "'customer'", "row 1", "[1, 2]", "several values"],
        "one value",
    ),
    "too long factors": (["--learner", "als", "--dim", "100000000"], ["als: embedding_dim 100000000"], None),
    "too many bad rows": (["--data", "dirty.csv"], ["dirty.csv", "5 of 53", "row 49", "no customer"], "max_bad_rows"),
    "one customer": (["--data", "one_customer.csv"], ["8 stores for 1 customer;"], "--stores 1"),
    "one item": (["--data", "one_item.csv", "--stores", "1"], ["nothing to hold out"], "two distinct items"),
    "views alone": (["--data", "views.csv", "--stores", "1"], ["no purchase or rating"], "behaviours"),
    "a store column twice": (["--data", "twice.csv"], ["'store'", "2 times"], "rename"),
    "too many stores": (["--data", "good.csv", "--stores", "9"], ["9 stores", "knows 2"], "--stores"),
    "no store": (["--data", "good.csv", "--stores", "0"], ["stores.count", "0", "at least 1"], None),
    "no number": (["--data", "good.csv", "--stores", "x"], ["--stores", "'x'"], "--help"),
    "unknown way": (["--data", "good.csv", "--stores-by", "size"], ["'size'"], "dirichlet"),
    "events of a table": (["--data", "good.csv", "--events", "full"], ["events = 'full'", "'good.csv'"], "marketplace"),
    "size of a table": (["--data", "good.csv", "--size", "small"], ["size = 'small'", "'good.csv'"], "marketplace"),
    "items of a named set": (["--items", "items.csv"], ["items = 'items.csv'", "'marketplace'"], "--data"),
    "no item list": (["--data", "good.csv", "--items", "goods.csv"], ["goods.csv does not exist"], "good.csv"),
    "an item twice": (["--data", "good.csv", "--items", "items.csv"], ["items.csv", "row 2", "'i1'"], None),
    "unknown learner": (["--data", "good.csv", "--learner", "alls"], ["'alls'"], "did you mean 'als'?"),
    "unknown setting": (["--data", "good.csv", "--set", "exponent=1"], ["'exponent'"], "count_exponent"),
    "wrong setting": (["--data", "good.csv", "--set", "count_exponent=x"], ["count_exponent", "'x'"], None),
    "unknown baseline": (["--data", "good.csv", "--baselines", "poplarity"], ["'poplarity'"], "popularity"),
    "unknown rule": (["--data", "good.csv", "--split", "leave-two-out"], ["'leave-two-out'"], "leave-one-out"),
    "no day": (["--data", "good.csv", "--split", "time:soon"], ["'soon' is not a day"], "YYYY-MM-DD"),
    "a day too late": (["--data", "good.csv", "--split", "time:2050-01-01"], ["nothing to hold out"], "earlier"),
    "a day too early": (["--data", "good.csv", "--split", "time:1960-01-01"], ["nothing to train on"], "later"),
    "no own split": (["--data", "good.csv", "--split", "ncf"], ["no split of its own"], "leave-one-out"),
    "negative seed": (["--data", "good.csv", "--seed", "-1"], ["seed", "-1", "at least 0"], None),
    "drop rate": (["--data", "good.csv", "--drop-rate", "2"], ["drop_rate", "2.0", "at most 0.9"], None),
    "quorum": (["--data", "good.csv", "--quorum", "9"], ["quorum 9 of 2 stores"], None),
    "no database": (["--data", "sqlite:///none.db", "--query", "SELECT 1"], ["none.db does not exist"], None),
    "no query": (["--data", "sqlite:///none.db"], ["needs a query"], "SELECT"),
    "no data directory": (["--data", "ml-1m", "--data-dir", "none"], ["none does not exist"], "--data-dir"),
    "no configuration": (["none.toml"], ["none.toml: no such file"], None),
    "malformed TOML": (["open.toml"], ["open.toml", "line 1"], None),
    "TOML not in UTF-8": (["latin.toml"], ["latin.toml", "utf-8"], None),
    "malformed key": (["key.toml"], ["key.toml", "stores", "'coutn'"], "did you mean 'count'?"),
    "key of a wrong type": (["type.toml"], ["type.toml", "stores.count", "'three'"], None),
    "a file as folder": (["--data", "good.csv", "--out", "good.csv"], ["good.csv", "Not a directory"], "--out"),
    "a foreign folder": (["--data", "good.csv", "--out", "."], ["not empty and holds no run"], "--out"),
    "an unknown option": (["--data", "good.csv", "--stroes", "3"], ["--stroes"], None),
}


@pytest.mark.parametrize("case", CASES)
def test_is_refused_in_one_line(here: Path, capsys: pytest.CaptureFixture[str], case: str) -> None:
    arguments, fragments, hint = CASES[case]
    code, lines = simulate(capsys, *arguments)
    assert code == 2, lines
    assert len(lines) <= 2, lines
    assert lines[0].startswith("fedcart: error: ")
    for fragment in fragments:
        assert fragment in lines[0]
    if hint is not None:
        assert lines[1].startswith("fedcart: hint: ")
        assert hint in lines[1]
    assert not list(Path("out").glob("*.html"))


def test_the_corrected_line_works_in_the_same_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And a dirty row within the limit, a store with nothing and a customer alone are no errors."""
    assert simulate(capsys, "--data", "good.csv", "--columns", "customer=who")[0] == 2
    assert simulate(capsys, "--data", "good.csv", "--quorum", "9")[0] == 2
    Path("good.csv").write_text(GOOD * 3 + ",i1,1000,s1\n")
    arguments = ["--data", "good.csv", "--stores", "5", "--stores-by", "dirichlet:0.01"]
    code, lines = simulate(capsys, *arguments)
    assert code == 2  # the same rows three times are duplicates: more bad rows than the limit
    assert "duplicate" in lines[0]
    Path("good.csv").write_text(GOOD)
    code, lines = simulate(capsys, *arguments)
    assert code == 0, lines
    sizes = [row["customers"] for row in json.loads(Path("out/run.json").read_text())["metrics"]["stores"]]
    assert sum(sizes) == 12
    assert 0 in sizes


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: the operating system refuses, as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [100, 1_000, 12_000])
def test_a_disk_that_takes_no_more_is_one_line_and_the_run_goes_on_later(
    here: Path, capsys: pytest.CaptureFixture[str], size: int
) -> None:
    """100 bytes stop it at its first file, 1000 at the records or the plan, 12,000 at the report."""
    with largest_file(size):
        code, lines = simulate(capsys, "--data", "good.csv")
    assert code == 2, lines
    assert len(lines) <= 2, lines
    assert "File too large" in lines[0]
    assert "None" not in lines[0]
    code, lines = simulate(capsys, "--data", "good.csv")
    assert code == 0, lines
    assert json.loads(Path("out/run.json").read_text())["status"] == "complete"
    assert not [name for _, _, names in os.walk("out") for name in names if name.endswith(".part")]
