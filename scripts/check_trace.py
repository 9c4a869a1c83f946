#!/usr/bin/env python3
"""Checks that what must be true names a test that exists:

- every clause of the native dialect (N-1 to N-33) is named by a test, as `N-12`, in tests/;
- the checklist in tests/README.md has each of the 181 items once (a table row `| 000-12 | ... |`), and each names a test that
  exists, as `file::name`, `Suite.Name` or `stories/name` in backquotes, or says why there is none ("by mapping: ...",
  "device's duty: ..." or "later: ...").

    check_trace.py --ran DIRECTORY   also that each test of the checklist has passed, by the results (JUnit XML) in DIRECTORY;
                                     exit code 77 when there are none
"""

import pathlib
import re
import sys
import xml.etree.ElementTree as xml

TESTS = pathlib.Path(__file__).resolve().parents[1] / "tests"
LATER = {23: "signatures come later"}  # clause -> why no test names it yet
CLAUSES = [n for n in range(1, 34) if n not in LATER]
ITEMS = [f"00{page}-{n:02}" for page, count in enumerate((33, 15, 44, 16, 73)) for n in range(1, count + 1)]


def test_files():
    return sorted(p for p in TESTS.rglob("*") if p.suffix in (".cc", ".py", ".txt") and p.name not in ("conftest.py", "CMakeLists.txt"))


def names_of(path, text):
    """The tests of one file, as the checklist names them."""
    if path.suffix == ".py":
        return {f"{path.stem}::{name}" for name in re.findall(r"^def (test_\w+)", text, re.M)}
    if path.suffix == ".txt":
        return {f"stories/{path.stem}"} if path.parent.name == "stories" else set()
    found = re.findall(r"^\s*TEST(?:_F|_P)?\(\s*(\w+)\s*,\s*(\w+)\s*\)", text, re.M)
    return {f"{suite}.{name}" for suite, name in found}


def passed(directory):
    """The tests that passed, as the checklist names them, and those that did not, by the JUnit files of GoogleTest and pytest."""
    good, bad = set(), set()
    for path in sorted(pathlib.Path(directory).glob("*.xml")):
        for case in xml.parse(path).iter("testcase"):
            suite, name = case.get("classname", ""), case.get("name", "")
            if suite == "All/Stories":
                name = "stories/" + name.split("/")[1].replace("_", "-")
            elif re.match(r"test_\w+", name):  # pytest: classname is the module, name[parameters]
                name = suite.split(".")[-1] + "::" + name.split("[")[0]
            else:
                name = suite.split("/")[-1] + "." + name.split("/")[0]  # of a TEST_P: PREFIX/Suite, Name/parameter
            fine = case.get("status", "run") == "run" and not [c for c in case if c.tag in ("failure", "error", "skipped")]
            (good if fine else bad).add(name)
    return good - bad, bad


def main():
    ran = sys.argv[2] if sys.argv[1:2] == ["--ran"] else None
    if ran and not list(pathlib.Path(ran).glob("*.xml")):
        print(f"{ran}: there are no results; run the tests first")
        return 77
    faults, clauses, tests, checklist = [], set(), set(), []
    for path in test_files():
        text = path.read_text()
        names = names_of(path, text)
        tests |= names
        if names:
            clauses |= {int(n) for n in re.findall(r"\bN-(\d+)\b", text)}
    for number in CLAUSES:
        if number not in clauses:
            faults.append(f"no test names clause N-{number}")
    good, bad = passed(ran) if ran else (tests, set())
    items = []
    for number, line in enumerate((TESTS / "README.md").read_text().splitlines(), 1):
        row = re.match(r"\|\s*(00[0-4]-\d\d[a-z]?)\s*\|", line)
        if not row:
            continue
        items.append(row.group(1))
        where = f"tests/README.md:{number}: {row.group(1)}"
        named = re.findall(r"`(test_\w+::test_\w+|[A-Z]\w*\.[A-Z]\w*|stories/[\w-]+)`", line)
        if not named and not re.search(r"\b(by mapping|later|device's duty):", line):
            faults.append(f"{where} names no test and no reason")
        faults += [f"{where}: there is no test {name}" for name in named if name not in tests]
        faults += [f"{where}: {name} " + ("did not pass" if name in bad else "did not run")
                   for name in named if name in tests and name not in good]
        checklist += named
    faults += [f"tests/README.md: {item} stands {items.count(item)} times" for item in ITEMS if items.count(item) != 1]
    faults += [f"tests/README.md: {item} is no item" for item in items if item not in ITEMS]
    for fault in faults:
        print(fault)
    print(f"{len(CLAUSES)} clauses, {len(items)} items by {len(set(checklist))} tests, {len(tests)} tests, {len(faults)} faults")
    return 1 if faults else 0


sys.exit(main())
