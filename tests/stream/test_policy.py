"""stream/policy.py: the shipped rows, rules files, and what is said about wrong ones.

Method: small rules files from memory; each error is looked for with its line and its remedy.
"""

import datetime
import itertools
import re

import pytest

from stream.policy import (
    CODES,
    TIME_FIRST_US,
    TIME_LAST_US,
    Effect,
    Parameters,
    PolicyError,
    load_policy,
    parse_policy,
)

HOLD_ROWS = 18


def moment(text):
    """Microseconds UTC of an ISO date-time with an offset."""
    delta = datetime.datetime.fromisoformat(text) - datetime.datetime(
        1970, 1, 1, tzinfo=datetime.UTC
    )
    return delta // datetime.timedelta(microseconds=1)


def policy_of(text):
    return parse_policy(text.encode(), "rules.toml")


def error_of(text):
    with pytest.raises(PolicyError) as caught:
        parse_policy(text if isinstance(text, bytes) else text.encode(), "rules.toml")
    message = str(caught.value)
    assert "\n" not in message
    return message


def bit(code):
    return 1 << CODES.index(code)


def test_shipped_effects_are_those_of_the_table():
    policy = load_policy()
    for period in policy.periods:
        assert period.hold_mask == (1 << HOLD_ROWS) - 1
        assert period.flag_mask == ((1 << 24) - 1) ^ period.hold_mask


def test_shipped_periods_cover_all_time_without_gap():
    periods = load_policy().periods
    assert periods[0].from_us == TIME_FIRST_US
    assert periods[-1].to_us == TIME_LAST_US
    for before, after in itertools.pairwise(periods):
        assert before.from_us < before.to_us == after.from_us


def test_shipped_parameters_are_the_contracts():
    assert load_policy().parameters == Parameters(90, 15, 30, 5, 30, 180, 24, 0)


def test_circular_39_is_cited_from_its_first_day_in_vietnam():
    policy = load_policy()
    last_day = policy.row("NOT_CLEARED", moment("2018-06-04T23:59:59.999999+07:00"))
    first_day = policy.row("NOT_CLEARED", moment("2018-06-05T00:00:00+07:00"))
    assert "39/2018" not in last_day.basis
    assert first_day.basis == (
        "Circular 38/2015/TT-BTC art. 52.1.d.3.2 as amended by Circular 39/2018/TT-BTC"
    )
    assert first_day.basis_vi.startswith("điểm d.3.2 khoản 1 Điều 52 Thông tư số 38/2015/TT-BTC")
    assert [period.rule_set_name for period in policy.periods] == [
        "TT38-2015",
        "TT38-2015+TT39-2018",
    ]


def test_every_row_has_its_number_and_words():
    policy = load_policy()
    for number, code in enumerate(CODES, start=1):
        row = policy.row(code, 0)
        assert (row.code, row.number) == (code, number)
        assert row.vi and row.en and row.basis and row.basis_vi
    with pytest.raises(KeyError, match="NO_SUCH_ROW"):
        policy.row("NO_SUCH_ROW", 0)


def test_an_empty_rules_file_is_the_shipped_policy():
    policy = policy_of("")
    assert policy.periods == load_policy().periods
    assert policy.parameters == load_policy().parameters


def test_a_rule_is_in_force_from_midnight_to_midnight_in_vietnam():
    policy = policy_of(
        """
        [[rule]]
        code = "STOPPED"
        effect = "FLAG"
        from = 2018-07-01
        to = "2018-07-02"
        basis = "Trial 7"
        vi = "Thử nghiệm"
        """
    )
    effects = {
        text: policy.row("STOPPED", moment(text)).effect
        for text in (
            "2018-06-30T23:59:59.999999+07:00",
            "2018-07-01T00:00:00+07:00",
            "2018-07-02T16:59:59.999999+00:00",
            "2018-07-02T17:00:00+00:00",
        )
    }
    assert list(effects.values()) == [Effect.HOLD, Effect.FLAG, Effect.FLAG, Effect.HOLD]
    row = policy.row("STOPPED", moment("2018-07-01T12:00:00+07:00"))
    assert (row.basis, row.basis_vi, row.vi) == ("Trial 7", "Trial 7", "Thử nghiệm")
    assert row.en == load_policy().row("STOPPED", 0).en
    period = policy.period(moment("2018-07-01T12:00:00+07:00"))
    assert not period.hold_mask & bit("STOPPED")
    assert period.flag_mask & bit("STOPPED")
    assert len(policy.periods) == 4


def test_off_is_in_neither_mask():
    policy = policy_of('[[rule]]\ncode = "CHECK_DIGIT"\neffect = "OFF"\n')
    for period in policy.periods:
        assert not (period.hold_mask | period.flag_mask) & bit("CHECK_DIGIT")


def test_several_rules_for_one_code_may_follow_each_other():
    policy = policy_of(
        """
        rule = [
            { code = "STOPPED", effect = "OFF", to = 2018-01-01 },
            { code = "STOPPED", effect = "FLAG", from = 2018-01-02 },
        ]
        """
    )
    assert policy.row("STOPPED", moment("2018-01-01T23:59:59+07:00")).effect is Effect.OFF
    assert policy.row("STOPPED", moment("2018-01-02T00:00:00+07:00")).effect is Effect.FLAG


def test_equal_policies_have_equal_names_and_others_do_not():
    first = policy_of('[[rule]]\ncode = "STOPPED"\neffect = "FLAG"\n')
    same = policy_of('# A remark.\nrule = [{effect = "FLAG", "code" = "STOPPED"}]\n')
    other = policy_of('[[rule]]\ncode = "STOPPED"\neffect = "OFF"\n')
    parameters = policy_of("[parameters]\nstale_days = 181\n")
    restated = policy_of(
        '[[rule]]\ncode = "STOPPED"\neffect = "HOLD"\n[parameters]\nstale_days=180'
    )
    names = [
        policy.period(0).rule_set_name
        for policy in (first, same, other, parameters, restated, load_policy())
    ]
    assert names[0] == names[1]
    assert names[4] == names[5] == "TT38-2015"
    assert len(set(names)) == 4
    for name in names[:4]:
        assert re.fullmatch(r"TT38-2015~[0-9a-f]{8}", name)


def test_names_do_not_depend_on_rules_of_other_days():
    long = policy_of(
        """
        [[rule]]
        code = "STOPPED"
        effect = "FLAG"
        from = 2019-01-01
        to = 2019-01-31
        [[rule]]
        code = "STOPPED"
        effect = "FLAG"
        from = 2020-01-01
        to = 2020-01-31
        """
    )
    january_2019 = long.period(moment("2019-01-10T00:00:00+07:00")).rule_set_name
    january_2020 = long.period(moment("2020-01-10T00:00:00+07:00")).rule_set_name
    between = long.period(moment("2019-06-10T00:00:00+07:00")).rule_set_name
    assert january_2019 == january_2020 != between == "TT38-2015+TT39-2018"


@pytest.mark.parametrize(
    ("text", "thousandths"),
    [("0", 0), ("5", 5000), ("0.125", 125), ("2.5", 2500), ("1e-3", 1), ("0.1", 100)],
)
def test_tolerance_is_exact(text, thousandths):
    policy = policy_of(f"[parameters]\nweight_tolerance_percent = {text}\n")
    assert policy.parameters.weight_tolerance_thousandths == thousandths


RULE = '# A rehearsal.\n[[rule]]\ncode = "STOPPED"\neffect = "FLAG"\n'


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[[rule]]\ncode = 'STOPED'\neffect='OFF'", 2, "unknown rule code 'STOPED': did you mean"),
        ("[[rule]]\neffect='OFF'\n\ncode = 7", 4, "unknown rule code 7"),
        ("\n[[rule]]\neffect='OFF'", 2, "no `code`"),
        ("\n\n[[rule]]\ncode = 'STOPPED'", 3, "no `effect`"),
        ("[[rule]]\ncode='STOPPED'\neffect='hold'", 3, "unknown effect 'hold': use HOLD, FLAG"),
        ("[[rule]]\ncode='STOPPED'\neffect=['HOLD']", 3, "unknown effect"),
        (RULE + "form = 2018-01-01", 5, "unknown key 'form': did you mean from?"),
        ("x = 1\n", 1, "unknown key 'x'"),
        ("[rules]\n", 1, "unknown key 'rules': did you mean rule?"),
        ("[rule]\ncode='STOPPED'", 1, "must be written [[rule]]"),
        ("rule = [1]", 1, "must be a table"),
        (RULE + "from = 2018-02-30", 5, "correct the TOML"),
        (RULE + "from = '2018-02-30'", 5, "there is no day 2018-02-30"),
        (RULE + "from = '1/2/2018'", 5, "write YYYY-MM-DD"),
        (RULE + "from = 2018-01-01T00:00:00Z", 5, "a date without a time"),
        (RULE + "to = 20180101", 5, "`to` must be a date"),
        (RULE + "to = 2018-01-01\nfrom = 2018-01-02", 5, "is before `from` 2018-01-02"),
        (RULE + "vi = 5", 5, "`vi` must be a string"),
        (RULE + "en = ' '", 5, "`en` must be a string that is not blank"),
        (RULE + 'en = """a\nb"""', 5, "control character"),
        (RULE + f"basis = '{'x' * 1025}'", 5, "longer than 1,024 bytes"),
        (RULE + RULE, 6, "overlaps the one of line 2"),
        (RULE + "to = 2018-05-05\n" + RULE + "from = 2018-05-05", 7, "(day 2018-05-05)"),
        (RULE + "from = 2018-05-05\n" + RULE + "to = 2018-05-05", 7, "(day 2018-05-05)"),
        ("[parameters]\nstale_day = 1", 2, "unknown key 'stale_day': did you mean stale_days?"),
        ("[parameters]\n\nstale_days = -1", 3, "out of range: give 0 to 100,000 days"),
        ("[parameters]\nstale_days = 100001", 2, "out of range"),
        ("[parameters]\nstale_days = 180.0", 2, "must be an integer (whole days)"),
        ("[parameters]\nstale_days = true", 2, "must be an integer"),
        ("[parameters]\nlate_import_minutes = '15'", 2, "(whole minutes)"),
        ("parameters = 5", 1, "`parameters` must be a table"),
        ("[parameters]\nweight_tolerance_percent = 0.0005", 2, "more than 3 decimals"),
        ("[parameters]\nweight_tolerance_percent = -0.5", 2, "out of range"),
        ("[parameters]\nweight_tolerance_percent = nan", 2, "out of range"),
        ("[parameters]\nweight_tolerance_percent = inf", 2, "out of range"),
        ("[parameters]\nweight_tolerance_percent = '1'", 2, "must be a number"),
        ("[parameters]\nweight_tolerance_percent = true", 2, "must be a number"),
        ("a = \n", 1, "correct the TOML"),
        ("a = 'b", 1, "correct the TOML"),
        ('# \n[[rule]]\n"code" = "STOPPED"\n"code" = "STOPPED"', 4, "correct the TOML"),
        (b"# ok\nx = '\xff'", 2, "not UTF-8 (byte 0xff)"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(text, line, words):
    message = error_of(text)
    assert message.startswith(f"rules.toml:{line}: "), message
    assert words in message


def test_limits_of_the_file():
    assert "larger than 1,048,576 bytes" in error_of(b"#" * (1048576 + 1))
    day = datetime.date(2018, 1, 1)
    rule = '[[rule]]\ncode="STOPPED"\neffect="OFF"\nfrom={0}\nto={0}\n'
    rules = [rule.format(day + datetime.timedelta(days=2 * number)) for number in range(1001)]
    assert len(policy_of("".join(rules[:1000])).periods) == 2001  # One falls on 5 June 2018.
    assert "more than 1,000 [[rule]] tables" in error_of("".join(rules))
    assert "nested too deeply" in error_of("a = " + "[" * 5000 + "]" * 5000)


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(PolicyError, match=r"absent\.toml: the rules file can't be read"):
        load_policy(tmp_path / "absent.toml")
    with pytest.raises(PolicyError, match="can't be read"):
        load_policy(tmp_path)


def test_the_first_and_the_last_day_of_the_calendar_are_days():
    policy = policy_of(RULE + "from = 0001-01-01\nto = 9999-12-31\n")
    assert policy.row("STOPPED", 0).effect is Effect.FLAG
    assert policy.periods[-1].to_us == TIME_LAST_US
