#!/usr/bin/env python3
"""Checks that `#include` arrows only point down, that each third-party library is included in one place, and
that the core is pure: no clock, no randomness, no I/O, and none of the libraries' symbols.

    check_layers.py [BUILD_DIRECTORY]     with it, libota_core.a is looked at, too
"""

import pathlib
import re
import subprocess
import sys

TOP = pathlib.Path(__file__).resolve().parents[1]
PLUGIN = TOP / "plugin"

# Directory -> directories of ours that it may include. plugin.cc, the composition, may include all; nobody includes
# broker/ but it.
ARROWS = {
    "core": {"core"},
    "crypto": {"crypto", "core"},
    "dialect": {"dialect", "core"},
    "store": {"store", "core"},
    "guard": {"guard", "core", "crypto", "dialect"},
    "package": {"package", "core", "crypto"},
    "engine": {"engine", "core", "dialect", "store", "package", "crypto", "guard"},
    "broker": {"broker", "core", "crypto", "dialect", "engine", "guard"},
    "otactl": {"otactl", "core", "store", "package", "crypto"},
}

# Third-party header -> the one place, a directory or files.
PLACES = [
    (r"rapidjson/", "dialect/json."),
    (r"sqlite3\.h|SQLiteCpp/", "store/"),
    (r"openssl/", "crypto/"),
    (r"microhttpd\.h|curl/", "package/"),
    (r"mosquitto|mqtt_protocol\.h", ("plugin.cc", "broker/")),
    (r"CLI/", "otactl/"),
    (r"date/", "engine/"),
]

CORE_HEADERS = re.compile(  # of the standard library and tl::expected; no clock, thread, file, stream
    r"algorithm|array|bit|charconv|chrono|compare|concepts|cstddef|cstdint|cstring|functional|initializer_list|iterator|"
    r"limits|list|map|memory|numeric|optional|set|span|string|string_view|tuple|type_traits|unordered_map|unordered_set|"
    r"utility|variant|vector|cassert|cmath|tl/expected\.hpp")
CORE_BANNED = re.compile(
    r"(system|steady|high_resolution|utc)_clock::now|\b(std::)?(time|clock|rand|random|getenv|printf|fopen|system)\s*\(|"
    r"random_device|std::c(out|err|log)\b|\bstatic\s+(?!constexpr|const\b|inline|std::|core|[A-Z])\w+\s+\w+\s*[=;]")
CORE_SYMBOLS = re.compile(
    r"\b(sqlite3_|mosquitto_|curl_|MHD_|EVP_|SSL_|HMAC|SHA256|RAND_)|\b(clock_gettime|gettimeofday|time|rand|random|"
    r"fopen|fopen64|open|open64|write|read|socket|pthread_create|getenv)$|SQLite|rapidjson|_clock3nowEv|random_device")


def without_comments(text):
    return re.sub(r"//[^\n]*|/\*.*?\*/", lambda m: "\n" * m.group().count("\n"), text, flags=re.S)


def check_file(path):
    place = path.relative_to(PLUGIN).as_posix()
    layer = place.split("/")[0] if "/" in place else None
    name = path.relative_to(TOP).as_posix()
    text = without_comments(path.read_text())
    for number, line in enumerate(text.splitlines(), 1):
        include = re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line)
        if not include:
            if layer == "core" and (found := CORE_BANNED.search(line)):
                yield f"{name}:{number}: core is pure: '{found.group().strip()}' is an argument's business"
            continue
        header = include.group(2)
        target = header.split("/")[0]
        if include.group(1) == '"':
            if layer and target in ARROWS and target not in ARROWS[layer]:
                yield f"{name}:{number}: {layer} may not include {header}"
            if "/" not in header and not header.endswith("schema_steps.h"):
                yield f"{name}:{number}: '{header}': includes of ours name their directory"
        elif target in ARROWS and "/" in header:
            yield f"{name}:{number}: <{header}>: includes of ours use quotes"
        elif layer == "core" and not CORE_HEADERS.fullmatch(header):
            yield f"{name}:{number}: core may not include <{header}>"
        for pattern, only in PLACES:
            if re.match(pattern, header) and not place.startswith(only):
                yield f"{name}:{number}: <{header}> belongs into plugin/{' or '.join([only] if isinstance(only, str) else only)} only"


def check_symbols(library):
    output = subprocess.run(["nm", "-u", library], capture_output=True, text=True, check=True).stdout
    for line in output.splitlines():
        symbol = line.split()[-1] if line.strip() else ""
        if CORE_SYMBOLS.search(symbol):
            yield f"{library.name}: core refers to {symbol}"


def main():
    files = sorted(p for p in PLUGIN.rglob("*") if p.suffix in (".h", ".cc"))
    faults = [fault for path in files for fault in check_file(path)]
    if len(sys.argv) > 1:
        library = next(pathlib.Path(sys.argv[1]).rglob("libota_core.a"), None)
        faults += check_symbols(library) if library else []
    for fault in faults:
        print(fault)
    print(f"{len(files)} files, {len(faults)} faults")
    return 1 if faults else 0


sys.exit(main())
