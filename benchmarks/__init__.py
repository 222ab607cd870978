"""Benchmarks; each compares with a peer in the same run. No test measures time with them."""
