"""Addresses of Triton servers: http(s)://host:port. Pure."""


def same_server(address: str, other: str) -> bool:
    """Whether two addresses differ in the scheme at most."""
    return server_of(address) == server_of(other)


def server_of(address: str) -> str:
    """Returns host and port of an address."""
    return address.partition("://")[2]
