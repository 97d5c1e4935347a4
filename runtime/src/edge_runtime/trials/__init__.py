"""Slices and models are tried in a process of their own before they may run in this one."""
