#!/usr/bin/env bash
# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# Usage: slurm_run.sh PARTITION JOB_NAME SCRIPT [arguments]; what slurm_train.sh and slurm_test.sh call.
# Environment: GPUS GPUS_PER_NODE CPUS_PER_TASK SRUN_ARGS.
set -euo pipefail
if [ "$#" -lt 3 ]; then
    sed -n '3,4s/^# //p' "$0" >&2
    exit 2
fi
partition=$1
job=$2
script=$3
shift 3
gpus_per_node=${GPUS_PER_NODE:-8}
# SRUN_ARGS holds several words on purpose.
# shellcheck disable=SC2086
exec srun -p "$partition" --job-name="$job" --gres="gpu:$gpus_per_node" --ntasks="${GPUS:-8}" \
    --ntasks-per-node="$gpus_per_node" --cpus-per-task="${CPUS_PER_TASK:-5}" --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$(dirname "$0")/$script" "$@" --launcher slurm
