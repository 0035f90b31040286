# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors: plain words, hints, and nothing lost of what XAPI said."""

from __future__ import annotations

import json
import os
import re

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.xapi.errors import (
    HINTS,
    Ambiguous,
    NotFound,
    XapiError,
    XapiUnreachable,
)

DATAMODEL = os.path.join(os.path.dirname(__file__), *[".."] * 6, "shared", "reference", "xapi-datamodel.json")


def test_known_code():
    error = XapiError.from_failure(["VM_BAD_POWER_STATE", "OpaqueRef:1", "halted", "running"])
    assert str(error) == "guest OpaqueRef:1 is running, but this needs it to be halted"
    assert error.hint
    assert error.as_dict() == {"code": "VM_BAD_POWER_STATE", "params": ["OpaqueRef:1", "halted", "running"]}
    assert error.refs() == {"OpaqueRef:1": "VM"}
    error.names["OpaqueRef:1"] = "'web'"
    assert str(error) == "guest 'web' is running, but this needs it to be halted"


def test_unknown_code():
    assert str(XapiError.from_failure(["NEVER_SEEN", "a", "b"])) == "XAPI refused: NEVER_SEEN (a, b)"
    assert str(XapiError.from_failure(["NEVER_SEEN"])) == "XAPI refused: NEVER_SEEN"
    assert str(XapiError.from_failure([])) == "XAPI failed internally: no error description"


def test_parameters_may_be_missing_or_strange():
    assert "?" in str(XapiError.from_failure(["VM_BAD_POWER_STATE", "OpaqueRef:1"]))
    assert "{0:VM} %s {" in str(XapiError.from_failure(["OPERATION_NOT_ALLOWED", "{0:VM} %s {"]))


def test_storage_driver():
    error = XapiError.from_failure(["SR_BACKEND_FAILURE_181", "", "Error in Metadata volume operation", ""])
    assert str(error) == "the storage driver failed: Error in Metadata volume operation (SR_BACKEND_FAILURE_181)"
    assert "SR is full" in str(XapiError.from_failure(["SR_BACKEND_FAILURE_44", "", "no space", ""]))


def test_not_found_and_ambiguous():
    assert str(NotFound("VM", "web")) == "there is no VM with the name or uuid 'web'"
    error = Ambiguous("VM", "web", [{"name_label": "web", "uuid": "u1"}, {"name_label": "web", "uuid": "u2"}])
    assert error.params == ["VM", "web", "u1", "u2"]
    assert "u1, u2" in str(error)
    assert error.candidates[1] == {"name_label": "web", "uuid": "u2"}


def test_at_least_sixty_codes_each_with_words():
    assert len(HINTS) >= 60
    for code, (message, hint) in HINTS.items():
        assert message
        assert not message.endswith(".")
        assert not hint or hint.endswith((".", "}"))
        assert str(XapiError(code, ["p"] * 9))


@pytest.mark.skipif(not os.path.exists(DATAMODEL), reason="no ../shared/reference")
def test_codes_and_parameters_are_xapis():
    with open(DATAMODEL, encoding="utf-8") as stream:
        model = json.load(stream)
    backend = {f"SR_BACKEND_FAILURE_{number}": ["status", "text", "more"] for number in model["sm_errors"].values()}
    # Facts beside the data model: what a real XAPI sends although the model declares less (or nothing).
    known = {**model["errors"], **backend, "Fault": ["text"], "VM_IS_SNAPSHOT": ["vm", "operation"]}
    known["SESSION_AUTHENTICATION_FAILED"] = ["username", "message"]
    for code, texts in HINTS.items():
        assert code in known
        used = {int(index) for text in texts for index in re.findall(r"\{(\d)", text)}
        assert max(used, default=-1) < len(known[code]), code
        classes = {cls for text in texts for cls in re.findall(r"\{\d:(\w+)\}", text)}
        assert classes <= model["classes"].keys(), code


@pytest.mark.parametrize(("error", "not_yet"), [
    (XapiUnreachable("UNREACHABLE", "x"), True), (XapiUnreachable("TIMEOUT", "x"), True), (XapiError("HOST_STILL_BOOTING"), True),
    (XapiUnreachable("UNREACHABLE", "x", sent=True), False), (XapiUnreachable("TIMEOUT", "x", sent=True), False),
    (XapiUnreachable("CERTIFICATE_INVALID", "x"), False), (XapiUnreachable("NOT_XAPI", "x", sent=True), False),
    (XapiError("SESSION_AUTHENTICATION_FAILED"), False),
])
def test_who_may_be_sent_a_password_once_more(error: XapiError, not_yet: bool) -> None:
    assert error.not_yet is not_yet
