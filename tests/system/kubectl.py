#!/usr/bin/env python3
"""Stands for kubectl and a cluster: renders for real, remembers what is applied, leads to a server here.

An emulation: no API server is here. Environment: KUBECTL (the real one), CLUSTER (a folder), PORT (of the server).
A file `broken` in the folder keeps pods from becoming ready, a file `cut` keeps everybody from asking them.
"""

import os
import sys
import time
from pathlib import Path

arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--namespace")]
cluster = Path(os.environ["CLUSTER"])
revisions = sorted(cluster.glob("*.json"), key=lambda file: int(file.stem))
match arguments:
    case ["kustomize", *_]:
        os.execv(os.environ["KUBECTL"], sys.argv)
    case ["diff" | "apply", *options] if not {"--server-side", "--force-conflicts"} <= set(options):
        sys.exit("error: Apply failed with 1 conflict: conflict with kubectl-client-side-apply")
    case ["diff", *_]:
        sys.exit(0 if revisions and sys.stdin.read() == revisions[-1].read_text() else 1)
    case ["apply", *_]:
        (cluster / f"{len(revisions) + 1}.json").write_text(sys.stdin.read())
    case ["get", "deployment/model-server", *_]:
        print(len(revisions) or "", end="")
    case ["rollout", "status", *_]:
        sys.exit("error: deployment exceeded its progress deadline" if (cluster / "broken").exists() else 0)
    case ["rollout", "undo", _, revision]:
        old = cluster / f"{revision.removeprefix('--to-revision=')}.json"
        (cluster / f"{len(revisions) + 1}.json").write_text(old.read_text())
        (cluster / "broken").unlink(missing_ok=True)
    case ["port-forward", *_] if (cluster / "cut").exists():
        sys.exit("error: unable to forward port")
    case ["port-forward", *_]:
        print(f"Forwarding from 127.0.0.1:{os.environ['PORT']} -> 8080", flush=True)
        time.sleep(60)
    case _:
        sys.exit(f"error: the stand-in knows no {arguments}")
