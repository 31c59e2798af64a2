# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""The networks of MTPSL and JTR: published sizes, batches, odd rasters."""

import pytest
import torch
import torch.nn.functional as F

from nexusflow.supervision.jtr import JTR
from nexusflow.supervision.mtpsl import MTPSL
from nexusflow.supervision.segnet import SegNetDecoder, SegNetEncoder

NYU = dict(
    seg=dict(kind='classes', channels=13),
    depth=dict(kind='depth', channels=1),
    normals=dict(kind='normals', channels=3),
)


def count(module):
    return sum(p.numel() for p in module.parameters())


def test_default_sizes_are_the_published_ones():
    with torch.device('meta'):
        mtpsl, jtr = MTPSL(NYU), JTR(NYU)
    assert mtpsl.film_scale.numel() + mtpsl.film_shift.numel() == 50_688
    # VGG-16's convolutions on 64 channels, normalisation, FiLM, stems
    assert count(mtpsl) == 14_749_824 + 8_448 + 50_688 + 10_368
    assert count(jtr) == 24_951_360 + 36_928 + 1_105


@pytest.mark.parametrize('size', [(8, 12), (13, 10)])
def test_decoder_gives_the_raster_back(size):
    encoder, decoder = SegNetEncoder(5, (4, 6, 6)), SegNetDecoder(5, (4, 6, 6))
    latent, pools = encoder(torch.randn(2, 5, *size))
    assert latent.shape == (2, 6, size[0] // 8, size[1] // 8)
    assert decoder(latent, pools).shape == (2, 5, *size)


def test_a_batch_is_what_batch_norm_does_on_one_image_at_a_time():
    encoder = SegNetEncoder(3, (4,), (1,)).double()
    (layer,) = encoder.stages[0]
    torch.nn.init.normal_(layer.norm.weight)
    torch.nn.init.normal_(layer.norm.bias)
    images = torch.randn(3, 3, 6, 6, dtype=torch.float64)
    expected = []
    for image in images:
        x = F.conv2d(image[None], layer.conv.weight, layer.conv.bias, padding=1)
        x = F.batch_norm(x, None, None, layer.norm.weight, layer.norm.bias, training=True)
        expected.append(F.max_pool2d(x.relu(), 2)[0])
    torch.testing.assert_close(encoder(images)[0], torch.stack(expected))


def test_too_small_maps_and_wrong_depths_are_named():
    with pytest.raises(ValueError, match='4 x 9 are too small for 3 stages'):
        SegNetEncoder(1, (2, 2, 2))(torch.zeros(1, 1, 4, 9))
    with pytest.raises(ValueError, match="'depths'"):
        SegNetEncoder(1, (2, 2), (1,))
