"""`store init`: two commented files, a key and an empty ledger, all at once or not at all."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from fedcart.client import store_folder
from fedcart.client.settings import StoreSettings
from fedcart.client.store_folder import StoreFolder, create_store
from fedcart.shared.errors import ConfigError, InputError
from fedcart.shared.ledger.ledger import Ledger
from fedcart.shared.ledger.verify import verify
from plan_kit import command


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def everything(home: Path) -> set[str]:
    return {str(path.relative_to(home)) for path in home.rglob("*")}


def test_makes_files_key_and_ledger(tmp_path: Path) -> None:
    code, out, err = command("store", "init", tmp_path / "north", "--data", tmp_path / "sales.csv", "--json")
    assert code == 0, err
    told = json.loads(out)
    folder = StoreFolder.open(tmp_path / "north")
    assert told["fingerprint"] == folder.identity().fingerprint
    assert folder.settings().data.source == str(tmp_path / "sales.csv")
    assert folder.policy().limits.epsilon_total == 8
    assert [mode(folder.directory / name) for name in ("store.toml", "policy.toml")] == [0o600, 0o600]
    assert mode(Path(told["key"])) == 0o600
    assert mode(folder.directory) == 0o700
    with folder.open_ledger() as ledger:
        assert (ledger.rehearsal, ledger.lifetime_rho) == (False, 0)
    assert verify(folder.ledger_file).word == "consistent, unanchored"
    assert everything(tmp_path) == {
        *("north", "north/store.toml", "north/policy.toml"),
        *("north/keys", "north/keys/store-0000.key", "north/ledger", "north/ledger/store-0000.jsonl"),
    }


@pytest.mark.parametrize("as_json", [False, True])
def test_a_table_that_is_not_there_is_said_and_may_come_later(tmp_path: Path, as_json: bool) -> None:
    more = ("--json",) if as_json else ()
    code, out, err = command("store", "init", tmp_path / "one", *more)
    assert code == 0
    assert f"warning: {tmp_path / 'one' / 'sales.csv'} is not there yet" in err
    assert "warning" not in out
    (tmp_path / "there.csv").write_text("customer,item,time\n")
    asked = ("--query", "SELECT 1")
    for name, words in (
        ("two", (tmp_path / "there.csv",)),
        ("three", ("env:SHOP", *asked)),
        ("four", ("postgresql+psycopg://shop/sales", *asked)),
    ):
        code, _, err = command("store", "init", tmp_path / name, "--data", *words, *more)
        assert code == 0, err
        assert "warning" not in err


def test_what_is_given_stands_in_the_files(tmp_path: Path) -> None:
    code, _, err = command(
        *("store", "init", tmp_path / "n", "--data", "env:SHOP", "--query", 'SELECT "who" FROM s WHERE at >= :since'),
        *("--columns", "customer=who, item=it\u00e9m", "--epsilon-total", 3, "--consent-column", "may_learn"),
        *("--items", tmp_path / "catalogue.json"),
    )
    assert code == 0, err
    settings, policy = StoreFolder(tmp_path / "n").settings(), StoreFolder(tmp_path / "n").policy()
    assert settings.data.query == 'SELECT "who" FROM s WHERE at >= :since'
    assert settings.data.columns == {"customer": "who", "item": "it\u00e9m"}
    assert settings.items.catalogue == tmp_path / "catalogue.json"
    assert (policy.limits.epsilon_total, policy.data.consent_column) == (3, "may_learn")


def test_an_existing_store_is_never_replaced(tmp_path: Path) -> None:
    create_store(tmp_path / "north")
    before = {path: path.read_bytes() for path in (tmp_path / "north").rglob("*") if path.is_file()}
    code, out, err = command("store", "init", tmp_path / "north")
    assert (code, out) == (2, "")
    assert "is not empty; nothing was made" in err
    assert {path: path.read_bytes() for path in (tmp_path / "north").rglob("*") if path.is_file()} == before


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "north").mkdir()
    create_store(tmp_path / "north")
    assert StoreFolder.open(tmp_path / "north").settings()


@pytest.mark.parametrize("broken", ["Identity", "Ledger", "os"])
def test_a_failure_leaves_nothing(tmp_path: Path, broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    name = {"Identity": "Identity.create", "Ledger": "Ledger.create", "os": "os.rename"}[broken]
    monkeypatch.setattr(f"{store_folder.__name__}.{name}", full)
    with pytest.raises((InputError, OSError), match="No space left"):
        create_store(tmp_path / "north")
    assert everything(tmp_path) == set()


def test_a_bad_setting_leaves_nothing(tmp_path: Path) -> None:
    code, _, err = command("store", "init", tmp_path / "north", "--columns", "shop=x")
    assert code == 2
    assert f"{tmp_path / 'north' / 'store.toml'}: [data.columns]: unknown role 'shop'; nothing was made" in err
    assert everything(tmp_path) == set()
    assert command("store", "init", tmp_path / "north", "--columns", "customer")[0] == 2
    code, _, err = command("store", "init", tmp_path / "north", "--columns", "customer=a,customer=b")
    assert (code, "'customer' is there twice" in err) == (2, True)
    assert everything(tmp_path) == set()


def test_the_key_of_the_folder_opens_its_ledger_only(tmp_path: Path) -> None:
    one, two = (create_store(tmp_path / name)[0] for name in ("one", "two"))
    assert one.identity().public != two.identity().public
    Ledger.open(one.ledger_file, one.identity()).close()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[data]\n", "key 'source' is missing"),
        ('[data]\nsource = "x"\nsorce = "y"\n', "did you mean 'source'?"),
        ('[data]\nsource = "x"\nmax_bad_rows = 2\n', "must be at most 1"),
        ('[data]\nsource = "x"\n[data.behaviour_weights]\nlook = 1\n', "store.toml: [data] behaviour_weights: unknown"),
        ('[data]\nsource = "x"\n[data.behaviour_weights]\nview = -1.0\n', "must be at least 0"),
        ('path = "x"\n[data]\nsource = "x"\n', "unknown key 'path'"),
        ('[data]\nsource = "x"\n[items]\nmatch = "ean"\n', "'ean' is not one of"),
        ("no toml", "store.toml"),
    ],
)
def test_refuses_settings(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "store.toml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        StoreSettings.load(tmp_path / "store.toml")
    assert words in str(caught.value)


def test_a_source_may_stand_in_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "store.toml").write_text('[data]\nsource = "env:SHOP_DB"\n')
    settings = StoreSettings.load(tmp_path / "store.toml")
    with pytest.raises(ConfigError, match="SHOP_DB is not set; nothing was read"):
        settings.place(settings.data.source)
    monkeypatch.setenv("SHOP_DB", "postgresql://u:secret@host/shop")
    assert settings.place(settings.data.source) == "postgresql://u:secret@host/shop"
    assert settings.place("sales.csv") == str(tmp_path / "sales.csv")


def test_a_folder_without_settings_is_no_store(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no store"):
        StoreFolder.open(tmp_path)
