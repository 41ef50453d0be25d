"""The ledger: what a launcher that was killed at any moment finds again."""

import json

import pytest

from bgb.errors import InfraError
from bgb.infra.ledger import DONE, SENDING, SENT, Ledger


def test_later_lines_complete_earlier_ones(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.write(0, SENDING, overrides=["lr=1"], fingerprint="f", call_id=None)
    ledger.write(1, SENDING, overrides=["lr=2"])
    ledger.write(0, SENT, call_id="fc-1")
    found = Ledger(tmp_path).records
    assert (found[0].state, found[0].call_id, found[0].overrides) == (SENT, "fc-1", ("lr=1",))
    assert found[0].fingerprint == "f"
    assert found[1].state == SENDING
    assert found == ledger.records


def test_a_job_that_is_sent_again_forgets_its_old_call(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.write(0, SENT, call_id="fc-1")
    ledger.write(0, SENDING, call_id=None)
    assert Ledger(tmp_path).records[0].call_id is None


def test_torn_last_line_is_dropped_and_the_next_line_is_whole(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.write(0, SENT, call_id="fc-1")
    with ledger.path.open("a") as file:
        file.write('{"num": 0, "state": "do')
    again = Ledger(tmp_path)
    assert again.records[0].state == SENT
    again.write(0, DONE, seconds=2.5)
    assert [json.loads(line) for line in again.path.read_text().splitlines()][-1]["state"] == DONE
    assert Ledger(tmp_path).records[0].seconds == 2.5


def test_torn_first_line_starts_a_new_ledger(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.path.write_text('{"sweep_id": "01')
    assert len(Ledger(tmp_path).sweep_id) == 10


@pytest.mark.parametrize("line", ["garbage", "[]", '{"state": "done"}'])
def test_damage_elsewhere_is_refused_with_its_line(tmp_path, line):
    ledger = Ledger(tmp_path)
    ledger.write(0, SENT, call_id="fc-1")
    lines = ledger.path.read_text().splitlines()
    ledger.path.write_text("\n".join([lines[0], line, *lines[1:]]) + "\n")
    with pytest.raises(InfraError, match=r"jobs\.jsonl, line 2 is no event.*sound copy"):
        Ledger(tmp_path)


def test_a_sweep_keeps_its_id_and_another_folder_has_another(tmp_path):
    first = Ledger(tmp_path / "a").sweep_id
    assert Ledger(tmp_path / "a").sweep_id == first
    assert Ledger(tmp_path / "b").sweep_id != first


def test_results_are_found_again(tmp_path):
    Ledger(tmp_path).save_result(3, b"reply")
    assert Ledger(tmp_path).load_result(3) == b"reply"
    assert Ledger(tmp_path).load_result(4) is None
