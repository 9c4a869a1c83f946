import os
import pathlib
import tempfile

import pytest


@pytest.fixture
def tmp_path():
    """In memory where there is such a place: hundreds of commits wait for the disk otherwise."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as name:
        yield pathlib.Path(name)
