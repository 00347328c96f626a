"""Build the tools that a make target needs, or single tools: python -m tools [--required] [test | cluster-test | TOOL ...]"""

from __future__ import annotations

import argparse
import sys

from tools import build, lookup
from tools.catalogue import SETS, TOOLS, Tool


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tools", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--required", action="store_true", help="fail if a tool cannot be built on this machine")
    parser.add_argument(
        "--path", action="store_true", help="do not build anything; print the paths of the named programs"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(SETS)} (default: test), or a tool")
    asked = parser.parse_args()
    if asked.path:
        print(*(lookup.program(name) for name in asked.names), sep="\n")
        return 0
    tools: dict[str, Tool] = {}
    for name in asked.names or ["test"]:
        if name not in SETS and name not in TOOLS:
            parser.error(f"unknown tool {name!r}; known: {', '.join(TOOLS)}")
        tools |= {tool.name: tool for tool in SETS.get(name) or (TOOLS[name],)}
    return 0 if build.make(list(tools.values()), required=asked.required) else 1


if __name__ == "__main__":
    sys.exit(main())
