"""Downloads against a server on this machine that cuts, lies and forgets ranges: the file is whole or absent."""

from __future__ import annotations

import errno
import hashlib
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fedcart.shared.errors import DataError
from fedcart.simulation.datasets import fetch as module
from fedcart.simulation.datasets import load
from fedcart.simulation.datasets.about import BUILT_IN
from fedcart.simulation.datasets.fetch import fetch
from fedcart.simulation.datasets.originals import ORIGINALS, Original

BODY = bytes(range(256)) * 4_000  # 1,024,000 bytes


class Server(http.server.ThreadingHTTPServer):
    """Serves BODY; `cut_after` ends each answer after so many bytes; `ranges` = whether it knows Range."""

    cut_after: int | None = None
    ranges = True
    status = 200
    asked: list[str | None]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/file.zip"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range")
        server.asked.append(wanted)
        if server.status != 200:
            self.send_error(server.status)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and server.ranges else 0
        if start >= len(BODY):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(BODY)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(BODY) - 1}/{len(BODY)}")
        self.send_header("Content-Length", str(len(BODY) - start))
        self.end_headers()
        end = len(BODY) if server.cut_after is None else start + server.cut_after
        self.wfile.write(BODY[start:end])

    def log_message(self, format: str, *args: Any) -> None:
        return None


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = Server(("127.0.0.1", 0), _Handler)
    running.asked = []
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def original(server: Server, checksum: str = hashlib.sha256(BODY).hexdigest()) -> Original:
    return Original(
        url=server.url,
        file="file.zip",
        algorithm="sha256",
        checksum=checksum,
        provenance="computed from stored bytes",
    )


def test_a_file_arrives_whole_and_progress_ends_at_its_length(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    assert fetch(original(server), tmp_path / "set", progress=lambda done, total: seen.append((done, total)))
    assert (tmp_path / "set" / "file.zip").read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert os.listdir(tmp_path / "set") == ["file.zip"]


def test_a_file_that_is_there_is_not_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip").write_bytes(BODY)
    assert not fetch(original(server), tmp_path)
    assert server.asked == []


def test_another_file_of_that_name_is_left_alone(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip").write_bytes(b"mine")
    with pytest.raises(DataError, match="is there already with another sha256"):
        fetch(original(server), tmp_path)
    assert (tmp_path / "file.zip").read_bytes() == b"mine"


def test_a_cut_connection_goes_on_where_it_ended(server: Server, tmp_path: Path) -> None:
    server.cut_after = 400_000
    assert fetch(original(server), tmp_path, pause_s=0)
    assert (tmp_path / "file.zip").read_bytes() == BODY
    assert server.asked == [None, "bytes=400000-", "bytes=800000-"]


def test_a_run_that_was_stopped_is_resumed_by_the_next(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(BODY[:1_000])
    assert fetch(original(server), tmp_path)
    assert server.asked == ["bytes=1000-"]
    assert (tmp_path / "file.zip").read_bytes() == BODY


def test_a_stopped_run_leaves_only_the_part(server: Server, tmp_path: Path) -> None:
    def stop(done: int, total: int | None) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(original(server), tmp_path, progress=stop)
    assert os.listdir(tmp_path) == ["file.zip.part"]
    assert fetch(original(server), tmp_path)
    assert (tmp_path / "file.zip").read_bytes() == BODY


def test_a_server_without_ranges_is_asked_from_the_start(server: Server, tmp_path: Path) -> None:
    server.ranges = False
    (tmp_path / "file.zip.part").write_bytes(b"x" * 2_000_000)  # longer than the file: must be cut to its length
    assert fetch(original(server), tmp_path)
    assert (tmp_path / "file.zip").read_bytes() == BODY


def test_a_part_that_is_whole_already_is_only_checked(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(BODY)
    assert fetch(original(server), tmp_path)
    assert (tmp_path / "file.zip").read_bytes() == BODY


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(BODY + b"more")
    assert fetch(original(server), tmp_path, pause_s=0)
    assert (tmp_path / "file.zip").read_bytes() == BODY


def test_a_wrong_checksum_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the download was removed") as caught:
        fetch(original(server, "0" * 64), tmp_path)
    assert hashlib.sha256(BODY).hexdigest() in caught.value.message
    assert os.listdir(tmp_path) == []


def test_a_damaged_part_is_found_by_the_checksum(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file.zip.part").write_bytes(b"y" * 500)
    with pytest.raises(DataError, match="the download was removed"):
        fetch(original(server), tmp_path)
    assert os.listdir(tmp_path) == []


def test_a_connection_that_brings_nothing_ends_after_its_tries(server: Server, tmp_path: Path) -> None:
    server.cut_after = 0
    with pytest.raises(DataError, match="3 tries") as caught:
        fetch(original(server), tmp_path, tries=3, pause_s=0)
    assert len(server.asked) == 3
    assert "run the same command again" in str(caught.value.hint)
    assert not (tmp_path / "file.zip").exists()


@pytest.mark.parametrize(("status", "answers"), [(404, 1), (403, 1), (503, 2)])
def test_a_refusing_server_is_named(server: Server, tmp_path: Path, status: int, answers: int) -> None:
    server.status = status
    with pytest.raises(DataError, match=f"the server answered {status}") as caught:
        fetch(original(server), tmp_path, tries=2, pause_s=0)
    assert len(server.asked) == answers
    assert "\n" not in caught.value.message


def test_nobody_listening_is_one_line(server: Server, tmp_path: Path) -> None:
    dead = original(server)
    server.server_close()
    with pytest.raises(DataError, match="the connection failed"):
        fetch(dead, tmp_path, tries=1, pause_s=0)


@pytest.mark.parametrize(
    ("code", "words"),
    [(errno.ENOSPC, "no space is left"), (errno.EACCES, "cannot be written"), (errno.EROFS, "cannot be written")],
)
def test_a_disk_error_is_one_line(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, words: str
) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(module.os, "fsync", fail)
    with pytest.raises(DataError, match=words) as caught:
        fetch(original(server), tmp_path)
    assert "\n" not in caught.value.message
    assert caught.value.hint is not None
    assert not (tmp_path / "file.zip").exists()


def test_only_https_is_fetched(tmp_path: Path) -> None:
    for url in ("http://example.org/file.zip", "file:///etc/passwd", "ftp://example.org/x"):
        bad = Original(url=url, file="x", algorithm="md5", checksum="0", provenance="publisher's own")
        with pytest.raises(DataError, match="only https"):
            fetch(bad, tmp_path)


def test_every_original_has_an_https_address_and_a_whole_checksum() -> None:
    for name, files in ORIGINALS.items():
        assert name in BUILT_IN
        for one in files:
            assert one.url.startswith("https://")
            assert len(one.checksum) == hashlib.new(one.algorithm).digest_size * 2
            assert int(one.checksum, 16)


def test_checksums_said_to_be_computed_are_those_of_the_stored_bytes() -> None:
    import gzip

    from fedcart.simulation.datasets import data_dir

    checked = 0
    try:
        folder = data_dir()
    except DataError as absent:
        pytest.skip(absent.message)
    for name, files in ORIGINALS.items():
        for one in (file for file in files if file.provenance == "computed from stored bytes"):
            plain, packed = folder / name / one.file, folder / name / f"{name}_{one.file}.gz"
            if plain.is_file() or packed.is_file():
                stored = plain.read_bytes() if plain.is_file() else gzip.decompress(packed.read_bytes())
                assert hashlib.new(one.algorithm, stored).hexdigest() == one.checksum
                checked += 1
    if not checked:
        pytest.skip("none of the sets is in the data directory")


def test_a_half_fetched_set_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "ml-latest-small").mkdir()
    (tmp_path / "ml-latest-small" / "ml-latest-small.zip.part").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"no file ml-latest-small\.zip"):
        load("ml-latest-small", directory=tmp_path)
