/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity golden refresh. */
#include "cli/common.h"
#include "cli/golden.h"
#include "cli/judge.h"

#include "harness/goldens/refresh.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Tensors are stored as they were: what was in full stays so, and digests stay digests. */
static mp_status storage_of(mp_golden *old, mp_record_options *record, mp_error *err) {
    size_t largest = 0;
    bool digests = false;
    for (size_t i = 0; i < mp_golden_count(old); i++)
        for (int id = 0; id < MP_TENSOR_COUNT; id++) {
            const mp_golden_entry *entry = mp_golden_at(old, i);
            mp_golden_look look, input;
            mp_status status = mp_golden_look_at(old, entry, false, (mp_tensor_id)id, &look, err);
            if (status == MP_OK) status = mp_golden_look_at(old, entry, true, (mp_tensor_id)id, &input, err);
            if (status != MP_OK) return status;
            record->inputs = record->inputs || input.there;
            digests = digests || (look.there && look.digest);
            if (look.there && !look.digest && mp_tensor_bytes(&look.shape) > largest)
                largest = mp_tensor_bytes(&look.shape);
        }
    record->digest_above = digests ? largest : SIZE_MAX;
    return MP_OK;
}

static mp_status matrix_of(const mp_args *args, const mp_paths *paths, mp_golden *old, mp_matrix *matrix,
                           mp_error *err) {
    mp_status status = MP_OK;
    if (args->operand_count > 1 || args->case_count > 0) return mp_cli_matrix(args, paths, matrix, err);
    for (size_t i = 0; status == MP_OK && i < mp_golden_count(old); i++)
        status = mp_matrix_add(matrix, mp_golden_at(old, i)->name, NULL, 0, err);
    if (status == MP_OK && matrix->count == 0)
        status = mp_fail(err, MP_EINPUT, "%s holds no case", mp_golden_path(old));
    return status;
}

static void say_counts(const mp_refresh *r, const char *path) {
    mp_cli_say(stdout, "%s: %lld cases as they were, %lld changed, %lld new, %lld removed", path,
               (long long)r->unchanged, (long long)r->changed, (long long)r->added, (long long)r->removed);
}

/* Both are there: the fresh one takes the old one's place, or goes. path: where the old one really lies. */
static mp_status replace(mp_golden *old, const char *path, const char *fresh_path, mp_refresh *refresh,
                         bool *refused, mp_error *err) {
    mp_golden *fresh = NULL;
    mp_status status = mp_golden_open(fresh_path, &fresh, err);
    if (status == MP_OK) status = mp_golden_refresh_judge(old, fresh, refresh, mp_cli_print_line, NULL, err);
    mp_golden_close(fresh);
    if (status != MP_OK) return status;
    say_counts(refresh, path);
    *refused = mp_refresh_is_refused(refresh);
    const bool same = refresh->changed + refresh->added + refresh->removed == 0;
    if (*refused)
        mp_cli_say(stderr, "moeparity: %s stays as it is: what is refused has no explanation", path);
    else if (same)
        mp_cli_say(stdout, "%s stays as it is: nothing has changed", path);
    else if (rename(fresh_path, path) != 0)
        return mp_fail(err, MP_EIO, "cannot write %s: %s", path, strerror(errno));
    else
        mp_cli_say(stdout, "refreshed %s", path);
    return MP_OK;
}

static int refresh_file(const mp_args *args, const mp_paths *paths, mp_golden *old, const char *path,
                        mp_refresh *refresh) {
    char fresh[PATH_MAX + 16];
    mp_matrix matrix = {0};
    mp_error err = {0};
    bool refused = false;
    snprintf(fresh, sizeof fresh, "%s.fresh", path);
    mp_record_options record = {.path = fresh};
    mp_status status = storage_of(old, &record, &err);
    if (status == MP_OK) status = matrix_of(args, paths, old, &matrix, &err);
    int code = MP_EXIT_OK;
    if (status == MP_OK) {
        code = mp_cli_judge(args, &(mp_cli_run){.matrix = &matrix,
                                                .sources = (const char *const *)paths->path,
                                                .source_count = paths->count,
                                                .record = &record,
                                                .instead_of = path});
        if (code == MP_EXIT_OK && !mp_args_given(args, MP_OPT_DRY_RUN))
            status = replace(old, path, fresh, refresh, &refused, &err);
        else if (code != MP_EXIT_OK)
            mp_cli_say(stderr, "moeparity: %s stays as it is", path);
        unlink(fresh);
    }
    mp_matrix_free(&matrix);
    return status != MP_OK ? mp_cli_fail(&err) : refused ? MP_EXIT_FAILURE : code;
}

/* All cases of a golden are refreshed: an option that would leave some out is not passed over in silence. */
static mp_status refuse_cut(const mp_args *args, mp_error *err) {
    const char *given = mp_args_given(args, MP_OPT_MATCH)  ? "--match"
                        : mp_args_given(args, MP_OPT_TIER) ? "--tier"
                                                           : NULL;
    if (!given) return MP_OK;
    return mp_fail(err, MP_EINPUT, "%s without a matrix: all cases of a golden are refreshed", given);
}

int mp_cmd_golden_refresh(const mp_args *args) {
    char path[PATH_MAX];
    const char *allow = mp_args_text(args, MP_OPT_ALLOW);
    mp_refresh refresh = {0};
    mp_golden *old = NULL;
    mp_paths paths = {0};
    mp_error err = {0};
    mp_status status = allow ? mp_refusals_parse(allow, &refresh.allowed, &err) : MP_OK;
    if (status != MP_OK) mp_error_prefix(&err, "--allow");
    if (status == MP_OK && args->operand_count == 1 && args->case_count == 0) status = refuse_cut(args, &err);
    if (status == MP_OK) status = mp_cli_open_golden(args->operands[0], &old, &err);
    if (status == MP_OK && !realpath(mp_golden_path(old), path)) /* a link stays one */
        status = mp_fail(&err, MP_EIO, "%s: %s", mp_golden_path(old), strerror(errno));
    if (status == MP_OK) status = mp_paths_find(&paths, args->operands + 1, args->operand_count - 1, &err);
    const int code = status == MP_OK ? refresh_file(args, &paths, old, path, &refresh) : mp_cli_fail(&err);
    mp_paths_free(&paths);
    mp_golden_close(old);
    return code;
}
