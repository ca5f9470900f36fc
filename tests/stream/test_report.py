"""stream/report.py: the national table from a small directory made by hand."""

import csv
import io
import json

import pytest

from stream import cli
from stream.moments import midnight_us, parse_day
from stream.report import (
    ReportError,
    display_width,
    kilograms_text,
    read_report,
    render_text,
    text_table,
    write_csv,
    write_json,
)

VOLUMES = """\
operatorID,day,direction,unitType,movementsIn,piecesIn,weightKgIn,movementsOut,piecesOut,weightKgOut
OP1,2018-06-30,IMPORT,CONTAINER,10,0,0.000,8,0,0.000
OP1,2018-07-01,IMPORT,CONTAINER,1,0,0.000,1,0,0.000
OP1,2018-07-01,EXPORT,LIQUID,2,0,9007199254740.993,0,0,0.000
OP2,2018-06-30,IMPORT,CONTAINER,5,0,0.001,0,0,0.000
"OP,3",2018-06-30,IMPORT,PACKAGES,1,40,12.500,1,10,3.125
GONE,2018-06-30,DOMESTIC,BULK,1,0,1.000,0,0,0.000
"""
STOCK = """\
locationCode,direction,unitType,age,units,pieces,weightKg
L1,IMPORT,CONTAINER,0-30,3,0,0.000
L1,IMPORT,CONTAINER,90+,2,0,0.000
L2,IMPORT,CONTAINER,90+,1,0,0.000
L3,IMPORT,PACKAGES,31-60,1,30,-1.500
L9,EXPORT,BULK,0-30,1,0,7.000
"""
JUNE = parse_day("2018-06-30")
JULY = parse_day("2018-07-01")


def operator(operator_id, department, branch, location, **changes):
    names = {"03": "Cục Hải quan TP. Hải Phòng", "51": "Cục Hải quan tỉnh Bà Rịa - Vũng Tàu"}
    value = {
        "operatorID": operator_id,
        "name": operator_id,
        "kind": "SEAPORT",
        "departmentCode": department,
        "departmentName": names[department],
        "branchCode": branch,
        "branchName": None if branch is None else f"Chi cục {branch}",
        "locations": [location],
        "status": "CONNECTED",
        "connectedDate": "2018-06-01",
        "version": 1,
    }
    return value | changes


@pytest.fixture
def directory(tmp_path):
    july_ms = midnight_us(JULY) // 1000
    entries = [
        (1, operator("OP1", "03", "03A", "L1")),
        (2, operator("OP2", "03", "03B", "L2", status="TESTING")),
        (3, operator("OP,3", "51", None, "L3")),
        # From July on, OP1 belongs to another department.
        (july_ms, operator("OP1", "51", "51A", "L1", version=2)),
    ]
    with (tmp_path / "registry.ndjson").open("w", encoding="utf-8") as file:
        for timestamp, value in entries:
            entry = {"timestamp": timestamp, "operatorID": value["operatorID"], "operator": value}
            file.write(json.dumps(entry) + "\n")
    (tmp_path / "volumes.csv").write_text(VOLUMES)
    (tmp_path / "stock.csv").write_text(STOCK)
    return tmp_path


def table(report, level):
    return {
        (*row.place, row.direction, row.unit_type): tuple(row.volume)
        for row in report.summed(level)
    }


def test_days_after_the_date_do_not_count(directory):
    report = read_report(directory, JUNE)
    assert table(report, "nation") == {
        ("", "", "IMPORT", "CONTAINER"): (15, 0, 1, 8, 0, 0),
        ("", "", "IMPORT", "PACKAGES"): (1, 40, 12500, 1, 10, 3125),
        ("", "", "DOMESTIC", "BULK"): (1, 0, 1000, 0, 0, 0),
    }


def test_an_operator_counts_where_it_belonged_as_of_the_date(directory):
    june, july = read_report(directory, JUNE), read_report(directory, JULY)
    assert table(june, "department")[("03", "", "IMPORT", "CONTAINER")][:1] == (15,)
    assert table(july, "department")[("03", "", "IMPORT", "CONTAINER")][:1] == (5,)
    assert table(july, "department")[("51", "", "IMPORT", "CONTAINER")][:1] == (11,)
    assert table(july, "branch")[("51", "51A", "EXPORT", "LIQUID")][2] == 9007199254740993
    assert table(july, "branch")[("51", "-", "IMPORT", "PACKAGES")][1] == 40
    assert table(july, "department")[("-", "", "DOMESTIC", "BULK")][2] == 1000


def test_levels_add_up(directory):
    report = read_report(directory)
    for level in ("branch", "department", "nation"):
        sums = [sum(column) for column in zip(*table(report, level).values(), strict=True)]
        assert sums == [20, 40, 9007199254740993 + 1 + 12500 + 1000, 10, 10, 3125]


def test_connected_operators_by_department(directory):
    june = read_report(directory, JUNE)
    assert [(row.code, row.connected, row.operators) for row in june.departments] == [
        ("03", 1, 2),
        ("51", 1, 1),
    ]
    assert june.connected == 2
    assert read_report(directory, parse_day("2018-05-31")).connected == 0
    july = read_report(directory, JULY)
    assert [row.connected for row in july.departments] == [0, 2]


def test_without_a_date_it_is_the_last_day_of_the_data(directory):
    assert read_report(directory).as_of_day == JULY


def test_stock_by_department_and_age(directory):
    report = read_report(directory, JUNE)
    assert [tuple(row) for row in report.stock] == [
        ("-", "EXPORT", "BULK", (1, 0, 0, 0), 0, 7000),
        ("03", "IMPORT", "CONTAINER", (3, 0, 0, 3), 0, 0),
        ("51", "IMPORT", "PACKAGES", (0, 1, 0, 0), 30, -1500),
    ]


def test_text_for_people(directory):
    text = render_text(read_report(directory, JULY))
    assert "Connected operators as of 2018-07-01" in text
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "nation 2 3" in rows
    assert (
        "51 Cục Hải quan tỉnh Bà Rịa - Vũng Tàu EXPORT LIQUID "
        "2 0 9,007,199,254,740.993 0 0 0.000" in rows
    )
    assert "nation 4 1 0 3 30 5.500" in rows


def test_csv_has_every_level(directory):
    file = io.StringIO()
    write_csv(read_report(directory, JULY), file)
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert {row["level"] for row in rows} == {"NATION", "DEPARTMENT", "BRANCH"}
    branch = next(row for row in rows if row["branchCode"] == "51A")
    assert branch["branchName"] == "Chi cục 51A"
    assert branch["departmentName"] == "Cục Hải quan tỉnh Bà Rịa - Vũng Tàu"
    nation = next(row for row in rows if row["unitType"] == "LIQUID")
    assert nation["weightKgIn"] == "9007199254740.993"


def test_json_has_every_table(directory):
    file = io.StringIO()
    write_json(read_report(directory, JUNE), file)
    document = json.loads(file.getvalue())
    assert document["asOf"] == "2018-06-30"
    assert document["connectedOperators"] == 2
    assert document["volumes"]["nation"][0]["movementsIn"] == 15
    assert document["stock"][2]["weightKg"] == "-1.500"


def test_columns_line_up_whatever_the_letters():
    decomposed = "Cu\u0323c"
    text = text_table(("name", "count"), [["Cục", 1000], [decomposed, 1], ["港口", 22]], left=1)
    assert [display_width(line) for line in text.splitlines()] == [11] * 5
    assert decomposed not in text
    assert kilograms_text(-1500) == "-1.500"
    assert kilograms_text(1234567, ",") == "1,234.567"


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("volumes.csv", ("movementsIn", "moves"), r"volumes\.csv:1: the header must be"),
        ("volumes.csv", ("10,0,0.000", "10,0,0.0"), r"volumes\.csv:2: '0\.0' is no weight"),
        ("volumes.csv", ("10,0,0.000", "x,0,0.000"), r"volumes\.csv:2: 'x' is no count"),
        ("volumes.csv", ("2018-07-01,IMPORT", "2018-13-01,IMPORT"), r"volumes\.csv:3: .*no day"),
        ("volumes.csv", ("IMPORT", "INWARD"), r"volumes\.csv:2: 'INWARD' is none of IMPORT"),
        ("volumes.csv", ("OP2,", ""), r"volumes\.csv:5: 9 cells instead of 10"),
        ("volumes.csv", (VOLUMES, ""), r"volumes\.csv:1: the file is empty"),
        ("volumes.csv", ('"OP,3"', '"OP"3'), r"volumes\.csv:6: .*replay the log again"),
        ("stock.csv", ("90+", "91+"), r"stock\.csv:3: '91\+' is none of"),
        ("registry.ndjson", ("{", "["), r"registry\.ndjson:1: "),
    ],
)
def test_what_is_wrong_in_the_directory_is_named(directory, name, change, message):
    path = directory / name
    path.write_text(path.read_text().replace(*change, 1))
    with pytest.raises(ReportError, match=message):
        read_report(directory)


def test_a_missing_file_is_named(directory):
    (directory / "stock.csv").unlink()
    with pytest.raises(ReportError, match=r"stock\.csv: can't be read"):
        read_report(directory)


def test_command(directory, capsys):
    arguments = ["report", "--from", str(directory)]
    assert cli.main([*arguments, "--as-of", "2018-06-30"]) == 0
    assert "Connected operators as of 2018-06-30" in capsys.readouterr().out
    assert cli.main([*arguments, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["asOf"] == "2018-07-01"
    assert cli.main([*arguments, "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("level,")
    assert cli.main([*arguments, "--as-of", "30/6/2018"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
