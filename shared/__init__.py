"""What offline and serving must agree on, byte for byte."""
