/* SPDX-License-Identifier: Apache-2.0 */
/* --shard: which of the cases a command has to do with. */
#ifndef MP_CLI_SHARD_H
#define MP_CLI_SHARD_H

#include "cli/args.h"
#include "harness/run/shard.h"

#include <stdio.h>

/* The share of the matrix that the line, or the environment, asks for: all of it where nobody asks, or the
 * command takes no --shard. Where somebody asks, a line on `to` says which, of how many, and who has said so.
 * Free with mp_share_free, after an error too. */
mp_status mp_cli_share(const mp_args *args, const mp_matrix *matrix, FILE *to, mp_share *share,
                       mp_error *err);

#endif
