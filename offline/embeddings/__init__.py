"""Text embeddings: text encoders, dimension reduction, caches and shards."""
