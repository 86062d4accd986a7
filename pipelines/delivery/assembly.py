"""Put a release's one archive together: the model, what is known of it, and the server with all its packages.

Made again from the same commit it is the same to the byte.
"""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path

import msgspec

from model import manifest, statistics
from model.examples import NAME as EXAMPLES
from model.manifest import MODEL
from pipelines import params
from pipelines.delivery import archive, card, examples, sbom, wheels
from pipelines.delivery.settings import Settings
from pipelines.dvc import DATA
from pipelines.review import metrics
from pipelines.review.repository import git
from pipelines.training.dataset import ARTIFACTS

INSTALLER = Path("serving", "install.py")
SOURCES = ("model", "serving")


def build(tag: str, commit: str, settings: Settings, path: Path) -> manifest.Manifest:
    """Write the archive of what is in artifacts/, and return its manifest. Raises PipelineError."""
    measured = metrics.load(ARTIFACTS)
    described = manifest.load(ARTIFACTS)
    committed = _time(commit)
    described = msgspec.structs.replace(
        described,
        version=tag,
        commit=commit,
        committed=committed.timestamp(),
        data_committed=_time(commit, f"{DATA}.dvc").timestamp(),
        files={MODEL: described.files[MODEL]},
        metrics=measured["quantized"] | {"agreement": measured["agreement"]},
    )
    amounts = msgspec.to_builtins(params.load().evaluate.behaviour.robustness)
    files: dict[str, Path | bytes] = {
        MODEL: ARTIFACTS / MODEL,
        manifest.NAME: manifest.encode(described),
        statistics.NAME: ARTIFACTS / statistics.NAME,
        EXAMPLES: examples.make(ARTIFACTS, described.labels),
        "MODEL_CARD.md": card.render(settings.card, described, measured, amounts).encode(),
        sbom.NAME: sbom.make(described, settings.card.name, committed),
        "server/install.py": INSTALLER,
        "server/requirements.txt": wheels.requirements("serve").encode(),
    }
    for name in git("ls-files", *SOURCES).splitlines():
        files[f"server/source/{name}"] = Path(name)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "wheels")
        wheels.download(wheels.requirements("host"), settings.hosts, place)
        files |= {f"server/wheels/{wheel.name}": wheel for wheel in place.iterdir()}
        archive.pack({f"{tag}/{name}": content for name, content in files.items()}, path)
    return described


def _time(commit: str, *path: str) -> datetime:
    """Return when a commit was made, or the last one that changed a path."""
    return datetime.fromisoformat(git("log", "--max-count=1", "--format=%cI", commit, "--", *path).strip())
