"""Base of offline and serving: errors, settings, logging, hashing, tracing, common names and limits."""
