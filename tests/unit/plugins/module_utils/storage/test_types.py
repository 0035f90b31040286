# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.nobloat.xen.plugins.module_utils.storage.types import (
    TYPES,
    as_text,
    check_config,
    is_shared,
    without_secrets,
)
from ansible_collections.nobloat.xen.plugins.modules import sr

GOOD = {
    "lvm": {"device": "/dev/sdb,/dev/sdc"},
    "ext": {"device": "/dev/sdb", "preferred-image-formats": "qcow2"},
    "nfs": {"server": "nas", "serverpath": "/x", "nfsversion": "4.1"},
    "iso": {"location": "\\\\nas\\isos", "type": "cifs", "username": "u"},
    "lvmoiscsi": {"target": "10.0.0.1", "targetIQN": "*", "SCSIid": "36", "chapuser": "u"},
    "lvmohba": {"SCSIid": "36"},
    "udev": {"location": "/dev/legs"},
    "smb": {"server": "//nas/vms", "username": "u"},
    "file": {"location": "/srv"},
    "zfs": {"location": "/tank/vms"},
    "cephfs": {"server": "a,b", "serverpath": "/x"},
    "linstor": {"group-name": "g", "redundancy": "2"},
}


@pytest.mark.parametrize("sr_type", GOOD)
def test_a_complete_configuration_passes(sr_type):
    check_config(sr_type, GOOD[sr_type], {}, complete=True)


@pytest.mark.parametrize("sr_type", TYPES)
def test_every_required_key_is_missed(sr_type):
    for key in TYPES[sr_type].required.split():
        config = {name: "/x:/y" for name in TYPES[sr_type].required.split() if name != key}
        with pytest.raises(ValueError, match=f"{key} is missing"):
            check_config(sr_type, config, {}, complete=True)
        check_config(sr_type, config, {}, complete=False)


@pytest.mark.parametrize(("sr_type", "config", "text"), [
    ("nfs", {"servr": "nas"}, "Did you mean server"),
    ("lvmohba", {"scsiid": "36"}, "Did you mean SCSIid"),
    ("lvmoiscsi", {"targetiqn": "iqn"}, "Did you mean targetIQN"),
    ("udev", {"path": "/x"}, "it takes location"),
    ("nfs", {"server": " "}, "is empty"),
    ("ext", {"device": "/dev/sdb,sdc"}, "absolute path"),
    ("udev", {"location": "legs"}, "absolute path"),
    ("iso", {"location": "nas"}, "server:/path"),
    ("iso", {"location": "nas:/x", "legacy_mode": "true"}, "directory of the host"),
    ("smb", {"server": "//nas/x", "password": "p"}, "device_secrets"),
])
def test_what_cannot_work_is_explained(sr_type, config, text):
    with pytest.raises(ValueError, match=text):
        check_config(sr_type, config, {}, complete=False)


def test_secrets_belong_to_their_type():
    check_config("lvmoiscsi", {}, {"chappassword": "p"}, complete=False)
    check_config("lvmoiscsi", {"chappassword_secret": "uuid"}, {}, complete=False)
    with pytest.raises(ValueError, match="Did you mean chappassword"):
        check_config("lvmoiscsi", {}, {"chapassword": "p"}, complete=False)
    with pytest.raises(ValueError, match="it takes none"):
        check_config("nfs", {}, {"password": "p"}, complete=False)
    with pytest.raises(ValueError, match="either"):
        check_config("lvmoiscsi", {"chappassword_secret": "uuid"}, {"chappassword": "p"}, complete=False)


def test_configurations_are_text_and_shown_without_secrets():
    config = as_text({"legacy_mode": True, "port": 3260, "options": None})
    assert config == {"legacy_mode": "true", "port": "3260"}
    assert without_secrets({"username": "u", "cifspassword": "p", "cifspassword_secret": "uuid"}) == {"username": "u"}


def test_shared_follows_from_the_type_unless_both_exist():
    assert is_shared("nfs", {}, None)
    assert not is_shared("ext", {}, None)
    assert not is_shared("udev", {}, None)
    assert is_shared("udev", {}, True)
    assert not is_shared("iso", {"legacy_mode": "true"}, None)
    with pytest.raises(ValueError, match="always shared"):
        is_shared("nfs", {}, False)
    with pytest.raises(ValueError, match="always local"):
        is_shared("lvm", {}, True)


def test_every_type_and_key_is_documented():
    for name, known in TYPES.items():
        assert f"- {name}\n" in sr.DOCUMENTATION
        for key in [*known.plain, *known.secret.split()]:
            assert f"C({key})" in sr.DOCUMENTATION or f"C({key}=" in sr.DOCUMENTATION, f"{name}: {key}"
