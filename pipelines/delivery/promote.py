"""Let an environment run a release: one line of environments/<name>/serving.env, committed.

make promote ENV=staging TAG=v1.2.3               commits here
make promote ENV=production TAG=v1.2.3 PUSH=yes   and asks for a merge request of it

The release must be published and hold in every byte. Candidates such as v1.2.3-rc.1 go to staging alone, and production
takes what staging has had.
"""

from __future__ import annotations

import argparse

from pipelines import logs
from pipelines.command import PipelineError, run
from pipelines.delivery import environments, merge_request, settings, tags
from pipelines.delivery.environments import NOTHING, PRODUCTION, STAGING
from pipelines.delivery.preconditions import MAIN
from pipelines.delivery.verify import verify
from pipelines.review import repository


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("environment", help="a folder of environments/")
    parser.add_argument("tag", help="like v1.2.3")
    parser.add_argument("--push", action="store_true", help="push a branch of it and ask for a merge request")
    options = parser.parse_args()
    promote(options.environment, options.tag)
    if options.push:
        print(merge_request.open_for(options.environment, options.tag))


def promote(environment: str, tag: str) -> None:
    """Raise PipelineError when the release may not run there; nothing has changed then."""
    logs.note(environment=environment, release=tag)
    running = environments.current(environment)
    if running == tag:
        raise PipelineError(f"{environment} has {tag} already")
    if environment != STAGING and not tags.parse(tag).is_final:
        raise PipelineError(f"{tag} is a candidate, for {STAGING} alone: tag {tag.partition('-')[0]} when it is good")
    remote = repository.remote()
    shared = f"{remote}/{MAIN}" if remote else "HEAD"
    if environment == PRODUCTION and tag not in {each.release for each in environments.history(STAGING, shared)}:
        raise PipelineError(f"{tag} has not been in {STAGING} on main: first `make promote ENV={STAGING} TAG={tag}`")
    manifest = verify(tag, settings.load())
    why = f"Instead of {running or NOTHING}. Accuracy {manifest.metrics['accuracy']:.2%} when it was released."
    environments.commit(environment, tag, f"Promote {tag} to {environment}\n\n{why}")
    print(f"{environment}: {tag} instead of {running or NOTHING}, once this commit is on main")


if __name__ == "__main__":
    run(main)
