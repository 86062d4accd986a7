"""What lies beside an image in its registry, as cosign has it: signatures and lists of parts, by tags of its digest.

https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md; skopeo carries them, so any registry takes them.
There cosign, Kyverno and the Sigstore policy controller look for them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from pipelines.command import PipelineError
from pipelines.delivery import signing

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
SIGNED = "application/vnd.dev.cosign.simplesigning.v1+json"
PARTS = "application/vnd.cyclonedx+json"
SIGNATURE = "dev.cosignproject.cosign/signature"


def load_key(public: Path, environment: Mapping[str, str]) -> ec.EllipticCurvePrivateKey:
    """Return the release key. Raises PipelineError when there is none, or another than the public half says."""
    with signing.private_key(environment) as file:
        try:
            key = serialization.load_pem_private_key(file.read_bytes(), password=None)
        except (TypeError, ValueError) as error:
            raise PipelineError(f"{signing.KEY} is no PEM file of a private key without a password: {error}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PipelineError(f"{signing.KEY} is no key of an elliptic curve, as `openssl ecparam -genkey` makes")
    if key.public_key() != serialization.load_pem_public_key(public.read_bytes()):
        raise PipelineError(f"{signing.KEY} is not the private half of {public}")
    return key


def exists(name: str) -> bool:
    """Whether a registry has an image. Raises PipelineError without skopeo."""
    return _skopeo("inspect", "--raw", f"docker://{name}").returncode == 0


def sign(name: str, digest: str, key: ec.EllipticCurvePrivateKey) -> None:
    """Sign an image, and each processor's of it. Raises PipelineError."""
    listed = json.loads(_done("inspect", "--raw", f"docker://{name}@{digest}")).get("manifests", [])
    for each in (digest, *(one["digest"] for one in listed)):
        payload = {
            "critical": {
                "identity": {"docker-reference": name},
                "image": {"docker-manifest-digest": each},
                "type": "cosign container image signature",
            },
            "optional": None,
        }
        content = json.dumps(payload, separators=(",", ":")).encode()
        signature = base64.b64encode(key.sign(content, ec.ECDSA(hashes.SHA256()))).decode()
        layer = {"mediaType": SIGNED, "annotations": {SIGNATURE: signature}}
        _attach(name, each, "sig", layer, content)


def list_parts(name: str, digest: str, parts: bytes) -> None:
    """Put the list of its parts (CycloneDX) beside an image. Raises PipelineError."""
    _attach(name, digest, "sbom", {"mediaType": PARTS}, parts)


def _attach(name: str, digest: str, kind: str, layer: Mapping[str, object], content: bytes) -> None:
    """Put content beside an image, in place of what was there of this kind."""
    with tempfile.TemporaryDirectory() as folder:
        layout = Path(folder)
        (layout / "blobs" / "sha256").mkdir(parents=True)
        layer = {**_blob(layout, content), **layer}
        rootfs = {"type": "layers", "diff_ids": [layer["digest"]]}
        config = _blob(layout, json.dumps({"architecture": "", "os": "", "config": {}, "rootfs": rootfs}).encode())
        manifest = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": {**config, "mediaType": CONFIG},
            "layers": [layer],
        }
        described = {**_blob(layout, json.dumps(manifest).encode()), "mediaType": MANIFEST}
        index = {"schemaVersion": 2, "manifests": [described]}
        (layout / "index.json").write_text(json.dumps(index))
        (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
        _done("copy", "--quiet", f"oci:{layout}", f"docker://{name}:{digest.replace(':', '-')}.{kind}")


def _blob(layout: Path, content: bytes) -> dict[str, object]:
    number = hashlib.sha256(content).hexdigest()
    (layout / "blobs" / "sha256" / number).write_bytes(content)
    return {"digest": f"sha256:{number}", "size": len(content)}


def _skopeo(*arguments: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(["skopeo", *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607
    except FileNotFoundError:
        raise PipelineError("skopeo is missing, which comes beside podman in every distribution") from None


def _done(*arguments: str) -> str:
    result = _skopeo(*arguments)
    if result.returncode:
        raise PipelineError(f"the registry does not take what belongs to the image: {result.stderr.strip()}")
    return result.stdout
