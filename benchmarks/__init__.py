"""Measurements, each against a peer in the same run; never timed in tests."""
