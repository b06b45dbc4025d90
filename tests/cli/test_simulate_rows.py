"""A CSV of jobs as spreadsheets and people write it: no row is lost without a word."""

import pytest

from agent_stack_cli.errors import CliError
from agent_stack_cli.simulation import boot_times
from tests.cli.test_simulate_inputs import read


def moments(text: str) -> list[float]:
    return [job.at for job in read(text).jobs]


@pytest.mark.parametrize("rest", ["2,6,b\n3,7,c\n", '2,6,b\n3,7,"c"\n', '2,6,"b, c"\n3,7,\n'])
@pytest.mark.parametrize("column", ["pipeline", "note"])
def test_a_quote_that_is_not_closed_takes_its_own_row_only(column: str, rest: str) -> None:
    load = read(f'at,seconds,{column}\n0,4,\n1,5,"a\n{rest}')
    assert [job.at for job in load.jobs] == [0, 2, 3]
    assert any(one.startswith("line 3: ") and "quote" in one for one in load.problems)


def test_a_quote_at_the_very_end_is_not_closed_either() -> None:
    load = read('at,seconds,pipeline\n1,5,a\n2,6,"b')
    assert ([job.at for job in load.jobs], load.problems[0][:7]) == ([1], "line 3:")


def test_a_text_of_several_lines_in_a_column_that_is_not_used_is_one_row() -> None:
    text = 'at,seconds,message\n1,5,"Fix it\n\nCo-authored"\n2,6,"a ""b"""\nx,5,\n'
    load = read(text)
    assert [job.at for job in load.jobs] == [1, 2]
    assert [one.partition(":")[0] for one in load.problems] == ["column message", "line 6, column at"]


def test_a_cell_without_a_column_leaves_its_row_out() -> None:
    load = read("at,seconds,agents\n1,5,class=a\n2,5,class=a,os=linux\n3,5,class=b,,\n")
    assert [job.at for job in load.jobs] == [1, 3]
    (problem,) = load.problems
    assert problem.startswith("line 3: 'os=linux' stands in no column")
    assert "quotes" in problem


def test_a_column_that_stands_twice_stops_because_nobody_knows_which_is_meant() -> None:
    with pytest.raises(CliError, match=r"jobs\.csv has the column seconds twice"):
        read("at,seconds,Seconds\n1,5,9\n")


@pytest.mark.parametrize("before", ["\n\n", "\ufeff\r\n", ",,\n"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_empty_lines_and_columns_are_nothing(before: str, end: str) -> None:
    load = read(before + f"at,seconds,{end}1,5,{end}{end},,{end}2,6,{end}")
    assert ([job.at for job in load.jobs], load.problems) == ([1, 2], ())


def test_a_column_without_a_name_is_said_once() -> None:
    load = read(",at,seconds\n0,1,5\n1,2,5\n")
    assert [job.at for job in load.jobs] == [1, 2]
    assert load.problems == ("column 1 has no name, and is not used",)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_another_separator_is_named(separator: str) -> None:
    with pytest.raises(CliError, match="no column at in its first line") as refused:
        read(f"at{separator}seconds\n1{separator}5\n")
    assert f"with commas, not with {separator!r}" in refused.value.next


def test_an_empty_file_says_so() -> None:
    for text in ("", "\n \n"):
        with pytest.raises(CliError, match=r"jobs\.csv is empty"):
            read(text)


def test_a_queue_among_the_agents_is_the_queue() -> None:
    (first, second, third) = read(
        "at,seconds,agents,queue\n1,5,class=a queue=gpu,\n2,5,queue=gpu,gpu\n3,5,queue=gpu,arm\n4,5,class=a,\n"
    ).jobs
    assert (first.queue, first.agents) == ("gpu", ("class=a",))
    assert (second.queue, second.agents) == ("gpu", ())
    assert third.queue == "linux"
    (problem,) = read("at,seconds,agents,queue\n3,5,queue=gpu,arm\n4,5,,\n").problems
    assert problem.startswith("line 2, column agents: queue=gpu, and the column queue has arm")


def test_boots_of_which_none_can_be_read_say_why() -> None:
    with pytest.raises(CliError, match=r"holds no boot time: boots\.txt, line 1: '23500' is no number of seconds"):
        boot_times.read_seconds("23500\n19000\n", "boots.txt")
