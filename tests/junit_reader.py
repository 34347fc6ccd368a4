"""Reads a JUnit file with the package junitparser and prints what it found, as JSON.

    python3 tests/junit_reader.py junit.xml
"""

import json
import sys

from junitparser import Failure, JUnitXml, Skipped

report = JUnitXml.fromfile(sys.argv[1])
cases = []
for suite in report:
    for case in suite:
        results = [
            {
                "kind": {Failure: "failure", Skipped: "skipped"}.get(type(result), type(result).__name__),
                "message": result.message,
            }
            for result in case.result
        ]
        cases.append({"suite": suite.name, "class": case.classname, "name": case.name, "results": results})
counts = {name: getattr(report, name) for name in ("tests", "failures", "errors", "skipped")}
json.dump({"counts": counts, "cases": cases}, sys.stdout)
