# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Pictures for a report: ground truth beside each method, for samples of every city."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexusflow.datasets.info_file import load_info
from nexusflow.evaluation.functional.chamfer_ap import MapLines
from nexusflow.evaluation.functional.map_results import read_map_results
from nexusflow.evaluation.functional.submission import read_submission, tracks_from_submission
from nexusflow.evaluation.functional.summary import city_names

from .bev import BevView, draw_bev
from .cameras import camera_mosaic, cell_width
from .canvas import RGBImage
from .content import SampleContent, content_of_info, content_of_results
from .sheet import cameras_of_info
from .trails import with_trails

__all__ = ['Gallery', 'GalleryItem', 'pick_samples']

_HISTORY = 6
_MOSAIC = 1500


@dataclass(frozen=True)
class GalleryItem:
    """The pictures of one sample.

    Attributes:
        city: Short name of its city.
        title: Scene and frame.
        cameras: Mosaic of the camera images with the ground truth drawn in.
        views: Title and view from above: ground truth first, then each method.
    """

    city: str
    title: str
    cameras: RGBImage
    views: list[tuple[str, RGBImage]]


def _lidar2global(sample: Mapping[str, Any]) -> NDArray[np.float64]:
    return np.asarray(sample['ego2global'] @ sample['lidar2ego'])


def pick_samples(data_list: Sequence[Mapping[str, Any]], per_city: int) -> list[int]:
    """Choose telling samples: of scenes spread over each city, late enough for tracks, with much to see.

    Args:
        data_list: Samples sorted by scene and time.
        per_city: Samples of each city, of different scenes.

    Returns:
        Indices into ``data_list``, by city.
    """
    scenes: dict[str, dict[str, list[int]]] = {}
    for index, sample in enumerate(data_list):
        scenes.setdefault(sample['location'], {}).setdefault(sample['scene_token'], []).append(
            index
        )
    chosen = []
    for location in sorted(scenes):
        frames = list(scenes[location].values())
        places = np.linspace(0, len(frames) - 1, min(per_city, len(frames))).round().astype(int)
        for place in places:
            scene = frames[place]
            late = scene[min(_HISTORY, len(scene) // 2) :]
            chosen.append(max(late, key=lambda i: _content_size(data_list[i])))
    return chosen


def _content_size(sample: Mapping[str, Any]) -> int:
    """Number of boxes near the ego and of map elements."""
    near = np.abs(sample['boxes'][:, :2]).max(axis=1, initial=0.0) < 25.0
    elements = sum(map(len, (sample['map_vectors'] or {}).values()))
    return int((near & (sample['num_pts'] > 0)).sum()) + elements


class Gallery:
    """Draws samples of an info file with the results of several methods.

    Args:
        info_file: The info file that the methods were tested on.
        data_root: Folder that its image paths start from.
        methods: Title of each method to its result files: ``map_file`` and ``tracking_file``;
            either may be missing or None.
        map_score: Lowest score of a map line that is drawn.
        box_score: Lowest score of a box that is drawn.
        view: Range and scale of the views from above.
    """

    def __init__(
        self,
        info_file: str | Path,
        data_root: str | Path,
        methods: Mapping[str, Mapping[str, Any]],
        map_score: float = 0.3,
        box_score: float = 0.3,
        view: BevView | None = None,
    ) -> None:
        info = load_info(info_file)
        self.samples = info['data_list']
        self.categories = info['metainfo']['categories']
        self.map_classes = info['metainfo']['map_classes']
        self.data_root = Path(data_root)
        self.scores = {'map_score': map_score, 'box_score': box_score}
        self.view = view or BevView(pixels_per_m=6.0)
        self.cities = city_names({sample['location'] for sample in self.samples})
        self._maps: dict[str, dict[str, MapLines]] = {}
        self._tracks: dict[str, dict[str, Any]] = {}
        for title, files in methods.items():
            map_file, tracking_file = files.get('map_file'), files.get('tracking_file')
            self._maps[title] = read_map_results(map_file, self.map_classes) if map_file else {}
            self._tracks[title] = read_submission(tracking_file)['results'] if tracking_file else {}

    def draw(self, per_city: int) -> Iterator[GalleryItem]:
        """Draw samples of every city, one after the other."""
        for index in pick_samples(self.samples, per_city):
            sample = self.samples[index]
            truth = self._with_trails(index, None)
            views = [('ground truth', draw_bev(truth, self.view))]
            views += [
                (title, draw_bev(self._with_trails(index, title), self.view))
                for title in self._maps
            ]
            cameras = cameras_of_info(sample, self.data_root)
            mosaic = camera_mosaic(cameras.draw(truth, cell_width(_MOSAIC)), _MOSAIC)
            yield GalleryItem(
                city=self.cities[sample['location']],
                title=f'{sample["scene_name"]}, frame {sample["frame_idx"]}',
                cameras=mosaic,
                views=views,
            )

    def _content(self, index: int, method: str | None) -> SampleContent:
        """The labels (method None) or what a method predicts for one sample."""
        sample = self.samples[index]
        if method is None:
            return content_of_info(sample, self.categories)
        boxes = self._tracks[method].get(sample['token'])
        tracks = None if boxes is None else tracks_from_submission(boxes, _lidar2global(sample))
        lines = self._maps[method].get(sample['token'])
        return content_of_results(lines, tracks, self.map_classes, **self.scores)

    def _with_trails(self, index: int, method: str | None) -> SampleContent:
        """The content of one sample with the trails of the frames before it."""
        sample = self.samples[index]
        earlier = [
            (self._content(i, method), _lidar2global(self.samples[i]))
            for i in range(max(0, index - _HISTORY), index)
            if self.samples[i]['scene_token'] == sample['scene_token']
        ]
        return with_trails(self._content(index, method), earlier, _lidar2global(sample))
