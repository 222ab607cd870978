"""Server of llama.cpp with OpenAI's API on loopback: `python -m tests.local_models.llama_server GGUF PORT [SLOTS]`."""

import signal
import sys
from typing import Any

CONTEXT_TOKENS = 4096  # of each slot


def main() -> None:
    """Serve until SIGTERM."""
    import xllamacpp

    path, port, slots = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 2
    params: Any = xllamacpp.CommonParams()
    params.model.path = path
    params.hostnames, params.port = ["127.0.0.1"], port
    params.n_ctx, params.n_parallel = CONTEXT_TOKENS * slots, slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.use_jinja = True
    server = xllamacpp.Server(params)  # it listens in threads of its own, until it is deleted
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"listening at {server.listening_address}", flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
