"""YAML files with a type: checked whole before any work begins."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec
import yaml

from pipelines.command import PipelineError


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A section of a file: unknown keys are refused, so that a misspelt one never goes unnoticed."""


Document = TypeVar("Document", bound=Section)


def load(path: Path, kind: type[Document]) -> Document:
    """Read and check a file. Raises PipelineError naming the key, what it holds and what it should."""
    try:
        return msgspec.convert(yaml.safe_load(path.read_text()), kind)
    except FileNotFoundError:
        raise PipelineError(f"{path} is missing: run the command in the project's folder") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise PipelineError(f"{path} is not YAML: {error}") from error
    except msgspec.ValidationError as error:
        # YAML 1.1 reads 1e-3 as text: a number needs its point.
        hint = " (write 1.0e-3 rather than 1e-3)" if "Expected `float`, got `str`" in str(error) else ""
        if "Invalid enum value" in str(error):
            hint = " (the comment beside it names the choices)"
        raise PipelineError(f"{path}: {str(error).replace('$.', '')}{hint}") from error
