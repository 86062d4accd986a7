"""A forge's API: JSON in, JSON out, and errors with the forge's own words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from pipelines.command import PipelineError

TIMEOUT = 60.0  # seconds
NOT_FOUND = 404


class Api:
    def __init__(self, address: str, headers: dict[str, str]) -> None:
        self._address = address.rstrip("/")
        self._headers = headers
        self._session = requests.Session()
        # GET, PUT and DELETE may be sent again; a POST whose answer is lost may have been carried out.
        retry = Retry(total=3, backoff_factor=1, status_forcelist=[429, 502, 503, 504], raise_on_status=False)
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def send(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 (what the forge answers)
        """Return the answer, None for what is not there. Raises PipelineError with the forge's own words."""
        return self._send(method, f"{self._address}/{path}", json=body)

    def upload(self, method: str, address: str, file: Path) -> Any:  # noqa: ANN401 (what the forge answers)
        """Send a file to an address of this forge, relative to the API's or whole."""
        if not address.startswith(("https://", "http://")):
            address = f"{self._address}/{address}"
        with file.open("rb") as content:
            return self._send(method, address, data=content, kind="application/octet-stream")

    def _send(self, method: str, address: str, kind: str = "", **body: Any) -> Any:  # noqa: ANN401 (what the forge answers)
        def sign(request: requests.PreparedRequest) -> requests.PreparedRequest:
            # Headers that requests gets the usual way lose against a password for the host in ~/.netrc.
            request.headers.update(self._headers | ({"Content-Type": kind} if kind else {}))
            return request

        try:
            response = self._session.request(method, address, auth=sign, timeout=TIMEOUT, allow_redirects=False, **body)
        except requests.RequestException as error:
            # Its name only: its words may hold a header with the token.
            raise PipelineError(f"{self._address} cannot be reached: {type(error).__name__}") from None
        if method == "GET" and response.status_code == NOT_FOUND:
            return None
        if not 200 <= response.status_code < 300:
            raise PipelineError(f"{method} {address}: {response.status_code} {response.text[:300]}")
        try:
            return response.json() if response.content else None
        except ValueError:
            raise PipelineError(f"{method} {address}: the answer is not that of a forge's API") from None
