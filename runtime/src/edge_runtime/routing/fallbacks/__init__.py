"""What answers in place of a hop that is late or failed."""
