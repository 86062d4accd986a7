"""What no cluster would say before it is too late: each planted error is found and named."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from pipelines.clusters import __main__ as clusters
from pipelines.clusters import manifests
from pipelines.command import PipelineError
from pipelines.delivery import settings
from serving.metrics import METRICS
from serving.protocols import routes
from tests.conftest import ROOT

SETTINGS = Path("environments", "production", "serving.env")
DIFFERENCE = Path(__file__).with_name("difference.txt")
PLANTED = yaml.safe_load(Path(__file__).with_name("planted.yaml").read_text())


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the check reads, elsewhere, as the working folder; both environments run a release."""
    for name in ("k8s", "environments", "monitoring/dashboards"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "delivery.yaml", tmp_path)
    for file in tmp_path.glob("environments/*/serving.env"):
        file.write_text(re.sub("RELEASE=.*", "RELEASE=v1.2.3", file.read_text()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    return tmp_path


@pytest.mark.usefixtures("tree")
def test_the_project_s_own(capsys: pytest.CaptureFixture[str]) -> None:
    """All overlays, and all components, hold."""
    clusters.check(settings.load())
    output = capsys.readouterr().out
    for name in ("overlays/production", "overlays/staging", *(f"components/{name}" for name in manifests.components())):
        assert re.search(rf"{name} +\d+ objects  ok", output)
    assert "has no release yet" not in output


@pytest.mark.parametrize("name", PLANTED)
def test_planted(tree: Path, name: str) -> None:
    """It is an error, whose message says where and what."""
    planted = PLANTED[name]
    file = tree / planted["file"]
    assert planted["old"] in file.read_text()
    file.write_text(file.read_text().replace(planted["old"], planted["new"]))
    with pytest.raises(PipelineError, match=planted["said"]):
        clusters.push("production", settings.load())  # which checks that overlay first, and goes no further


def test_an_environment_without_a_release(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is checked all the same, is said, and is not deployed."""
    file = tree / SETTINGS
    file.write_text(file.read_text().replace("RELEASE=v1.2.3", "RELEASE="))
    clusters.check(settings.load())
    assert "production has no release yet" in capsys.readouterr().out
    with pytest.raises(PipelineError, match="production has no release yet: `make promote ENV=production"):
        clusters.push("production", settings.load())


def test_another_name_of_the_image(tree: Path) -> None:
    """Overlays name the image that `make image` pushes."""
    file = tree / "delivery.yaml"
    file.write_text(file.read_text().replace("  name: null", "  name: registry.example.com/other"))
    with pytest.raises(PipelineError, match="is not registry.example.com/other, the name in delivery.yaml"):
        clusters.check(settings.load())


@pytest.mark.usefixtures("tree")
def test_kserve_runs_what_the_deployment_runs() -> None:
    """An InferenceService has a copy of the container, of which only the name is another."""
    both = [manifests.read("", manifests.component(name)).pods() for name in ("release", "kserve")]
    ours, theirs = [next(pods).containers[0] for pods in both]
    assert theirs == {**ours, "name": "kserve-container"}


@pytest.mark.usefixtures("tree")
def test_a_canary_is_judged_by_what_the_server_counts() -> None:
    """Metrics and endpoints in Flagger's queries are the server's own."""
    templates = manifests.read("", manifests.component("canary")).kind("MetricTemplate")
    queries = "".join(template["spec"]["query"] for template in templates)
    declared = {metric.name for metric in METRICS.values()}
    assert {name.removesuffix("_bucket") for name in re.findall(r"slipway_\w+", queries)} <= declared
    left_out = {name for names in re.findall(r'endpoint!~"([^"]+)"', queries) for name in names.split("|")}
    assert left_out == {route.name for route in routes() if not route.scope} - {"site.page", "site.openapi"}


def flat(value: object, path: str) -> Iterator[tuple[str, object]]:
    """Give each value of a document with the way to it."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from flat(inner, f"{path}.{key}")
    else:
        yield path, value


def values(environment: str) -> dict[str, dict[str, object]]:
    """Return what each object of an overlay says, but for namespace and hash of settings, which always differ."""
    text = manifests.overlay(environment).replace(f"digits-{environment}", "digits")
    objects = manifests.read(environment, re.sub(r"serving-[0-9a-z]{10}", "serving", text)).objects
    return {manifests.title(each): dict(flat(each, "")) for each in objects}


@pytest.mark.usefixtures("tree")
def test_where_environments_differ() -> None:
    """Staging and production differ in namespace and in what difference.txt says; write it anew when you meant that."""
    staging, production = values("staging"), values("production")
    found = []
    for name in [*staging, *(production.keys() - staging.keys())]:
        if name not in staging or name not in production:
            found.append(f"{name}: {' | '.join('there' if name in each else 'not' for each in (staging, production))}")
            continue
        first, second = staging[name], production[name]
        keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
        found += [f"{name}{key}: {first.get(key)} | {second.get(key)}" for key in keys]
    assert "\n".join(sorted(found)) == DIFFERENCE.read_text().strip()
