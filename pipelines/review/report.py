"""The review as one Markdown text that GitLab and GitHub render alike: the verdict first, the rest to unfold."""

from __future__ import annotations

from pipelines.review.chart import slices_chart
from pipelines.review.markdown import code, fold, plain, table
from pipelines.review.verdict import BUDGETS, SEVERITY, Changes, Finding, Review, Verdict, worst, worst_first

MARKS = {
    Verdict.PASS: "\N{WHITE HEAVY CHECK MARK}",
    Verdict.FAIL: "\N{CROSS MARK}",
    Verdict.INCONCLUSIVE: "\N{BLACK QUESTION MARK ORNAMENT}",
    Verdict.NO_INCUMBENT: "\N{SQUARED NEW}",
    Verdict.NOT_JUDGED: "\N{MEDIUM WHITE CIRCLE}",
}
SHARES = {"accuracy", "macro_f1", "slices", "quantization", "robustness", "invariance", "direction"}
"""Rules whose values are shares, shown in percent."""
MOST_ROWS = 100
"""Of a folded table."""
MOST_PARAMS = 5
"""Changed parameters before the fold."""
ELLIPSIS = "\n\nThe rest is in `reports/review.json`: the report was cut to what a comment may hold.\n"


def render(review: Review, limit: int) -> str:
    """Return the report in at most `limit` characters: sections that do not fit are left out whole."""
    text = "\n\n".join(_head(review)) + "\n"
    for section in _sections(review):
        if len(text) + len(section) + 2 > limit - len(ELLIPSIS):
            return (text + ELLIPSIS)[:limit]
        text += f"\n{section}\n"
    return text[:limit]


def _head(review: Review) -> list[str]:
    against = f"against {code(review.base)}" if review.base_commit else "without an incumbent"
    if review.base_commit and not review.base_commit.startswith(review.base):
        against += f" ({review.base_commit[:10]})"
    of = f" of commit {review.commit[:10]}" if review.commit else ""
    return [
        f"## {MARKS[review.verdict]} Model review of {code(review.name)}: {review.verdict}",
        f"**{plain(review.summary)}** The merge {'may go ahead' if review.may_merge else 'is blocked'}.",
        f"The model{of} {against}, on {review.examples:,} test examples at {review.confidence:.0%} confidence.",
        *(f"> {plain(note)}" for note in review.notes),
        table(
            ("", "rule", "incumbent", "candidate", "change", "limit"),
            (_rule_row(name, findings) for name, findings in sorted(review.rules().items(), key=_severity)),
            right=(2, 3, 4, 5),
        ),
        *_changes(review.changes),
        " ".join(plain(text) if number == 0 else f"**{plain(text)}**" for number, text in enumerate(exposure(review))),
    ]


def _severity(rule: tuple[str, list[Finding]]) -> int:
    return min(SEVERITY.index(finding.verdict) for finding in rule[1])


def _rule_row(name: str, findings: list[Finding]) -> tuple[str, ...]:
    """Return the row of a rule's worst finding, saying how many there are."""
    verdict = worst(finding.verdict for finding in findings)
    shown = min((finding for finding in findings if finding.verdict is verdict), key=_slack)
    title = name.replace("_", " ")
    if len(findings) > 1:
        of_them = sum(finding.verdict is verdict for finding in findings)
        where = f"{shown.subject[:40]}" if name != "golden" else shown.subject[:8]
        title += f": {of_them} of {len(findings)}, worst {code(where)}" if where else ""
    return (MARKS[verdict], title, *numbers(shown))


def _slack(finding: Finding) -> float:
    if finding.low is None or finding.high is None or finding.limit is None:
        return 0.0 if finding.value is None else finding.value
    return finding.low - finding.limit if finding.limit < 0 else finding.limit - finding.high


def numbers(finding: Finding) -> tuple[str, str, str, str]:
    """Return incumbent, candidate, change with its interval, and limit, as text."""
    change = limit = ""
    if finding.change is not None and finding.low is not None and finding.high is not None:
        show = _change if finding.rule not in BUDGETS else _ratio
        change = f"{show(finding, finding.change)} [{show(finding, finding.low)}, {show(finding, finding.high)}]"
        if finding.low == finding.high:
            change = show(finding, finding.change)
    if finding.limit is not None:
        limit = _change(finding, finding.limit) if finding.rule not in BUDGETS else _ratio(finding, finding.limit)
    if finding.value is None:
        change = plain(finding.reason)
    return _value(finding, finding.incumbent), _value(finding, finding.value), change, limit


def _value(finding: Finding, value: float | None) -> str:
    if value is None:
        return ""
    if finding.rule == "size":
        return f"{value:,.0f} B"
    if finding.rule == "latency":
        return f"{value:.3g} ms"
    return f"{value:.2%}" if finding.rule in SHARES else f"{value:.4f}"


def _change(finding: Finding, value: float) -> str:
    return f"{value * 100:+.2f}" if finding.rule in SHARES else f"{value:+.4f}"


def _ratio(_: Finding, value: float) -> str:
    return f"{value:.2f}x"


def _changes(changes: Changes | None) -> list[str]:
    if changes is None:
        return []
    params = [f"{code(name)} {code(str(old))} to {code(str(new))}" for name, (old, new) in changes.params.items()]
    # What the model is judged by comes first: nobody should overlook that.
    params.sort(key=lambda text: not text.startswith(("`gate.", "`evaluate.")))
    parts = []
    if params:
        more = f" and {len(params) - MOST_PARAMS} more" if len(params) > MOST_PARAMS else ""
        parts.append(f"parameters {', '.join(params[:MOST_PARAMS])}{more}")
    if changes.data:
        parts.append("data " + ", ".join(f"{part} {old:,} to {new:,}" for part, (old, new) in changes.data.items()))
    if files := len(changes.files):
        parts.append(f"{files:,} file{'s' if files > 1 else ''} of the repository")
    return [f"**What changed:** {'; '.join(parts) or 'nothing that Git knows of'}."]


def exposure(review: Review) -> list[str]:
    """Return what to say of the test set's wear, and that new data is due when it is."""
    found = review.exposure
    seen = "" if found.complete else " at least, in this shallow clone,"
    text = (
        f"This test set has judged{seen} {found.judged} candidate{'s' if found.judged != 1 else ''} of the "
        f"{found.budget} that it is good for: if none was made in the light of another's verdict, all hold together "
        f"with {found.joint_confidence:.0%} confidence."
    )
    said = [text]
    if found.judged > found.budget:
        said.append("Fresh test data is due: the model has been fitted to this one, verdict by verdict.")
    return said


def _sections(review: Review) -> list[str]:
    found = []
    if moved := [row for row in review.findings if row.rule == "slices" and _moved(row)]:
        found.append(fold(f"Slices that moved: {len(moved)}", _findings(moved)))
    if review.flips:
        fixed, broken = review.flipped
        body = table(
            ("", "example", "label", "incumbent", "candidate", "sure"),
            (
                (
                    "fixed" if flip.fixed else "**broken**",
                    code(flip.id),
                    code(flip.label),
                    code(flip.incumbent),
                    code(flip.candidate),
                    f"{flip.confidence:.0%}",
                )
                for flip in review.flips[:MOST_ROWS]
            ),
            right=(5,),
        )
        found.append(fold(f"Examples that flipped: {broken:,} broken, {fixed:,} fixed", body))
    if chart := slices_chart(review):
        found.append(fold("Accuracy by class", chart))
    found.append(fold(f"Every finding: {len(review.findings)}", _findings(worst_first(review.findings)[:MOST_ROWS])))
    if review.changes and review.changes.files:
        names = "\n".join(f"- {plain(name)}" for name in review.changes.files[:MOST_ROWS])
        found.append(fold("Changed files", names))
    return found


def _moved(finding: Finding) -> bool:
    if finding.verdict in {Verdict.FAIL, Verdict.INCONCLUSIVE}:
        return True
    return finding.low is not None and finding.high is not None and not finding.low <= 0 <= finding.high


def _findings(findings: list[Finding]) -> str:
    return table(
        ("", "rule", "of", "incumbent", "candidate", "change", "limit", "why"),
        (
            (
                MARKS[row.verdict],
                row.rule.replace("_", " "),
                code(row.subject[:40]) if row.subject else "",
                *numbers(row),
                plain(row.reason) if row.value is not None else "",
            )
            for row in findings
        ),
        right=(3, 4, 5, 6),
    )
