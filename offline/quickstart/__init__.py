"""Quickstart: recognises the columns of a log, writes a recipe for it, and serves the better of two students."""
