# Copyright: (c) 2026, nobloat.xen contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small ISO 9660 images with a few text files, as cloud-init's NoCloud source wants them."""
from __future__ import annotations

import io
import traceback
from collections.abc import Mapping

PYCDLIB_IMPORT_ERROR: str | None = None
try:
    import pycdlib
    from pycdlib.pycdlibexception import PyCdlibException
except ImportError:
    PYCDLIB_IMPORT_ERROR = traceback.format_exc()
    PyCdlibException = ValueError  # type: ignore[assignment]

LABEL = "cidata"


def build(files: Mapping[str, str]) -> bytes:
    """An image labelled LABEL with these files (name: text) in its root, by their names in Rock Ridge and Joliet."""
    image = pycdlib.PyCdlib()
    image.new(interchange_level=3, vol_ident=LABEL, rock_ridge="1.09", joliet=3)
    for number, (name, text) in enumerate(files.items()):
        data = text.encode()
        image.add_fp(io.BytesIO(data), len(data), f"/FILE{number}.;1", rr_name=name, joliet_path=f"/{name}")
    target = io.BytesIO()
    image.write_fp(target)
    image.close()
    return target.getvalue()


def read(data: bytes) -> dict[str, str]:
    """The files of such an image, {name: text}. Raises ValueError where it is none."""
    image = pycdlib.PyCdlib()
    try:
        image.open_fp(io.BytesIO(data))
        found = {}
        for child in image.list_children(joliet_path="/"):
            if child.is_file():
                name = child.file_identifier().decode("utf-16_be")
                target = io.BytesIO()
                image.get_file_from_iso_fp(target, joliet_path=f"/{name}")
                found[name] = target.getvalue().decode(errors="replace")
        image.close()
    except PyCdlibException as error:
        raise ValueError(f"this is no ISO image: {error}") from error
    return found
