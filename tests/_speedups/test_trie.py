from __future__ import annotations

import gc
import re
import sys
import weakref
from datetime import date
from itertools import product
from operator import itemgetter
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiorest_ws.exceptions import (
    BaseAPIException,
    EndpointValueError,
    IncorrectURL,
    MethodNotAllowed,
    NotSpecifiedHandler,
)
from aiorest_ws.routing.converters import CONVERTERS, Converter

LONG = 64 * 1024


def trie_of(impl: Any, *templates: str, method: str = "GET") -> Any:
    """Register templates with themselves as values."""
    trie = impl.trie.Trie()
    for template in templates:
        trie.insert(template, method, template)
    return trie


def outcome(call: Any, *args: object) -> object:
    """Give the result, or type and text of the error."""
    try:
        return call(*args)
    except BaseAPIException as exc:
        return type(exc), str(exc)


NOT_FOUND = (NotSpecifiedHandler, NotSpecifiedHandler.default_detail)
NOT_ALLOWED = (MethodNotAllowed, MethodNotAllowed.default_detail)


# Templates


@pytest.mark.parametrize(
    ("template", "url", "values"),
    [
        ("/", "/", ()),
        ("/", "", ()),
        ("/", " ", ()),
        ("/", " / ", ()),
        ("/hello/", "/hello/", ()),
        ("/hello/", "/hello", ()),
        ("/hello/", "  /hello ", ()),
        ("/hello/", " /hello/ ", ()),
        ("//", "//", ()),
        ("/a//", "/a//", ()),
        ("/a//b/", "/a//b", ()),
        ("/a b/", "/a b", ()),
        ("/a /", "/a /", ()),
        ("/users/{id}/", "/users/7", ("7",)),
        ("/users/{id}/", "/users/seven of nine/", ("seven of nine",)),
        ("/users/{id}/", "/users/..", ("..",)),
        ("/users/{id}/", "/users/%2F", ("%2F",)),
        ("/users/{id}/", "/users/\xa0\x80\x9f", ("\xa0\x80\x9f",)),
        ("/users/{id}/", "/users/\u2028\ufeff", ("\u2028\ufeff",)),
        ("/users/{id}/", "/users/\ud800", ("\ud800",)),
        ("/{a}/{b}/", "/1/2", ("1", "2")),
        ("/{x}/m/{a}/m/{y}/", "/1/m/2/m/3", ("1", "2", "3")),
        ("/{параметр}/", "/x", ("x",)),
        ("/{_}/", "/x", ("x",)),
        ("/{x}.json/", "/a.b.json", ("a.b",)),
        ("/{x}.json/", "/.json.json", (".json",)),
        ("/v{n}/", "/v1", ("1",)),
        ("/a{x}b/", "/aab", ("a",)),
        ("/a{x}b/", "/abb", ("b",)),
        ("/{a}{b}/", "/xyz", ("xy", "z")),
        ("/{a}{b}{c}/", "/xyz", ("x", "y", "z")),
        ("/{a}-{b}/", "/1-2-3", ("1-2", "3")),
        ("/{a}-{b}/", "/---", ("-", "-")),
        ("/{a}--{b}/", "/a---b", ("a-", "b")),
        ("/{a}aa{b}a/", "/aaaaaa", ("aa", "a")),
        ("/{a}.{b}.{c}/", "/1.2.3.4.5", ("1.2.3", "4", "5")),
        ("/{a}-{b}{c}-/", "/x-y-z-", ("x", "y-", "z")),
        ("/x{a}/{b}y/{c}/", "/xa/by/c", ("a", "b", "c")),
    ],
)
def test_template_matches_url(impl: Any, template: str, url: str, values: tuple[str, ...]) -> None:
    assert trie_of(impl, template).match("GET", url) == (template, values)


@pytest.mark.parametrize(
    ("template", "url"),
    [
        ("/", "//"),
        ("/", "/ /"),
        ("/", "a"),
        ("//", "/"),
        ("//", ""),
        ("/a//", "/a/"),
        ("/hello/", "hello"),
        ("/hello/", "hello/"),
        ("/hello/", "/hello//"),
        ("/hello/", "//hello/"),
        ("/hello/", "/Hello/"),
        ("/hello/", "/hell"),
        ("/hello/", "/hello/x"),
        ("/hello/", "/hello /"),
        ("/hello/", "/%68ello/"),
        ("/hello/", "\xa0/hello/"),
        ("/hello/", "/hello/\u3000"),
        ("/a /", "/a "),
        ("/a /", "/a"),
        ("/é/", "/e\u0301"),
        ("/{x}/", "/"),
        ("/{x}/", "//"),
        ("/{x}/", "/a/b"),
        ("/{x}/", "/a//"),
        ("/{x}/", "/{x}"),
        ("/{x}/", "/a{"),
        ("/{x}/", "/}b"),
        ("/{x}/", "/é{"),
        ("/{x}/", "/Ж}"),
        ("/{x}/", "/\U0001d11e{"),
        ("/{x}.json/", "/.json"),
        ("/{x}.json/", "/x.jso"),
        ("/{x}.json/", "/x.json5"),
        ("/ab{x}ba/", "/aba"),
        ("/ab{x}ba/", "/abba"),
        ("/{a}-{b}/", "/-b"),
        ("/{a}-{b}/", "/a-"),
        ("/{a}-{b}/", "/ab"),
        ("/{a}{b}/", "/x"),
        ("/{a}-{b}-{c}/", "/a--c"),
    ],
)
def test_template_does_not_match_url(impl: Any, template: str, url: str) -> None:
    assert outcome(trie_of(impl, template).match, "GET", url) == NOT_FOUND


def test_empty_trie_matches_nothing(impl: Any) -> None:
    for url in ("", "/", "//", "/a", "/Ж", "/{"):
        assert outcome(impl.trie.Trie().match, "GET", url) == NOT_FOUND


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("/{ x }/", "Invalid { x } part of /{ x }/ path"),
        ("/{x-y}/", "Invalid {x-y} part of /{x-y}/ path"),
        ("/a/{}/b/", "Invalid {} part of /a/{}/b/ path"),
        ("/{x:}/", "Invalid {x:} part of /{x:}/ path"),
        ("/{x:int }/", "Invalid {x:int } part of /{x:int }/ path"),
        ("/{:int}/", "Invalid {:int} part of /{:int}/ path"),
        ("/{x:hex}/", "Bad pattern '/{x:hex}/': no converter 'hex', expected date, float, int, path, str, uuid"),
        ("/{1x:int}/", "Bad pattern '/{1x:int}/': parameter '1x' begins with a digit"),
        ("/{x:int}/{x}/", "Bad pattern '/{x:int}/{x}/': parameter 'x' is used twice"),
        ("/{x:path}/a/", "Bad pattern '/{x:path}/a/': a path parameter must be all of the last segment"),
        ("/a{x:path}/", "Bad pattern '/a{x:path}/': a path parameter must be all of the last segment"),
        ("/{x:path}{y}/", "Bad pattern '/{x:path}{y}/': a path parameter must be all of the last segment"),
        ("/a/{x/", "Invalid {x part of /a/{x/ path"),
        ("/x}/", "Invalid x} part of /x}/ path"),
        ("/}x{/", "Invalid }x{ part of /}x{/ path"),
        ("/{{x}}/", "Invalid {{x}} part of /{{x}}/ path"),
        ("/{x/y}/", "Invalid {x part of /{x/y}/ path"),
        ("/{1x}/", "Bad pattern '/{1x}/': parameter '1x' begins with a digit"),
        ("/{٣}/", "Bad pattern '/{٣}/': parameter '٣' begins with a digit"),
        ("/{x}/{x}/", "Bad pattern '/{x}/{x}/': parameter 'x' is used twice"),
        ("/{x}-{x}/", "Bad pattern '/{x}-{x}/': parameter 'x' is used twice"),
        ("/a\n/", "Bad pattern '/a\\n/': it contains a control character"),
        ("/\x7f/", "Bad pattern '/\\x7f/': it contains a control character"),
        ("/{x}\x00/", "Bad pattern '/{x}\\x00/': it contains a control character"),
        ("a/", "Bad pattern 'a/': it must start and end with '/'"),
        ("/a", "Bad pattern '/a': it must start and end with '/'"),
        ("", "Bad pattern '': it must start and end with '/'"),
    ],
)
def test_malformed_template_is_refused(impl: Any, template: str, text: str) -> None:
    trie = impl.trie.Trie()
    assert outcome(trie.insert, template, "GET", 0) == (EndpointValueError, text)
    assert outcome(trie.find, template, "GET") == (EndpointValueError, text)
    assert outcome(impl.trie.parse_template, template) == (EndpointValueError, text)


def test_deepest_template_is_allowed_and_a_deeper_one_refused(impl: Any) -> None:
    deepest = "/" + "".join(f"{{x{n}}}/" for n in range(128))
    trie = trie_of(impl, deepest, "/" + "a/" * 128)
    assert trie.match("GET", "/" + "v/" * 128) == (deepest, ("v",) * 128)
    assert trie.match("GET", " /" + "a/" * 128)[1] == ()
    for deeper in ("/" + "v/" * 129, "/" + "v/" * 10_000, "/" + "Ж/" * 129):
        with pytest.raises(NotSpecifiedHandler):
            trie.match("GET", deeper)
    with pytest.raises(EndpointValueError, match="129 segments, at most 128 are allowed"):
        trie.insert("/" + "a/" * 129, "GET", 0)


# Converters


@pytest.mark.parametrize(
    ("template", "url", "values"),
    [
        ("/{x:int}/", "/7", (7,)),
        ("/{x:int}/", "/-007/", (-7,)),
        ("/{x:float}/", "/1", (1.0,)),
        ("/{x:float}/", "/-1.5e-3", (-0.0015,)),
        ("/{x:uuid}/", "/00000000-0000-0000-0000-00000000000A", (UUID(int=10),)),
        ("/{x:date}/", "/2024-02-29", (date(2024, 2, 29),)),
        ("/{x:str}/", "/7", ("7",)),
        ("/v{x:int}.{y}/", "/v1.x", (1, "x")),
        ("/{a:int}-{b:int}/", "/1-2", (1, 2)),
        ("/{a}{b:int}/", "/x1", ("x", 1)),
        ("/{a:int}/{b}/{c:date}/", "/1/2/2024-01-01/", (1, "2", date(2024, 1, 1))),
        ("/f/{x:path}/", "/f/a", ("a",)),
        ("/f/{x:path}/", "/f/a/b/", ("a/b",)),
        ("/f/{x:path}/", "/f//a//", ("/a/",)),
        ("/f/{x:path}/", "/f/é/Ж/\U0001d11e ", ("é/Ж/\U0001d11e",)),
        ("/f/{x:path}/", "/f///", ("/",)),
        ("/{x:path}/", "/a/b", ("a/b",)),
        ("/{x:path}/", "/" + "a/" * 1000, ("a/" * 999 + "a",)),
        ("/{x:path}/", "/" + "~/" * 1000, ("~/" * 999 + "~",)),
        ("/{n:int}/{x:path}/", "/5/a/b", (5, "a/b")),
    ],
)
def test_converter_gives_a_value_of_its_type(impl: Any, template: str, url: str, values: tuple[Any, ...]) -> None:
    found = trie_of(impl, template).match("GET", url)
    assert found == (template, values)
    assert list(map(type, found[1])) == list(map(type, values))


@pytest.mark.parametrize(
    ("template", "url"),
    [
        *((f"/{{x:{kind}}}/", f"/{text}") for kind in ("int", "float", "uuid", "date") for text in
          ("x", "", " 1", "+1", "1_0", "٣", "--1", "-", "1.", "0x1", "nan", "inf", "-inf", "1e999", "{1}", "1/2")),
        ("/{x:int}/", "/1.0"),
        ("/{x:int}/", "/" + "9" * LONG),
        ("/{x:float}/", "/" + "9" * LONG),
        ("/{x:uuid}/", "/" + "0" * 32),
        ("/{x:uuid}/", "/{00000000-0000-0000-0000-000000000000}"),
        ("/{x:date}/", "/2024-02-30"),
        ("/{x:date}/", "/20240229"),
        ("/{x:date}/", "/0000-01-01"),
        ("/{a:int}-{b:int}/", "/1-x"),
        ("/f/{x:path}/", "/f"),
        ("/f/{x:path}/", "/f/"),
        ("/f/{x:path}/", "/f//"),
        ("/f/{x:path}/", "/g/a"),
        ("/f/{x:path}/", "/f/a/{b}"),
        ("/{x:path}/", "/"),
        ("/{x:path}/", ""),
        ("/{x:path}/", "a"),
    ],
)  # fmt: skip
def test_what_does_not_convert_is_not_found(impl: Any, template: str, url: str) -> None:
    assert outcome(trie_of(impl, template).match, "GET", url) == NOT_FOUND


def test_what_a_converter_refuses_goes_to_the_next_template(impl: Any) -> None:
    trie = trie_of(impl, "/a/{n}/", "/a/{p:path}/", "/a/me/", "/a/{i:int}/", "/a/{d:date}/", "/a/{i:int}/b/")
    for url, template in [
        ("/a/me", "/a/me/"),
        ("/a/1", "/a/{i:int}/"),
        ("/a/2024-01-01", "/a/{d:date}/"),
        ("/a/x", "/a/{n}/"),
        ("/a/1/b", "/a/{i:int}/b/"),
        ("/a/x/b", "/a/{p:path}/"),
        ("/a/1/c", "/a/{p:path}/"),
        ("/a/me/b", "/a/{p:path}/"),
        ("/a//b", "/a/{p:path}/"),
    ]:
        assert trie.match("GET", url)[0] == template


def test_order_of_converters_at_one_level(impl: Any) -> None:
    assert trie_of(impl, "/{i:int}/", "/{x:float}/").match("GET", "/1") == ("/{i:int}/", (1,))
    assert trie_of(impl, "/{x:float}/", "/{i:int}/").match("GET", "/1") == ("/{x:float}/", (1.0,))
    assert trie_of(impl, "/{a}1/", "/{i:int}/").match("GET", "/11") == ("/{a}1/", ("1",))
    assert trie_of(impl, "/{a}{b}/", "/{i:int}{j}/", "/{i:int}{j:int}/").match("GET", "/11")[1] == (1, 1)


def test_method_decides_among_converters_too(impl: Any) -> None:
    trie = trie_of(impl, "/{i:int}/")
    trie.insert("/{n}/", "PUT", "put")
    trie.insert("/{p:path}/", "DELETE", "delete")
    assert trie.match("GET", "/1") == trie.match(" get ", "/1") == ("/{i:int}/", (1,))
    assert trie.match("PUT", "/1") == ("put", ("1",))
    assert trie.match("delete", "/1") == ("delete", ("1",))
    assert outcome(trie.match, "GET", "/x") == NOT_ALLOWED
    assert outcome(trie.match, "POST", "/1") == NOT_ALLOWED


def test_templates_clash_when_they_differ_in_names_only(impl: Any) -> None:
    templates = ["/{a}/", "/{a:int}/", "/{a:float}/", "/{a:path}/", "/x{a}/", "/x{a:int}/", "/{a:int}-{b}/"]
    trie = trie_of(impl, *templates)
    for template in templates:
        other = template.replace("a", "other", 1).replace("othert", "at").replace("potherth", "path")
        assert trie.find(other, "GET") == template
        text = f"duplicate template '{other}' for GET, already registered as '{template}'"
        assert outcome(trie.insert, other, "GET", 0) == (EndpointValueError, text)
    assert trie.find("/{a:str}/", "GET") == "/{a}/"
    assert trie.find("/{a}-{b:int}/", "GET") is None


@pytest.mark.parametrize("error", [ValueError, TypeError, KeyError, AttributeError, RuntimeError, StopIteration])
def test_converter_that_raises_does_not_match(impl: Any, error: type[Exception]) -> None:
    def convert(text: str) -> Any:
        raise error(text)

    trie = impl.trie.Trie()
    trie.insert("/{x:own}/", "GET", 0, {"own": Converter("own", convert, str)})
    assert outcome(trie.match, "GET", "/a") == NOT_FOUND


def test_interrupt_in_a_converter_is_raised(impl: Any) -> None:
    def convert(text: str) -> Any:
        raise KeyboardInterrupt

    trie = trie_of(impl, "/{x}/")
    trie.insert("/{x:own}/", "GET", 0, {"own": Converter("own", convert, str)})
    with pytest.raises(KeyboardInterrupt):
        trie.match("GET", "/a")


def test_converter_may_register_templates_meanwhile(impl: Any) -> None:
    numbers = iter(range(10_000))

    def convert(text: str) -> Any:
        for _ in range(100):
            number = next(numbers)
            for template in (f"/{number}/", f"/{number}/{{x}}/", f"/x{number}{{x:int}}/b/", f"/a/{number}/{{x:date}}/"):
                trie.insert(template, "GET", template)
        return None if text == "a" else int(text)

    own = {"own": Converter("own", convert, str)}
    trie = impl.trie.Trie()
    trie.insert("/{x:own}/{y:own}/b/", "GET", 0, own)
    trie.insert("/a/{y:own}/c/", "GET", 1, own)
    assert outcome(trie.match, "GET", "/a/1/c") == (1, (1,))
    assert outcome(trie.match, "GET", "/a/1/b") == (0, (None, 1))
    assert trie.match("GET", "/99/z") == ("/99/{x}/", ("z",))


def test_each_converter_is_asked_once_on_the_way_to_its_template(impl: Any) -> None:
    asked = []

    def convert(text: str) -> str:
        asked.append(text)
        return text.upper()

    own = {"own": Converter("own", convert, str)}
    trie = impl.trie.Trie()
    trie.insert("/{x:own}/{y:own}-{z}/", "GET", 0, own)
    assert trie.match("GET", "/a/b-c") == (0, ("A", "B", "c"))
    assert asked == ["a", "b"]


# Precedence and backtracking


def test_literal_beats_mixed_beats_parameter(impl: Any) -> None:
    trie = trie_of(impl, "/{x}/", "/{x}.json/", "/a.json/", "/v{x}.json/")
    assert trie.match("GET", "/a.json") == ("/a.json/", ())
    assert trie.match("GET", "/b.json") == ("/{x}.json/", ("b",))
    assert trie.match("GET", "/v1.json") == ("/v{x}.json/", ("1",))
    assert trie.match("GET", "/.json") == ("/{x}/", (".json",))


def test_first_of_two_mixed_segments_with_as_many_literal_characters_wins(impl: Any) -> None:
    assert trie_of(impl, "/a{x}/", "/{x}b/").match("GET", "/ab1b") == ("/a{x}/", ("b1b",))
    assert trie_of(impl, "/{x}b/", "/a{x}/").match("GET", "/ab1b") == ("/{x}b/", ("ab1",))
    assert trie_of(impl, "/{x}{y}/", "/a{x}/").match("GET", "/ab") == ("/a{x}/", ("b",))


def test_choice_that_leads_nowhere_is_taken_back(impl: Any) -> None:
    trie = trie_of(impl, "/a/{y}/b/", "/{x}/c/", "/a{x}/{y}/d/", "/{x}/{y}/e/")
    assert trie.match("GET", "/a/1/b") == ("/a/{y}/b/", ("1",))
    assert trie.match("GET", "/a/c") == ("/{x}/c/", ("a",))
    assert trie.match("GET", "/ab/1/d") == ("/a{x}/{y}/d/", ("b", "1"))
    assert trie.match("GET", "/ab/1/e") == ("/{x}/{y}/e/", ("ab", "1"))
    assert trie.match("GET", "/a/1/e") == ("/{x}/{y}/e/", ("a", "1"))


def test_template_without_the_method_is_passed_over(impl: Any) -> None:
    trie = trie_of(impl, "/a/b/")
    trie.insert("/a/{x}/", "POST", "post")
    trie.insert("/{x}/{y}/", "PUT", "put")
    assert trie.match("GET", "/a/b") == ("/a/b/", ())
    assert trie.match("POST", "/a/b") == ("post", ("b",))
    assert trie.match("PUT", "/a/b") == ("put", ("a", "b"))
    assert outcome(trie.match, "DELETE", "/a/b") == NOT_ALLOWED
    assert outcome(trie.match, "DELETE", "/a") == NOT_FOUND


def test_prefix_of_a_template_is_no_match(impl: Any) -> None:
    trie = trie_of(impl, "/a/b/c/", "/a/{x}/{y}/z/")
    for url in ("/", "/a", "/a/b", "/a/b/c/d", "/a/1/2", "/a/b/c/z/z"):
        assert outcome(trie.match, "GET", url) == NOT_FOUND
    assert trie.match("GET", "/a/b/c/z/") == ("/a/{x}/{y}/z/", ("b", "c"))


# Methods


@pytest.mark.parametrize("method", ["GET", "get", " Get  ", "gEt"])
@pytest.mark.parametrize("url", ["/static", "/v/1"])
def test_method_is_stripped_and_upper_cased(impl: Any, method: str, url: str) -> None:
    assert trie_of(impl, "/static/", "/v/{x}/").match(method, url)


@pytest.mark.parametrize(
    "method",
    ["POST", "", "\tGET", "GET\n", "ＧＥＴ", "GÉT", b"GET", None, 5, 1.5, True, [], {}, ["GET"], float("nan"), object],
    ids=repr,
)
def test_unusable_method_lets_the_url_decide(impl: Any, method: object) -> None:
    trie = trie_of(impl, "/static/", "/v/{x}/", "/t{x}/")
    for url in ("/static", "/static/", " /static", "/v/1", "/tx", "/v/Ж"):
        assert outcome(trie.match, method, url) == NOT_ALLOWED
    assert outcome(trie.match, method, "/nothing") == NOT_FOUND


def test_method_that_is_not_ascii_is_not_upper_cased(impl: Any) -> None:
    trie = trie_of(impl, "/a/", method="SS")
    with pytest.raises(MethodNotAllowed):
        trie.match("ß", "/a")
    assert trie.match("ss", "/a")


def test_method_not_allowed_says_what_not_found_says(impl: Any) -> None:
    trie = trie_of(impl, "/a/")
    with pytest.raises(MethodNotAllowed) as not_allowed:
        trie.match("PUT", "/a")
    with pytest.raises(NotSpecifiedHandler) as not_found:
        trie.match("PUT", "/b")
    assert str(not_allowed.value) == str(not_found.value)
    assert vars(not_allowed.value).keys() == vars(not_found.value).keys()


def test_many_methods_on_one_template(impl: Any) -> None:
    trie = impl.trie.Trie()
    for number in range(50):
        for template in ("/s/", "/p/{x}/"):
            trie.insert(template, f"M{number}", number)
    for number in range(50):
        assert trie.match(f"M{number}", "/s") == (number, ())
        assert trie.match("".join(["m", str(number)]), "/p/1") == (number, ("1",))


class Text(str):
    """A str that is not exactly one; such a method or url counts for what it holds."""

    __slots__ = ()

    def __str__(self) -> str:
        return "other"


def test_subclass_of_str_counts_for_what_it_holds(impl: Any) -> None:
    trie = trie_of(impl, "/static/", "/v/{x}/")
    assert trie.match(Text("GET"), Text("/static")) == ("/static/", ())
    value, values = trie.match(Text("get"), Text("/v/12"))
    assert (value, values) == ("/v/{x}/", ("12",))
    assert type(values[0]) is str
    trie.insert(Text("/w/{x}/"), Text("PUT"), "w")
    assert trie.match("PUT", "/w/1") == ("w", ("1",))


# Registration


def test_same_template_and_method_twice_names_both_and_changes_nothing(impl: Any) -> None:
    trie = trie_of(impl, "/a/{x}/b{y}/", "/s/")
    for template, other in [("/a/{p}/b{q}/", "/a/{x}/b{y}/"), ("/s/", "/s/")]:
        with pytest.raises(EndpointValueError) as caught:
            trie.insert(template, "GET", "new")
        assert str(caught.value) == f"duplicate template '{template}' for GET, already registered as '{other}'"
    assert trie.match("GET", "/a/1/b2") == ("/a/{x}/b{y}/", ("1", "2"))
    assert trie.match("GET", "/s") == ("/s/", ())
    trie.insert("/a/{p}/b{q}/", "POST", "new")
    assert trie.match("POST", "/a/1/b2") == ("new", ("1", "2"))


def test_find_gives_what_insert_would_clash_with(impl: Any) -> None:
    trie = trie_of(impl, "/", "/a/{x}/b{y}/", "/s/")
    assert trie.find("/a/{p}/b{q}/", "GET") == "/a/{x}/b{y}/"
    assert trie.find("/", "GET") == "/"
    for template, method in [
        ("/a/{p}/b{q}/", "PUT"),
        ("/a/{p}/", "GET"),
        ("/a/{p}/{q}/", "GET"),
        ("/a/{p}/c{q}/", "GET"),
        ("/a/{p}/b{q}/c/", "GET"),
        ("//", "GET"),
        ("/s/{s}/", "GET"),
    ]:
        assert trie.find(template, method) is None
        trie.insert(template, method, 0)
        assert trie.find(template, method) == template


def test_templates_that_differ_in_their_literals_only_do_not_clash(impl: Any) -> None:
    segments = ["{x}", "{x}.a", "{x}a", "a{x}", "{x}{y}", "{x}a{y}", "a", "A", "é", "e\u0301", "", "/", "//"]
    templates = [f"/{segment}/" for segment in segments]
    trie = trie_of(impl, *templates)
    for template in templates:
        assert trie.find(template, "GET") == template


def test_url_shorter_by_a_slash_keeps_its_own_template(impl: Any) -> None:
    trie = trie_of(impl, "//", "/a//", "/a/", "/", "/a /")
    for url, template in [("/", "/"), ("//", "//"), ("/a", "/a/"), ("/a/", "/a/"), ("/a//", "/a//"), ("/a ", "/a/")]:
        assert trie.match("GET", url) == (template, ())
    assert trie.match("GET", "/a /") == ("/a /", ())


def test_values_are_any_objects_and_kept_as_they_are(impl: Any) -> None:
    trie = impl.trie.Trie()
    for number, value in enumerate([None, False, [], impl]):
        trie.insert(f"/s{number}/", "GET", value)
        trie.insert(f"/p{number}/{{x}}/", "GET", value)
        assert trie.match("GET", f"/s{number}")[0] is value
        assert trie.match("GET", f"/p{number}/1")[0] is value


def test_static_result_is_made_once(impl: Any) -> None:
    trie = trie_of(impl, "/a/b/")
    assert trie.match("GET", "/a/b") is trie.match("GET", "/a/b/")


def test_ten_thousand_templates(impl: Any) -> None:
    templates = [f"/{a}{kind}/{b}/" for a in ("r", "Ж") for kind in ("", "s") for b in range(2500)]
    trie = trie_of(impl, *templates, "/{x}/0/", "/{x}/{y}/")
    for template in templates:
        assert trie.match("GET", template) == (template, ())
    assert trie.match("GET", "/r/2500") == ("/{x}/{y}/", ("r", "2500"))
    assert trie.match("GET", "/q/0") == ("/{x}/0/", ("q",))


def test_many_mixed_segments_at_one_level(impl: Any) -> None:
    templates = [f"/a{n}-{{x}}.b{n}/" for n in range(300)]
    trie = trie_of(impl, *templates, "/{x}/")
    for n in (0, 1, 9, 10, 150, 299):
        assert trie.match("GET", f"/a{n}-v.b{n}") == (templates[n], ("v",))
    assert trie.match("GET", "/a1-v.b2") == ("/{x}/", ("a1-v.b2",))


# Strings of every kind


CHARACTERS = ["a", "é", "ÿ", "Ж", "\uffff", "\U0001d11e", "\U0010ffff"]


@pytest.mark.parametrize("other", CHARACTERS)
@pytest.mark.parametrize("mine", CHARACTERS)
def test_characters_of_any_width_beside_each_other(impl: Any, mine: str, other: str) -> None:
    for size in (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33):
        literal = mine * size
        trie = trie_of(impl, f"/{literal}/{{x}}/end/", f"/{literal}{{x}}{literal}/", f"/{literal}/")
        assert trie.match("GET", f"/{literal}/") == (f"/{literal}/", ())
        assert trie.match("GET", f"/{literal} ".rstrip()) == (f"/{literal}/", ())
        value = (other + mine) * size
        assert trie.match("GET", f"/{literal}/{value}/end") == (f"/{literal}/{{x}}/end/", (value,))
        assert trie.match("GET", f"/{literal}{other}{literal}") == (f"/{literal}{{x}}{literal}/", (other,))
        for wrong in (literal + "x", literal[:-1], literal[:-1] + "x", "x" + literal[1:]):
            if wrong:
                assert outcome(trie.match, "GET", f"/{wrong}/1/end/{other}") == NOT_FOUND


def test_same_bytes_in_another_width_are_not_the_same_text(impl: Any) -> None:
    trie = trie_of(impl, "/\u6161/", "/" + "a" * 4 + "/")
    assert trie.match("GET", "/\u6161") == ("/\u6161/", ())
    assert trie.match("GET", "/aaaa") == ("/aaaa/", ())
    for url in ("/aa", "/\u6161\u6161", "/aa\x00\x00"[:3], "/\U00016161"):
        with pytest.raises(NotSpecifiedHandler):
            trie.match("GET", url)


def test_every_length_of_segment_and_url(impl: Any) -> None:
    trie = trie_of(impl, "/{a}/", "/{a}/{b}/", "/{a}/{b}/{c}/")
    for first in range(1, 20):
        for second in range(1, 20):
            a, b = "x" * first, "y" * second
            assert trie.match("GET", f"/{a}/{b}")[1] == (a, b)
            assert trie.match("GET", f" /{a}/{b}/z/")[1] == (a, b, "z")


@pytest.mark.parametrize(
    "pattern", ["{}", "{}/a", "/{}", "/a/bcdefghi{}/", " /a{} ", "/a{}Ж", "/é{}", "/{{{}", "/a/a/{}"]
)
def test_control_character_anywhere_is_an_incorrect_url(impl: Any, pattern: str) -> None:
    trie = trie_of(impl, "/{x}/", "/a/", "/a/{x}/")
    for code in [*range(0x20), 0x7F]:
        for method in ("GET", "PUT", None):
            expected = (IncorrectURL, "url contains a control character")
            assert outcome(trie.match, method, pattern.format(chr(code))) == expected


# Hostile


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("/" * LONG, NOT_FOUND),
        ("/a" * LONG, NOT_FOUND),
        ("/../" * LONG, NOT_FOUND),
        ("a" * LONG, NOT_FOUND),
        ("/" + "~" * LONG, NOT_FOUND),
        ("/" + " " * LONG + "x", NOT_FOUND),
        ("/a" + "{" * LONG, NOT_FOUND),
        ("{" * LONG, NOT_FOUND),
        ("/Ж" + "/" * LONG, NOT_FOUND),
        ("/" + "a-" * LONG, ("/{a}-{b}-{c}/", ("a-" * (LONG - 3) + "a", "a", "a-"))),
        (" " * LONG + "/a" + " " * LONG, ("/a/", ())),
        ("/a/" + "b" * LONG, ("/a/{x}/", ("b" * LONG,))),
        ("/a/" + "é" * LONG, ("/a/{x}/", ("é" * LONG,))),
        ("/a" + "b" * LONG + "/c", ("/{a}{b}/c/", ("a" + "b" * (LONG - 1), "b"))),
        ("/" + "-" * LONG, ("/{a}-{b}-{c}/", ("-" * (LONG - 4), "-", "-"))),
        ("/" + "Ж-" * LONG + "a", ("/{a}-{b}-{c}/", ("Ж-" * (LONG - 2) + "Ж", "Ж", "a"))),
    ],
    ids=lambda value: ascii(value[:6]) if isinstance(value, str) else None,
)
def test_long_url_is_answered(impl: Any, url: str, expected: object) -> None:
    trie = trie_of(impl, "/a/", "/a/{x}/", "/{a}-{b}-{c}/", "/{a}-{b}-{c}x/", "/{a}a{b}-{c}--{d}!/", "/{a}{b}/c/")
    assert outcome(trie.match, "GET", url) == expected


def test_mixed_segment_does_not_blow_up(impl: Any) -> None:
    trie = trie_of(impl, "/" + "".join(f"{{p{n}}}-" for n in range(40)) + "x/")
    with pytest.raises(NotSpecifiedHandler):
        trie.match("GET", "/" + "-" * LONG)
    with pytest.raises(NotSpecifiedHandler):
        trie.match("GET", "/" + "a-" * 39 + "x")
    assert trie.match("GET", "/" + "--" * 40 + "x")[1] == ("-",) * 40


def test_backtracking_is_bounded_by_the_templates(impl: Any) -> None:
    choices = (["a" if number >> bit & 1 else f"{{x{bit}}}" for bit in range(10)] for number in range(1024))
    trie = trie_of(impl, *(f"/{'/'.join(choice)}/b/" for choice in choices))
    with pytest.raises(NotSpecifiedHandler):
        trie.match("GET", "/a" * 10 + "/c")
    with pytest.raises(MethodNotAllowed):
        trie.match("PUT", "/a" * 10 + "/b")


def test_match_leaves_no_references(impl: Any) -> None:
    trie = trie_of(impl, "/a/{x}/", "/b{x}/{y}/", "/s/", "/c{x:int}/", "/c{x:date}/a/", "/p/{x:path}/")
    urls = ("a/Жb", "s", "bx/y", "none", "{", "\n", "a/b", "c1", "cx", "c1/a", "p/a/b", "p/Ж/b")
    objects: list[Any] = [f"/{text}" for text in urls]
    objects += [f"{method}{len(objects)}" for method in ("get", "GET", "Ж")]
    before = [sys.getrefcount(text) for text in objects]
    for pair in product([*objects, "GET", "get", None], objects * 3):
        outcome(trie.match, *pair)
    del pair
    assert [sys.getrefcount(text) for text in objects] == before


def test_trie_in_a_cycle_is_collected(impl: Any) -> None:
    class Value:
        trie: Any = None

    def build() -> weakref.ref[Value]:
        value = Value()
        value.trie = impl.trie.Trie()
        value.trie.insert("/a/", "GET", value)
        value.trie.insert("/{x}/b{y}/", "GET", value)
        value.trie.match("GET", "/1/b2")
        return weakref.ref(value)

    reference = build()
    gc.collect()
    assert reference() is None


def test_values_live_as_long_as_the_trie(impl: Any) -> None:
    trie = impl.trie.Trie()
    for number in range(100):
        trie.insert(f"/{'s' * number}x/", f"M{number}", [number])
        trie.insert(f"/{'s' * number}{{x}}/Ж{number}/", f"M{number}", [number])
    gc.collect()
    for number in range(100):
        assert trie.match(f"M{number}", f"/{'s' * number}x") == ([number], ())
        assert trie.match(f"m{number}", f"/{'s' * number}y/Ж{number}") == ([number], ("y",))


# Against an oracle: one regex for each template, tried in order of precedence


def shape(segment: str) -> tuple[str | None, ...]:
    """Give the literals around the parameters, and between them the names of the converters or None."""
    parts: list[str | None] = list(re.split(r"\{\w+(?::(\w+))?\}", segment))
    parts[1::2] = [None if name == "str" else name for name in parts[1::2]]
    return tuple(parts)


def from_ab(text: str) -> str:
    return "".join({"a": "A", "b": "B"}[character] for character in text)


KINDS = {**CONVERTERS, "ab": Converter("ab", from_ab, str.lower)}


def converted(kinds: tuple[str | None, ...], texts: tuple[str, ...]) -> tuple[Any, ...] | None:
    found = [KINDS[kind or "str"] for kind in kinds]
    try:
        return tuple(text if kind is None else kind.convert(text) for kind, text in zip(found, texts, strict=True))
    except (ValueError, KeyError):
        return None


def rank(part: tuple[str | None, ...], age: int) -> tuple[int, ...]:
    """Say when a segment is tried, beside the others of its level."""
    kinds = part[1::2]
    literals = "".join(filter(None, part[::2]))
    if not kinds:
        return (0,)
    if part == ("", None, ""):
        return (2,)
    return (3,) if "path" in kinds else (1, -len(literals), kinds.count(None) - len(kinds), age)


class Oracle:
    def __init__(self) -> None:
        self.routes: list[tuple[list[tuple[int, ...]], re.Pattern[str], str, str]] = []
        self.seen: dict[tuple[tuple[str | None, ...], ...], int] = {}

    def insert(self, template: str, method: str) -> None:
        shapes = [shape(segment) for segment in template[1:].split("/")[:-1]]
        ranks: list[tuple[int, ...]] = []
        for index, part in enumerate(shapes):
            age = self.seen.setdefault(tuple(shapes[: index + 1]), len(self.seen))
            ranks.append(rank(part, age))
        literals = [re.escape(literal or "") for literal in shape(template)[::2]]
        pattern = literals[0]
        for kind, literal in zip(shape(template)[1::2], literals[1:], strict=True):
            pattern += ("([^{}]+)" if kind == "path" else "([^{}/]+)") + literal
        self.routes.append((ranks, re.compile(pattern), template, method))

    def match(self, method: object, url: str) -> tuple[object, tuple[str, ...]]:
        if re.search(r"[\x00-\x1f\x7f]", url):
            raise IncorrectURL("url contains a control character")
        url = url.strip(" ")
        url = url if url.endswith("/") else url + "/"
        routes = sorted(self.routes, key=itemgetter(0))
        found = [
            (route, values)
            for route in routes
            if (match := route[1].fullmatch(url))
            and (values := converted(shape(route[2])[1::2], match.groups())) is not None
        ]
        usual = method.strip(" ").upper() if isinstance(method, str) and method.isascii() else method
        for name in (method, usual):
            for route, values in found:
                if route[3] == name:
                    return route[2], values
        raise MethodNotAllowed() if found else NotSpecifiedHandler()


LITERALS = st.text(st.sampled_from("ab1.-é\u0416\U0001d11e %"), max_size=3)
PARAMETERS = st.sampled_from(["{}", "{}", "{:str}", "{:int}", "{:float}", "{:date}", "{:ab}"])
SEGMENTS = st.one_of(
    LITERALS,
    PARAMETERS,
    st.lists(st.one_of(LITERALS, PARAMETERS), max_size=5).map("".join),
)


def named(template: str) -> str:
    """Number the parameters."""
    numbers = iter(range(100))
    return re.sub(r"\{(:\w+)?\}", lambda found: f"{{p{next(numbers)}{found[1] or ''}}}", template)


TEMPLATES = st.tuples(st.lists(SEGMENTS, max_size=4), st.sampled_from([[], [], ["{:path}"]])).map(
    lambda parts: named("/" + "".join(f"{s}/" for s in parts[0] + parts[1]))
)
METHODS = st.sampled_from(["GET", "PUT", "get", " Put ", "POST", "GÉT", "", 5, None])
VALUES = st.one_of(
    st.text(st.sampled_from("ab1.-é\u0416\U0001d11e %/{}\n~|"), min_size=1, max_size=4),
    st.sampled_from(["1", "-1", "1.5", "ab", "a", "a/b", "a//", "2024-02-29"]),
)


@st.composite
def tables_and_urls(draw: st.DrawFn) -> tuple[list[tuple[str, str]], list[tuple[object, str]]]:
    """Draw routes, and requests of which many match."""
    table: dict[tuple[object, str], str] = {}  # what would clash is left out
    for template, method in draw(st.lists(st.tuples(TEMPLATES, st.sampled_from(["GET", "PUT"])), max_size=8)):
        table.setdefault((shape(template), method), template)
    requests: list[tuple[object, str]] = []
    for template in draw(st.permutations([*table.values(), "/{x}/"])):
        url = re.sub(r"\{\w+(:\w+)?\}", lambda _: draw(VALUES), template)
        if draw(st.booleans()):
            url = url.removesuffix("/")
        requests.append((draw(METHODS), draw(st.sampled_from(["", "", " "])) + url + draw(st.sampled_from(["", " "]))))
    requests.append((draw(METHODS), draw(st.text(st.sampled_from("/ab.- é\u0416{}\x00"), max_size=12))))
    return [(template, method) for (_, method), template in table.items()], requests


@given(tables_and_urls())
@example(([("/a/{p0}/b/", "GET"), ("/{p0}/c/", "GET")], [("GET", "/a/c")]))
@example(([("/{p0}a{p1}/", "GET"), ("/a{p0}/", "GET")], [("GET", "/aaa")]))
def test_trie_agrees_with_one_regex_for_each_template(
    impl: Any, case: tuple[list[tuple[str, str]], list[tuple[object, str]]]
) -> None:
    table, requests = case
    oracle = Oracle()
    trie = impl.trie.Trie()
    for template, method in table:
        oracle.insert(template, method)
        trie.insert(template, method, template, KINDS)
    for method_, url in requests:
        assert outcome(trie.match, method_, url) == outcome(oracle.match, method_, url), (table, method_, url)


@pytest.mark.compiled
@given(
    st.lists(st.tuples(st.one_of(TEMPLATES, st.text(st.sampled_from("/{}ax1é\n"), max_size=8)), METHODS), max_size=8),
    st.lists(st.tuples(METHODS, st.one_of(TEMPLATES, VALUES, st.text())), max_size=8),
)
def test_pure_and_compiled_agree(
    both: tuple[Any, Any], routes: list[tuple[str, Any]], requests: list[tuple[object, str]]
) -> None:
    py, c = (implementation.trie.Trie() for implementation in both)
    for number, (template, method) in enumerate(routes):
        for verb in (str(method), "GET"):
            assert outcome(py.find, template, verb, KINDS) == outcome(c.find, template, verb, KINDS)
            assert outcome(py.insert, template, verb, number, KINDS) == outcome(c.insert, template, verb, number, KINDS)
    for method, url in [*requests, *((method, template) for template, method in routes)]:
        assert outcome(py.match, method, url) == outcome(c.match, method, url)


@pytest.mark.compiled
@given(tables_and_urls())
def test_pure_and_compiled_agree_on_what_matches(
    both: tuple[Any, Any], case: tuple[list[tuple[str, str]], list[tuple[object, str]]]
) -> None:
    table, requests = case
    py, c = (implementation.trie.Trie() for implementation in both)
    for template, method in table:
        py.insert(template, method, template, KINDS)
        c.insert(template, method, template, KINDS)
    for method_, url in requests:
        assert outcome(py.match, method_, url) == outcome(c.match, method_, url)


@pytest.mark.compiled
def test_compiled_trie_refuses_what_is_no_str(both: tuple[Any, Any]) -> None:
    for implementation in both:
        trie = trie_of(implementation, "/a/")
        for url in (b"/a", None, 5, ["/a"]):
            with pytest.raises((TypeError, AttributeError)):
                trie.match("GET", url)
