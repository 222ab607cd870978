"""The Python library: read a log, fit a student, recommend, evaluate, save and serve, without the command line."""
