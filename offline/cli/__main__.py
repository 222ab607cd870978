"""`python -m retort.offline.cli`: the same as `retort`."""

from retort.offline.cli.main import main

main()
