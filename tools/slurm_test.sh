#!/usr/bin/env bash
# Copyright (c) NexusFlow contributors. Licensed under Apache-2.0.
# Usage: slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [flags of test.py]
# Environment: GPUS GPUS_PER_NODE CPUS_PER_TASK SRUN_ARGS.
set -euo pipefail
if [ "$#" -lt 4 ]; then
    sed -n '3,4s/^# //p' "$0" >&2
    exit 2
fi
exec bash "$(dirname "$0")/slurm_run.sh" "$1" "$2" test.py "${@:3}"
