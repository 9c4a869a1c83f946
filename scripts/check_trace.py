#!/usr/bin/env python3
"""Checks that what must be true names a test that exists:

- every clause of the native dialect (N-1 to N-33) is named by a test, as `N-12`, in tests/;
- every item of the checklist in tests/README.md (a table row `| 000-12 | ... |`) names a test that exists, as
  `file::name` or `Suite.Name` in backquotes, or says why there is none ("by mapping: ..." or "later: ...").
"""

import pathlib
import re
import sys

TESTS = pathlib.Path(__file__).resolve().parents[1] / "tests"
LATER = {23: "signatures come later"}  # clause -> why no test names it yet
CLAUSES = [n for n in range(1, 34) if n not in LATER]


def test_files():
    return sorted(p for p in TESTS.rglob("*") if p.suffix in (".cc", ".py") and p.name.split("/")[-1] != "conftest.py")


def names_of(path, text):
    """The tests of one file, as the checklist names them."""
    if path.suffix == ".py":
        return {f"{path.stem}::{name}" for name in re.findall(r"^def (test_\w+)", text, re.M)}
    found = re.findall(r"^\s*TEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)", text, re.M)
    return {f"{suite}.{name}" for suite, name in found}


def main():
    faults, clauses, tests = [], set(), set()
    for path in test_files():
        text = path.read_text()
        names = names_of(path, text)
        tests |= names
        if names:
            clauses |= {int(n) for n in re.findall(r"\bN-(\d+)\b", text)}
    for number in CLAUSES:
        if number not in clauses:
            faults.append(f"no test names clause N-{number}")
    readme, items = TESTS / "README.md", 0
    for number, line in enumerate(readme.read_text().splitlines(), 1):
        row = re.match(r"\|\s*(00[0-4]-\d\d[a-z]?)\s*\|", line)
        if not row:
            continue
        items += 1
        named = re.findall(r"`(test_\w+::test_\w+|[A-Z]\w*\.[A-Z]\w*)`", line)
        if not named and not re.search(r"\b(by mapping|later|device's duty):", line):
            faults.append(f"tests/README.md:{number}: {row.group(1)} names no test and no reason")
        faults += [f"tests/README.md:{number}: {row.group(1)}: there is no test {name}" for name in named if name not in tests]
    for fault in faults:
        print(fault)
    print(f"{len(CLAUSES)} clauses, {items} items, {len(tests)} tests, {len(faults)} faults")
    return 1 if faults else 0


sys.exit(main())
