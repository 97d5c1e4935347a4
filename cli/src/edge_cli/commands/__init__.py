"""One module for each command of `ei`: its flags, and what it prints."""
