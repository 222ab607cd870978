"""A recipe: one TOML file that describes a whole run, and its validation."""
