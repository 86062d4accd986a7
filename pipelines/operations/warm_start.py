"""Let training begin with the weights that an environment serves, as a file that DVC stores and params.yaml names.

So the change says what it began with, and whoever checks it out can train the same again.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path

from pipelines import params
from pipelines.command import PipelineError, atomic
from pipelines.delivery import environments
from pipelines.dvc import dvc
from pipelines.review import baseline
from pipelines.training.dataset import WEIGHTS

FOLDER = Path("initial")
LINE = re.compile(r"^(  initial_weights: )(?:\S+)", re.MULTILINE)


def prepare(environment: str) -> None:
    """Fetch the weights, name them in params.yaml, and let go those of an earlier release.

    Raises PipelineError when the environment runs no release, or its weights can be had from nowhere.
    """
    release = environments.current(environment)
    if not release:
        raise PipelineError(f"{environment} runs no release to start from: set retrain.start in params.yaml to scratch")
    file = FOLDER / f"{release}.{WEIGHTS.name.partition('.')[2]}"
    if params.load().train.initial_weights == str(file):
        return
    for old in FOLDER.glob("*.dvc"):
        old.unlink()
    with tempfile.TemporaryDirectory() as folder:
        found = baseline.find(release, Path(folder) / release).fetch(WEIGHTS.name)
        FOLDER.mkdir(exist_ok=True)
        shutil.copy(found, file)
    dvc("add", "--quiet", str(file))
    text, replaced = LINE.subn(rf"\g<1>{file}", params.PATH.read_text())
    if replaced != 1:
        raise PipelineError(f"{params.PATH} has {replaced} lines `  initial_weights: ...`, expected one")
    with atomic(params.PATH) as partial:
        partial.write_text(text)
