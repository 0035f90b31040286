# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PCI: devices of hosts, and passing them through to guests by other_config:pci (pciops.ml)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..db import Database, Row


def build_pci(db: Database, host: Row, pci_id: str, *, class_name: str, vendor: str, device: str) -> Row:
    """A device of a host; pci_id such as 0000:04:00.0."""
    return db.create(
        "PCI",
        host=host,
        pci_id=pci_id,
        class_id="0300",
        class_name=class_name,
        vendor_id="10de",
        vendor_name=vendor,
        device_id="1db4",
        device_name=device,
    )


def attach_pcis(db: Database, vm: Row, host: Row) -> None:
    """A guest with `pci: 0/0000:04:00.0,0/..` in other_config has those devices of the host it starts on."""
    wanted = {entry.partition("/")[2] for entry in vm.other_config.get("pci", "").split(",")}
    if wanted != {""}:
        vm.attached_PCIs = [pci.ref for pci in db.rows("PCI", host=host) if pci.pci_id in wanted]


def detach_pcis(vm: Row) -> None:
    """Without a domain it has none."""
    if vm.attached_PCIs:
        vm.attached_PCIs = []
