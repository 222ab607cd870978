"""Small parts that every offline package may use: recipe sections, plug-ins, progress, retries."""
