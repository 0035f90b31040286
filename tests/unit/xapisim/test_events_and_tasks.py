# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""event.from, its tokens and barriers; the life of tasks."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

NULL = "OpaqueRef:NULL"


@pytest.fixture
def network(sim: Any) -> str:
    return _network(sim)


def _network(sim: Any, name: str = "n") -> str:
    return sim.call(
        "network.create", {"name_label": name, "name_description": "", "MTU": 1500, "other_config": {}, "tags": []}
    )


def _now(sim: Any) -> str:
    return sim.call("event.from", ["nosuchclass"], "", 0.0)["token"]


def test_an_empty_token_dumps_everything(sim: Any, network: str) -> None:
    batch = sim.call("event.from", ["Network", "pool"], "", 1.0)
    assert list(batch) == ["events", "valid_ref_counts", "token"]
    found = {e["ref"]: e for e in batch["events"]}
    assert {e["class"] for e in batch["events"]} == {"network", "pool"}
    assert found[network]["operation"] == "add"
    assert found[network]["timestamp"] == "0.0"
    assert found[network]["snapshot"] == sim.call("network.get_record", network)
    assert set(batch["valid_ref_counts"]) == {c.lower() for c in sim.pool.schema.classes}
    assert batch["valid_ref_counts"]["network"] == len(sim.call("network.get_all"))
    assert len(batch["token"]) == 41


def test_a_change_is_one_event(sim: Any, network: str) -> None:
    token = _now(sim)
    sim.call("network.set_name_description", network, "a")
    sim.call("network.set_name_description", network, "b")
    batch = sim.call("event.from", ["network"], token, 5.0)
    assert [(e["class"], e["operation"], e["ref"]) for e in batch["events"]] == [("network", "mod", network)]
    assert batch["events"][0]["snapshot"]["name_description"] == "b"
    assert batch["events"][0]["id"] <= int(batch["token"].split(",")[0])


def test_an_equal_value_is_none(sim: Any, network: str) -> None:
    token = _now(sim)
    sim.call("network.set_name_label", network, sim.call("network.get_name_label", network))
    assert sim.call("event.from", ["network"], token, 0.1)["events"] == []


def test_additions_and_deletions(sim: Any, network: str) -> None:
    token = _now(sim)
    new, brief = _network(sim), _network(sim)
    sim.call("network.set_name_label", new, "changed")
    sim.call("network.destroy", brief)
    sim.call("network.destroy", network)
    events = sim.call("event.from", ["network"], token, 5.0)["events"]
    assert [(e["operation"], e["ref"]) for e in events] == [("add", new), ("del", network)]
    assert "snapshot" not in events[1]


def test_a_single_object(sim: Any, network: str) -> None:
    other = _network(sim)
    token = _now(sim)
    sim.call("network.set_name_label", other, "x")
    assert sim.call("event.from", [f"network/{network}"], token, 0.1)["events"] == []
    assert len(sim.call("event.from", [f"NETWORK/{other}"], token, 0.1)["events"]) == 1


def test_it_blocks_until_something_happens(sim: Any, network: str) -> None:
    token = _now(sim)
    begun = time.monotonic()
    threading.Timer(0.3, lambda: sim.call("network.set_name_label", network, "later")).start()
    batch = sim.call("event.from", ["network"], token, 10.0)
    assert len(batch["events"]) == 1
    assert 0.25 < time.monotonic() - begun < 3


def test_it_ends_when_the_time_is_over(sim: Any) -> None:
    begun = time.monotonic()
    batch = sim.call("event.from", ["network"], _now(sim), 0.3)
    assert (batch["events"], len(batch["token"])) == ([], 41)
    assert 0.25 < time.monotonic() - begun < 3


def test_it_ends_with_its_session(sim: Any) -> None:
    session = sim.ok("session.login_with_password", "root", sim.pool.sessions.users["root"].password)
    token = _now(sim)
    threading.Timer(0.2, lambda: sim.ok("session.logout", session)).start()
    assert sim.error("event.from", session, ["network"], token, 20.0) == ["SESSION_INVALID", session]


def test_injected_events_are_a_barrier(sim: Any, network: str) -> None:
    token = _now(sim)
    barrier = sim.call("event.inject", "network", network)
    batch = sim.call("event.from", ["network"], token, 5.0)
    assert [e["ref"] for e in batch["events"]] == [network]
    assert batch["token"] >= barrier


def test_messages_are_events(sim: Any) -> None:
    token = _now(sim)
    pool = sim.call("pool.get_all_records")
    uuid = next(iter(pool.values()))["uuid"]
    ref = sim.call("message.create", "HELLO", 3, "Pool", uuid, "body")
    events = sim.call("event.from", ["message"], token, 5.0)["events"]
    assert [(e["operation"], e["ref"], e["snapshot"]["name"]) for e in events] == [("add", ref, "HELLO")]
    assert sim.call("message.get_record", ref)["cls"] == "Pool"
    assert ref in sim.call("message.get", "Pool", uuid, "19700101T00:00:00Z")
    token = _now(sim)
    sim.call("message.destroy", ref)
    events = sim.call("event.from", ["*"], token, 5.0)["events"]
    assert [(e["class"], e["operation"], e["ref"]) for e in events] == [("message", "del", ref)]


def test_the_legacy_calls(sim: Any, network: str) -> None:
    session = sim.ok("session.login_with_password", "root", sim.pool.sessions.users["root"].password)
    error = sim.error("event.next", session)
    assert error[0] == "SESSION_NOT_REGISTERED"
    assert error[1].startswith("trackid=")
    assert len(error[1]) == len("trackid=") + 32
    sim.ok("event.register", session, ["network"])
    sim.call("network.set_name_label", network, "legacy")
    events = sim.ok("event.next", session)
    assert [(e["operation"], e["ref"]) for e in events] == [("mod", network)]
    assert events[0]["obj_uuid"] == sim.call("network.get_uuid", network)
    sim.ok("event.unregister", session, ["network"])
    assert sim.error("event.next", session)[0] == "SESSION_NOT_REGISTERED"


# -- tasks


def _done(sim: Any, task: str) -> dict[str, Any]:
    token = ""
    for _unused in range(20):
        record = sim.call("task.get_record", task)
        if record["status"] != "pending":
            return record
        token = sim.call("event.from", [f"task/{task}"], token, 5.0)["token"]
    raise AssertionError(record)


def test_a_task_that_succeeds(sim: Any) -> None:
    record = {"name_label": "t", "name_description": "", "MTU": 1500, "other_config": {}, "tags": []}
    task = sim.call("Async.network.create", record)
    done = _done(sim, task)
    network = done["result"].removeprefix("<value>").removesuffix("</value>")
    assert sim.call("network.get_name_label", network) == "t"
    assert (done["name_label"], done["status"], done["progress"]) == ("Async.network.create", "success", 1.0)
    assert (done["type"], done["error_info"], done["backtrace"]) == ("<none/>", [], "()")
    assert done["resident_on"] == next(iter(sim.call("pool.get_all_records").values()))["master"]
    assert done["allowed_operations"] == []
    task = sim.call("Async.network.destroy", network)
    assert _done(sim, task)["result"] == "<value></value>"
    sim.call("task.destroy", task)
    assert sim.refused("task.get_status", task) == ["HANDLE_INVALID", "task", task]


def test_a_task_that_fails(sim: Any) -> None:
    done = _done(sim, sim.call("Async.network.destroy", "OpaqueRef:bogus"))
    assert (done["status"], done["error_info"]) == ("failure", ["HANDLE_INVALID", "network", "OpaqueRef:bogus"])
    assert done["finished"] != "19700101T00:00:00Z"


def test_a_synchronous_call_makes_a_task_too(sim: Any, network: str) -> None:
    before, count = sim.pool.db.generation, len(sim.call("task.get_all"))
    sim.call("network.destroy", network)
    assert [cls for number, _c, cls, _r in sim.pool.db.deleted if number > before].count("task") == 1
    assert len(sim.call("task.get_all")) == count


def test_cancelling(sim: Any, network: str) -> None:
    sim.pool.faults.delay("network.destroy", 1, 60)
    task = sim.call("Async.network.destroy", network)
    assert sim.call("task.get_allowed_operations", task) == ["cancel"]
    sim.call("task.cancel", task)
    done = _done(sim, task)
    assert (done["status"], done["error_info"]) == ("cancelled", ["TASK_CANCELLED", task])
    assert sim.call("network.get_uuid", network)
    sim.call("task.cancel", task)


def test_destroying_a_pending_task_waits_for_its_end(sim: Any, network: str) -> None:
    sim.pool.faults.delay("network.destroy", 1, 60)
    task = sim.call("Async.network.destroy", network)
    sim.call("task.destroy", task)
    assert sim.call("task.get_status", task) == "pending"
    sim.pool.clock.advance(61)
    deadline = time.monotonic() + 5
    while network in sim.call("network.get_all") and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sim.refused("task.get_status", task)[0] == "HANDLE_INVALID"


def test_tasks_of_clients(sim: Any) -> None:
    task = sim.call("task.create", "mine", "of my own")
    sim.call("task.set_progress", task, 0.5)
    sim.call("task.add_to_other_config", task, "k", "v")
    sim.call("task.set_status", task, "success")
    record = sim.call("task.get_record", task)
    assert (record["name_label"], record["progress"], record["status"]) == ("mine", 0.5, "success")
    assert record["other_config"] == {"k": "v"}
    sim.call("task.destroy", task)


def test_old_tasks_are_collected(sim: Any) -> None:
    task = sim.call("Async.network.destroy", "OpaqueRef:bogus")
    _done(sim, task)
    sim.pool.clock.advance(60 * 60)
    assert sim.call("task.get_status", task) == "failure"
    sim.pool.clock.advance(11 * 60)
    assert sim.refused("task.get_status", task)[0] == "HANDLE_INVALID"
