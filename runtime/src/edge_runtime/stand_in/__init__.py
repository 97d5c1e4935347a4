"""Serves services of a node from its disk while Kubernetes does not, and installs units for that."""
