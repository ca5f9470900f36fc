"""The log line reader against Python's json.

Goal: a line of CONTRACT.md section 6 gives exactly the topic, time, key and value bytes that it
stands for, and any other line an error that names what is wrong. Method: a second reader on
Python's json that keeps each value's own text, on generated lines and on lines with damaged bytes;
then the limits by name, on both SIMD paths.
"""

import json
import random
import re
from typing import Any, NoReturn

import pytest

from core_ext.event_scanner import SIMD_PATHS, TOPICS, Scanner
from tests.reference.strict_json import Number

SCANNERS = [Scanner(path) for path in SIMD_PATHS]

Line = tuple[str, int, bytes | None, bytes | None]


def refuse(name: str) -> NoReturn:
    raise ValueError(name)


DECODER = json.JSONDecoder(parse_int=Number, parse_float=Number, parse_constant=refuse)
SPACE = re.compile(r"[ \t\n\r]*")


def reference_line(line: bytes) -> Line | None:
    """What a line stands for; None if it is blank. Raises ValueError."""
    text = line.decode("utf-8")
    if not text.strip(" \t\n\r"):
        return None
    if not isinstance(DECODER.decode(text), dict):
        raise ValueError("no object")
    # Valid by now: the second walk only finds each member's text.
    members: dict[str, tuple[Any, str]] = {}
    at = SPACE.match(text, text.index("{") + 1).end()
    while text[at] != "}":
        key, at = DECODER.raw_decode(text, at)
        at = SPACE.match(text, text.index(":", at) + 1).end()
        value, end = DECODER.raw_decode(text, at)
        members[key] = value, text[at:end]
        at = SPACE.match(text, end).end()
        if text[at] == ",":
            at = SPACE.match(text, at + 1).end()
    topic, timestamp = members["topic"][0], members["timestamp"][0]
    key = members.get("key", (None, ""))[0]
    value, written = members["value"]
    if topic not in TOPICS or not isinstance(timestamp, Number):
        raise ValueError("topic or timestamp")
    if not re.fullmatch("[0-9]{1,15}", timestamp.text) or int(timestamp.text) > 253402300799999:
        raise ValueError("timestamp")
    if key is not None and not isinstance(key, str):
        raise ValueError("key")
    if value is not None:
        value = (value if isinstance(value, str) else written).encode("utf-8", "surrogatepass")
    key = None if key is None else key.encode("utf-8", "surrogatepass")
    return topic, int(timestamp.text), key, value


def check(line: bytes) -> Line | str | None:
    """Both paths say what the reference says; returns that, or the error."""
    try:
        expected: Line | str | None = reference_line(line)
    except (ValueError, KeyError, TypeError):
        expected = "error"
    found: Line | str | None = None
    for path, scanner in zip(SIMD_PATHS, SCANNERS, strict=True):
        try:
            found = scanner.parse_log_line(line)
        except ValueError as error:
            found = str(error)
            assert expected == "error", f"{path}, {line!r}: {error}"
        else:
            assert found == expected, f"{path}, {line!r}"
    return found


VALUES = [
    "null", '{"a":1}', ' { "a" : [ 1 , {} ] } ', "{}", '"{}"', '""', '"\\u0000\\ud83d\\ude00"',
    '"\\ud800"', '{"a":"\\ud800"}', '"é\\n"', "1", "-0.5e3", "true", "false", "[]", '["x",null]',
    '{"topic":"x","value":2}', '"' + "x" * 300 + '"',
]  # fmt: skip
INSERTIONS = [
    b'"', b"\\", b"{", b"}", b"[", b"]", b",", b":", b" ", b"\t", b"\n", b"\x00", b"\x7f", b"\xff",
    b"1", b"-", b".", b"e", b"null", b'"value":1,', b'"key":"\\u006b",', b'"topic":"holds",',
    b"\\ud800", b"\xed\xa0\x80", "é".encode(),
]  # fmt: skip


def generated(chance: random.Random) -> bytes:
    members = [
        ("topic", f'"{chance.choice(TOPICS)}"'),
        ("timestamp", chance.choice(["0", "1533758645000", "253402300799999"])),
        ("key", chance.choice(["null", '"MSKU1234565"', '""', '"\\u00e9\\ud800"'])),
        ("value", chance.choice(VALUES)),
        ("x", chance.choice(VALUES)),
    ]
    if chance.random() < 0.3:
        chance.shuffle(members)
    if chance.random() < 0.2:
        del members[chance.randrange(len(members))]
    if chance.random() < 0.2:
        members.append((chance.choice(["topic", "key", "value"]), chance.choice(VALUES)))
    gap = chance.choice(["", " ", "\t"])
    line = ",".join(f'{gap}"{key}"{gap}:{gap}{value}{gap}' for key, value in members)
    data = (gap + "{" + line + "}" + gap).encode("utf-8")
    for _ in range(chance.choice([0, 0, 1, 2])):
        place = chance.randint(0, len(data))
        action = chance.random()
        if action < 0.5:
            data = data[:place] + chance.choice(INSERTIONS) + data[place:]
        elif action < 0.8:
            data = data[:place] + bytes([chance.randrange(256)]) + data[place + 1 :]
        else:
            data = data[:place] + data[place + chance.randint(1, 3) :]
    return data


def test_generated_lines_are_read_as_the_reference_reads_them():
    chance = random.Random(0)
    found = [check(generated(chance)) for _ in range(30_000)]
    good = sum(isinstance(one, tuple) for one in found)
    assert 5_000 < good < 25_000


def line_of(**parts: str) -> bytes:
    """A good line with some members' texts replaced."""
    members = {"topic": '"holds"', "timestamp": "1", "key": '"H1"', "value": "{}"} | parts
    return ("{" + ",".join(f'"{k}":{v}' for k, v in members.items()) + "}").encode()


@pytest.mark.parametrize("topic", TOPICS)
def test_topics(topic):
    expected = (topic, 1, b"H1", b"{}")
    assert check(line_of(topic=f'"{topic}"')) == expected
    assert check(line_of(topic=f'"\\u{ord(topic[0]):04x}{topic[1:]}"')) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("null", None),
        ('{ "a" : 1 }', b'{ "a" : 1 }'),
        ('"{\\"a\\":1}"', b'{"a":1}'),
        ('"plain"', b"plain"),
        ('""', b""),
        ('"\\ud800x"', b"\xed\xa0\x80x"),
        ('"\\ud83d\\ude00"', "😀".encode()),
        ('{"a":"\\ud800"}', b'{"a":"\\ud800"}'),
        ("12.50", b"12.50"),
        ("[1, 2]", b"[1, 2]"),
        ("true", b"true"),
    ],
)
def test_value_stands_for_its_bytes(value, expected):
    assert check(line_of(value=value)) == ("holds", 1, b"H1", expected)


def test_value_may_be_nested_more_deeply_than_records_may():
    """It is the record that is refused then, and the replay goes on. Beyond Python's own depth."""
    for depth in (64, 65, 900):
        value = "[" * depth + "]" * depth
        assert check(line_of(value=value)) == ("holds", 1, b"H1", value.encode())
    for value in ("[" * 500_000 + "]" * 500_000, '{"a":' * 200_000 + "1" + "}" * 200_000):
        for scanner in SCANNERS:
            assert scanner.parse_log_line(line_of(value=value))[3] == value.encode()
            with pytest.raises(ValueError, match="comma or closing bracket"):
                scanner.parse_log_line(line_of(value=value[:-1]))


@pytest.mark.parametrize("line", [b"", b" ", b"\n", b" \t\r\n"])
def test_blank_line(line):
    assert check(line) is None


@pytest.mark.parametrize("line_end", [b"", b"\n", b"\r\n", b" \n"])
def test_line_end_is_no_matter(line_end):
    assert check(line_of() + line_end) == ("holds", 1, b"H1", b"{}")


def test_key_absent_is_null():
    line = b'{"topic":"holds","timestamp":1,"value":null}'
    assert check(line) == ("holds", 1, None, None)
    assert check(line_of(key="null")) == ("holds", 1, None, b"{}")


def test_last_of_repeated_keys_counts():
    line = line_of()[:-1] + b',"value":null,"\\u006bey":"K2","timestamp":7}'
    assert check(line) == ("holds", 7, b"K2", None)


@pytest.mark.parametrize("timestamp", ["0", "253402300799999"])
def test_timestamp_just_inside(timestamp):
    assert check(line_of(timestamp=timestamp)) == ("holds", int(timestamp), b"H1", b"{}")


WRONG = [
    *((line_of(timestamp=t), "timestamp") for t in (
        "-1", "-0", "1.0", "1e3", "253402300800000", "1" * 100, '"1"', "null", "true", "[1]")),
    (b'{"topic":"holds","key":"k","value":1}', "timestamp is missing"),
    (line_of(topic='"decisions"'), '"decisions"'),
    (line_of(topic='"Holds"'), '"Holds"'),
    (line_of(topic='""'), "topic"),
    (line_of(topic='"' + "é" * 3000 + '"'), "topic"),
    (line_of(topic='"holds\\u0000"'), '"holds?"'),
    (line_of(topic="null"), "topic is missing"),
    (line_of(topic="1"), "topic is no string"),
    (b'{"timestamp":1,"key":"k","value":1}', "topic is missing"),
    (b'{"topic":"holds","timestamp":1,"key":"k"}', "value is missing"),
    *((line_of(key=k), "key is neither") for k in ("1", "true", "{}", "[]")),
    (b"x", "no JSON object"),
    (b"[]", "no JSON object"),
    (b'"x"', "no JSON object"),
    (b"\xef\xbb\xbf" + line_of(), "no JSON object"),
    (line_of() + b"x", "no JSON object"),
    (line_of() + line_of(), "more after the object"),
    (line_of(value='"x"').replace(b"x", b"\xff"), "no valid UTF-8"),
    (line_of(value='"a\tb"'), "control character"),
    (line_of(value='"\\x"'), "bad escape"),
    (line_of(value="NaN"), "value expected"),
    (line_of(value="01"), "comma or closing bracket"),
    (line_of(value="1."), "bad number"),
    (line_of(value="tru"), "bad literal"),
    (line_of()[:-1] + b",}", "key expected"),
    (line_of()[:-1] + b',"x"}', "colon expected"),
    (line_of(value='"'), "string without end"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "said"), WRONG)
def test_wrong_line_is_explained(line, said):
    error = check(line)
    assert isinstance(error, str)
    assert said in error
    assert error.isascii()
    assert len(error) < 160
