# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Finding and running the programs of SUMO, the microscopic traffic simulator (Lopez et al., 2018)."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path


def sumo_home() -> Path:
    """The folder of the pip package ``eclipse-sumo``.

    Raises:
        RuntimeError: If SUMO is not installed.
    """
    spec = importlib.util.find_spec('sumo')
    if spec is None or spec.origin is None or not (Path(spec.origin).parent / 'bin').is_dir():
        raise RuntimeError(
            "SUMO is not installed (no module 'sumo' with its programs): "
            'pip install nexusflow[world], or pip install eclipse-sumo'
        )
    return Path(spec.origin).parent


def run_sumo(program: str, arguments: Sequence[str], folder: Path) -> None:
    """Run one of SUMO's programs and wait for it.

    Args:
        program: ``'netgenerate'``, ``'netconvert'`` or ``'sumo'``.
        arguments: Command line, without the program.
        folder: Working directory; relative file names of ``arguments`` lie there.

    Raises:
        RuntimeError: If SUMO is not installed, or the program fails (with its last messages).
    """
    home = sumo_home()
    command = [str(home / 'bin' / program), *arguments]
    environment = {**os.environ, 'SUMO_HOME': str(home), 'LC_ALL': 'C'}
    try:
        subprocess.run(
            command, cwd=folder, env=environment, check=True, capture_output=True, text=True
        )
    except subprocess.CalledProcessError as error:
        tail = '\n'.join((error.stderr or error.stdout or '').strip().splitlines()[-5:])
        raise RuntimeError(f'SUMO: {program} ended with {error.returncode}:\n{tail}') from error
