"""Puts stems into a ZIP file on disk."""

import zipfile
from pathlib import Path, PurePosixPath

from worker.cancellable_thread import copy_stream


def add_to_zip(archive: Path, path: Path, name: str) -> int:
    """Move a file into the ZIP, uncompressed as audio hardly shrinks; returns the ZIP's bytes. Blocking."""
    entry = zipfile.ZipInfo.from_file(path, name)
    with (
        path.open("rb") as source,
        zipfile.ZipFile(archive, "a", zipfile.ZIP_STORED) as file,
        file.open(entry, "w") as target,
    ):
        copy_stream(source, target)
    path.unlink()
    return archive.stat().st_size


def unique_name(name: str, taken: set[str]) -> str:
    """Return a name that differs from all taken ones on any file system, and add it to them."""
    path, number = PurePosixPath(name), 1
    while name.casefold() in taken:
        number += 1
        name = f"{path.stem} {number}{path.suffix}"
    taken.add(name.casefold())
    return name
