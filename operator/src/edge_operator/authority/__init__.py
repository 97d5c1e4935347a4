"""The certificate authority of an installation: what is due, how it is issued, and where it is kept."""
