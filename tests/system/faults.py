"""What a server does wrong on purpose, as a file says at the time: a share of errors, and a delay in seconds."""

from __future__ import annotations

import json
from pathlib import Path

# Python imports a module of this name at the start of every process that has it in its path.
MODULE = """
import asyncio, json, os, random
from pathlib import Path

from serving.deployment import Deployment

submit = Deployment.submit


def faulty(self, batcher, images):
    planted = json.loads(Path(os.environ["FAULTS"]).read_text())
    if random.random() < planted["errors"]:
        raise RuntimeError("planted")
    answer = submit(self, batcher, images)

    async def late():
        await asyncio.sleep(planted["delay"])
        return await answer

    return asyncio.ensure_future(late()) if planted["delay"] else answer


Deployment.submit = faulty
"""


class Faults:
    """Of servers that were started with `environment`."""

    def __init__(self, folder: Path, root: Path) -> None:
        (folder / "planted").mkdir()
        (folder / "planted" / "sitecustomize.py").write_text(MODULE)
        self._file = folder / "faults.json"
        self.environment = {"FAULTS": str(self._file), "PYTHONPATH": f"{folder / 'planted'}:{root}"}
        self.plant()

    def plant(self, errors: float = 0, delay: float = 0) -> None:
        partial = self._file.with_suffix(".partial")
        partial.write_text(json.dumps({"errors": errors, "delay": delay}))
        partial.replace(self._file)
