"""A command of `retort` under torchrun: the first process runs it, the others take part in its trainings.

torchrun --nproc-per-node 4 -m retort.offline.cli.torchrun run RECIPE --data DIR --out OUT
"""


def main() -> None:
    """Run the command in the first process of the group; the others follow until it ends."""
    from retort.offline.cli.main import main as run_command
    from retort.offline.pipeline.follow import follow
    from retort.offline.training.processes import close_group, open_group

    processes = open_group()
    if processes.is_first:
        try:
            run_command()
        finally:
            processes.of_first(None)
            close_group()
    else:
        follow()
        close_group()


if __name__ == "__main__":
    main()
