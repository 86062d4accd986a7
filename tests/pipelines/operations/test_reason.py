"""What strangers wrote in an alert stays text, on its way through the receiver, the forge and the request."""

from __future__ import annotations

import json
import unicodedata
from contextlib import suppress

import cmarkgfm
from hypothesis import given
from hypothesis import strategies as st

from pipelines.operations import notification, reason

TEXT = st.text(max_size=600)


def request(summary: str) -> notification.Request:
    labels = {"action": "retrain", "alertname": "Drift"}
    alert = {"status": "firing", "labels": labels, "annotations": {"summary": summary}}
    (found,) = notification.read(json.dumps({"version": "4", "alerts": [alert]}).encode())
    return found


@given(TEXT.filter(lambda text: not any(unicodedata.category(each) == "Cs" for each in text)))
def test_a_summary_is_one_harmless_line(summary: str) -> None:
    """No line ends, which begin quick actions and fields; nothing that a forge puts a variable in for; no markup."""
    sent = request(summary).variables()["RETRAIN_SUMMARY"]
    assert len(sent) <= notification.LONGEST
    assert not {"\n", "\r", "\0", "$", "%"} & set(sent)
    text = reason.find(request(summary).variables()).text
    assert text.count("\n") == 0
    assert "<a" not in cmarkgfm.github_flavored_markdown_to_html(text)
    assert text.startswith("Alert Drift of production: ")


@given(st.binary(max_size=500))
def test_bytes_are_read_or_refused(body: bytes) -> None:
    """Whatever comes, there is no other error."""
    with suppress(notification.WrongError):
        assert notification.read(body) == []


def test_nobody_but_the_clock() -> None:
    """Without an alert the words say so."""
    found = reason.find({})
    assert found.title == "Retrain for production"
    assert found.text == "Asked for by a person or the clock, for production."


def test_titles_are_one_line() -> None:
    """A forge's variable may hold anything."""
    assert reason.find({"RETRAIN_ALERT": "a\n\nb"}).title == "Retrain for production: a b"
