"""Downloads of public data sets: resumable, verified and unpacked.

Where the publisher states a checksum, the file must match it. Where none is stated, the SHA-256 of the first download
is written to `NAME.sha256`: later it proves that the file has not changed, not that it was right at first. The progress
line says so.
"""

import asyncio
import hashlib
import re
import stat
import time
import zipfile
from pathlib import Path, PurePosixPath

import httpx

from retort.offline.common.http import request
from retort.offline.common.progress import BYTES_OF, Progress
from retort.offline.data.public_datasets import BY_HAND, CATALOGUE, Download
from retort.shared.base.errors import DataError
from retort.shared.base.hashing import hash_file

ATTEMPTS = 6
PAUSE_S = 1.0  # before the second attempt; doubled each time
TIMEOUT_S = 30.0  # for the headers; after them, MIN_BYTES must arrive in each such interval
MIN_BYTES = 32 * 2**10  # slower is a lost connection: a server that trickles must not be waited for without end
DEADLINE_S = 86_400.0  # for one attempt
MAX_BYTES = 40 * 2**30  # of one file
MAX_UNPACKED_BYTES = 40 * 2**30


def fetch_dataset(
    name: str,
    target_dir: Path,
    progress: Progress,
    catalogue: dict[str, tuple[Download, ...]] | None = None,
    pause_s: float = PAUSE_S,
) -> list[Path]:
    """Download a data set into `target_dir`; files that exist are only verified.

    Args:
        catalogue: Data sets by name; None: the built-in ones.
        pause_s: Seconds before the second attempt; doubled each time.

    Returns:
        The downloaded files; archives are unpacked next to them.

    Raises:
        DataError: The name is unknown, or network, checksum or disk fail.
    """
    known = CATALOGUE if catalogue is None else catalogue
    if name in BY_HAND and name not in known:
        raise DataError(
            f"{name} requires an account; download it from {BY_HAND[name]} and name its directory with --data."
        )
    if name not in known:
        raise DataError(f"there is no data set {name!r} to fetch; choose one of: {', '.join(sorted(known))}.")
    try:
        target_dir.mkdir(parents=True, exist_ok=True)
        return [_fetch_file(download, target_dir, progress, pause_s) for download in known[name]]
    except OSError as error:
        raise DataError(
            f"{target_dir} cannot be written ({error}); free disk space or choose another directory."
        ) from error


def _fetch_file(download: Download, target_dir: Path, progress: Progress, pause_s: float) -> Path:
    path = target_dir / download.name
    if not path.exists():
        part = _download(download, target_dir, progress, pause_s)
        _verify(download, part, path, progress)
        part.replace(path)
    else:
        _verify(download, path, path, progress)
    if path.suffix == ".zip":
        unpack(path, target_dir)
    return path


def _download(download: Download, target_dir: Path, progress: Progress, pause_s: float) -> Path:
    """Download the whole file to NAME.part; a broken connection is resumed."""
    part = target_dir / f"{download.name}.part"
    for attempt in range(ATTEMPTS):
        try:
            asyncio.run(_resume(download, part, progress))
        except httpx.HTTPStatusError as error:
            if error.response.status_code < 500:
                raise DataError(
                    f"{download.url} answers {error.response.status_code}; the address may "
                    "have changed: download the file by hand."
                ) from error
            reason = str(error.response.status_code)
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
        except TimeoutError:
            reason = f"no end within {DEADLINE_S:g} s"
        else:
            _validator(part).unlink(missing_ok=True)
            return part
        progress.say(f"{download.name}: connection lost ({reason}), attempt {attempt + 2} of {ATTEMPTS}")
        time.sleep(pause_s * 2**attempt)
    raise DataError(
        f"{download.url} could not be read in {ATTEMPTS} attempts ({reason}); run the same command again to resume."
    )


async def _resume(download: Download, part: Path, progress: Progress) -> None:
    """Request the missing bytes and append them."""
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"}
    if have and _validator(part).exists():
        # If-Range: if the file has changed since, the server sends all of it
        headers |= {"Range": f"bytes={have}-", "If-Range": _validator(part).read_text(encoding="utf-8")}
    async with asyncio.timeout(DEADLINE_S), httpx.AsyncClient(follow_redirects=True, timeout=TIMEOUT_S) as client:
        response = await _open(client, client.build_request("GET", download.url, headers=headers))
        try:
            if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                if response.headers.get("content-range") == f"bytes */{have}":
                    return
                part.unlink()
                raise httpx.RemoteProtocolError(
                    "the server's file is shorter than the partial download; starting again"
                )
            response.raise_for_status()
            await _append(response, download, part, progress)
        finally:
            await response.aclose()


async def _open(client: httpx.AsyncClient, get: httpx.Request) -> httpx.Response:
    """Send the request and read the headers."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return await client.send(get, stream=True)
    except TimeoutError:
        raise httpx.ReadTimeout(f"no answer within {TIMEOUT_S:g} s") from None


async def _append(response: httpx.Response, download: Download, part: Path, progress: Progress) -> None:
    """Write the body to `part`, after what is there if the server sends a range."""
    resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
    have = part.stat().st_size if resumed else 0
    validator = response.headers.get("etag") or response.headers.get("last-modified")
    if validator and not validator.startswith("W/"):
        _validator(part).write_text(validator, encoding="utf-8")
    length = response.headers.get("content-length", "")
    total = have + int(length) if length.isdecimal() else None
    _refuse_large(total or 0, download)
    since_s, arrived = time.monotonic(), 0
    with part.open("ab" if resumed else "wb") as file:
        async for block in response.aiter_raw():
            file.write(block)
            have, arrived = have + len(block), arrived + len(block)
            _refuse_large(have, download)
            progress.update(f"{BYTES_OF} {download.name}", have, total)
            if time.monotonic() - since_s > TIMEOUT_S:
                if arrived < MIN_BYTES:
                    raise httpx.ReadTimeout(f"only {arrived} bytes in {TIMEOUT_S:g} s")
                since_s, arrived = time.monotonic(), 0


def _refuse_large(n_bytes: int, download: Download) -> None:
    if n_bytes > MAX_BYTES:
        raise DataError(f"{download.url} is larger than {MAX_BYTES >> 30} GiB; download the file by hand.")


def _validator(part: Path) -> Path:
    return part.with_name(part.name + ".etag")


def _verify(download: Download, path: Path, final: Path, progress: Progress) -> None:
    """Compare with the publisher's MD5, or with the SHA-256 of the first download."""
    if download.md5_url is not None:
        expected, actual = _published_md5(download), _md5(path)
        source = download.md5_url
    else:
        checksum_file = final.with_name(final.name + ".sha256")
        actual = hash_file(path)
        if not checksum_file.exists():
            checksum_file.write_text(f"{actual}  {final.name}\n", encoding="utf-8")
            progress.say(
                f"{final.name}: the publisher states no checksum; stored SHA-256 {actual[:12]}… for later checks"
            )
            return
        expected, source = checksum_file.read_text(encoding="utf-8").split()[0], checksum_file.name
    if actual != expected:
        path.unlink()
        raise DataError(
            f"{final.name} is damaged: its checksum is {actual}, {source} states {expected}; it was deleted, "
            "fetch it again."
        )


def _published_md5(download: Download) -> str:
    try:
        with httpx.Client(follow_redirects=True) as client:
            response = request(client, "GET", str(download.md5_url), deadline_s=TIMEOUT_S, max_bytes=2**20)
        text = response.raise_for_status().text
    except httpx.HTTPError as error:
        raise DataError(f"the checksum at {download.md5_url} cannot be read ({error}); try again later.") from error
    found = re.search(r"\b[0-9a-fA-F]{32}\b", text)
    if found is None:
        raise DataError(
            f"{download.md5_url} contains no MD5; the publisher may have moved it: verify the file by hand."
        )
    return found.group().lower()


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        # the publisher's check against transfer errors; not against forgery
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def unpack(path: Path, target_dir: Path) -> None:
    """Unzip into `target_dir`; absolute paths, `..`, links and archives that are too large are refused."""
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
        raise DataError(
            f"{path.name} is not a complete zip archive ({error}); delete it and fetch it again."
        ) from error


def _refuse_outside(path: Path, member: zipfile.ZipInfo) -> None:
    parts = PurePosixPath(member.filename.replace("\\", "/"))
    is_link = stat.S_ISLNK(member.external_attr >> 16)
    if parts.is_absolute() or ".." in parts.parts or ":" in parts.parts[0] or is_link:
        raise DataError(
            f"{path.name} contains {member.filename!r}, which would be outside its directory; unpack the "
            "archive by hand."
        )
