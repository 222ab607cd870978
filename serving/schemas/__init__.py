"""Requests, responses and problem documents."""
