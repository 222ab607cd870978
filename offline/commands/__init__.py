"""What the commands of `offline/cli.py` do."""
