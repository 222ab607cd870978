"""Online A/B tests: assignment, variants, shadow traffic."""
