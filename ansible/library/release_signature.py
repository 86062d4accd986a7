"""Ansible module: is a folder the release that the key's owner signed, all of it and nothing else?

OpenSSF Model Signing v1.0 with an elliptic-curve key, checked with nothing but Python and OpenSSL, because a host that
has no release yet has nothing else, and what came over the network is not run before it is known.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

SIGNATURE = "model.sig"
PREDICATE = "https://model_signing/signature/v1.0"
HASHES = {"256": "sha256", "384": "sha384", "521": "sha512"}


class RefusedError(Exception):
    """What does not hold."""


def sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def signed(module: AnsibleModule, folder: Path, public_key: str) -> dict[str, str]:
    """Return the sha256 of each file that the key's owner signed."""
    envelope = json.loads((folder / SIGNATURE).read_bytes())["dsseEnvelope"]
    payload, kind = base64.b64decode(envelope["payload"]), envelope["payloadType"].encode()
    with tempfile.TemporaryDirectory() as place:
        files = {
            "key": public_key.encode() + b"\n",
            "signature": base64.b64decode(envelope["signatures"][0]["sig"]),
            "said": b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload),
        }
        for name, content in files.items():
            Path(place, name).write_bytes(content)
        _, described, wrong = module.run_command(
            ["openssl", "pkey", "-pubin", "-in", f"{place}/key", "-text", "-noout"]
        )
        size = re.search(r"Public-Key: \((\d+) bit\)", described)
        if not size or size[1] not in HASHES:
            raise RefusedError(f"the public key is none on P-256, P-384 or P-521: {wrong.strip()}")
        command = ["openssl", "dgst", f"-{HASHES[size[1]]}", "-verify", f"{place}/key"]
        code, _, _ = module.run_command([*command, "-signature", f"{place}/signature", f"{place}/said"])
        if code:
            raise RefusedError(f"{SIGNATURE} was not made with the key of this repository")
    statement = json.loads(payload)
    if statement["predicateType"] != PREDICATE:
        raise RefusedError(f"{SIGNATURE} is no signature of a model")
    return {one["name"]: one["digest"] for one in statement["predicate"]["resources"] if one["algorithm"] == "sha256"}


def check(module: AnsibleModule, folder: Path, public_key: str, known: dict[str, str]) -> None:
    found = {path.relative_to(folder).as_posix(): sha256(path) for path in folder.rglob("*") if path.is_file()}
    expected = dict(known)
    if public_key:
        expected = signed(module, folder, public_key)
        found.pop(SIGNATURE)
    elif not known:
        raise RefusedError("there is neither a key nor a hash to hold it against")
    for name in sorted(expected.keys() | found.keys()):
        if name not in found:
            raise RefusedError(f"{name} is missing")
        if found[name] != expected.get(name, ""):
            raise RefusedError(
                f"{name} is not the file that was signed" if name in expected else f"{name} was not signed"
            )


def main() -> None:
    arguments = {
        "folder": {"type": "path", "required": True},
        "public_key": {"type": "str", "default": "", "no_log": False},
        "sha256": {"type": "dict", "default": {}},
    }
    module = AnsibleModule(arguments, supports_check_mode=True)
    folder = Path(module.params["folder"])
    try:
        check(module, folder, module.params["public_key"], module.params["sha256"])
    except (RefusedError, OSError, ValueError, KeyError, IndexError, TypeError) as error:
        reason = error if isinstance(error, (RefusedError, OSError)) else f"{SIGNATURE} is damaged ({error!r})"
        module.fail_json(msg=f"{folder} is not the release that was signed: {reason}")
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
