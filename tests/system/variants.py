"""Releases made of a release: the same model under another tag with a server that was changed, signed and published."""

from __future__ import annotations

import json
import sys

from tests.conftest import Project

# In the project's own folder, because its pipelines read what is there.
MAKE = """
import json, os, shutil, sys, tempfile
from pathlib import Path

import msgspec

from model import manifest
from model.manifest import sha256
from model.release import BUNDLE, PROVENANCE, unpack
from pipelines.delivery import archive, provenance, settings, store

tag, changes = sys.argv[1], json.loads(sys.argv[2])
source, target = Path("dist", "v1.0.0"), Path("dist", tag)
target.mkdir()
with tempfile.TemporaryDirectory() as place:
    unpack(source / BUNDLE, Path(place), 10**10)
    folder = Path(place, "v1.0.0")
    described = msgspec.structs.replace(manifest.load(folder), version=tag)
    (folder / manifest.NAME).write_bytes(manifest.encode(described))
    for name, old, new in changes:
        text = (folder / name).read_text()
        assert old in text, f"{name} has no {old!r}"
        (folder / name).write_text(text.replace(old, new))
    files = {f"{tag}/{path.relative_to(folder)}": path for path in folder.rglob("*") if path.is_file()}
    archive.pack(files, target / BUNDLE)
said = (source / PROVENANCE).read_text().replace("v1.0.0", tag)
(target / PROVENANCE).write_text(said.replace(sha256(source / BUNDLE), sha256(target / BUNDLE)))
chosen = settings.load()
store.publish(store.releases(chosen), tag, target, chosen)
"""


def publish(project: Project, tag: str, *changes: tuple[str, str, str], **environment: str) -> None:
    """Publish v1.0.0 of a project as another release; a change is a file of the bundle, an old and a new text."""
    project.run(sys.executable, "-c", MAKE, tag, json.dumps(changes), PYTHONPATH=str(project.path), **environment)
