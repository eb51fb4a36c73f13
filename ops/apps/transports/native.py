"""The compiled lane (`lane.pyx`), where this environment has one; `make_lane` makes it."""

from __future__ import annotations

import hashlib
import sysconfig
from importlib.machinery import ExtensionFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, Any

import picows

if TYPE_CHECKING:
    from ops.apps.transports import Passage

NAME = "trunkline_lane"
SOURCE = Path(__file__).with_name("lane.pyx")


def compiled() -> Path:
    """Where the lane of just this source is in this environment, whether made or not."""
    version = hashlib.sha256(SOURCE.read_bytes()).hexdigest()[:16]
    suffix = sysconfig.get_config_var("EXT_SUFFIX")
    return Path(sysconfig.get_path("platlib"), NAME, version, f"{NAME}{suffix}")


class PlainListener(picows.WSListener):
    """A socket's ear without a lane: each frame goes to `on_frame`."""

    lane: Passage | None = None
    hears_phone: bool
    whole: bool
    strained: bool

    def on_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        """A frame that no lane took."""
        raise NotImplementedError

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        self.on_frame(transport, frame)


def load() -> tuple[Any, type[PlainListener]]:
    """The lane's class, None where there is none, and that of the sockets' ears."""
    place = compiled()
    if not place.exists():
        return None, PlainListener
    spec = spec_from_file_location(NAME, place, loader=ExtensionFileLoader(NAME, str(place)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Lane, module.Listener


if TYPE_CHECKING:
    Lane: Any
    Listener = PlainListener
else:
    Lane, Listener = load()
