"""Whole runs by name, one TOML file each."""
