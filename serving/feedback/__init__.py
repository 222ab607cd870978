"""Feedback from clients: events and exposures."""
