"""What comes from outside goes through the strict parser: the others are called where only our own texts are read."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Who may call a parser that is not ours, and what it reads there: texts that we wrote ourselves, never a stranger's.
ALLOWED = {
    "gateway/core/strict_json.py": "the strict parser itself, with every hook of its own",
    "gateway/edge/journal/rows.py": "JSON texts of our own rows",
    "gateway/cli/evidence/verifier.py": "it must stand alone, and refuses a member that stands twice by its own hook",
    "gateway/cli/keys.py": "our own published keys, and a key that was just made",
}
PARSERS = {("json", "loads"), ("json", "load"), ("json", "JSONDecoder"), ("orjson", "loads"), ("jwt", "decode")}


def calls(path: Path) -> list[str]:
    """Every lenient parser that a module uses, by attribute or by import of its name."""
    found = []
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found += [f"{node.value.id}.{node.attr}"] * ((node.value.id, node.attr) in PARSERS)
        if isinstance(node, ast.ImportFrom):
            found += [f"{node.module}.{name.name}" for name in node.names if (node.module, name.name) in PARSERS]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "json":
            found.append("response.json()")
    return found


def test_only_the_strict_parser_reads_what_comes_from_outside() -> None:
    """The gateway and its adapters, without simulators: no json.loads, orjson.loads, response.json() or jwt.decode."""
    modules = [*ROOT.glob("gateway/**/*.py"), *ROOT.glob("adapters/**/*.py")]
    here = {path: path.relative_to(ROOT).as_posix() for path in modules}
    lenient = {name: calls(path) for path, name in here.items() if "simulat" not in name}
    assert {name: found for name, found in lenient.items() if found and name not in ALLOWED} == {}
    assert {name for name in ALLOWED if not lenient[name]} == set()
