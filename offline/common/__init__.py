"""Parts that every offline package may use: recipe sections, plug-ins, progress, the database, traces."""
