# SPDX-License-Identifier: MIT
"""Every transcript of this directory, each on a daemon of its own."""
import glob
import os
import sys

import pytest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from driver import Player  # noqa: E402

FILES = sorted(glob.glob(os.path.join(HERE, "*.txt")))


@pytest.mark.parametrize("path", FILES, ids=[
    os.path.basename(f)[:-4] for f in FILES])
def test_transcript(path):
    Player(path).play()
