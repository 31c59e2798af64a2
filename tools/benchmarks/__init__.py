# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The parts of ``tools/benchmark.py``, a file each.

A part has ``measure(options) -> dict[str, float]`` (name of a figure to its value; ``options`` as parsed by
``tools/benchmark.py``: ``seed``, ``workers``, ``quick``, ``data_root``, and ``folder`` for its files). It may have
``FIGURES``, a table from the same names to their units and goals (``figures.Figure``). Ratios are against a
straightforward version, measured in the same run.
"""
