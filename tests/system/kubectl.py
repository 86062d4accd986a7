#!/usr/bin/env python3
"""Stands for kubectl and a cluster: renders for real, remembers what is applied, leads to a server here.

An emulation: no API server is here. Environment: KUBECTL (the real one), CLUSTER (a folder), PORT (of the server).
A file `broken` in the folder keeps pods from becoming ready.
"""

import os
import sys
import time
from pathlib import Path

arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--namespace")]
cluster = Path(os.environ["CLUSTER"])
current, previous = cluster / "current.yaml", cluster / "previous.yaml"
match arguments:
    case ["kustomize", *_]:
        os.execv(os.environ["KUBECTL"], sys.argv)
    case ["diff", *_]:
        sys.exit(0 if current.exists() and sys.stdin.read() == current.read_text() else 1)
    case ["apply", *_]:
        if current.exists():
            current.replace(previous)
        current.write_text(sys.stdin.read())
    case ["rollout", "status", *_]:
        sys.exit("error: deployment exceeded its progress deadline" if (cluster / "broken").exists() else 0)
    case ["rollout", "undo", *_]:
        if not previous.exists():
            sys.exit("error: no rollout history found")
        previous.replace(current)
        (cluster / "broken").unlink(missing_ok=True)
    case ["port-forward", *_]:
        print(f"Forwarding from 127.0.0.1:{os.environ['PORT']} -> 8080", flush=True)
        time.sleep(60)
    case _:
        sys.exit(f"error: the stand-in knows no {arguments}")
