"""Certificates of a mounted folder."""
