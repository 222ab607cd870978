"""Refreshes of profiles, and the users' choices about their profiles."""
