"""The Dockerfiles: what hadolint has to say, and what an image of ours never does."""

from __future__ import annotations

import re
import subprocess

from serving import config
from tests.conftest import ROOT, need

TEXT = (ROOT / "serving" / "Dockerfile").read_text()


def test_hadolint() -> None:
    """Nothing to complain of."""
    need("hadolint")
    subprocess.run(["hadolint", "serving/Dockerfile", "pipelines/Dockerfile"], cwd=ROOT, check=True)


def test_settings_and_ports_are_the_server_s() -> None:
    """What the image sets, the server knows; what it exposes, the server listens on."""
    variables = dict(pair.split("=") for line in re.findall("^ENV (.*)$", TEXT, re.MULTILINE) for pair in line.split())
    settings = config.load({**variables, "SLIPWAY_AUTH": "false"})
    (exposed,) = re.findall("^EXPOSE (.*)$", TEXT, re.MULTILINE)
    assert {int(port) for port in exposed.split()} == {settings.port, settings.grpc_port, settings.metrics_port}
    assert f"127.0.0.1:{settings.port}/v2/health/ready" in TEXT


def test_no_shell_and_no_download() -> None:
    """Commands are lists, so the base needs no shell; the second stage runs none."""
    assert all(
        line.rstrip().endswith("]")
        for line in TEXT.replace("\\\n", "").splitlines()
        if re.match("RUN|ENTRYPOINT", line)
    )
    assert "RUN" not in TEXT[TEXT.rindex("FROM") :]
    assert not re.search("curl|wget|apt|https?://(?!127)", TEXT)
