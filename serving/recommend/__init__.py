"""From a request to a ranked list, without HTTP."""
