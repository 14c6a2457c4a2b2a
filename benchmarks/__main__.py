"""`python -m benchmarks [NAME ...]`: list the benchmarks, or run one."""

from __future__ import annotations

import ast
import runpy
import sys
from pathlib import Path

_HELPERS = {
    "__init__", "__main__", "cluster", "experiments", "flood", "load", "report", "roles",
    "serving", "watch", "workload",
}  # fmt: skip


def main() -> None:
    """List, or run the one that is named with the arguments behind it."""
    folder = Path(__file__).parent
    names = sorted(path.stem for path in folder.glob("*.py") if path.stem not in _HELPERS)
    if len(sys.argv) > 1 and sys.argv[1] in names:
        name = sys.argv.pop(1)
        runpy.run_module(f"benchmarks.{name}", run_name="__main__", alter_sys=True)
        return
    for name in names:
        text = (folder / f"{name}.py").read_text(encoding="utf-8")
        said = (ast.get_docstring(ast.parse(text)) or "").splitlines()[0]
        print(f"{name:12} {said}")
    sys.exit(0 if len(sys.argv) == 1 else 2)


if __name__ == "__main__":
    main()
