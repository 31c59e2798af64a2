#!/usr/bin/env bash
# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# Usage: slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [flags of test.py]
# Environment: GPUS GPUS_PER_NODE CPUS_PER_TASK SRUN_ARGS.
set -euo pipefail
if [ "$#" -lt 4 ]; then
    sed -n '3,4s/^# //p' "$0" >&2
    exit 2
fi
partition=$1
job=$2
config=$3
checkpoint=$4
shift 4
gpus=${GPUS:-8}
gpus_per_node=${GPUS_PER_NODE:-8}
# SRUN_ARGS holds several words on purpose.
# shellcheck disable=SC2086
exec srun -p "$partition" --job-name="$job" --gres="gpu:$gpus_per_node" --ntasks="$gpus" \
    --ntasks-per-node="$gpus_per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$(dirname "$0")/test.py" "$config" "$checkpoint" --launcher slurm "$@"
