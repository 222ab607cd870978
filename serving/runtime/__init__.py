"""The parts of a running server: settings, batching, circuit breaker, metrics, shutdown."""
