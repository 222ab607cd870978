"""A clock that a test can move under a running process: libfaketime before the C library, its offset in a file."""

from importlib.util import find_spec
from pathlib import Path


class MovableClock:
    """The time of day of the processes that are started with `environment`; their monotonic clock goes on evenly."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.jump_to(0)

    def jump_to(self, days: int) -> None:
        """Set the clock so many days ahead of the true time, or behind it."""
        self.jump_by(f"{days:+d}d")

    def jump_by(self, offset: str) -> None:
        """Set the clock off the true time; offset: like `+1h` or `-365d`."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{offset}\n")
        fresh.replace(self._file)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # both names, for older builds
            "DONT_FAKE_MONOTONIC": "1",
        }


def _library() -> Path:
    # Found without importing: the package's import would start this process anew under the library.
    spec = find_spec("libfaketime")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "vendor/libfaketime/src/libfaketime.so.1"
