"""Everything that makes a bundle."""
