"""Where files lie that can be fetched, and when they go."""

import secrets
import shutil
import time
from pathlib import Path
from urllib.parse import quote, unquote

_ID_BYTES = 24
_MAX_NAME = 120


class Shelf:
    """Files under unguessable ids, each id a folder of its own. They are gone `keep_s` after the folder was
    made, to clients at once and from the disk with the next `sweep`.
    """

    def __init__(self, folder: Path, keep_s: float, url: str) -> None:
        self._folder = folder
        self._keep_s = keep_s
        self._url = url

    def open(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)

    def add(self) -> Path:
        """A new, empty folder."""
        folder = self._folder / secrets.token_urlsafe(_ID_BYTES)
        folder.mkdir()
        return folder

    def url(self, file: Path) -> str:
        """Where clients fetch a file of this shelf."""
        return f"{self._url}/{file.parent.name}/{quote(file.name)}"

    def find(self, folder_id: str, name: str) -> Path | None:
        """The file, or `None` when there is none or its time is over."""
        if folder_id != safe_name(folder_id) or name != safe_name(name):
            return None
        folder = self._folder / folder_id
        file = folder / name
        if not file.is_file() or self._is_over(folder):
            return None
        return file

    def at(self, url: str) -> Path | None:
        """The file that `url` fetches, if it is one of this shelf."""
        if not url.startswith(f"{self._url}/"):
            return None
        folder_id, _, name = url.removeprefix(f"{self._url}/").partition("/")
        return self.find(folder_id, unquote(name))

    def sweep(self) -> None:
        """Remove what nobody can fetch any more. Blocks on the disk."""
        for folder in self._folder.iterdir():
            if self._is_over(folder):
                shutil.rmtree(folder, ignore_errors=True)

    def _is_over(self, folder: Path) -> bool:
        try:
            made_at = folder.stat().st_mtime
        except FileNotFoundError:
            return True
        return time.time() - made_at > self._keep_s


def safe_name(name: str) -> str:
    """`name` reduced to one plain path component: no folders, no leading dots, no control characters, not too
    long (the extension stays).
    """
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    plain = "".join(letter for letter in last if letter.isprintable()).strip().lstrip(".")
    path = Path(plain or "file")
    suffix = path.suffix[:12]
    stem = path.name[: len(path.name) - len(path.suffix)].encode()[:_MAX_NAME].decode(errors="ignore")
    return stem + suffix
