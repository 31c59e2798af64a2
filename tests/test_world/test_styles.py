# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
from dataclasses import fields

import numpy as np
import pytest

from nexusflow.world.styles import CityStyle, style_for


def _flat(style):
    return np.concatenate([np.ravel(getattr(style, f.name)) for f in fields(CityStyle)])


def test_without_a_gap_the_cities_look_alike():
    boston, singapore = (
        _flat(style_for(c, 0.0)) for c in ('boston-seaport', 'singapore-queenstown')
    )
    np.testing.assert_array_equal(boston, singapore)


def test_the_gap_scales_the_difference():
    def difference(gap):
        return _flat(style_for('boston-seaport', gap)) - _flat(style_for('singapore-onenorth', gap))

    assert np.abs(difference(1.0)).max() > 50
    np.testing.assert_allclose(difference(0.5), difference(1.0) / 2)


@pytest.mark.parametrize(
    ('location', 'gap', 'message'),
    [('paris-nord', 1.0, "location: no style for 'paris-nord'"), ('boston-x', 1.5, 'domain_gap')],
)
def test_bad_input(location, gap, message):
    with pytest.raises(ValueError, match=message):
        style_for(location, gap)
