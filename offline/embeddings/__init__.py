"""Texts to vectors, and vectors to fewer dimensions: encoders, reducers, caches and shards."""
