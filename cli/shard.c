/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/shard.h"

#include "harness/run/shard_choice.h"

mp_status mp_cli_share(const mp_args *args, const mp_matrix *matrix, FILE *to, mp_share *share,
                       mp_error *err) {
    const bool takes = mp_command_takes(args->command, MP_OPT_SHARD);
    const int repeat =
        mp_command_takes(args->command, MP_OPT_REPEAT) ? (int)mp_args_number(args, MP_OPT_REPEAT) : 0;
    mp_shard_choice choice = {.shard = {0, 1}};
    mp_status status = MP_OK;
    *share = (mp_share){0};
    if (takes)
        status =
            mp_shard_choose(mp_args_text(args, MP_OPT_SHARD), args->command != MP_CMD_RECORD, &choice, err);
    if (status == MP_OK && choice.chosen) status = mp_shard_acknowledge(&choice, err);
    if (status == MP_OK) status = mp_share_cut(matrix, choice.shard, repeat, share, err);
    if (status == MP_OK && choice.chosen) {
        fprintf(to, "shard %d/%d (%s): %zu of %zu cases, %.1f %% of the planned cost; matrix %s\n",
                choice.shard.index, choice.shard.count, choice.by, share->matrix.count, share->cases,
                100 * share->part, share->digest);
        fflush(to);
    }
    return status;
}
