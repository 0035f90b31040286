# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on a config drive; how it gets there is the business of the integration target."""
from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest
import yaml
from ansible_collections.nobloat.xen.plugins.module_utils.vm import iso
from ansible_collections.nobloat.xen.plugins.module_utils.vm.cloud_config import ROUNDS, digest, texts

GUEST = {"uuid": "5bd7a9d4-3c1c-4f0a-8d8a-0f6c2f1f5a7e", "name_label": "web1"}


def params(**given: Any) -> dict[str, Any]:
    return {"meta_data": None, "user_data": None, "network_config": None, **given}


def test_an_image_gives_its_files_back() -> None:
    files = {"meta-data": "instance-id: ä\n", "user-data": "#!/bin/sh\n" + "x" * 100_000, "network-config": "version: 2\n"}
    image = iso.build(files)
    assert iso.read(image) == files
    assert image[0x8028:0x802E] == b"cidata"
    assert iso.read(image + bytes(1 << 20)) == files, "a VDI is larger than what it holds"


def test_something_else_is_no_image() -> None:
    with pytest.raises(ValueError, match="no ISO image"):
        iso.read(bytes(1 << 20))


def test_the_least_that_cloud_init_wants() -> None:
    files = texts(params(), GUEST)
    assert yaml.safe_load(files["meta-data"]) == {"instance-id": GUEST["uuid"], "local-hostname": "web1"}
    assert files["user-data"] == "#cloud-config\n{}\n"
    assert "network-config" not in files


def test_mappings_become_cloud_config() -> None:
    files = texts(params(user_data={"b": "ü", "a": [1]}, meta_data={"local-hostname": "x"}, network_config={"version": 2}), GUEST)
    assert files["user-data"] == "#cloud-config\nb: ü\na:\n- 1\n"
    assert yaml.safe_load(files["meta-data"])["local-hostname"] == "x"
    assert files["network-config"] == "version: 2\n"


@pytest.mark.parametrize("text", ["#!/bin/sh\n", "#cloud-config\n", "Content-Type: multipart/mixed\n", "## template: jinja\n"])
def test_texts_stay_as_they_are(text: str) -> None:
    assert texts(params(user_data=text), GUEST)["user-data"] == text


@pytest.mark.parametrize("user_data", ["echo hello", ["a"], 1])
def test_what_cloud_init_would_ignore(user_data: Any) -> None:
    with pytest.raises(ValueError, match="user_data"):
        texts(params(user_data=user_data), GUEST)


def test_a_digest_tells_the_same_from_others_only() -> None:
    one = digest({"a": "secret", "b": ""}, "guest")
    assert one == digest({"b": "", "a": "secret"}, "guest")
    assert one != digest({"a": "secret", "b": "secret"}, "guest")


def test_a_digest_is_not_to_be_guessed_from() -> None:
    """Two guests with the same password do not show that, nor does a table of passwords find it."""
    files = {"a": "secret"}
    one = digest(files, "guest")
    assert one != digest(files, "other") and hashlib.sha256(json.dumps(files).encode()).hexdigest() not in one
    content = json.dumps(files).encode()
    assert one.endswith(hashlib.pbkdf2_hmac("sha256", content, b"guest", ROUNDS).hex()) and ROUNDS >= 100_000
