"""The data of one user: erasure and the stored profile."""
