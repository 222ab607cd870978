"""Downloads from a local server that breaks connections, sends wrong data and changes files."""

import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from retort.offline.common.progress import Silent
from retort.offline.data.fetch import fetch_dataset, unpack
from retort.offline.data.public_datasets import BY_HAND, CATALOGUE, Download
from retort.shared.base.errors import DataError
from tests.offline.common._hostile import Pieces, endless_body, hostile_server, trickled_body, trickled_headers


class Files(ThreadingHTTPServer):
    """Serves `contents` with ranges; the first `breaks` answers of each file stop in the middle."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.contents: dict[str, bytes] = {}
        self.breaks = 0
        self.requests: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Files

    def do_GET(self) -> None:
        name, wanted = self.path.lstrip("/"), self.headers.get("Range")
        self.server.requests.append((name, wanted))
        content = self.server.contents.get(name)
        if content is None:
            self.send_error(404)
            return
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        start = 0
        if wanted and self.headers.get("If-Range") == etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        rest = content[start:]
        if self.server.breaks > 0:
            self.server.breaks -= 1
            rest = rest[: len(rest) // 2]
        self.wfile.write(rest)

    def log_message(self, *arguments: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def server() -> Iterator[Files]:
    with Files() as files:
        thread = threading.Thread(target=files.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield files
        files.shutdown()
        thread.join()


CONTENT = bytes(range(256)) * 4000


def get(server: Files, target: Path, name: str = "data.bin", md5: bool = False) -> Path:
    download = Download(f"{server.url}/{name}", f"{server.url}/{name}.md5" if md5 else None)
    return fetch_dataset("toy", target, Silent(), {"toy": (download,)}, pause_s=0.01)[0]


def test_broken_connection_is_taken_up_where_it_broke(server: Files, tmp_path: Path) -> None:
    server.contents = {"data.bin": CONTENT}
    server.breaks = 2
    assert get(server, tmp_path).read_bytes() == CONTENT
    starts = [wanted for _, wanted in server.requests]
    assert starts[0] is None
    assert len(starts) == 3
    assert all(wanted and wanted != "bytes=0-" for wanted in starts[1:])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data.bin", "data.bin.sha256"]


def test_next_run_continues_what_an_earlier_one_left(server: Files, tmp_path: Path) -> None:
    server.contents = {"data.bin": CONTENT}
    server.breaks = 100
    with pytest.raises(DataError, match=r"6 attempts.*to resume"):
        get(server, tmp_path)
    have = (tmp_path / "data.bin.part").stat().st_size
    assert have > 0
    server.breaks = 0
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("data.bin", f"bytes={have}-")


@pytest.mark.parametrize("pieces", [trickled_headers, trickled_body])
def test_a_trickling_server_counts_as_a_lost_connection(
    pieces: Callable[[], Pieces], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("retort.offline.data.fetch.TIMEOUT_S", 0.2)
    monkeypatch.setattr("retort.offline.data.fetch.ATTEMPTS", 2)
    started_s = time.monotonic()
    with hostile_server(pieces) as url, pytest.raises(DataError, match=r"read in 2 attempts \((only|no a)"):
        fetch_dataset("toy", tmp_path, Silent(), {"toy": (Download(f"{url}/data.bin"),)}, pause_s=0.01)
    assert time.monotonic() - started_s < 3


def test_a_file_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("retort.offline.data.fetch.MAX_BYTES", 2**20)
    with hostile_server(endless_body) as url, pytest.raises(DataError, match="is larger than"):
        fetch_dataset("toy", tmp_path, Silent(), {"toy": (Download(f"{url}/data.bin"),)})


def test_a_checksum_without_end_is_refused(server: Files, tmp_path: Path) -> None:
    server.contents = {"data.bin": CONTENT}
    with hostile_server(endless_body) as url, pytest.raises(DataError, match="larger than 1 MiB"):
        fetch_dataset("toy", tmp_path, Silent(), {"toy": (Download(f"{server.url}/data.bin", f"{url}/md5"),)})


def test_a_changed_file_is_downloaded_again(server: Files, tmp_path: Path) -> None:
    server.contents = {"data.bin": CONTENT}
    server.breaks = 100
    with pytest.raises(DataError):
        get(server, tmp_path)
    server.breaks, server.contents = 0, {"data.bin": CONTENT[::-1]}
    assert get(server, tmp_path).read_bytes() == CONTENT[::-1]


def test_present_file_is_verified_not_fetched(server: Files, tmp_path: Path) -> None:
    server.contents = {"data.bin": CONTENT}
    get(server, tmp_path)
    get(server, tmp_path)
    assert len(server.requests) == 1
    (tmp_path / "data.bin").write_bytes(b"other")
    with pytest.raises(DataError, match=r"data\.bin is damaged.*data\.bin\.sha256"):
        get(server, tmp_path)


def test_published_checksum_must_agree(server: Files, tmp_path: Path) -> None:
    good = hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()
    server.contents = {"data.bin": CONTENT, "data.bin.md5": f"MD5 (data.bin) = {good}\n".encode()}
    assert get(server, tmp_path / "good", md5=True).read_bytes() == CONTENT
    server.contents["data.bin.md5"] = b"0" * 32
    with pytest.raises(DataError, match=r"data\.bin is damaged.*fetch it again"):
        get(server, tmp_path / "bad", md5=True)
    assert not (tmp_path / "bad" / "data.bin").exists()


def test_moved_address_and_unknown_names(server: Files, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="answers 404"):
        get(server, tmp_path)
    with pytest.raises(DataError, match=r"no data set 'mars' to fetch.*ml-1m"):
        fetch_dataset("mars", tmp_path, Silent())
    with pytest.raises(DataError, match="requires an account"):
        fetch_dataset(next(iter(BY_HAND)), tmp_path, Silent())


def archive(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name in names:
            file.writestr(name, "text")
    return buffer.getvalue()


def test_archives_are_unpacked(server: Files, tmp_path: Path) -> None:
    server.contents = {"toy.zip": archive("toy/ratings.csv")}
    get(server, tmp_path, "toy.zip")
    assert (tmp_path / "toy" / "ratings.csv").read_text() == "text"


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "..\\evil", "C:/evil"])
def test_archives_stay_inside(name: str, tmp_path: Path) -> None:
    path = tmp_path / "in" / "toy.zip"
    path.parent.mkdir()
    path.write_bytes(archive("fine", name))
    with pytest.raises(DataError, match="outside its directory"):
        unpack(path, path.parent)
    assert [one.name for one in path.parent.iterdir()] == ["toy.zip"]


def test_links_bombs_and_rubbish_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "toy.zip"
    with zipfile.ZipFile(path, "w") as file:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        file.writestr(link, "/etc")
    with pytest.raises(DataError, match="outside its directory"):
        unpack(path, tmp_path)
    path.write_bytes(archive("fine"))
    monkeypatch.setattr("retort.offline.data.fetch.MAX_UNPACKED_BYTES", 3)
    with pytest.raises(DataError, match="would unpack"):
        unpack(path, tmp_path)
    path.write_bytes(b"rubbish")
    with pytest.raises(DataError, match="not a complete zip"):
        unpack(path, tmp_path)


def test_catalogue_names_files_by_https() -> None:
    for downloads in CATALOGUE.values():
        assert all(download.url.startswith("https://") and "." in download.name for download in downloads)
