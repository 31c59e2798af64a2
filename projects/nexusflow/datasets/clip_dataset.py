# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Clips of consecutive key frames with the tasks they are labelled for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from mmdet3d.registry import DATASETS, TRANSFORMS
from mmengine.dataset import BaseDataset, force_full_init

from nexusflow.datasets.clips import cut_clips, scene_runs
from nexusflow.datasets.frames import TRACK_CLASSES, FrameSpec
from nexusflow.datasets.info_file import Info, load_info
from nexusflow.datasets.subsets import sample_key, select_samples
from nexusflow.geometry.vector_map import MAP_CLASSES
from nexusflow.supervision.partition import build_rule

_CHECKS = ('scene', 'all', 'off')


@DATASETS.register_module()
class NexusClipDataset(BaseDataset):
    """Training: clips of ``clip_length`` consecutive key frames of one scene. Test: single frames.

    An item is what the pipeline makes of ``{'frames': [frame, ...]}`` (see
    :class:`nexusflow.datasets.frames.FrameSpec`). Labels of every task are always present;
    ``tasks`` of each frame says which may be used in training.

    Args:
        data_root: Folder that the image paths start from.
        ann_file: Info file; relative to ``data_root`` or absolute.
        pipeline: Transforms of a clip.
        clip_length: Frames per training clip.
        clip_stride: Step between the starts of a scene's clips.
        supervision: Rule that gives each sample its labelled tasks, e.g.
            ``dict(type='ByLocation', map=['boston-*'], track=['singapore-*'])``; None: all tasks.
        tasks: Names of the tasks.
        track_classes: Object classes, in the order of their labels.
        map_classes: Map classes, in the order of their labels.
        num_points: Points per map element.
        track_range_m: (x_min, y_min, x_max, y_max) within which box centres are kept.
        check_images: Look at start-up whether images exist: of one sample per scene (``'scene'``),
            of ``'all'`` samples or ``'off'``.
        subset: Take only these samples of the info file: ``'city:boston-*'``, a JSON or text file
            of scene names or sample tokens, or ``'FILE#val'``; see ``subsets.py``. A metric needs
            the same subset.
        test_mode: One frame per item, in scene order.
        **kwargs: Of mmengine's ``BaseDataset``.

    Raises:
        FileNotFoundError: Data root, info file or an image is missing.
        ValueError: The info file, a class name, the supervision rule or ``clip_length`` does not
            fit.
    """

    def __init__(
        self,
        data_root: str,
        ann_file: str,
        pipeline: Sequence[Mapping[str, Any] | Callable[[dict[str, Any]], Any]] = (),
        clip_length: int = 3,
        clip_stride: int = 1,
        supervision: Mapping[str, Any] | None = None,
        tasks: Sequence[str] = ('map', 'track'),
        track_classes: Sequence[str] = TRACK_CLASSES,
        map_classes: Sequence[str] = MAP_CLASSES,
        num_points: int = 20,
        track_range_m: Sequence[float] = (-51.2, -51.2, 51.2, 51.2),
        check_images: str = 'scene',
        subset: str | None = None,
        test_mode: bool = False,
        **kwargs: Any,
    ) -> None:
        if not Path(data_root).is_dir():
            raise FileNotFoundError(
                f'data_root {data_root} is missing: set it to the folder of the data set, '
                'or make one with tools/make_world.py'
            )
        if check_images not in _CHECKS:
            raise ValueError(f"check_images is '{check_images}', it must be one of {_CHECKS}")
        self._subset = subset
        self.tasks = tuple(tasks)
        self._rule = build_rule(supervision, self.tasks)
        self._check = check_images
        self._clip_length = 1 if test_mode else clip_length
        # seen by the workers of a data loader too
        self._frames_loaded = torch.tensor(self._clip_length).share_memory_()
        self._frames_of_batch: int | None = None
        self._clip_stride = 1 if test_mode else clip_stride
        self._labels = {
            'track_classes': tuple(track_classes),
            'map_classes': tuple(map_classes),
            'num_points': num_points,
            'track_range_m': tuple(track_range_m),
        }
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            data_prefix={},
            pipeline=[TRANSFORMS.build(t) if isinstance(t, Mapping) else t for t in pipeline],
            test_mode=test_mode,
            **kwargs,
        )

    def full_init(self) -> None:
        """Read the info file, assign the tasks, cut the clips and check the images."""
        if self._fully_initialized:
            return
        self.data_list = self.load_data_list()
        if self._indices is not None:
            self.data_list = self._get_unserialized_subset(self._indices)
        self._runs = scene_runs(self.data_list)
        self._scene_tokens = [s['scene_token'] for s in self.data_list]
        self.sample_tasks = self._assign_tasks(self.data_list)
        if not self.test_mode:
            self._check_labels(self.data_list)
        self._check_files(self.data_list)
        self.set_clip_length(self._clip_length)
        if self.serialize_data:
            self.data_bytes, self.data_address = self._serialize_data()
        self._fully_initialized = True

    def load_data_list(self) -> list[dict[str, Any]]:
        """Read the info file; called by ``full_init``."""
        info: Info = load_info(self.ann_file)
        meta = info['metainfo']
        samples = select_samples(info['data_list'], self._subset, str(self.ann_file))
        self.spec = FrameSpec(
            data_root=Path(self.data_root), map_range_m=tuple(meta['map_range_m']), **self._labels
        )
        absent = [name for name in self.spec.map_classes if name not in meta['map_classes']]
        if absent:
            raise ValueError(
                f"map_classes: {self.ann_file} has no class '{absent[0]}', it has "
                f'{", ".join(meta["map_classes"])}; convert again with --centerlines'
            )
        self._metainfo.update(
            meta,
            classes=self.spec.track_classes,
            track_classes=self.spec.track_classes,
            map_classes=self.spec.map_classes,
            locations=tuple(sorted({s['location'] for s in samples})),
        )
        return samples

    @property
    @force_full_init
    def item_scenes(self) -> list[str]:
        """Scene token of each item, for the scene-whole sampler."""
        return [self._scene_tokens[first] for first in self._clips[:, 0]]

    def set_clip_length(self, clip_length: int) -> None:
        """Cut the samples into clips of another length; data loaders must be made anew after.

        Raises:
            ValueError: No scene has that many consecutive key frames.
        """
        clips = cut_clips(self._runs, clip_length, self._clip_stride)
        if len(clips) == 0:
            longest = max((len(run) for run in self._runs), default=0)
            raise ValueError(
                f'clip_length is {clip_length}, but {self.ann_file} has no more than {longest} '
                'consecutive key frames in a scene; use a smaller clip_length'
            )
        self._clip_length, self._clips = clip_length, clips
        self.load_frames(clip_length)

    @property
    def clip_length(self) -> int:
        """Frames of a clip."""
        return self._clip_length

    def load_frames(self, count: int) -> None:
        """Make only the first frames of each clip from the next batch on, also in workers that are at work."""
        self._frames_loaded.fill_(count)

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Items of one batch, as torch's data loaders ask for it: all of as many frames as its first."""
        self._frames_of_batch = int(self._frames_loaded)
        try:
            return [self[i] for i in indices]
        finally:
            self._frames_of_batch = None

    def prepare_data(self, idx: int) -> Any:
        """Make one item.

        Args:
            idx: Index of the clip.

        Returns:
            What the pipeline makes of the clip, or of as many of its frames as :meth:`load_frames` said.
        """
        count = self._frames_of_batch or int(self._frames_loaded)
        frames = [
            self.spec.frame(self.get_data_info(int(i)), self.sample_tasks[int(i)])
            for i in self._clips[idx][:count]
        ]
        return self.pipeline({'frames': frames})

    @force_full_init
    def __len__(self) -> int:
        return len(self._clips)

    def _assign_tasks(self, samples: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
        """Labelled tasks of each sample, by the rule."""
        return self._rule.assign([sample_key(s) for s in samples])

    def _check_labels(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """A sample that a rule calls labelled must have those labels in the file."""
        for i, (sample, tasks) in enumerate(zip(samples, self.sample_tasks, strict=True)):
            no_map = 'map' in tasks and sample['map_vectors'] is None
            no_ids = 'track' in tasks and bool((sample['instance_ids'] < 0).any())
            if no_map or no_ids:
                key, task = ('map_vectors', 'map') if no_map else ('instance_ids', 'track')
                raise ValueError(
                    f"{self.ann_file}: data_list[{i}]['{key}'] is unknown, but supervision labels "
                    f"the sample for '{task}'; convert the data set with tools/create_data.py"
                )

    def _check_files(self, samples: Sequence[Mapping[str, Any]]) -> None:
        """The images that ``check_images`` asks for must exist."""
        if self._check == 'off':
            return
        chosen = samples if self._check == 'all' else [samples[run.start] for run in self._runs]
        for sample in chosen:
            for name, camera in sample['images'].items():
                path = self.spec.data_root / camera['img_path']
                if not path.is_file():
                    raise FileNotFoundError(
                        f"image {path} ({name} of sample '{sample['token']}') is missing: "
                        'check data_root, or unpack the images again'
                    )
