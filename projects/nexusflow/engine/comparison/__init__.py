# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Comparisons: methods x seeds x supervision rules, from one declaration to one table."""

from .results import collect, measured_elsewhere
from .runs import Plan, Run
from .spec import Experiment, Method, Metric, load_experiment
from .summary import Row, summarise
from .tables import csv_text, markdown, put_between_markers

__all__ = [
    'Experiment',
    'Method',
    'Metric',
    'Plan',
    'Row',
    'Run',
    'collect',
    'csv_text',
    'load_experiment',
    'markdown',
    'measured_elsewhere',
    'put_between_markers',
    'summarise',
]
