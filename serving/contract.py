"""What a deployment may rely on: run with a container's environment, it checks that as the server would, and prints
what probes may ask and how, the ports and the longest shutdown, as JSON.

SLIPWAY_AUTH=false python -m serving.contract
"""

from __future__ import annotations

import json
import os
import sys

from serving import config
from serving.errors import ServingError
from serving.protocols import routes


def main() -> None:
    try:
        settings = config.load(os.environ)
    except ServingError as error:
        sys.exit(f"error: {error}")
    probes = sorted(route.path for route in routes() if route.method == "GET" and not route.scope)
    ports = {"http": settings.port}
    ports |= {"grpc": settings.grpc_port} if settings.grpc else {}
    ports |= {"metrics": settings.metrics_port} if settings.metrics else {}
    scheme = "HTTPS" if settings.tls_certificate else "HTTP"
    print(json.dumps({"probes": probes, "scheme": scheme, "ports": ports, "shutdown": settings.shutdown}))


if __name__ == "__main__":
    main()
