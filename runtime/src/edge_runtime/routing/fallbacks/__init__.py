"""Fallbacks: responses in place of a late or failed hop."""
