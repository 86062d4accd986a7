"""Loads what Ansible finds by its path, and runs its modules in this process."""

from __future__ import annotations

import importlib.util
import json
from types import ModuleType
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args

from tests.conftest import ROOT


def load(name: str) -> ModuleType:
    """Return a plugin by its file's path below ansible/, without ending."""
    spec = importlib.util.spec_from_file_location(name.rpartition("/")[2], ROOT / "ansible" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(capsys: pytest.CaptureFixture[str], name: str, **arguments: object) -> dict[str, Any]:
    """Run a module and return its result; `failed` says whether it refused."""
    capsys.readouterr()
    with patch_module_args(arguments), pytest.raises(SystemExit):
        load(f"library/{name}").main()
    return dict(json.loads(capsys.readouterr().out))
