"""What ``kill -9`` leaves while the file itself is worked on: opened, purged, made small."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent.parent


@pytest.mark.timeout(300)
@pytest.mark.thorough
def test_killed_at_any_change_of_the_file_it_is_as_before_or_after(folder: Path) -> None:
    """Killed at a write or sync of any upkeep, the next owner finds it done, or not begun."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.journals.mortal_upkeep", str(folder)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print({name: points for name, (points, _) in found.items()})
    assert {name: wrong for name, (_, wrong) in found.items() if wrong} == {}
    assert all(points >= 10 for points, _ in found.values())
