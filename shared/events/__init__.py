"""Events and exposures between serving and the database."""
