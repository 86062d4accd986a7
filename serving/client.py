"""Ask a server what pictures show, and whether it says what is known; deployments check themselves with it.

python -m serving.client image.png photo.jpg
python -m serving.client --url https://model.example.com --expect 7 image.png
python -m serving.client --examples v1.2.3/examples.json --release v1.2.3
SERVING_KEY=... python -m serving.client image.png
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import ssl
import statistics
import sys
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from model import ModelError, examples
from model.examples import Example
from serving.errors import ServingError

KEY = "SERVING_KEY"
COLUMNS = "{:<32} {:<20} {:>11} {:>9}"


class ClientError(ServingError):
    """The server does not answer, refuses, or answers something else than was expected."""


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m serving.client", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="*", type=Path, help="PNG or JPEG files")
    parser.add_argument("--examples", type=Path, help="file of a release: fail unless it is answered as it says")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="of the server [http://127.0.0.1:8080]")
    parser.add_argument("--expect", metavar="LABEL", help="fail unless every picture is answered with this label")
    parser.add_argument("--release", help="fail unless this release answers")
    parser.add_argument("--ca", type=Path, help="PEM file of the authority that signed the server's certificate")
    parser.add_argument("--timeout", type=float, default=10, help="seconds to wait for an answer [10]")
    given = parser.parse_args(arguments)
    try:
        _run(given)
    except (ModelError, ServingError, OSError, http.client.HTTPException) as error:
        sys.exit(f"error: {given.url}: {error}" if not isinstance(error, FileNotFoundError) else f"error: {error}")


def _run(given: argparse.Namespace) -> None:
    known = examples.load(given.examples) if given.examples else []
    pictures: list[tuple[str, bytes, Example | None]] = [(str(path), path.read_bytes(), None) for path in given.images]
    pictures += [(f"example {number}", one.png, one) for number, one in enumerate(known)]
    if not pictures:
        raise ClientError("there is no picture to ask about: name files, or --examples of a release")
    connection = _connect(given)
    latencies, wrong = [], []
    print(COLUMNS.format("picture", "label", "probability", "ms"))
    for name, content, example in pictures:
        started = time.perf_counter()
        answer = _ask(connection, content)
        latencies.append((time.perf_counter() - started) * 1000)
        (found,) = answer["predictions"]
        print(COLUMNS.format(name[-32:], found["label"], f"{found['probability']:.4f}", f"{latencies[-1]:.1f}"))
        if given.expect is not None and found["label"] != given.expect:
            wrong.append(f"{name} is {found['label']!r}, expected {given.expect!r}")
        if example and (what := example.differs(found["label"], found["probability"])):
            wrong.append(f"{name} is answered {what}")
        if given.release and answer["release"] != given.release:
            wrong.append(f"release {answer['release']} answered, expected {given.release}")
    print(f"release {answer['release']}, median {statistics.median(latencies):.1f} ms")
    if wrong:
        raise ClientError("; ".join(wrong))


def _connect(given: argparse.Namespace) -> http.client.HTTPConnection:
    address = urlsplit(given.url)
    if address.scheme == "https" and address.hostname:
        context = ssl.create_default_context(cafile=given.ca)
        return http.client.HTTPSConnection(address.hostname, address.port, timeout=given.timeout, context=context)
    if address.scheme == "http" and address.hostname:
        return http.client.HTTPConnection(address.hostname, address.port, timeout=given.timeout)
    raise ClientError("expected an address such as http://127.0.0.1:8080")


def _ask(connection: http.client.HTTPConnection, picture: bytes) -> Any:  # noqa: ANN401 (JSON)
    headers = {"Authorization": f"Bearer {os.environ[KEY]}"} if os.environ.get(KEY) else {}
    connection.request("POST", "/v1/predict", picture, headers)
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise ClientError(f"status {response.status}: {body[:500].decode(errors='replace')}")
    return json.loads(body)


if __name__ == "__main__":
    main()
