"""The named readers: published counts on the real files where they are here, damage on made-up ones."""

from __future__ import annotations

import gzip
import zipfile
from pathlib import Path

import numpy as np
import pytest

from fedcart.shared.errors import DataError
from fedcart.shared.interactions import BEHAVIOURS, DAY, NO_TIME, Interactions
from fedcart.simulation import defaults
from fedcart.simulation.datasets import NAMES, Dataset, data_dir, describe, load
from fedcart.simulation.datasets.dataset import home_stores
from fedcart.simulation.datasets.ncf_split import distinct_candidates
from fedcart.simulation.datasets.online_retail import SHOPS, shop_of

_READ: dict[str, Dataset] = {}


def dataset(name: str) -> Dataset:
    """The named set, read once for all tests; skips when it is not on this machine."""
    if name not in _READ:
        try:
            folder = data_dir() / name
        except DataError as absent:
            pytest.skip(f"no data directory: {absent.message}")
        if not folder.is_dir():
            pytest.skip(f"{name} is not in the data directory")
        _READ[name] = load(name)
    return _READ[name]


def test_ml_1m_has_its_published_counts() -> None:
    read = dataset("ml-1m")
    assert (len(read.interactions), read.customers, len(read.catalogue)) == (1_000_209, 6_040, 3_883)
    assert len(np.unique(read.interactions.item)) == 3_706
    assert read.catalogue.source == "given"


def test_ml_1m_knows_rating_and_time_together() -> None:
    events = dataset("ml-1m").interactions
    assert events.timed.sum() in (487_650, 1_000_209)  # the pieces, or the whole original
    assert np.array_equal(events.timed, ~np.isnan(events.value))
    assert set(np.unique(events.value[events.timed])) == {1.0, 2.0, 3.0, 4.0, 5.0}


def test_ncf_split_has_its_published_counts() -> None:
    read = dataset("ncf-split")
    assert read.given_split is not None
    assert (len(read.interactions), read.customers) == (994_169, 6_040)
    assert len(read.given_split.held_out) == 6_040
    assert read.given_split.candidates.shape == (6_040, 100)
    assert len(read.catalogue) in (3_883, 3_706)


def test_ncf_splits_training_times_are_those_of_ml_1m() -> None:
    events, held = dataset("ncf-split").interactions, dataset("ncf-split").given_split
    assert held is not None
    latest = np.full(6_040, NO_TIME)
    np.maximum.at(latest, events.customer, events.time)
    known = latest != NO_TIME
    assert known.sum() in (0, 2_999, 6_040)  # without ml-1m beside it, its half, the whole
    test_time = np.full(6_040, NO_TIME)
    test_time[held.held_out.customer] = held.held_out.time
    assert (latest[known] <= test_time[known]).all()


def test_ncf_split_has_156_lists_of_99_distinct_candidates() -> None:
    split = dataset("ncf-split").given_split
    assert split is not None
    padding = (split.candidates == -1).sum(axis=1)
    assert sorted(np.unique(padding)) == [0, 1]
    assert padding.sum() == 156
    assert np.array_equal(split.candidates[:, 0], split.held_out.item)
    assert (split.candidates[padding == 1, -1] == -1).all()


def test_no_ncf_candidate_is_a_training_item_of_its_customer() -> None:
    read = dataset("ncf-split")
    assert read.given_split is not None
    trained = np.zeros((read.customers, len(read.catalogue)), bool)
    trained[read.interactions.customer, read.interactions.item] = True
    candidates = read.given_split.candidates
    rows = np.repeat(np.arange(read.customers), candidates.shape[1]).reshape(candidates.shape)
    assert not trained[rows, np.maximum(candidates, 0)][candidates >= 0].any()


def test_ncf_split_and_ml_1m_are_the_same_pairs() -> None:
    ncf, raw = dataset("ncf-split"), dataset("ml-1m")
    assert ncf.given_split is not None
    if len(ncf.catalogue) != len(raw.catalogue):
        pytest.skip("movies.dat is not beside the split")
    position = np.array([raw.catalogue.index[movie] for movie in ncf.catalogue.ids])
    halves = (ncf.interactions, ncf.given_split.held_out)
    keys = np.concatenate([half.customer.astype(np.int64) * 4_000 + position[half.item] for half in halves])
    expected = raw.interactions.customer.astype(np.int64) * 4_000 + raw.interactions.item
    assert np.array_equal(np.sort(keys), np.sort(expected))


@pytest.mark.parametrize(
    ("name", "rows", "customers", "items"),
    [("ml-100k", 100_000, 943, 1_682), ("ml-latest-small", 100_836, 610, 9_742), ("jdata", 417_387, 92_131, 24_624)],
)
def test_has_its_published_counts(name: str, rows: int, customers: int, items: int) -> None:
    read = dataset(name)
    assert (len(read.interactions), read.customers, len(read.catalogue)) == (rows, customers, items)
    assert describe(name).counts["customers"] == customers
    assert describe(name).counts["items"] == items


@pytest.mark.parametrize("name", sorted(defaults.DAY_AFTER))
def test_ages_count_from_just_after_the_last_event_of_a_named_set(name: str) -> None:
    """The day is a constant; this is what says that it is the published period's."""
    rows = load(name, size="small").interactions if name == "marketplace" else dataset(name).interactions
    last, day_after = int(rows.time[rows.timed].max()), defaults.as_of(name)
    assert day_after is not None
    assert day_after - 2 * DAY <= last < day_after


def test_ml_100k_has_415_people_with_ties_at_their_last_time() -> None:
    events = dataset("ml-100k").interactions
    last = np.full(943, NO_TIME)
    np.maximum.at(last, events.customer, events.time)
    at_last = np.bincount(events.customer[events.time == last[events.customer]], minlength=943)
    assert (at_last >= 2).sum() == 415


def test_jdata_has_its_three_behaviours() -> None:
    counts = np.bincount(dataset("jdata").interactions.behaviour, minlength=len(BEHAVIOURS))
    named = dict(zip(BEHAVIOURS, counts.tolist(), strict=True))
    assert named == {"view": 0, "favourite": 45_613, "cart": 49_891, "purchase": 321_883, "rating": 0}


def test_online_retail_counts_every_line_once() -> None:
    reading = dataset("online-retail").reading
    assert (reading.rows, reading.dropped["no customer"]) == (541_909, 135_080)
    assert reading.kept + sum(reading.dropped.values()) == reading.rows
    assert reading.kept + reading.dropped["undone by a cancellation"] == 396_337  # the published clean rule
    assert reading.dropped["undone by a cancellation"] > 0
    assert reading.seen["purchases reduced by a cancellation"] > 0


def test_online_retail_has_eleven_shops_of_the_published_sizes() -> None:
    from fedcart.simulation.datasets import online_retail

    dataset("online-retail")
    lines = online_retail._lines(data_dir() / "online-retail" / "online_retail.csv.gz")
    clean = lines[
        lines["CustomerID"].notna()
        & ~lines["InvoiceNo"].str.startswith("C")
        & (lines["Quantity"] > 0)
        & (lines["UnitPrice"] > 0)
        & lines["StockCode"].str.match(r"\d{5}")
    ]
    people = clean["CustomerID"].to_numpy(np.int64)
    shop = shop_of(people, clean["Country"].to_numpy(object))
    found = {name: (int((shop == i).sum()), len(np.unique(people[shop == i]))) for i, name in enumerate(SHOPS)}
    assert found == {
        "UK-1": (150_272, 1_563),
        "UK-2": (88_299, 970),
        "UK-3": (54_922, 672),
        "UK-4": (35_934, 422),
        "UK-5": (24_558, 289),
        "FR-BENELUX": (12_291, 121),
        "DACH": (10_852, 126),
        "IE-CI": (7_880, 12),
        "SOUTH": (5_451, 76),
        "ROW": (3_206, 50),
        "NORDIC": (2_672, 40),
    }


def test_online_retail_has_the_published_customers_and_items() -> None:
    read = dataset("online-retail")
    assert (read.customers, len(read.catalogue), read.catalogue.source) == (4_334, 3_659, "derived")
    assert (read.interactions.value > 0).all()


def test_complete_journey_has_its_largest_forty_stores() -> None:
    read = dataset("complete-journey")
    assert (read.reading.rows, len(read.store_names), read.customers) == (75_000, 40, 1_712)
    assert read.reading.kept + sum(read.reading.dropped.values()) == 75_000
    assert len(read.catalogue) == 2_378
    assert read.catalogue.source == "given"


@pytest.mark.parametrize("name", ["online-retail", "complete-journey"])
def test_a_home_store_is_a_store_of_the_customer(name: str) -> None:
    read = dataset(name)
    assert read.homes is not None
    visited = set(zip(read.interactions.customer.tolist(), read.interactions.store.tolist(), strict=True))
    assert all((person, home) in visited for person, home in enumerate(read.homes.tolist()) if home >= 0)
    assert len(np.unique(read.interactions.customer)) == (read.homes >= 0).sum()


def test_the_home_store_is_that_of_the_first_purchase() -> None:
    events = Interactions.build(
        [0, 0, 0, 1, 1, 2],
        [0, 1, 2, 0, 1, 0],
        time=[30, 10, 10, 5, 4, 1],
        store=[2, 1, 0, 0, 1, 1],
        behaviour=[3, 3, 3, 3, 0, 0],
    )
    assert home_stores(events, 4).tolist() == [1, 0, -1, -1]  # tie: first row; views do not count


def test_a_copied_candidate_is_removed_and_the_row_padded() -> None:
    rows = np.array([[5, 1, 2, 3], [5, 1, 5, 3], [7, 7, 7, 1]])
    assert distinct_candidates(rows).tolist() == [[5, 1, 2, 3], [5, 1, 3, -1], [7, 1, -1, -1]]


def _ml_1m_archive(folder: Path) -> None:
    folder.mkdir()
    with zipfile.ZipFile(folder / "ml-1m.zip", "w") as archive:
        archive.writestr("ml-1m/ratings.dat", "1::20::5::100\n1::10::3::90\n7::10::4::80\n")
        archive.writestr(
            "ml-1m/movies.dat", "10::Café (1999)::Drama|War\n20::B: C::Comedy\n30::D (2000)::Drama\n".encode("latin-1")
        )


def test_ml_1m_reads_the_original_archive(tmp_path: Path) -> None:
    _ml_1m_archive(tmp_path / "ml-1m")
    read = load("ml-1m", directory=tmp_path)
    assert read.catalogue.ids == ("10", "20", "30")
    assert read.catalogue.columns["title"].tolist() == ["Café", "B: C", "D"]
    assert read.interactions.item.tolist() == [1, 0, 0]
    assert read.interactions.customer.tolist() == [0, 0, 1]
    assert read.interactions.value.tolist() == [5, 3, 4]
    assert read.interactions.time.tolist() == [100, 90, 80]


def test_ml_1m_reads_the_unpacked_archive_alike(tmp_path: Path) -> None:
    _ml_1m_archive(tmp_path / "ml-1m")
    packed = load("ml-1m", directory=tmp_path)
    with zipfile.ZipFile(tmp_path / "ml-1m" / "ml-1m.zip") as archive:
        archive.extractall(tmp_path / "ml-1m")
    (tmp_path / "ml-1m" / "ml-1m.zip").unlink()
    unpacked = load("ml-1m", directory=tmp_path)
    assert unpacked.catalogue.hash == packed.catalogue.hash
    assert np.array_equal(unpacked.interactions.time, packed.interactions.time)


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("jdata", "buy.txt", b"", "buy.txt: the file is empty"),
        ("jdata", "buy.txt", b"1 2\n3 x\n", "wrong type"),
        ("jdata", "buy.txt.gz", gzip.compress(b"1 2\n" * 999, mtime=0)[:-20], "buy.txt.gz"),
        ("jdata", "buy.txt", b"1 2\n", "cart.txt"),
        ("ml-1m", "ml-1m.zip", b"PK no zip", "ml-1m.zip"),
        ("ml-100k", "u.data", b"1\t2\t3\t4\n", "u.item"),
        ("online-retail", "online_retail.csv", b"a,b\n1,2\n", "online_retail.csv"),
    ],
)
def test_a_damaged_file_is_refused_by_name(tmp_path: Path, name: str, file: str, content: bytes, message: str) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / file).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load(name, directory=tmp_path)
    assert "\n" not in caught.value.message


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(DataError, match="ml-1n") as caught:
        load("ml-1n")
    assert caught.value.hint == "did you mean 'ml-1m'?"


def test_a_set_that_is_not_there_is_refused_by_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no folder") as caught:
        load("ml-100k", directory=tmp_path)
    assert "fedcart data describe ml-100k" in str(caught.value.hint)


def test_an_absent_data_directory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDCART_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(DataError, match="does not exist") as caught:
        load("ml-100k")
    assert all(word in str(caught.value.hint) for word in ("--data-dir", "FEDCART_DATA", "fedcart data fetch"))


def test_the_argument_beats_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDCART_DATA", str(tmp_path / "nowhere"))
    assert data_dir(tmp_path) == tmp_path


@pytest.mark.parametrize("name", NAMES)
def test_every_set_states_source_licence_and_fields(name: str) -> None:
    about = describe(name)
    assert about.title
    assert about.source
    assert about.licence
    assert about.fields
