"""Keep clusters on what Git says: environments/<name>/serving.env, rendered by k8s/overlays/<name>.

make check-k8s                  render all, and check what no cluster would tell before it is too late
make deploy-k8s ENV=staging     show the difference, apply it, wait, ask for predictions; or undo it

A cluster that follows Git by itself (Argo CD, Flux) needs the first alone: docs/kubernetes.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from pipelines import logs
from pipelines.clusters import deploy, jobs, manifests, pod_security, references, schemas
from pipelines.clusters.manifests import Rendered
from pipelines.command import PipelineError, run
from pipelines.delivery import environments, settings
from pipelines.delivery.settings import Settings


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="overlays, and each component on its own")
    deploying = commands.add_parser("deploy", help="push what an environment is to run")
    deploying.add_argument("environment", help="a folder of environments/ and k8s/overlays/")
    given = parser.parse_args()
    if given.command == "check":
        check(settings.load())
    else:
        push(given.environment, settings.load())


def check(chosen: Settings) -> None:
    """Print what holds. Raises PipelineError with all that does not."""
    found: list[str] = []
    for rendered in _all():
        problems = list(_problems(rendered, chosen))
        found += [f"{rendered.name}: {problem}" for problem in problems]
        outcome = f"{len(problems)} problems" if problems else "ok"
        print(f"{rendered.name:<28} {len(rendered.objects):>3} objects  {outcome}")
    for name in manifests.overlays():
        if not environments.current(name):
            print(f"{name} has no release yet; it was checked as if it had: `make promote ENV={name} TAG=v1.2.3`")
    if found:
        raise PipelineError("\n  ".join(("Kubernetes would not run this as it is meant:", *found)))
    print(f"all hold on Kubernetes {schemas.VERSIONS[0]} to {schemas.VERSIONS[-1]}")


def push(environment: str, chosen: Settings) -> None:
    """Check an overlay and bring it to its cluster. Raises PipelineError."""
    logs.note(environment=environment, release=environments.current(environment))
    rendered = manifests.read(f"overlays/{environment}", manifests.overlay(environment))
    if found := list(_problems(rendered, chosen)):
        raise PipelineError("\n  ".join((f"{environment} is not deployed:", *found)))
    deploy.deploy(environment, rendered, chosen)


def _all() -> Iterator[Rendered]:
    for name in manifests.overlays():
        yield manifests.read(f"overlays/{name}", manifests.overlay(name))
    for name in manifests.components():
        yield manifests.read(f"components/{name}", manifests.component(name))


def _problems(rendered: Rendered, chosen: Settings) -> Iterator[str]:
    wrong = list(schemas.check(rendered))
    yield from wrong
    if not wrong:  # the others go by the schemas
        yield from pod_security.check(rendered)
        yield from references.check(rendered, chosen)
        yield from jobs.check(rendered, chosen)


if __name__ == "__main__":
    run(main)
