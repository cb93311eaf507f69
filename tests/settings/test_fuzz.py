import random
import shutil
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.settings.example import example_configuration
from tests.settings.folder import Folder

FILES = ("gateway.yaml", "participants/exstor.yaml", "sites/solent-bess.yaml", "profiles/smp-v1.yaml")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    path = tmp_path_factory.mktemp("fuzz") / "config"
    shutil.copytree(example_configuration(), path)
    return Folder(path)


def loads_or_says_why(folder: Folder, file: str, content: bytes) -> None:
    """Load with this file replaced; anything but success or problems with places is a failure."""
    target = folder.path / file
    before = target.read_bytes()
    target.write_bytes(content)
    try:
        problems = folder.problems()
        for problem in problems:
            lines = Path(problem.place.file).read_text("utf-8", "replace").split("\n")
            assert 1 <= problem.place.line <= len(lines) + 1
            assert problem.message
            assert "\n" not in problem.message
    finally:
        target.write_bytes(before)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(
        ["", "file:x", "${", "modbus", "plc", "holding:1", "point", "[", "../x", "\0", "1s", "é", "*" * 300]
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["point", "connection", "kind", "x", "", "1", "[key]"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(file=st.sampled_from(FILES), seed=st.integers(0, 2**32), value=values)
@settings(max_examples=300, deadline=None)
def test_any_value_anywhere(shared: Folder, file: str, seed: int, value: object) -> None:
    """Pins that any value in the place of any other is a problem with a place, or fine, never a traceback."""
    tree = yaml.safe_load((example_configuration() / file).read_text("utf-8"))
    chosen = random.Random(seed)
    node = tree
    while True:
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        key = chosen.choice(keys)
        if not node[key] or not isinstance(node[key], dict | list) or chosen.random() < 0.2:
            break
        node = node[key]
    node[key] = value
    loads_or_says_why(shared, file, yaml.safe_dump(tree, allow_unicode=True).encode())


@given(file=st.sampled_from(FILES), at=st.floats(0, 1), cut=st.integers(0, 40), data=st.binary(max_size=6))
@settings(max_examples=200, deadline=None)
def test_any_bytes_anywhere(shared: Folder, file: str, at: float, cut: int, data: bytes) -> None:
    """Pins the same for damaged files: bytes replaced anywhere."""
    content = (example_configuration() / file).read_bytes()
    start = int(at * len(content))
    loads_or_says_why(shared, file, content[:start] + data + content[start + cut :])
