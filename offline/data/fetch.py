"""Downloads public data sets: resumes, verifies, unpacks.

Where the publisher gives a checksum, it is asked for and must agree. Where none is given, the SHA-256 of the first
download is written beside the file (`NAME.sha256`): it proves later that the file is still the same, not that it was
right at first, and the progress line says so.
"""

import hashlib
import re
import stat
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import httpx

from retort.offline.common.progress import Progress
from retort.shared.base.errors import DataError
from retort.shared.base.hashing import hash_file

ATTEMPTS = 6
PAUSE_S = 1.0  # before the second attempt; doubled each time
TIMEOUT_S = 30.0
BLOCK_BYTES = 1 << 18
MAX_UNPACKED_BYTES = 40 * 2**30


@dataclass(frozen=True)
class Download:
    """One file. md5_url: where the publisher states its MD5."""

    url: str
    md5_url: str | None = None

    @property
    def name(self) -> str:
        """The file's name."""
        return PurePosixPath(httpx.URL(self.url).path).name


def _movielens(name: str) -> tuple[Download, ...]:
    url = f"https://files.grouplens.org/datasets/movielens/{name}.zip"
    return (Download(url, f"{url}.md5"),)


SNAP = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
UCSD = "https://mcauleylab.ucsd.edu/public_datasets/data"

CATALOGUE: dict[str, tuple[Download, ...]] = {
    "ml-100k": _movielens("ml-100k"),
    "ml-1m": _movielens("ml-1m"),
    "ml-10m": _movielens("ml-10m"),
    "ml-20m": _movielens("ml-20m"),
    "ml-25m": _movielens("ml-25m"),
    "ml-32m": _movielens("ml-32m"),
    # the publisher renews this one without notice, and states no checksum that lasts
    "ml-latest-small": (Download("https://files.grouplens.org/datasets/movielens/ml-latest-small.zip"),),
    "amazon-beauty-2014": (Download(f"{SNAP}/reviews_Beauty_5.json.gz"), Download(f"{SNAP}/meta_Beauty.json.gz")),
    "amazon-sports-2014": (
        Download(f"{SNAP}/reviews_Sports_and_Outdoors_5.json.gz"),
        Download(f"{SNAP}/meta_Sports_and_Outdoors.json.gz"),
    ),
    "amazon-toys-2014": (
        Download(f"{SNAP}/reviews_Toys_and_Games_5.json.gz"),
        Download(f"{SNAP}/meta_Toys_and_Games.json.gz"),
    ),
    "amazon-beauty-2018": (
        Download(f"{UCSD}/amazon_v2/categoryFilesSmall/All_Beauty_5.json.gz"),
        Download(f"{UCSD}/amazon_v2/metaFiles2/meta_All_Beauty.json.gz"),
    ),
    "amazon-beauty-2023": (
        Download(f"{UCSD}/amazon_2023/raw/review_categories/All_Beauty.jsonl.gz"),
        Download(f"{UCSD}/amazon_2023/raw/meta_categories/meta_All_Beauty.jsonl.gz"),
    ),
    "kion": (
        Download("https://github.com/irsafilo/KION_DATASET/raw/f69775be31fa5779907cf0a92ddedb70037fb5ae/data_en.zip"),
    ),
}

# not to be had without an account
BY_HAND = {"amazon-m2": "https://www.aicrowd.com/challenges/amazon-kdd-cup-23-multilingual-recommendation-challenge"}


def fetch(
    name: str,
    target_dir: Path,
    progress: Progress,
    catalogue: dict[str, tuple[Download, ...]] | None = None,
    pause_s: float = PAUSE_S,
) -> list[Path]:
    """Bring a data set into `target_dir`; returns its files as downloaded (archives are unpacked beside them).

    What is there already is verified and not asked for again. DataError: unknown name, network, wrong checksum, disk.
    """
    known = CATALOGUE if catalogue is None else catalogue
    if name in BY_HAND and name not in known:
        raise DataError(
            f"{name} needs an account; download it from {BY_HAND[name]} and name its directory with --data."
        )
    if name not in known:
        raise DataError(f"there is no data set {name!r} to fetch; choose one of: {', '.join(sorted(known))}.")
    try:
        target_dir.mkdir(parents=True, exist_ok=True)
        with httpx.Client(follow_redirects=True, timeout=TIMEOUT_S) as client:
            return [_one(client, download, target_dir, progress, pause_s) for download in known[name]]
    except OSError as error:
        raise DataError(f"{target_dir} cannot be written ({error}); make room or choose another directory.") from error


def _one(client: httpx.Client, download: Download, target_dir: Path, progress: Progress, pause_s: float) -> Path:
    path = target_dir / download.name
    if not path.exists():
        part = _download(client, download, target_dir, progress, pause_s)
        _verify(client, download, part, path, progress)
        part.replace(path)
    else:
        _verify(client, download, path, path, progress)
    if path.suffix == ".zip":
        unpack(path, target_dir)
    return path


def _download(client: httpx.Client, download: Download, target_dir: Path, progress: Progress, pause_s: float) -> Path:
    """The whole file as NAME.part; a connection that breaks is taken up again where it broke."""
    part = target_dir / f"{download.name}.part"
    for attempt in range(ATTEMPTS):
        try:
            _continue(client, download, part, progress)
        except httpx.HTTPStatusError as error:
            if error.response.status_code < 500:
                raise DataError(
                    f"{download.url} answers {error.response.status_code}; the address may have moved."
                ) from error
            reason = str(error.response.status_code)
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
        else:
            _validator(part).unlink(missing_ok=True)
            return part
        progress.say(f"{download.name}: connection lost ({reason}), attempt {attempt + 2} of {ATTEMPTS}")
        time.sleep(pause_s * 2**attempt)
    raise DataError(
        f"{download.url} could not be read in {ATTEMPTS} attempts ({reason}); run the same command again, it continues."
    )


def _continue(client: httpx.Client, download: Download, part: Path, progress: Progress) -> None:
    """Ask for what is missing and append it."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if have and _validator(part).exists():
        # If-Range: should the file have changed since, the server sends all of it
        headers |= {"Range": f"bytes={have}-", "If-Range": _validator(part).read_text(encoding="utf-8")}
    with client.stream("GET", download.url, headers=headers) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            if response.headers.get("content-range") == f"bytes */{have}":
                return
            part.unlink()
            raise httpx.RemoteProtocolError("the file there is shorter than what is here; starting over")
        response.raise_for_status()
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
        have = have if resumed else 0
        validator = response.headers.get("etag") or response.headers.get("last-modified")
        if validator and not validator.startswith("W/"):
            _validator(part).write_text(validator, encoding="utf-8")
        length = response.headers.get("content-length")
        total = have + int(length) if length else None
        with part.open("ab" if resumed else "wb") as file:
            for block in response.iter_raw(BLOCK_BYTES):
                file.write(block)
                have += len(block)
                progress.update(f"fetching {download.name}", have, total)


def _validator(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _verify(client: httpx.Client, download: Download, path: Path, final: Path, progress: Progress) -> None:
    """By the publisher's MD5, or by the SHA-256 noted at the first download."""
    if download.md5_url is not None:
        wanted, seen = _published_md5(client, download), _md5(path)
        source = download.md5_url
    else:
        note = final.with_name(final.name + ".sha256")
        seen = hash_file(path)
        if not note.exists():
            note.write_text(f"{seen}  {final.name}\n", encoding="utf-8")
            progress.say(f"{final.name}: the publisher states no checksum; noted SHA-256 {seen[:12]}… for later")
            return
        wanted, source = note.read_text(encoding="utf-8").split()[0], note.name
    if seen != wanted:
        path.unlink()
        raise DataError(
            f"{final.name} is damaged: its checksum is {seen}, {source} says {wanted}; it was deleted, fetch it again."
        )


def _published_md5(client: httpx.Client, download: Download) -> str:
    try:
        text = client.get(str(download.md5_url)).raise_for_status().text
    except httpx.HTTPError as error:
        raise DataError(f"the checksum at {download.md5_url} cannot be read ({error}); try again later.") from error
    found = re.search(r"\b[0-9a-fA-F]{32}\b", text)
    if found is None:
        raise DataError(f"{download.md5_url} holds no MD5; the publisher may have moved it.")
    return found.group().lower()


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        # a check against accidents in transit, as published; not against forgery
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def unpack(path: Path, target_dir: Path) -> None:
    """Unzip inside `target_dir`, and only there: absolute paths, `..`, links and bombs are refused."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > MAX_UNPACKED_BYTES:
                raise DataError(
                    f"{path.name} would unpack to more than {MAX_UNPACKED_BYTES >> 30} GB; unpack it by hand."
                )
            for member in members:
                _refuse_outside(path, member)
            archive.extractall(target_dir)
    except zipfile.BadZipFile as error:
        raise DataError(f"{path.name} is no whole zip archive ({error}); delete it and fetch it again.") from error


def _refuse_outside(path: Path, member: zipfile.ZipInfo) -> None:
    parts = PurePosixPath(member.filename.replace("\\", "/"))
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0] or is_link:
        raise DataError(f"{path.name} holds {member.filename!r}, which would land outside its directory; not unpacked.")
