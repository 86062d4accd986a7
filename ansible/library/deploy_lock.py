"""Ansible module: one deploy at a time. A lock that its owner renews, and that is free when nobody has for a while.

`unfinished` says that the last one to hold it wanted the same and has not let it go.
"""

from __future__ import annotations

import fcntl
import json
import time
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    arguments = {
        "path": {"type": "path", "required": True},
        "owner": {"type": "str", "required": True},
        "what": {"type": "str", "required": True},
        "lease": {"type": "int", "default": 900},
        "state": {"choices": ["present", "absent"], "default": "present"},
    }
    module = AnsibleModule(arguments, supports_check_mode=True)
    owner, what, path = module.params["owner"], module.params["what"], Path(module.params["path"])
    if module.check_mode:
        module.exit_json(changed=False, unfinished=False)
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # for the blink in which it is looked at
        file.seek(0)
        held = json.loads(file.read() or "{}")
        rest = held.get("until", 0) - time.time()
        if held.get("owner") not in {None, owner} and rest > 0:
            module.fail_json(
                msg=f"{held['owner']} is deploying here; if that ended without a word, try again in {rest:.0f} s",
                owner=held["owner"],
            )
        mine = module.params["state"] == "present"
        file.truncate(0)
        file.write(
            json.dumps({"owner": owner, "what": what, "until": time.time() + module.params["lease"]}) if mine else "{}"
        )
    module.exit_json(changed=False, unfinished=held.get("what") == what)


if __name__ == "__main__":
    main()
