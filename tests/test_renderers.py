"""Body of a reply → bytes, as JSON or XML."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from enum import Enum
from types import MappingProxyType
from typing import Any
from uuid import UUID
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiorest_ws.exceptions import NotImplementedMethod, SerializerError
from aiorest_ws.renderers import BaseRenderer, JSONRenderer, XMLRenderer

HEAD = '<?xml version="1.0" encoding="utf-8"?>\n'


def xml(value: Any) -> str:
    """Give the XML of `value` without its first line and the root element around it."""
    text = XMLRenderer().render({"data": value}).decode()
    assert text.startswith(HEAD + "<root><data>")
    assert text.endswith("</data></root>")
    return text[len(HEAD + "<root><data>") : -len("</data></root>")]


def test_the_base_renderer_says_that_render_is_missing() -> None:
    with pytest.raises(NotImplementedMethod):
        BaseRenderer().render({})
    assert (BaseRenderer.format, BaseRenderer.charset) == (None, "utf-8")


# JSON


def test_json_is_compact_and_not_escaped() -> None:
    rendered = JSONRenderer().render({"data": {"é": [1, None, (True,)]}, "event_name": "\u2028"})
    assert rendered == '{"data":{"é":[1,null,[true]]},"event_name":"\u2028"}'.encode()
    assert (JSONRenderer.format, JSONRenderer.charset) == ("json", None)


def test_json_may_be_spaced_and_escaped() -> None:
    class Spaced(JSONRenderer):
        compact = False

    class Escaped(JSONRenderer):
        ensure_ascii = True

    class Both(Spaced, Escaped):
        pass

    value = {"a": ["é", Decimal("1.5")], "b": {1: float("nan")}}
    assert Spaced().render(value) == '{"a": ["é", "1.5"], "b": {"1": null}}'.encode()
    assert Escaped().render(value) == b'{"a":["\\u00e9","1.5"],"b":{"1":null}}'
    assert Both().render(value) == b'{"a": ["\\u00e9", "1.5"], "b": {"1": null}}'


@pytest.mark.parametrize("value", [object(), {"a": 1j}, ["\ud800"], {(1, 2): 3}], ids=ascii)
@pytest.mark.parametrize("options", [{}, {"compact": False}, {"ensure_ascii": True}], ids=str)
def test_what_json_cannot_hold_is_a_serializer_error(value: Any, options: dict[str, Any]) -> None:
    renderer = type("Renderer", (JSONRenderer,), options)()
    if options.get("ensure_ascii") and value == ["\ud800"]:
        return  # escaped, it is ASCII
    with pytest.raises(SerializerError) as caught:
        renderer.render(value)
    assert caught.value.__cause__ is not None


# XML


def test_xml_is_as_in_the_contract() -> None:
    rendered = XMLRenderer().render({"data": {"a": 1}, "event_name": None})
    assert rendered == (
        b'<?xml version="1.0" encoding="utf-8"?>\n<root><data><a>1</a></data><event_name></event_name></root>'
    )
    assert (XMLRenderer.format, XMLRenderer.charset) == ("xml", "utf-8")


class Colour(Enum):
    RED = "red"
    MANY = (1, 2)


class Named(str, Enum):  # noqa: UP042 (str() of it is "Named.RED")
    RED = "red"


@dataclass
class Point:
    x: int
    y: Any = None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, ""),
        ("text", "text"),
        ("", ""),
        (True, "True"),
        (False, "False"),
        (0, "0"),
        (1.5, "1.5"),
        (2**70, str(2**70)),
        ([1, 2], "<list-item>1</list-item><list-item>2</list-item>"),
        ((1, None), "<list-item>1</list-item><list-item></list-item>"),
        ([[1], []], "<list-item><list-item>1</list-item></list-item><list-item></list-item>"),
        ({}, ""),
        ([], ""),
        ({"a": {"b": [1]}}, "<a><b><list-item>1</list-item></b></a>"),
        (MappingProxyType({"a": 1}), "<a>1</a>"),
        ({1: 2, None: 3}, "<_x0031_>2</_x0031_><None>3</None>"),
        ({1}, "<list-item>1</list-item>"),
        (Decimal("1.50"), "1.50"),
        (date(2024, 1, 2), "2024-01-02"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (b"ab", "YWI="),
        (Colour.RED, "red"),
        (Named.RED, "red"),
        (Colour.MANY, "<list-item>1</list-item><list-item>2</list-item>"),
        (Point(1), "<x>1</x><y></y>"),
        ("é\u2028\U0001f600", "é\u2028\U0001f600"),
        ("<a href='x'>&amp;\"</a>]]>", "&lt;a href='x'&gt;&amp;amp;\"&lt;/a&gt;]]&gt;"),
        ("a\r\nb\tc", "a&#13;\nb\tc"),
        ("a\x00b\x0b\x1f\ufffe\uffff", "a\ufffdb\ufffd\ufffd\ufffd\ufffd"),
        ("\ud800", "\ufffd"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_xml_of_every_type(value: Any, expected: str) -> None:
    assert xml(value) == expected


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("a", "a"),
        ("Aé_1-2.3", "Aé_1-2.3"),
        ("a b", "a_x0020_b"),
        ("a b><x", "a_x0020_b_x003E__x003C_x"),
        ("1a", "_x0031_a"),
        ("-a", "_x002D_a"),
        ("", "_"),
        ("a:b", "a_x003A_b"),
        ("a\x00", "a_x0000_"),
        ("\U0001f600", "_x1F600_"),
        ("имя", "имя"),
        ("名前", "名前"),
        ("a/", "a_x002F_"),
        ("?xml", "_x003F_xml"),
        ("!--", "_x0021_--"),
        ("\ud800", "_xD800_"),
        (5, "_x0035_"),
        (True, "True"),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_a_key_that_is_no_xml_name_is_escaped(key: Any, name: str) -> None:
    """S10: in 1.1.1 a key could put markup into the reply."""
    assert xml({key: 1}) == f"<{name}>1</{name}>"


def test_root_and_item_names_may_be_chosen() -> None:
    class Answer(XMLRenderer):
        root_name = "answer"
        item_tag_name = "item"

    assert Answer().render([1]).decode() == HEAD + "<answer><item>1</item></answer>"


@pytest.mark.parametrize(
    "value", [object(), [object()], {"a": 1j}, {"a": lambda: 1}], ids=["object", "list", "1j", "lambda"]
)
def test_what_xml_cannot_hold_is_a_serializer_error(value: Any) -> None:
    with pytest.raises(SerializerError) as caught:
        XMLRenderer().render({"data": value})
    assert caught.value.__cause__ is not None


def test_what_contains_itself_is_a_serializer_error() -> None:
    circle: list[Any] = []
    circle.append(circle)
    with pytest.raises(SerializerError) as caught:
        XMLRenderer().render(circle)
    assert isinstance(caught.value.__cause__, RecursionError)


class Small(XMLRenderer):
    max_elements = 10
    max_levels = 4


def nested(levels: int, leaf: Any = 1) -> Any:
    return [nested(levels - 1, leaf)] if levels else leaf


@pytest.mark.parametrize(
    "value", [[1] * 9, [[1] * 4, [1] * 3], {str(n): 1 for n in range(9)}, nested(4), nested(4, "9")]
)
def test_xml_may_have_as_many_elements_and_levels_as_are_allowed(value: Any) -> None:
    ET.fromstring(Small().render(value))


@pytest.mark.parametrize(
    ("value", "cause"),
    [
        ([1] * 10, "more than 10 elements"),
        ([None] * 10, "more than 10 elements"),
        ([Colour.RED] * 10, "more than 10 elements"),
        ({str(n): 1 for n in range(10)}, "more than 10 elements"),
        ([[1] * 5, [1] * 5], "more than 10 elements"),
        (nested(5), "nested deeper than 4 levels"),
        ({"a": nested(4)}, "nested deeper than 4 levels"),
        (nested(3, Point(1, [[1]])), "nested deeper than 4 levels"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_more_xml_than_is_allowed_is_a_serializer_error(value: Any, cause: str) -> None:
    with pytest.raises(SerializerError) as caught:
        Small().render(value)
    assert str(caught.value.__cause__) == f"{cause}, XMLRenderer.max_{cause.rsplit(maxsplit=1)[-1]}"


def test_long_name_is_escaped_character_by_character() -> None:
    key = "a<é\U0001f600" * 5000
    assert xml({key: 1}).partition(">")[0] == "<" + "a_x003C_é_x1F600_" * 5000


any_text = st.text(st.characters(exclude_categories=())) | st.sampled_from(
    ["<", "&", "]]>", "<!--", "\x00", "\ud800", "\r", "a:b"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | any_text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(any_text | st.integers(), inner, max_size=3),
    max_leaves=8,
)


def check(element: ET.Element, value: Any) -> None:
    """See to it that `element` holds what `value` does, and nothing that `value` put in as markup."""
    assert element.attrib == {}
    if isinstance(value, dict):
        assert len(element) == len(value)
        for child, item in zip(element, value.values(), strict=True):
            check(child, item)
    elif isinstance(value, list):
        assert [child.tag for child in element] == ["list-item"] * len(value)
        for child, item in zip(element, value, strict=True):
            check(child, item)
    else:
        assert len(element) == 0
        text = "" if value is None else str(value)
        expected = re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
        assert (element.text or "") == expected


@given(values)
def test_xml_is_well_formed_and_holds_the_value_whatever_it_is(value: Any) -> None:
    root = ET.fromstring(XMLRenderer().render({"data": value, "event_name": None}))
    assert [child.tag for child in root] == ["data", "event_name"]
    check(root[0], value)


@given(any_text)
def test_a_safe_name_stays_and_an_unsafe_one_cannot_be_mistaken_for_markup(key: str) -> None:
    (child,) = ET.fromstring(XMLRenderer().render({key: "x"}))
    assert child.text == "x"
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_.-]*", key):
        assert child.tag == key
