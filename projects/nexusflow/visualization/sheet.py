# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""One picture per sample: its cameras beside its views from above."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nexusflow.geometry.frames import camera_matrix, invert_rigid

from .bev import TITLE_HEIGHT, BevView, bev_panels
from .cameras import LIDAR_HEIGHT_M, camera_mosaic, cell_width, draw_on_camera, resized
from .canvas import INK, RGBImage, put_text, read_image
from .content import SampleContent

__all__ = ['SampleCameras', 'cameras_of_info', 'cameras_of_sample', 'sample_sheet']


@dataclass(frozen=True)
class SampleCameras:
    """The cameras of one sample.

    Attributes:
        paths: Camera name to image file.
        lidar2img: Camera name to (4, 4) projection into the image as it is on disk.
        ground_z_m: Height of the ground in the lidar frame.
    """

    paths: Mapping[str, Path]
    lidar2img: Mapping[str, NDArray[np.floating]]
    ground_z_m: float = -LIDAR_HEIGHT_M

    def draw(self, content: SampleContent, width: int = 0) -> dict[str, RGBImage]:
        """Draw a content into every image.

        Args:
            content: Boxes and map lines.
            width: Width that images are brought to before; 0 leaves them as they are.

        Returns:
            Camera name to RGB image.
        """
        out = {}
        for name, path in self.paths.items():
            image, lidar2img = read_image(path), self.lidar2img[name]
            if width:
                image, lidar2img = resized(image, lidar2img, width)
            out[name] = draw_on_camera(image, lidar2img, content, self.ground_z_m)
        return out


def cameras_of_info(sample: Mapping[str, Any], data_root: str | Path) -> SampleCameras:
    """The cameras of a sample of an info file."""
    images = sample['images']
    return SampleCameras(
        paths={name: Path(data_root) / camera['img_path'] for name, camera in images.items()},
        lidar2img={
            name: camera_matrix(camera['cam2img'], camera['lidar2cam'])
            for name, camera in images.items()
        },
        ground_z_m=float(invert_rigid(sample['lidar2ego'])[2, 3]),
    )


def cameras_of_sample(sample: Any) -> SampleCameras:
    """The cameras of a data sample, from its meta fields and before any image augmentation."""
    names = sample.metainfo['cam_names']
    return SampleCameras(
        paths=dict(zip(names, map(Path, sample.metainfo['img_paths']), strict=True)),
        lidar2img=dict(zip(names, sample.metainfo['ori_lidar2img'], strict=True)),
    )


def sample_sheet(
    title: str,
    cameras: SampleCameras,
    panels: Sequence[tuple[str, SampleContent]],
    view: BevView | None = None,
    mosaic_width: int = 1200,
) -> RGBImage:
    """Cameras with the last panel's content drawn in, beside all panels from above.

    Args:
        title: Head line, e.g. scene and frame.
        cameras: The cameras.
        panels: Title and content of each view from above; the last goes into the cameras.
        view: Range and scale of the views from above; by default about as high as the cameras.
        mosaic_width: Width of the camera part, pixels.

    Returns:
        (H, W, 3) RGB picture.
    """
    mosaic = camera_mosaic(cameras.draw(panels[-1][1], cell_width(mosaic_width)), mosaic_width)
    above = bev_panels(panels, view or _view_of_height(len(mosaic)))
    pad, head = 12, 34
    height = head + max(len(mosaic), len(above)) + pad
    sheet = np.full((height, mosaic.shape[1] + above.shape[1] + 3 * pad, 3), 255, dtype=np.uint8)
    put_text(sheet, (pad, head / 2), title, 17, INK, 'lm')
    top = head + max(0, len(above) - len(mosaic)) // 2
    sheet[top : top + len(mosaic), pad : pad + mosaic.shape[1]] = mosaic
    left = mosaic.shape[1] + 2 * pad
    sheet[head : head + len(above), left : left + above.shape[1]] = above
    return sheet


def _view_of_height(height: int) -> BevView:
    """The default range at the scale that makes a panel about ``height`` pixels high."""
    view = BevView()
    low, high = view.range_m[1], view.range_m[3]
    scale = (height - TITLE_HEIGHT) / (high - low)
    return replace(view, pixels_per_m=float(np.clip(scale, 5.5, 9.0)))
