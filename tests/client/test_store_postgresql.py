"""A store on a real PostgreSQL, which the test starts on 127.0.0.1 and stops; skipped where there is none."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedcart.client.data.view import open_view
from fedcart.shared.errors import DataError
from store_kit import Shop

NOW = 1_750_000_000
PASSWORD = "not to be shown"


def programs() -> Path | None:
    """Where Debian's packages put them, newest first; else where the path says."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]), reverse=True)
    named = shutil.which("initdb")
    return found[0].parent if found else Path(named).parent if named else None


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """URL of a database of its own; the server refuses to run as root, so `nobody` runs it then."""
    pytest.importorskip("psycopg", reason="no driver: pip install 'fedcart[postgresql]'")
    home = programs()
    if home is None:
        pytest.skip("PostgreSQL is not installed (Debian: postgresql)")
    account = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    who: dict[str, int] = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder)
        (where / "password").write_text(PASSWORD)
        where.chmod(0o755)
        if account is not None:
            shutil.chown(where, account.pw_uid, account.pw_gid)
            shutil.chown(where / "password", account.pw_uid, account.pw_gid)
        data, common = where / "data", {"check": True, "capture_output": True, "cwd": where, **who}
        words = ["--auth=scram-sha-256", f"--pwfile={where / 'password'}", "-U", "shop", "-N", "-D", str(data)]
        subprocess.run([home / "initdb", *words], **common)  # type: ignore[call-overload]
        settings = ("listen_addresses=127.0.0.1", f"port={port}", "unix_socket_directories=", "timezone=Asia/Tokyo")
        options = " ".join(f"-c {setting}" for setting in settings)
        start = [home / "pg_ctl", "-D", str(data), "-w", "-l", str(where / "log"), "-o", options, "start"]
        subprocess.run(start, **common)  # type: ignore[call-overload]
        try:
            yield f"postgresql+psycopg://shop:{PASSWORD.replace(' ', '%20')}@127.0.0.1:{port}/postgres"
        finally:
            stop = [home / "pg_ctl", "-D", str(data), "-w", "-m", "immediate", "stop"]
            subprocess.run(stop, **common)  # type: ignore[call-overload]


def run(server: str, *statements: str) -> None:
    import sqlalchemy

    engine = sqlalchemy.create_engine(server)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(sqlalchemy.text(statement))
    engine.dispose()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["timestamptz", "timestamp", "bigint"])
def test_reads_new_rows_and_consents(server: str, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    instant = {"bigint": "{0}", "timestamptz": "to_timestamp({0})", "timestamp": "to_timestamp({0}) AT TIME ZONE 'UTC'"}
    at = instant[kind].format
    run(
        server,
        "DROP TABLE IF EXISTS sales, people",
        f"CREATE TABLE sales (who integer, sku text, at {kind}, kind text, units numeric(8, 2))",
        "CREATE TABLE people (id integer, ok boolean)",
        f"INSERT INTO sales VALUES (1, 'x', {at(1_700_000_000)}, 'buy', 2), (2, 'y', {at(1_700_086_400)}, 'look', 1)",
        "INSERT INTO people VALUES (1, true), (2, false), (3, NULL)",
    )
    monkeypatch.setenv("SHOP_DB", server)
    columns = {"customer": "who", "item": "sku", "time": "at", "behaviour": "kind", "value": "units"}
    shop = Shop.make(tmp_path, query="SELECT * FROM sales WHERE at >= :since", columns=columns, consent_column="ok")
    shop.set(f'"{tmp_path}/sales.csv"', '"env:SHOP_DB"')
    shop.set("# [data.behaviours]", '[data.behaviours]\nbuy = "purchase"\nlook = "view"\n#')
    shop.set("# [consent] ", '[consent]\nsource = "env:SHOP_DB"\nquery = "SELECT * FROM people"\ncustomer = "id"\n#')
    if kind == "bigint":
        shop.set("[data]\n", '[data]\nsince = "seconds"\n')
    assert shop.read(now=1_700_086_400).added == 2
    view = open_view(shop.folder)
    assert view.kept.customers == ("1", "2")
    assert view.events.time.tolist() == [1_700_000_000, 1_700_086_400]
    assert view.events.value.tolist() == [2, 1]
    assert view.kept.consent.tolist() == [True, False]
    run(
        server,
        f"INSERT INTO sales VALUES (3, 'x', {at(1_700_086_400)}, 'buy', 1), (1, 'z', {at(1_700_090_000)}, 'buy', 1)",
        "UPDATE people SET ok = NOT ok",
    )
    second = shop.read(now=1_700_090_000)
    assert (second.rows, second.again, second.added) == (3, 1, 2)
    assert open_view(shop.folder).kept.consent.tolist() == [False, True, False]


@pytest.mark.slow
def test_a_refusal_shows_no_password(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOP_DB", server)
    shop = Shop.make(tmp_path, query="SELECT * FROM nowhere")
    shop.set(f'"{tmp_path}/sales.csv"', '"env:SHOP_DB"')
    with pytest.raises(DataError, match="nowhere") as caught:
        shop.read(now=NOW)
    assert "%20" not in str(caught.value)
    assert PASSWORD not in str(caught.value)
