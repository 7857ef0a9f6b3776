"""
JUnit XML of a verdict: one test case for each rule and cell, one for each failed validity check.

How the four decisions are told: pass is a passed case; fail a ``failure`` of type ``fail``;
inconclusive a ``failure`` of type ``inconclusive``, because the program's exit code stops the job
too and a case shown as skipped would hide that; invalid an ``error``, JUnit's word for a test that
could not be carried out.

The numbers of a case stand in its ``system-out``: the schema that Jenkins holds files against
(junit-10.xsd of its xUnit plugin) has no properties in a test case.  Suites have names that stay
the same from run to run, so that a reader finds a case again; the run's id is a property.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from loadtest.gate.causes import failure_lines
from loadtest.gate.shown import show_result
from loadtest.text import lines_of, one_line

if TYPE_CHECKING:
    from loadtest.gate.results import RuleResult, Verdict


def render(verdict: Verdict) -> str:
    """Return the XML text, the same for the same verdict: no time stamps."""
    suites = ET.Element("testsuites", name="loadtest")
    gate = _suite(suites, "loadtest gate", verdict.run_id)
    for result in verdict.rules:
        _case(gate, result)
    validity = _suite(suites, "loadtest validity", verdict.run_id)
    for number, sentence in enumerate(verdict.invalid, start=1):
        case = ET.SubElement(validity, "testcase", classname="validity", name=f"check {number}")
        _tell(case, "error", "invalid", sentence)
    if not verdict.invalid:
        ET.SubElement(validity, "testcase", classname="validity", name="all checks")
    if verdict.failures:
        told = "\n".join(failure_lines(verdict.failures))
        ET.SubElement(gate, "system-out").text = lines_of(told)
    for suite in (gate, validity):
        suite.set("tests", str(len(suite.findall("testcase"))))
        suite.set("failures", str(len(suite.findall("testcase/failure"))))
        suite.set("errors", str(len(suite.findall("testcase/error"))))
        suite.set("skipped", "0")
    ET.indent(suites)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(suites, "unicode") + "\n"


def _suite(suites: ET.Element, name: str, run_id: str) -> ET.Element:
    suite = ET.SubElement(suites, "testsuite", name=name)
    properties = ET.SubElement(suite, "properties")
    ET.SubElement(properties, "property", name="run", value=one_line(run_id))
    return suite


def _case(suite: ET.Element, result: RuleResult) -> None:
    case = ET.SubElement(
        suite, "testcase", classname=one_line(result.rule), name=one_line(result.cell), time="0"
    )
    if result.decision in ("fail", "inconclusive"):
        _tell(case, "failure", result.decision, result.why, result.flip)
    elif result.decision == "invalid":
        _tell(case, "error", "invalid", result.why)
    facts = [f"{name}: {value}" for name, value in show_result(result).facts]
    facts += [f"n: {result.n}", result.why, result.flip]
    ET.SubElement(case, "system-out").text = lines_of("\n".join(filter(None, facts)))


def _tell(case: ET.Element, tag: str, kind: str, message: str, more: str = "") -> None:
    element = ET.SubElement(case, tag, type=kind, message=one_line(message))
    element.text = one_line(f"{message} {more}".strip())
