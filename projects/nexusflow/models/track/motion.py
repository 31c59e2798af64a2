# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Where a track is, and how sure that is: a Kalman filter over its centre (Kalman, 1960; for boxes: Weng et al., 2020).

A camera knows the direction of an object far better than its distance, and its error in distance is new in every frame.
So a track is the mean of what was seen of it, and it looks for itself where it may be: far along the line of sight,
little across.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from .box_code import VELOCITY, XY, move_boxes
from .queries import NEWBORN, TrackQueries


def place_and_speed(code: Tensor) -> Tensor:
    """x, y, vx, vy of box codes (..., 10): (..., 4); by slices, since a list of columns is a copy to the device."""
    return torch.cat([code[..., XY], code[..., VELOCITY]], dim=-1)


class MotionModel(nn.Module):
    """Constant velocity with noise, lidar frame.

    Args:
        num_classes: Track classes.
        range_std_m: Standard deviation of a measured centre along the line of sight: at the ego, and a metre more of
            distance.
        bearing_std_m: The same across the line of sight.
        speed_std: Of a newborn's velocity around the predicted one, in m/s by axis; one for all classes or one for
            each. Where velocities are hardly learnt, that is how fast the moving objects are: with too small a number
            a track lags behind its object for its first frames, or loses it.
        accel_std: Of the acceleration, in m/s^2; one for all classes or one for each.
        gate: What is measured belongs to a track up to this squared distance, in standard deviations.

    Raises:
        ValueError: ``speed_std`` or ``accel_std`` has neither one nor ``num_classes`` numbers.
    """

    def __init__(
        self,
        num_classes: int = 7,
        range_std_m: Sequence[float] = (0.6, 0.03),
        bearing_std_m: Sequence[float] = (0.45, 0.012),
        speed_std: float | Sequence[float] = 5.0,
        accel_std: float | Sequence[float] = 1.5,
        gate: float = 10.0,
    ) -> None:
        super().__init__()
        self.range_std_m, self.bearing_std_m = tuple(range_std_m), tuple(bearing_std_m)
        self.gate = gate
        for name, value in (('speed_std', speed_std), ('accel_std', accel_std)):
            each = [value] * num_classes if isinstance(value, (int, float)) else list(value)
            if len(each) != num_classes:
                raise ValueError(
                    f'track head: motion.{name} has {len(each)} numbers for {num_classes} classes; '
                    'give one for all classes or one for each'
                )
            self.register_buffer(name, torch.tensor(each, dtype=torch.float), persistent=False)

    @torch.no_grad()
    def move(self, tracks: TrackQueries, prev2curr: Tensor, seconds: Tensor) -> TrackQueries:
        """Where tracks are expected in the next frame.

        Args:
            tracks: Padded batch (B, M).
            prev2curr: (B, 4, 4) from the earlier to the current lidar frame.
            seconds: (B,) time between the frames.

        Returns:
            The batch in the current lidar frame: boxes, mean and covariance.
        """
        code = move_boxes(tracks.code, prev2curr, seconds)
        dt = seconds.view(-1, 1)
        turn = prev2curr.new_zeros(len(prev2curr), 1, 4, 4)
        turn[:, 0, :2, :2] = turn[:, 0, 2:, 2:] = prev2curr[:, :2, :2]
        turn[:, 0, :2, 2:] = prev2curr[:, :2, :2] * dt.unsqueeze(-1)
        accel = self.accel_std[tracks.labels].square()
        noise = torch.zeros_like(tracks.cov)
        for axis in (0, 1):
            noise[..., axis, axis] = accel * dt**4 / 4
            noise[..., axis, axis + 2] = noise[..., axis + 2, axis] = accel * dt**3 / 2
            noise[..., axis + 2, axis + 2] = accel * dt**2
        with torch.autocast(code.device.type, enabled=False):
            cov = turn @ tracks.cov @ turn.transpose(-1, -2) + noise
        return replace(tracks, code=code, mean=place_and_speed(code), cov=cov)

    @torch.no_grad()
    def observe(self, queries: TrackQueries, seen: Tensor) -> TrackQueries:
        """What is known after a frame: what is seen is corrected, newborns start, the others go on as expected.

        Args:
            queries: (..., Q) after the decoder; ``code`` is what was measured, ``mean`` and ``cov`` what was expected.
            seen: (..., Q) which measurements count.

        Returns:
            The queries with the new mean, which their boxes take over, and covariance.
        """
        measured = place_and_speed(queries.code.detach())
        noise = self.measurement_cov(measured[..., XY])
        with torch.autocast(measured.device.type, enabled=False):
            gain = queries.cov[..., :2] @ inverse(queries.cov[..., :2, :2] + noise)
            error = (measured - queries.mean)[..., :2, None]
            mean = queries.mean + (gain @ error).squeeze(-1)
            cov = queries.cov - gain @ queries.cov[..., :2, :]
        seen, new = seen[..., None], (queries.ids == NEWBORN)[..., None]
        mean = torch.where(new, measured, torch.where(seen, mean, queries.mean))
        cov = torch.where(seen[..., None], cov, queries.cov)
        cov = torch.where(new[..., None], self._start(queries.labels, noise), cov)
        code = queries.code.detach().clone()
        code[..., XY], code[..., VELOCITY] = mean.to(code.dtype).split(2, dim=-1)
        return replace(queries, code=code, mean=mean, cov=cov)

    @torch.no_grad()
    def distance(self, tracks: TrackQueries, measured: TrackQueries) -> Tensor:
        """Squared Mahalanobis distance of what is measured (B, N) from where tracks (B, M) are expected: (B, M, N)."""
        place = measured.code[..., XY].float()
        error = (place[:, None] - tracks.mean[:, :, None, :2])[..., None]
        cov = tracks.cov[:, :, None, :2, :2] + self.measurement_cov(place)[:, None]
        with torch.autocast(place.device.type, enabled=False):
            return (error.transpose(-1, -2) @ inverse(cov) @ error).flatten(-3)

    def measurement_cov(self, xy_m: Tensor) -> Tensor:
        """Covariance (..., 2, 2) of a centre measured at (..., 2)."""
        xy_m = xy_m.float()
        away = xy_m.norm(dim=-1, keepdim=True).clamp(min=1e-3)
        ray = (xy_m / away).unsqueeze(-1)
        along, across = (
            (at_ego + a_metre * away).square().unsqueeze(-1)
            for at_ego, a_metre in (self.range_std_m, self.bearing_std_m)
        )
        outer = ray * ray.transpose(-1, -2)
        return along * outer + across * (torch.eye(2, device=xy_m.device) - outer)

    def _start(self, labels: Tensor, noise: Tensor) -> Tensor:
        """Covariance (..., 4, 4) of newborns."""
        speed = self.speed_std[labels].square()[..., None, None]
        cov = noise.new_zeros(*labels.shape, 4, 4)
        cov[..., :2, :2] = noise
        cov[..., 2:, 2:] = speed * torch.eye(2, device=noise.device)
        return cov


def inverse(matrix: Tensor) -> Tensor:
    """Of symmetric positive (..., 2, 2), in closed form: a batch of thousands is one operation."""
    (a, b), (_, d) = (row.unbind(-1) for row in matrix.unbind(-2))
    adjugate = torch.stack([torch.stack([d, -b], dim=-1), torch.stack([-b, a], dim=-1)], dim=-2)
    return adjugate / (a * d - b * b)[..., None, None]
