"""Tests of the clients against the real application."""
