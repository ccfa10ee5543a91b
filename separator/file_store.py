"""Downloadable files on disk, with an expiry."""

import re
import secrets
import shutil
import time
from pathlib import Path
from urllib.parse import quote, unquote

_ID_BYTES = 24
# The names of our folders: others in an operator's folder are never deleted.
_ID = re.compile(r"[A-Za-z0-9_-]{32}")
_MAX_NAME = 120


class ExpiringFiles:
    """Files in folders with unguessable ids, served until `keep_s` after the folder's creation."""

    def __init__(self, folder: Path, keep_s: float, url: str) -> None:
        self._folder = folder
        self._keep_s = keep_s
        self._url = url

    def open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)

    def add(self) -> Path:
        """Create an empty folder with a new id and return its path."""
        folder = self._folder / secrets.token_urlsafe(_ID_BYTES)
        folder.mkdir()
        return folder

    def url(self, file: Path) -> str:
        return f"{self._url}/{file.parent.name}/{quote(file.name)}"

    def find(self, folder_id: str, name: str) -> Path | None:
        """Return the file, or None when it does not exist or has expired."""
        if folder_id != safe_name(folder_id) or name != safe_name(name):
            return None
        folder = self._folder / folder_id
        file = folder / name
        if not file.is_file() or self._is_expired(folder):
            return None
        return file

    def at(self, url: str) -> Path | None:
        """Return the file with this download URL, or None."""
        if not url.startswith(f"{self._url}/"):
            return None
        folder_id, _, name = url.removeprefix(f"{self._url}/").partition("/")
        return self.find(folder_id, unquote(name))

    def remove_expired(self) -> None:
        """Delete the expired folders. Blocking."""
        for folder in self._folder.iterdir():
            if _ID.fullmatch(folder.name) and self._is_expired(folder):
                shutil.rmtree(folder, ignore_errors=True)

    def _is_expired(self, folder: Path) -> bool:
        try:
            created_at = folder.stat().st_mtime
        except FileNotFoundError:
            return True
        return time.time() - created_at > self._keep_s


def safe_name(name: str) -> str:
    """Reduce `name` to one safe path component; a long name is cut, its extension stays."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    plain = "".join(letter for letter in last if letter.isprintable()).strip().lstrip(".")
    path = Path(plain or "file")
    suffix = path.suffix[:12]
    stem = path.name[: len(path.name) - len(path.suffix)].encode()[:_MAX_NAME].decode(errors="ignore")
    return stem + suffix
