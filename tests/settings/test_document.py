import os
from decimal import Decimal

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.settings.document import MAX_BYTES, MAX_DEPTH, Document, leaves, read


def document(text: str, **environ: str) -> Document:
    return read(text.encode(), file="f.yaml", environ=environ)


def told(text: str, **environ: str) -> list[str]:
    return [str(problem) for problem in document(text, **environ).problems]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("True", "True"),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("12:30", "12:30"),
        ("2026-12-01", "2026-12-01"),
        ("007", "007"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("+1", "+1"),
        (".5", ".5"),
        (".inf", ".inf"),
        ("-3", -3),
        ("0.10", Decimal("0.10")),
        ("1e3", Decimal("1e3")),
        ('"12"', "12"),
        ("'true'", "true"),
        ("<<", "<<"),
    ],
)
def test_scalars_are_read_as_json_would(text: str, value: object) -> None:
    """Pins the YAML 1.2 reading of each scalar, and that decimals stay exact."""
    found = document(f"a: {text}").tree["a"]
    assert (found, type(found)) == (value, type(value))
    if isinstance(value, Decimal):
        assert str(found) == str(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\na: 2", "f.yaml:2:1: a: 'a' stands here twice; the first is in line 1"),
        ("a:\n\tb: 1", "f.yaml:2:1: a tab cannot indent YAML; use spaces"),
        ("a: b: c", "f.yaml:1:5: unexpected ':' here; put the text in quotes, or check the indentation"),
        ("a: {b: ${X:-1}}", "f.yaml:1:9: ',' or '}' is missing; inside { } a ${NAME} must stand in quotes"),
        ("a: 'x", "f.yaml:1:6: a quote is not closed before the end of the file"),
        ("a: *x", "f.yaml:1:4: '*' starts an alias that is not defined; put the text in quotes"),
        ("a: @x", "f.yaml:1:4: a character here must be put in quotes"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: only one document per file; remove the '---' in the middle"),
        ("- a", "f.yaml:1:1: expected 'name: value' lines"),
        ("a: !!python/object:os.system x", "f.yaml:1:4: a: tags such as !!python/object:os.system are not used here"),
        ("a: !secret x", "f.yaml:1:4: a: tags such as !secret are not used here; remove it"),
        ("? [a]\n: 1", "f.yaml:1:3: a member's name must be plain text"),
        ("a: ${X}", "f.yaml:1:4: a: the environment variable X is not set and has no default (${X:-default})"),
        ("a: ${X", "f.yaml:1:4: a: '${' needs a name and a '}', such as ${NAME:-default}; write $${ for a literal ${"),
        (
            "a: 12345678901234567890",
            "f.yaml:1:4: a: this number is too long; if it is a name or an id, put it in quotes",
        ),
        ("a: 1e999999999", "f.yaml:1:4: a: this number is too long or too large"),
        ('a: "\\0"', "f.yaml:1:4: a: control characters are not allowed"),
        ("a: \x07", "f.yaml:1:4: a control character is not allowed in YAML"),
    ],
)
def test_faults_have_a_place_and_a_sentence(text: str, said: str) -> None:
    """Pins what is said of each kind of broken YAML, and where."""
    (line,) = told(text)
    assert line.startswith(said)


def test_variables() -> None:
    """Pins substitution: type by the result of a plain scalar, text in quotes, defaults also for empty values."""
    text = 'a: ${P:-502}\nb: "${P:-502}"\nc: x${P}y\nd: $${P}\ne: ${E:-}\nf: ${Q:-1.50}'
    tree = document(text, P="15", E="").tree
    assert tree == {"a": 15, "b": "15", "c": "x15y", "d": "${P}", "e": None, "f": Decimal("1.50")}
    assert document("a: ${P:-502}", P="").tree == {"a": 502}
    assert document("a: ${P}", P="${Q}: {b: 1}").tree == {"a": "${Q}: {b: 1}"}  # a value is never YAML


def test_positions() -> None:
    """Pins line and column of names and values, through maps, lists and aliases."""
    found = document("a: &x\n  b: [1, {c: 2}]\nd: *x\n")
    assert found.values["a", "b", 1, "c"] == (2, 14)
    assert found.keys["a", "b"] == (2, 3)
    assert found.values["d", "b", 0] == (2, 7)
    assert str(found.problem(("a", "nowhere", "at"), "m")) == "f.yaml:1:4: a.nowhere.at: m"


def test_hostile_documents_are_refused() -> None:
    """Pins the limits: deep nesting (which kills libyaml's composer), endless and exploding aliases, size."""
    deep = 200_000
    assert told("[" * deep + "]" * deep) == [f"f.yaml:1:{MAX_DEPTH + 1}: nested deeper than {MAX_DEPTH} levels"]
    assert told("a: &x [*x]") == [f"f.yaml:1:4: a{'.0' * MAX_DEPTH}: aliases make this file too large or endless"]
    bomb = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    assert [line.rpartition(": ")[2] for line in told(bomb)] == ["aliases make this file too large or endless"]
    assert told("a: [" + "*x, " * 2000 + "]") == ["f.yaml:1:4005: more than 1000 aliases"]
    assert read(b"a" * (MAX_BYTES + 1), file="f", environ={}).problems[0].message == "the file is larger than 4 MiB"


@given(data=st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
@settings(max_examples=400)
def test_any_bytes_give_a_document(data: bytes) -> None:
    """Pins that no bytes whatever raise, and that every problem has a place in the file."""
    found = read(data, file="f", environ=os.environ)
    for problem in found.problems:
        assert problem.place.line >= 1
        assert problem.place.column >= 1


PIECES = ["a", ": ", ":", "\n", "  ", "- ", "[", "]", "{", "}", ", ", "&x ", "*x", "!t ", "'", '"', "|", ">", "#", "?"]


@given(
    text=st.lists(st.sampled_from([*PIECES, "\t", "---", "...", "%", "${", "}", "${A:-b}", "1", "<<", "\\"])).map(
        "".join
    )
)
@settings(max_examples=400)
def test_any_mixture_of_syntax_gives_a_document(text: str) -> None:
    """Pins the same for what looks like YAML; what libyaml itself refuses is never taken for a document."""
    found = document(text)
    try:
        yaml.compose(text, Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        assert found.problems


trees = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**17), 10**17) | st.text("ab:#-?'\"{}[],&*!|>%@é 1.~$\\"),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcé"), inner),
    max_leaves=20,
)


@given(tree=st.dictionaries(st.text("abcé", min_size=1), trees, max_size=4))
def test_any_tree_comes_back(tree: dict[str, object]) -> None:
    """Pins that a tree written as YAML is read as that tree, and that every leaf has a place."""
    text = yaml.safe_dump(tree, allow_unicode=True, default_style='"').replace("${", "$${")
    found = document(text)
    assert {path for path, _ in leaves(found.tree)} <= set(found.values)
    if not found.problems:
        assert _texts(found.tree) == _texts(tree)


def _texts(node: object) -> object:
    """Every scalar as text: the quoted style loses the types, which the scalars' own test pins."""
    if isinstance(node, dict):
        return {key: _texts(value) for key, value in node.items()}
    if isinstance(node, list):
        return [_texts(item) for item in node]
    return str(node).lower() if isinstance(node, bool) else "null" if node is None else str(node)
