/* SPDX-License-Identifier: Apache-2.0 */
/* Which shard this process is to run: what the command line says, or what the engine that started it tells in
 * the environment. */
#ifndef MP_HARNESS_SHARD_CHOICE_H
#define MP_HARNESS_SHARD_CHOICE_H

#include "harness/run/shard.h"

typedef struct mp_shard_choice {
    mp_shard shard;
    bool chosen; /* somebody has said so; else it is the whole because nobody did */
    char by[64]; /* who: "--shard", "SLURM_ARRAY_TASK_ID" */
} mp_shard_choice;

/* text, what stands behind --shard:
 *   I/N     shard I of N, I from 0 to N - 1
 *   auto    what the environment says, of GTEST_SHARD_INDEX and GTEST_TOTAL_SHARDS; SLURM_ARRAY_TASK_ID and
 *           its _MIN, _MAX, _STEP and _COUNT; OMPI_COMM_WORLD_RANK and _SIZE; PMI_RANK and PMI_SIZE
 *   auto/N  the same, with this many shards: for JOB_COMPLETION_INDEX of Kubernetes, whose number no variable
 *           tells, and for a task of a Slurm array that is submitted again alone, whose id is then its index
 *   NULL    the whole; but with `gtest` the two variables of that protocol are obeyed unasked, for nobody
 *           sets them but who wants shards. An mpirun around a plain run must not make it run a part.
 * MP_EINPUT for another text, an index that is not below the number, a variable that is no number or lacks
 * its fellow, for `auto` where nothing is told, and where two engines tell of different shards. */
mp_status mp_shard_choose(const char *text, bool gtest, mp_shard_choice *choice, mp_error *err);

/* Makes the file of GTEST_SHARD_STATUS_FILE, by which a runner sees that shards are known here: to be called
 * where that protocol is obeyed. MP_EIO. */
mp_status mp_shard_acknowledge(const mp_shard_choice *choice, mp_error *err);

#endif
