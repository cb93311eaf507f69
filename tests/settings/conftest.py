import shutil
from pathlib import Path

import pytest

from gateway.settings.example import example_configuration
from tests.settings.folder import Folder


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    shutil.copytree(example_configuration(), tmp_path / "config")
    return Folder(tmp_path / "config")
