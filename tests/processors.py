"""Runs the numeric tests under several instruction sets and thread counts: `make test-processors`.

A matrix product and a dot product of the same numbers may differ in the last bit, and the processor decides how. A test
that passes under one instruction set alone compares two such results exactly.
"""

import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

_OFFLINE = ("losses", "students", "distillation", "training", "teachers", "evaluation", "export", "embeddings")
PATHS = [*(f"tests/offline/{room}" for room in _OFFLINE), "tests/serving/recommend"]

# torch's own kernels, MKL (torch's products), oneDNN (torch's bfloat16) and OpenBLAS (NumPy's products)
INSTRUCTION_SETS = {
    "sse4.2": ("default", "SSE4_2", "SSE41", "Nehalem"),
    "avx2": ("avx2", "AVX2", "AVX2", "Haswell"),
    "avx512": ("avx512", "AVX512", "AVX512_CORE", "SkylakeX"),
}
_VARIABLES = ("ATEN_CPU_CAPABILITY", "MKL_ENABLE_INSTRUCTIONS", "ONEDNN_MAX_CPU_ISA", "OPENBLAS_CORETYPE")
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def settings() -> Iterator[tuple[str, dict[str, str]]]:
    """Name and environment of each run; AVX-512 is left out where the processor lacks it."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text(encoding="utf-8") if cpuinfo.exists() else ""
    for name, values in INSTRUCTION_SETS.items():
        if name == "avx512" and "avx512f" not in flags:
            continue
        for threads in ("1", "2"):
            chosen = dict(zip(_VARIABLES, values, strict=True)) | dict.fromkeys(_THREADS, threads)
            yield f"{name}, {threads} thread(s)", chosen


def main(arguments: list[str]) -> int:
    """Run pytest once for each setting; the exit code is 1 if any run failed."""
    if platform.machine() not in ("x86_64", "AMD64"):
        sys.exit("test-processors knows the instruction sets of x86-64 only; run `make test` on this processor.")
    failed = []
    for name, chosen in settings():
        print(f"== {name}", flush=True)
        command = [sys.executable, "-m", "pytest", *(arguments or ["-n", "auto", "--dist", "loadfile"]), *PATHS]
        if subprocess.run(command, env=os.environ | chosen, check=False).returncode:
            failed.append(name)
    print(f"failed under: {'; '.join(failed)}" if failed else "every setting passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
