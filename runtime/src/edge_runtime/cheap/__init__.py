"""Inputs that need no inference: nearly the one before, or one whose result is known."""
