"""What the commands of `offline/cli/main.py` do."""
