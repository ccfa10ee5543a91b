"""Tells names of hosts that can exist from names that the libraries refuse."""

import idna


def is_host_name(host: str) -> bool:
    """Whether httpx and the lookup of addresses take this name or address."""
    try:
        name = host if host.isascii() else idna.encode(host).decode()
        if name.startswith("xn--"):
            idna.decode(name)
        name.encode("idna")  # the codec of Python's `socket`, which knows an earlier standard
    except UnicodeError:
        return False
    return True
