"""The example configuration: packed into the wheel as ``gateway/example``, in a checkout the folder ``config``."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]


def example_configuration() -> Path:
    """The folder of the example that came with this installation; its gateway.yaml names the rest."""
    packed = _PACKAGE / "example"
    return packed if packed.is_dir() else _PACKAGE.parent / "config"
