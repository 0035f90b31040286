# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks and events: waiting, progress, failure, time-out, and nothing left behind."""

from __future__ import annotations

import time

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.xapi import records, tasks
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import XapiError, XapiUnreachable
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.events import EventStream
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.session import Session

TASK = "OpaqueRef:task"


class Scripted:
    """A server with one task whose states are given: (progress, status, result or error_info)."""

    def __init__(self, server, wire, *states):
        self.states = list(states)
        self.server, self.wire = server, wire
        self.server.methods.update(
            {
                "Async.VM.start": TASK,
                "event.from": self.events,
                "task.get_record": lambda *_args: self.record(),
                "task.cancel": self.cancel,
                "task.destroy": "",
            }
        )
        self.cancellable = True

    def record(self):
        progress, status, outcome = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        success = status == "success"
        return {
            "progress": progress,
            "status": status,
            "result": outcome if success else "",
            "error_info": [] if success else outcome,
        }

    def events(self, _session, classes, token, timeout):
        assert classes == [f"task/{TASK}"]
        if len(self.states) == 1 and self.states[0][1] == "pending" and token:
            time.sleep(timeout)
            return {"events": [], "token": "t", "valid_ref_counts": {}}
        event = {"class": "task", "ref": TASK, "operation": "mod", "snapshot": self.record()}
        return {"events": [event], "token": "t", "valid_ref_counts": {}}

    def cancel(self, *_args):
        if self.cancellable:
            self.states = [(1.0, "cancelled", ["TASK_CANCELLED", TASK])]
        return ""


@pytest.fixture
def script(server, wire):
    return lambda *states: Scripted(server, wire, *states)


@pytest.fixture
def fake(server):
    return Session(server.url, reference="OpaqueRef:s", timeout=5, retry_for=1)


def test_success_with_progress(server, script, fake):
    script(
        (0.0, "pending", []),
        (0.25, "pending", []),
        (0.25, "pending", []),
        (1.0, "success", "<value>OpaqueRef:vm</value>"),
    )
    seen = []
    assert tasks.run(fake, "VM.start", "ref", False, timeout=10, on_progress=seen.append) == "OpaqueRef:vm"
    assert seen == [0.25, 1.0]
    assert server.calls[0][1:] == ("Async.VM.start", ["OpaqueRef:s", "ref", False])
    assert server.names()[-1] == "task.destroy"
    assert "task.cancel" not in server.names()


def test_polls_without_events(server, wire, script, fake):
    script((0.0, "pending", []), (0.5, "pending", []), (1.0, "success", "<value></value>"))
    server.methods["event.from"] = wire.Fail("MESSAGE_METHOD_UNKNOWN", "event.from")
    assert tasks.run(fake, "VM.start") == ""
    assert server.names().count("event.from") == 1
    assert server.names()[-1] == "task.destroy"


def test_failure(server, script, fake):
    script((1.0, "failure", ["SR_BACKEND_FAILURE_44", "", "no space", ""]))
    with pytest.raises(XapiError) as caught:
        tasks.run(fake, "VM.start", "ref", timeout=10)
    assert (caught.value.code, caught.value.params) == ("SR_BACKEND_FAILURE_44", ["", "no space", ""])
    assert caught.value.hint
    assert server.names()[-1] == "task.destroy"


def test_cancelled_by_somebody_else(server, script, fake):
    script((0.0, "pending", []), (1.0, "cancelled", ["TASK_CANCELLED", TASK]))
    with pytest.raises(XapiError) as caught:
        tasks.run(fake, "VM.start", "ref", timeout=10)
    assert caught.value.code == "TASK_CANCELLED"
    assert server.names()[-1] == "task.destroy"


@pytest.mark.parametrize("events", [True, False])
def test_time_out_cancels(server, wire, script, fake, events):
    script((0.0, "pending", []))
    if not events:
        server.methods["event.from"] = wire.Fail("INTERNAL_ERROR", "broken")
    began = time.monotonic()
    with pytest.raises(XapiError) as caught:
        tasks.run(fake, "VM.start", "ref", timeout=0.6)
    assert 0.5 < time.monotonic() - began < 3
    assert caught.value.code == "TIMEOUT"
    assert str(caught.value) == "VM.start did not end within 0.6 seconds and was cancelled"
    assert server.names()[-1] == "task.destroy"


def test_time_out_that_cannot_be_cancelled(server, script, fake, monkeypatch):
    monkeypatch.setattr(tasks, "_GRACE", 0.3)
    script((0.0, "pending", [])).cancellable = False
    with pytest.raises(XapiError) as caught:
        tasks.run(fake, "VM.start", "ref", timeout=0.3)
    assert caught.value.code == "TIMEOUT"
    assert "may still be going on" in str(caught.value)
    assert server.names()[-1] == "task.destroy"


def test_success_after_the_time_out_counts(server, script, fake):
    late = script((0.0, "pending", []))

    def finish(*_args):
        late.states = [(1.0, "success", "<value>v</value>")]
        return ""

    server.methods["task.cancel"] = finish
    assert tasks.run(fake, "VM.start", "ref", timeout=0.3) == "v"
    assert server.names()[-1] == "task.destroy"


def test_interrupt_cancels_and_destroys(server, script, fake):
    script((0.5, "pending", []))

    def interrupt(_fraction):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tasks.run(fake, "VM.start", "ref", timeout=10, on_progress=interrupt)
    assert server.names()[-2:] == ["task.cancel", "task.destroy"]


def test_refused_at_once(server, wire, fake):
    server.methods["Async.VM.start"] = wire.Fail("HANDLE_INVALID", "VM", "ref")
    with pytest.raises(XapiError) as caught:
        tasks.run(fake, "VM.start", "ref")
    assert caught.value.code == "HANDLE_INVALID"
    assert server.names() == ["Async.VM.start"]


def test_lost_coordinator(server, wire, script, fake):
    script((0.0, "pending", []))
    server.methods["event.from"] = wire.Drop()
    with pytest.raises(XapiUnreachable):
        tasks.run(fake, "VM.start", "ref", timeout=10)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""),
        ("<value></value>", ""),
        ("<value>OpaqueRef:1</value>", "OpaqueRef:1"),
        ("<value><array><data><value>a</value><value>b</value></data></array></value>", ["a", "b"]),
        (
            "<value><struct><member><name>k</name><value><boolean>1</boolean></value></member></struct></value>",
            {"k": True},
        ),
        ("<value>&lt;b&gt; &amp; ü</value>", "<b> & ü"),
        ("plain text", "plain text"),
        ("<value>broken", "<value>broken"),
    ],
)
def test_decode(text, value):
    assert tasks.decode(text) == value


# against the simulator


@pytest.fixture
def session(pool):
    with Session(pool["url"], pool["username"], pool["password"]) as session:
        yield session


@pytest.fixture
def vm(session):
    template = [item for item in records.records(session, "VM").values() if item["is_default_template"]][0]  # noqa: RUF015
    ref = tasks.run(session, "VM.clone", template["ref"], "guest of a test", timeout=30)
    yield ref
    session.call("VM.destroy", ref)


def test_clone_in_the_simulator(session, vm):
    record = records.record(session, "VM", vm)
    assert record["name_label"] == "guest of a test"
    assert not [task for task in records.records(session, "task").values() if task["name_label"].startswith("Async.")]


def test_failed_task_in_the_simulator(session, vm):
    with pytest.raises(XapiError) as caught:
        tasks.run(session, "VM.start", vm, False, False, timeout=30)
    assert caught.value.code == "VM_IS_TEMPLATE"
    assert caught.value.params[0] == vm
    assert not [task for task in records.records(session, "task").values() if task["name_label"].startswith("Async.")]


def test_method_without_a_task_in_the_simulator(session, vm):
    with pytest.raises(XapiError) as caught:
        tasks.run(session, "VM.set_name_label", vm, "other")
    assert records.record(session, "VM", vm)["name_label"] == "guest of a test"
    assert "No async mode" in str(caught.value)


def test_events_in_the_simulator(session, vm):
    stream = EventStream(session, ["VM"])
    full = stream.poll(0)
    assert {event.cls for event in full.events} == {"VM"}
    assert {event.ref: event.record for event in full.events} == records.records(session, "VM")
    assert full.counts["VM"] == len(full.events)
    assert stream.poll(0.2).events == []
    session.call("VM.set_name_description", vm, "changed")
    [event] = stream.poll(10).events
    assert (event.operation, event.ref, event.record["name_description"]) == ("mod", vm, "changed")
    resumed = EventStream(session, ["VM"], full.token).poll(10)
    assert [event.ref for event in resumed.events] == [vm]
    gone = session.call("VM.clone", vm, "short-lived")
    assert [event.operation for event in stream.poll(10).events if event.ref == gone] == ["add"]
    session.call("VM.destroy", gone)
    deleted = [event for event in stream.poll(10).events if event.ref == gone]
    assert [(event.operation, event.record) for event in deleted] == [("del", None)]


def test_bad_token_in_the_simulator(session):
    with pytest.raises(XapiError) as caught:
        EventStream(session, ["VM"], "xyz").poll(0)
    assert caught.value.code == "EVENT_FROM_TOKEN_PARSE_FAILURE"
