"""Entry point `retort`, also `python -m retort.offline.cli`."""

from retort.shared.base.early_exit import EarlyExit


def main() -> None:
    """Import the command line and run the command."""
    with EarlyExit("retort", "; no work had begun."):
        from retort.offline.cli.main import main as run_command

    run_command()


if __name__ == "__main__":
    main()
