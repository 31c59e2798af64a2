#!/usr/bin/env bash
# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# Usage: dist_train.sh CONFIG GPUS [flags of train.py]; without GPUs: that many processes over gloo.
# Environment: NNODES NODE_RANK MASTER_ADDR PORT for more than one machine.
set -euo pipefail
if [ "$#" -lt 2 ]; then
    sed -n '3,4s/^# //p' "$0" >&2
    exit 2
fi
config=$1
gpus=$2
shift 2
exec "${PYTHON:-python}" -m torch.distributed.run \
    --nnodes="${NNODES:-1}" --node_rank="${NODE_RANK:-0}" --nproc_per_node="$gpus" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" --master_port="${PORT:-29500}" \
    "$(dirname "$0")/train.py" "$config" --launcher pytorch "$@"
