"""The fields of log lines are the same in the code, in docs/logs.md, in Logstash's pipeline and in the index template.

Logstash itself runs nowhere here: its pipeline is read by a parser of its language.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from logstash_pipeline_parser import Pipeline
from logstash_pipeline_parser.tree import ParseError

from serving import logs
from tests.conftest import ROOT
from tests.contracts.log_fields import FOLDER, SHIPPED, declared, types

LOGSTASH = FOLDER / "logstash.conf"
PAGE = (ROOT / "docs" / "logs.md").read_text()
ROWS = re.findall(r"^\| `([^`]+)` \| (\w+) \| ([\w ,]+) \|", PAGE, re.MULTILINE)


def setting(key: str) -> Any:
    ((_, value),) = Pipeline(LOGSTASH.read_text()).search(key)
    return value


def test_the_page_lists_every_field() -> None:
    """With its type in the index, and the lines that have it."""
    found = declared()
    assert {name: kind for name, kind, _ in ROWS} == types()
    assert set(types()) == {*found, SHIPPED}
    for name, _, lines in ROWS:
        kinds = set(lines.split(", "))
        everywhere = name == SHIPPED or found[name] == {"access", "server", "pipeline", "receiver"}
        assert kinds == ({"all"} if everywhere else found[name]), name


def test_logstash_passes_them_and_no_other() -> None:
    """Its whitelist is the fields', each whole and with its dots."""
    (patterns,) = setting("filter.prune.whitelist_names")
    assert set(patterns) == {f"^{name.replace('.', '[.]')}$" for name in types()}
    assert not [
        name for name in ("message", "@version", "agent", "labelsxclass") for one in patterns if re.search(one, name)
    ]


def test_logstash_s_pipeline_is_read_by_its_parser() -> None:
    """It parses, and one with a brace less does not."""
    text = LOGSTASH.read_text()
    assert [section for section, _ in Pipeline(text).parse()] == ["input", "filter", "output"]
    with pytest.raises(ParseError):
        Pipeline(text.replace("drop { }", "drop { ")).parse()


def test_both_agents_write_to_the_template_s_stream() -> None:
    """As a data stream has it: created, never replaced, over TLS, with a password that no file holds."""
    index, operation = setting("output.elasticsearch.index"), setting("output.elasticsearch.action")
    assert (index, operation) == (["logs-slipway-default"], ["create"])
    text = (FOLDER / "rsyslog.conf").read_text()
    assert {f'searchIndex="{index[0]}"', f'writeoperation="{operation[0]}"', 'usehttps="on"'} <= set(text.split())
    assert 'index_patterns": ["logs-slipway-*"]' in (FOLDER / "index-template.json").read_text()
    for name in (text, LOGSTASH.read_text()):
        variables = set(re.findall(r"\$\{?([A-Z_]{5,})", name))
        assert variables
        assert all(f"`{variable}`" in PAGE for variable in variables), variables
    assert setting("output.elasticsearch.password") == ["${ELASTICSEARCH_PASSWORD}"]


def keys(path: Path) -> set[str]:
    """Return the names with dots that a file's calls of `event` give."""
    found: set[str] = set()
    for call in ast.walk(ast.parse(path.read_text())):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "event":
            found |= {keyword.arg for keyword in call.keywords if keyword.arg}
            found |= {
                str(key.value)
                for node in ast.walk(call)
                if isinstance(node, ast.Dict)
                for key in node.keys
                if isinstance(key, ast.Constant)
            }
    return found


def test_the_server_says_what_it_declares() -> None:
    """No call of `event` names a field that serving/logs.py does not."""
    found = set().union(*(keys(path) for path in (ROOT / "serving").rglob("*.py")))
    assert found
    assert found <= set(logs.NAMES)
