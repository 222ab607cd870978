"""Sealed bundles, their registry, and the scorer that runs them."""
