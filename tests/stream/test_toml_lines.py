"""stream/toml_lines.py: the lines of keys, in all the ways in which TOML can be written."""

import tomllib

from hypothesis import given
from hypothesis import strategies as st

from stream.toml_lines import key_lines

DOCUMENT = '''# A remark with [[a.header]] and a = 1
title = "a # no remark \\" ["   # but this is one
text = """
[[not.a.header]]
x = 1 \\""" ""still inside"""""
plain = \'\'\'
y = 'z' ''\'\'\'
"quoted.key" = 'C:\\'
"\\u0062\\n" = 1
dotted . "inner" = 2018-01-01T00:00:00Z

[[ rule ]]
code = 1
list = [ # remark ]
    "a,]", 'b',
    { inner = [1, 2], other = "}" },
]
[rule.sub]
x = 1
[[rule]]
code = { a.b = 1, "c" = -inf }
[[rule.deep]]
z = 1e5
[[rule.deep]]
z = 2
'''


def test_every_way_of_writing():
    tomllib.loads(DOCUMENT)
    lines = key_lines(DOCUMENT)
    assert lines[("title",)] == 2
    assert lines[("text",)] == 3
    assert lines[("plain",)] == 6
    assert lines[("quoted.key",)] == 8
    assert lines[("b\n",)] == 9
    assert lines[("dotted", "inner")] == 10
    assert lines[("rule", 0)] == 12
    assert lines[("rule", 0, "code")] == 13
    assert lines[("rule", 0, "list", 2, "other")] == 16
    assert lines[("rule", 0, "sub", "x")] == 19
    assert lines[("rule", 1)] == 20
    assert lines[("rule", 1, "code", "a", "b")] == 21
    assert lines[("rule", 1, "code", "c")] == 21
    assert lines[("rule", 1, "deep", 0, "z")] == 23
    assert lines[("rule", 1, "deep", 1, "z")] == 25
    assert ("x",) not in lines
    assert ("y",) not in lines


VALUES = st.sampled_from(
    ["1", "'''a\nb'''", '"""\n#"""', "[1,\n2]", "{}", "2018-01-01", "'#'", '"\\\\"', "[[],[\n]]"]
)


@given(st.lists(st.tuples(VALUES, st.sampled_from(["", "\n", "# x\n", "\n\n"]))))
def test_lines_after_any_values(parts):
    text, expected = "", []
    for number, (value, padding) in enumerate(parts):
        expected.append(text.count("\n") + 1)
        text += f"k{number} = {value} \n{padding}"
    tomllib.loads(text)
    lines = key_lines(text)
    assert [lines[(f"k{number}",)] for number in range(len(parts))] == expected
