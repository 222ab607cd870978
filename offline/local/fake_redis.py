"""fakeredis as a TCP server in its own process: `python -m retort.offline.local.fake_redis PORT`."""

import sys

from fakeredis import TcpFakeServer


def main() -> None:
    """Serve on loopback until killed."""
    server = TcpFakeServer(("127.0.0.1", int(sys.argv[1])), server_type="redis")
    server.daemon_threads = True
    server.serve_forever()


if __name__ == "__main__":
    main()
