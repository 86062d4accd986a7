"""Put a release's one archive together: the model, what is known of it, and the server with all its packages.

Made again from the same commit it is the same to the byte.
"""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path

import msgspec

from model import manifest
from model.examples import NAME as EXAMPLES
from model.manifest import MODEL
from pipelines import params
from pipelines.delivery import archive, card, examples, sbom, wheels
from pipelines.delivery.settings import Settings
from pipelines.review import metrics
from pipelines.review.repository import git
from pipelines.training.dataset import ARTIFACTS

REFERENCE = Path("dataset", "reference.json")
INSTALLER = Path("serving", "install.py")
SOURCES = ("model", "serving")


def build(tag: str, commit: str, settings: Settings, path: Path) -> manifest.Manifest:
    """Write the archive of what is in artifacts/, and return its manifest. Raises PipelineError."""
    measured = metrics.load(ARTIFACTS)
    described = manifest.load(ARTIFACTS)
    described = msgspec.structs.replace(
        described,
        version=tag,
        commit=commit,
        files={MODEL: described.files[MODEL]},
        metrics=measured["quantized"] | {"agreement": measured["agreement"]},
    )
    amounts = msgspec.to_builtins(params.load().evaluate.behaviour.robustness)
    committed = datetime.fromisoformat(git("show", "--no-patch", "--format=%cI", commit).strip())
    files: dict[str, Path | bytes] = {
        MODEL: ARTIFACTS / MODEL,
        manifest.NAME: manifest.encode(described),
        REFERENCE.name: ARTIFACTS / REFERENCE,
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
