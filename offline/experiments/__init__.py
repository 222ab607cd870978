"""Experiments over whole lines: each arm is a recipe with a few keys changed, so arms are resumed and reused."""
