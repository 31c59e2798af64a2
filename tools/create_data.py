# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
"""Convert a data set: nuScenes to NexusFlow's info files, NYUv2 to the arrays that are read.

Splits of nuScenes are the official ones (or those of <version>/splits.json), or any others: lists of scene
names or sample tokens in JSON or text files, or cities.

Examples:
    python tools/create_data.py nuscenes --root-path data/nuscenes --version v1.0-mini --workers 4
    python tools/create_data.py nuscenes --root-path data/nuscenes --version v1.0-trainval \
        --splits roddick_train=roddick_scenes.json#train roddick_val=roddick_scenes.json#val
    python tools/create_data.py nuscenes --root-path data/nuscenes --version v1.0-trainval \
        --splits far_train=city:boston-*,singapore-onenorth far_val=city:singapore-queenstown,singapore-hollandvillage
    python tools/create_data.py nyuv2 --root data/nyuv2
    python tools/create_data.py nyuv2-parquet --root downloads/nyuv2 --out data/nyuv2
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Collection
from pathlib import Path


def parse_args() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    formats = parser.add_subparsers(dest='dataset', required=True, help='format of the data set')
    _add_nuscenes(formats.add_parser('nuscenes', help='info files of nuScenes or of a world'))
    check = formats.add_parser('nyuv2', help="look at all files of MTAN's NYUv2 or an indoor world")
    check.add_argument('--root', type=Path, required=True, help='folder of train/ and val/')
    check.set_defaults(run=check_nyuv2)
    parquet = formats.add_parser('nyuv2-parquet', help="NYUv2 from parquet to MTAN's layout")
    parquet.add_argument('--root', type=Path, required=True, help='folder of the .parquet files')
    parquet.add_argument('--out', type=Path, required=True, help='data root to make')
    parquet.set_defaults(run=convert_nyuv2)
    return parser.parse_args()


def _add_nuscenes(parser: argparse.ArgumentParser) -> None:
    """Options of the info files."""
    parser.add_argument('--root-path', '--root', type=Path, required=True, help='data root')
    parser.add_argument(
        '--version',
        required=True,
        help='v1.0-trainval, v1.0-mini, v1.0-world: folder of the tables',
    )
    parser.add_argument('--out-dir', type=Path, help='folder of the info files; default: data root')
    parser.add_argument('--workers', type=int, default=2, help='processes')
    parser.add_argument(
        '--splits',
        nargs='+',
        default=(),
        metavar='[NAME=]SOURCE',
        help='FILE, FILE#KEY or city:PATTERN,...: one info file for each; default: the official ones',
    )
    parser.add_argument(
        '--allow-missing', action='store_true', help='lists may name what the version lacks'
    )
    parser.add_argument(
        '--map-range',
        type=float,
        nargs=4,
        default=(-15.0, -30.0, 15.0, 30.0),
        metavar=('XMIN', 'YMIN', 'XMAX', 'YMAX'),
        help='patch of the map vectors, lidar frame, metres',
    )
    parser.add_argument(
        '--crossings',
        choices=['maptr', 'streammapnet'],
        default='maptr',
        help='crossings that become one: all that touch, or only those that are parallel too',
    )
    parser.add_argument('--centerlines', action='store_true', help='a fourth class, as in MapTRv2')
    parser.add_argument('--no-maps', action='store_true', help='convert without map vectors')
    parser.add_argument('--force', action='store_true', help='convert again what is up to date')
    parser.set_defaults(run=convert_nuscenes)


def convert_nuscenes(args: argparse.Namespace) -> None:
    """Write info files and report."""
    from nexusflow.datasets.info_file import load_info
    from nexusflow.datasets.nuscenes_converter import ConvertSpec, convert
    from nexusflow.datasets.nuscenes_splits import SplitSpec
    from nexusflow.geometry.vector_map import MapRules

    spec = ConvertSpec(
        root=args.root_path,
        version=args.version,
        out_dir=args.out_dir or args.root_path,
        map_range_m=tuple(args.map_range),
        with_maps=not args.no_maps,
        map_rules=MapRules(args.crossings, args.centerlines),
        splits=SplitSpec(tuple(args.splits), args.allow_missing),
    )
    start, started_at = time.perf_counter(), time.time()
    paths = convert(spec, workers=args.workers, force=args.force)
    seconds = time.perf_counter() - start
    total = 0
    for split, path in paths.items():
        info = load_info(path)
        count = len(info['data_list'])
        made = path.stat().st_mtime >= started_at
        total += count if made else 0
        print(f'{split}: {count} samples {"->" if made else "up to date:"} {path}')
        for key in ('repaired_polygons', 'unusable_map_records'):
            for city, layers in info['metainfo'][key].items():
                if any(layers.values()):
                    print(f'  {city}: {key.replace("_", " ")}: {layers}')
    left = [] if args.splits else inner_splits(args.root_path, args.version, paths)
    if left:
        listed = args.root_path / args.version / 'splits.json'
        print(
            f'no file for {", ".join(left)}, parts of another split; --splits {listed} makes one for each'
        )
    if total:
        print(f'{total} samples in {seconds:.1f} s: {total / seconds:.0f} samples/s')


def inner_splits(root: Path, version: str, made: Collection[str]) -> list[str]:
    """Splits of a version's own list that got no info file."""
    path = root / version / 'splits.json'
    return (
        [name for name in json.loads(path.read_text()) if name not in made] if path.exists() else []
    )


def check_nyuv2(args: argparse.Namespace) -> None:
    """Look at all files and report."""
    from nexusflow.datasets.nyuv2_files import DenseFolder
    from nexusflow.world.indoor.spec import CLASSES

    for split in ('train', 'val'):
        files = DenseFolder(args.root, split, len(CLASSES))
        height, width = files.size_hw
        print(f'{split}: {files.check("all")} samples of {height} x {width} pixels are fine')


def convert_nyuv2(args: argparse.Namespace) -> None:
    """Write the arrays of parquet files and report."""
    from nexusflow.datasets.nyuv2_parquet import convert_parquet
    from nexusflow.world.indoor.spec import CLASSES

    for split, count in convert_parquet(args.root, args.out, len(CLASSES)).items():
        print(f'{split}: {count} samples -> {args.out / split}')


def main() -> None:
    """Run the command; bad input gives one line."""
    args = parse_args()
    try:
        args.run(args)
    except PermissionError as e:
        sys.exit(f'error: {e}; --out-dir writes the info files elsewhere')
    except (FileExistsError, FileNotFoundError, ValueError) as e:
        sys.exit(f'error: {e}')


if __name__ == '__main__':
    main()
