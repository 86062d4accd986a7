"""The typed description that travels with a model: what it takes, what it answers, where it comes from."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from model import ModelError

NAME = "manifest.json"
MODEL = "model.tflite"
"""What ships."""
FLOAT_MODEL = "model_float32.tflite"
"""What it is held against."""


class ManifestError(ModelError):
    """The manifest is missing, malformed, or does not describe the files beside it."""


class Manifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Pipelines write what depends on data and params alone; a release adds version, commit, times and metrics."""

    labels: list[str]
    """Class names, in the order of the output's columns."""
    input_shape: tuple[int, int, int]
    """Height, width, channels of the uint8 input."""
    scheme: str
    """Quantization scheme of the model that ships."""
    data_sha256: str
    """Hash of every example's pixels, label and split."""
    params: dict[str, object]
    files: dict[str, str]
    """sha256 of each file, by its name in the manifest's folder."""
    version: str | None = None
    commit: str | None = None
    committed: float | None = None
    """When, in seconds since 1970; the data was last changed at data_committed."""
    data_committed: float | None = None
    metrics: dict[str, float] = {}


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def load(folder: Path) -> Manifest:
    """Read a folder's manifest and verify every file that it names.

    Raises ManifestError naming the file that is missing or differs.
    """
    path = folder / NAME
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError:
        raise ManifestError(f"{path} is missing: a model is served only with its manifest") from None
    except OSError as error:
        raise ManifestError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: {error}") from error
    if MODEL not in manifest.files:
        raise ManifestError(f"{path} does not name {MODEL}")
    for name, expected in manifest.files.items():
        if Path(name).name != name:
            raise ManifestError(f"{path} names {name!r}, which is not a plain file name")
        file = folder / name
        if not file.is_file():
            raise ManifestError(f"{file} is missing, but {path} names it")
        if sha256(file) != expected:
            raise ManifestError(f"{file} is not the file that {path} describes: its sha256 differs")
    return manifest


def encode(manifest: Manifest) -> bytes:
    """Return the manifest as indented JSON with a final newline: the same bytes for the same content."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="sorted")) + b"\n"
