#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A matrix over the processes of an mpirun, which do not talk to each other, and the report of all of them:
#
#   mpirun.sh 8 [MPIRUN_OPTION ...]
#
# The shards' own exit codes are left aside: mpirun would end the others at the first that fails. The merge
# has the exit code of the whole, and says which shard is missing. A process has as many threads as it may use
# cores: --bind-to none, or --map-by slot:PE=8, gives it more than the one that Open MPI binds it to.
set -euo pipefail

processes=$1
shift
mkdir -p "${REPORTS:=reports}"
export MATRIX=${MATRIX:-matrix.yaml} SUBJECT=${SUBJECT:-cuda} REPORTS
# shellcheck disable=SC2016 # the shell of each process is to see its rank: Open MPI's, or MPICH's
mpirun -n "$processes" "$@" bash -c '
    rank=${OMPI_COMM_WORLD_RANK:-${PMI_RANK:?no rank: expected Open MPI or MPICH}}
    moeparity run "$MATRIX" --subject "$SUBJECT" --shard auto --quiet --json "$REPORTS/$rank.json" || true'
exec moeparity report merge "$REPORTS/all.json" "$REPORTS"/[0-9]*.json
