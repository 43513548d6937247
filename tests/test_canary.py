"""No test lets a secret out: the check of that sees each way on which one could go."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

_ROOT = Path(__file__).parent.parent

_LEAKS = {
    "nothing": "assert os.environ['OPENAI_API_KEY'] == canary.KEY",
    "a file": "(tmp_path / 'run.db').write_bytes(b'\\0' + canary.KEY.encode())",
    "a file below": "(tmp_path / 'a').mkdir(); (tmp_path / 'a' / 'b').write_text(canary.PROMPT)",
    "the folder of a fixture": "(folder / 'x').write_text(canary.HEADERS['x-canary'])",
    "standard output": "print('Bearer', canary.KEY)",
    "standard error": "print(canary.PROMPT, file=sys.stderr)",
    "a descriptor": "os.write(1, canary.KEY.encode())",
    "a process": "subprocess.run([sys.executable, '-c', 'import os; print(os.environ)'])",
    "the log": "logging.getLogger('x').warning('sent %s', canary.HEADERS)",
    "its debugging": "logging.getLogger('x').debug('asked %s', canary.PROMPT)",
    "a command's output": "canary.no_secret_in(canary.KEY)",
}

_TEST = """
    import logging, os, shutil, subprocess, sys, tempfile
    from pathlib import Path
    import pytest
    from tests import canary

    @pytest.fixture
    def folder():
        made = Path(tempfile.mkdtemp())
        yield made
        shutil.rmtree(made)

    def test_it(tmp_path, folder, caplog):
        caplog.set_level(logging.DEBUG)
        {leak}
"""


@pytest.mark.parametrize("way", _LEAKS)
def test_a_secret_that_gets_out_is_noticed(way: str) -> None:
    """A test that leaves a secret in a file, a log or its output fails; any other does not."""
    # Not in this test's own folder, where the secret would be found as well.
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "pytest.ini").write_text("[pytest]\n")
        Path(folder, "test_leak.py").write_text(textwrap.dedent(_TEST.format(leak=_LEAKS[way])))
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-p", "tests.canary"),
                *("-p", "no:cacheprovider", "--basetemp", f"{folder}/made", "test_leak.py"),
            ],
            cwd=folder,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]),
                "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            },
            capture_output=True,
            text=True,
            check=False,
        )
    if way == "nothing":
        assert done.returncode == 0, done.stdout
    else:
        assert done.returncode == 1, done.stdout
        told = "a secret was printed" if "command" in way else "let a secret out"
        assert told in done.stdout
