"""Events and exposures on their way from serving to the database."""
