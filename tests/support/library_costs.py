"""Caches what is computed anew, and slowly, for each connection, client or file: tests have thousands."""

import hashlib
import os
import ssl
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import redis.utils
from babel import localedata
from redis.client import CaseInsensitiveDict

# numpy reads it when imported. Its threads, which spin while they wait, more than double a product's time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

_KNOWN_FILE_BYTES = 4_000_000


def reduce_library_costs() -> None:
    """Patch the libraries; a second call changes nothing more."""
    # redis-py reads its version from the installed package's files for every single connection.
    redis.utils.get_lib_version = cache(redis.utils.get_lib_version)
    # Each client of redis-py fills one with the names of all commands; the engine makes a client per task.
    CaseInsensitiveDict.__init__ = _fill  # type: ignore[method-assign]
    # Clients of one set of certificates share a context: reading them takes longer than many a test.
    httpx._transports.default.create_ssl_context = lambda **options: _context(  # type: ignore[attr-defined]
        os.environ.get("SSL_CERT_FILE"), **options
    )


def describe_files_once() -> None:
    """Let the local Telegrams of this process decode equal files once: tests send the same few songs."""
    from sandbox.telegram import media

    known: dict[bytes, media.Probe] = {}
    describe = media.probe

    def probe(path: Path) -> media.Probe:
        if path.stat().st_size > _KNOWN_FILE_BYTES:
            return describe(path)
        digest = hashlib.sha256(path.read_bytes()).digest()
        if digest not in known:
            known[digest] = describe(path)
        return known[digest]

    media.probe = probe


def load_locales() -> None:
    """Load the product's translations and locales, which are kept, before other processes are forked."""
    from stemdrop.chat.translations import LOCALES, load_translations

    load_translations()
    for path in LOCALES.glob("*.po"):
        localedata.load(path.stem)


def _fill(self: CaseInsensitiveDict, data: dict[str, Any]) -> None:
    dict.update(self, {name.upper(): value for name, value in data.items()})


@cache
def _context(certificates: str | None, **options: Any) -> ssl.SSLContext:
    return httpx.create_ssl_context(**options)
