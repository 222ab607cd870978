"""Errors, settings, logging, hashing, and the names and limits that both processes use."""
