"""pipelines.review.report, chart, markdown and junit: what people and forges read, whatever the labels hold."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree as ET

import cmarkgfm
import msgspec
import pytest
from cmarkgfm.cmark import Options
from hypothesis import given
from hypothesis import strategies as st

from pipelines.review import junit
from pipelines.review.chart import slices_chart
from pipelines.review.markdown import code, line, plain, table
from pipelines.review.report import render
from pipelines.review.verdict import Changes, Exposure, Finding, Flip, Review, Verdict

HOSTILE = "<img src=x onerror=alert(1)> | `b` **x** @everyone #1 [a](http://x.example.com) $y$ ]]>"
WHOLE = 1_000_000


def html(markdown: str) -> str:
    """Render as GitHub does, with its table and autolink extensions, letting <details> through."""
    return cmarkgfm.github_flavored_markdown_to_html(markdown, options=Options.CMARK_OPT_UNSAFE)


def slices(labels: list[str]) -> list[Finding]:
    return [
        Finding(
            rule="slices",
            subject=f"label {label}",
            verdict=Verdict.FAIL if number == 0 else Verdict.PASS,
            reason=f"worse on {label}" if number == 0 else "fine",
            value=0.5,
            incumbent=0.9,
            change=-0.4,
            low=-0.5,
            high=-0.3,
            limit=-0.2,
            examples=40,
        )
        for number, label in enumerate(labels)
    ]


def review(labels: list[str], **changed: object) -> Review:
    flips = [
        Flip(
            id=f"{number:032}",
            position=number,
            label=label,
            incumbent=label,
            candidate="x",
            confidence=0.9,
            fixed=False,
        )
        for number, label in enumerate(labels)
    ]
    whole = Review(
        name="digits",
        verdict=Verdict.FAIL,
        may_merge=False,
        summary="Fails on slices.",
        base="origin/main",
        base_commit="a" * 40,
        confidence=0.95,
        examples=448,
        findings=[
            Finding(rule="evidence", verdict=Verdict.PASS, reason="metrics follow"),
            Finding(
                rule="log_loss",
                verdict=Verdict.INCONCLUSIVE,
                reason="may be 0.07 worse",
                value=0.2,
                incumbent=0.15,
                change=0.05,
                low=0.01,
                high=0.07,
                limit=0.06,
                needed=900,
            ),
            *slices(labels),
            Finding(
                rule="size",
                verdict=Verdict.PASS,
                reason="ok",
                value=99896,
                incumbent=99896,
                change=1,
                low=1,
                high=1,
                limit=1.1,
            ),
        ],
        flips=flips,
        flipped=(0, len(flips)),
        exposure=Exposure(judged=12, budget=10, joint_confidence=0.4, complete=True),
        changes=Changes(params={"train.seed": (1, 2)}, data={"train": (10, 12)}, files=["a_b.py"]),
        commit="b" * 40,
        notes=["The test set changed since."],
    )
    return msgspec.structs.replace(whole, **changed)


def test_the_first_screen_says_what_matters() -> None:
    """Verdict, whether the merge may go ahead, what changed, and the worst rule on top, in thirty lines."""
    text = render(review(["3", "5"]), WHOLE)
    head = text.split("<details>")[0]
    assert len(head.splitlines()) < 30
    assert "fail" in head.splitlines()[0]
    assert "is blocked" in head
    assert "`origin/main` (aaaaaaaaaa)" in head
    rows = [line for line in head.splitlines() if line.startswith("| ")][2:]
    assert "slices: 1 of 2, worst `label 3`" in rows[0]
    assert "-40.00 [-50.00, -30.00]" in rows[0]
    assert "log loss" in rows[1]
    assert "`train.seed` `1` to `2`" in head
    assert "train 10 to 12" in head
    assert "Fresh test data is due" in head


def test_github_renders_it_as_meant() -> None:
    """Tables become tables, folded sections hold them, the chart stays a Mermaid block."""
    text = html(render(review(["3", "5"]), WHOLE))
    assert text.count("<table>") == 4
    assert text.count("<details>") == text.count("</details>") == 5
    assert '<pre lang="mermaid"><code>%%{init' in text
    assert text.index("<details>") > text.index("<table>")
    assert "<li>a_b.py</li>" in text


@given(label=st.one_of(st.just(HOSTILE), st.text(min_size=1, max_size=30)))
def test_labels_are_text_not_markup(label: str) -> None:
    """Whatever a label holds, the page has the same tags and links as with a plain one."""

    def tags(name: str) -> list[str]:
        return re.findall(r"</?[a-z]+", html(render(review([name, "b"]), WHOLE)))

    assert tags(label) == tags("a")


@given(text=st.text(max_size=60))
def test_escaped_text_shows_as_it_is(text: str) -> None:
    """In a table, plain text and code spans come out as they went in, but for white space and the invisible joiner."""
    rendered = html(table(("a", "b"), [(plain(text), code(text))]))
    cells = (
        [ET.fromstring(cell) for cell in re.findall(r"<td>.*?</td>", rendered, re.DOTALL)] if printable(text) else []
    )
    flat = line(text)
    assert all("".join(cell.itertext()).replace("\N{WORD JOINER}", "").strip() == flat for cell in cells)


def printable(text: str) -> bool:
    return all(character.isprintable() and character != "\N{WORD JOINER}" for character in text)


@pytest.mark.parametrize("limit", [500, 2000, 5000, 65_536])
def test_a_long_report_is_cut_between_sections(limit: int) -> None:
    """It keeps to the limit, every section that is opened is closed, and it says that more is elsewhere."""
    text = render(review([f"class {number}" for number in range(300)]), limit)
    assert len(text) <= limit
    assert text.count("<details>") == text.count("</details>")
    assert text.count("```") % 2 == 0
    if limit >= 5000:
        assert "review.json" in text or limit > 60_000


def test_a_chart_of_few_classes_only() -> None:
    """Thirty bars can be read, hundreds cannot; names are what Mermaid takes as text."""
    assert slices_chart(review([str(number) for number in range(300)])) == ""
    chart = slices_chart(review([HOSTILE, "b"]))
    (axis,) = re.findall(r"x-axis \[(.*)\]", chart)
    assert re.fullmatch(r'"[\w .-]+", "b"', axis)
    assert "line [90.0, 90.0]" in chart


def test_junit_has_a_case_for_each_finding(tmp_path: Path) -> None:
    """Failures and blocking doubts are failed tests, other doubts are skipped; any label makes valid XML."""
    made = review([HOSTILE, "\x00\x1b\uffff", "5"])
    junit.write(made, tmp_path / "junit.xml")
    root = ET.parse(tmp_path / "junit.xml").getroot()
    assert len(root.findall(".//testcase")) == len(made.findings)
    assert len(root.findall(".//failure")) == 2
    junit.write(msgspec.structs.replace(made, may_merge=True), tmp_path / "junit.xml")
    assert len(ET.parse(tmp_path / "junit.xml").getroot().findall(".//skipped")) == 1
