"""Settings from the environment."""

from __future__ import annotations

import os
import subprocess
import sys

import msgspec
import pytest

from serving import config
from serving.config import ConfigError, Settings, variable
from tests.conftest import ROOT


def test_nothing_set_serves_loopback() -> None:
    """Defaults are those of the class; variables without the prefix and empty ones do not count."""
    assert config.load({"PORT": "1", "PATH": "x", "SLIPWAY_PORT": "", "RELEASE": ""}) == Settings()
    assert Settings().open


def test_values_are_converted() -> None:
    """Numbers, truths and texts."""
    found = config.load({"RELEASE": "v1", "SLIPWAY_WORKERS": "3", "SLIPWAY_METRICS": "false", "SLIPWAY_DRAIN": "0.5"})
    assert (found.release, found.workers, found.metrics, found.drain) == ("v1", 3, False, 0.5)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"SLIPWAY_PROT": "1"}, "SLIPWAY_PROT is no setting: did you mean SLIPWAY_PORT?"),
        ({"SLIPWAY_XYZXYZ": "1"}, "the settings are SLIPWAY_MODEL, RELEASE"),
        ({"SLIPWAY_PORT": "http"}, "SLIPWAY_PORT=http: expected `int`, got `str`"),
        ({"SLIPWAY_PORT": "70000"}, "SLIPWAY_PORT=70000: expected `int` <= 65535"),
        ({"SLIPWAY_WORKERS": "0"}, "SLIPWAY_WORKERS=0: expected `int` >= 1"),
        ({"SLIPWAY_DEADLINE": "nan"}, "SLIPWAY_DEADLINE=nan"),
        ({"SLIPWAY_MODEL_NAME": "a/b"}, "SLIPWAY_MODEL_NAME=a/b"),
        ({"SLIPWAY_TLS_KEY": "x"}, "come together"),
        ({"SLIPWAY_TLS_CLIENT_CA": "x"}, "needs SLIPWAY_TLS_CERTIFICATE"),
        ({"SLIPWAY_CANARY_PERCENT": "5"}, "need SLIPWAY_CANARY"),
        ({"SLIPWAY_DRAIN": "30"}, "must be a second longer"),
        ({"SLIPWAY_GRPC_PORT": "8080"}, "must differ"),
        ({"SLIPWAY_HOST": "0.0.0.0"}, "reached from other machines"),
        ({"SLIPWAY_HOST": "::"}, "reached from other machines"),
        ({"SLIPWAY_HOST": "example.com"}, "reached from other machines"),
    ],
)
def test_wrong_settings_are_refused(given: dict[str, str], said: str) -> None:
    """With the variable, what it was, and what would be right."""
    with pytest.raises(ConfigError) as error:
        config.load(given)
    assert said in str(error.value)


def test_beyond_loopback_with_credentials_or_on_purpose() -> None:
    """Keys, tokens, or the word that nobody needs one."""
    for extra in ({"SLIPWAY_API_KEYS": "k"}, {"SLIPWAY_JWT_KEYS": "k"}, {"SLIPWAY_AUTH": "false"}):
        found = config.load({"SLIPWAY_HOST": "0.0.0.0", **extra})
        assert found.open == ("SLIPWAY_AUTH" in extra)


def test_help_describes_every_setting() -> None:
    """`python -m serving --help` has each variable with its default."""
    text = subprocess.check_output([sys.executable, "-m", "serving", "--help"], cwd=ROOT, text=True)
    for field in msgspec.structs.fields(Settings):
        assert f"  {variable(field.name)} " in text


def test_a_wrong_setting_ends_the_server_at_once() -> None:
    """With one line and exit code 1."""
    environment = os.environ | {"SLIPWAY_PROT": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "serving"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert done.stderr == "error: SLIPWAY_PROT is no setting: did you mean SLIPWAY_PORT?\n"
