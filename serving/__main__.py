"""Entry point `retort-serve`, also `python -m retort.serving`."""

import signal

from retort.shared.base.early_exit import EarlyExit


def main() -> None:
    """Import the server and run it. SIGTERM ends it as at any other time: the process dies of the signal."""
    with EarlyExit("retort-serve", signals=[signal.SIGINT]):
        from retort.serving.main import main as serve

    serve()


if __name__ == "__main__":
    main()
