"""Chooses the route of a request, and its fallback if the hop fails."""
