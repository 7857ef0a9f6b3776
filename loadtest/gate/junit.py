"""
JUnit XML of a verdict: one test case for each rule and cell, one for each failed validity check.

How the four decisions are told: pass is a passed case; fail a ``failure`` of type ``fail``;
inconclusive a ``failure`` of type ``inconclusive``, because the program's exit code stops the job
too and a case shown as skipped would hide that; invalid an ``error``, JUnit's word for a test that
could not be carried out.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from loadtest.gate.results import RuleResult, Verdict
from loadtest.gate.sentences import show

_UNPRINTABLE = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")


def render(verdict: Verdict) -> str:
    """Return the XML text, the same for the same verdict: no time stamps."""
    suites = ET.Element("testsuites", name="loadtest")
    gate = ET.SubElement(suites, "testsuite", name=f"gate {verdict.run_id}")
    for result in verdict.rules:
        _case(gate, result)
    validity = ET.SubElement(suites, "testsuite", name=f"validity {verdict.run_id}")
    for number, sentence in enumerate(verdict.invalid, start=1):
        case = ET.SubElement(validity, "testcase", classname="validity", name=f"check {number}")
        _tell(case, "error", "invalid", sentence)
    if not verdict.invalid:
        ET.SubElement(validity, "testcase", classname="validity", name="all checks")
    for suite in (gate, validity):
        suite.set("tests", str(len(suite)))
        suite.set("failures", str(len(suite.findall("testcase/failure"))))
        suite.set("errors", str(len(suite.findall("testcase/error"))))
        suite.set("skipped", "0")
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, "unicode") + "\n"


def _case(suite: ET.Element, result: RuleResult) -> None:
    case = ET.SubElement(
        suite, "testcase", classname=_clean(result.rule), name=_clean(result.cell), time="0"
    )
    if result.decision in ("fail", "inconclusive"):
        _tell(case, "failure", result.decision, result.why, result.flip)
    elif result.decision == "invalid":
        _tell(case, "error", "invalid", result.why)
    else:
        ET.SubElement(case, "system-out").text = _clean(f"{result.why} {result.flip}")
    if result.observed is not None:
        properties = ET.SubElement(case, "properties")
        for name, value in (
            ("observed", show(result.observed, result.unit)),
            ("limit", show(result.limit, result.unit)),
            ("n", str(result.n)),
        ):
            ET.SubElement(properties, "property", name=name, value=value)


def _tell(case: ET.Element, tag: str, kind: str, message: str, more: str = "") -> None:
    element = ET.SubElement(case, tag, type=kind, message=_clean(message))
    element.text = _clean(f"{message} {more}".strip())


def _clean(text: str) -> str:
    """Leave out what XML 1.0 cannot hold, escaped or not."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
