"""The link to a peer, measured."""
