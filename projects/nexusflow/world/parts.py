# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""One interface over the sources: a world is a list of parts, made apart from each other.

A part is a piece of a location's map with the scenes that drive on it: a generated road network, or
an Argoverse 2 log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nexusflow.world.av2_source import load_av2_log
from nexusflow.world.scene import CityMap, SceneLog
from nexusflow.world.spec import LOCATIONS, WorldSpec
from nexusflow.world.sumo_source import NetworkJob, build_network, merge_city, network_jobs
