/* SPDX-License-Identifier: Apache-2.0 */
/* moeparity golden merge. */
#include "cli/common.h"
#include "cli/golden.h"

#include "harness/goldens/diff_text.h"

#include <stdlib.h>
#include <sys/stat.h>

/* A case that two files hold, in detail. */
static mp_status compare(void *ctx, mp_golden *first, mp_golden *other, const char *name, bool *equal,
                         mp_error *err) {
    (void)ctx;
    mp_case_diff *d = malloc(sizeof *d);
    if (!d) return mp_fail(err, MP_EMEMORY, "no memory to compare two cases");
    const mp_golden_side a = {first, mp_golden_find(first, name)}, b = {other, mp_golden_find(other, name)};
    mp_status status = mp_goldens_diff_case(&a, &b, d, err);
    *equal = status == MP_OK && d->equal;
    if (status == MP_OK && !*equal) {
        mp_cli_say(stdout, "conflict of %s and %s:", mp_golden_path(first), mp_golden_path(other));
        status =
            mp_case_diff_text(d, mp_golden_path(first), mp_golden_path(other), mp_cli_print_line, NULL, err);
    }
    free(d);
    return status;
}

/* A golden there is taken for the first one to read, before which the file to write was forgotten. */
static mp_status no_golden(const char *path, mp_error *err) {
    struct stat there;
    if (stat(path, &there) != 0 || !S_ISREG(there.st_mode) || there.st_size == 0) return MP_OK;
    return mp_fail(err, MP_EINPUT,
                   "%s would be overwritten, and is a golden: name the file to write first, or remove it",
                   path);
}

int mp_cmd_golden_merge(const mp_args *args) {
    const size_t count = (size_t)args->operand_count - 1;
    const char *path = args->operands[0], *const *sources = (const char *const *)args->operands + 1;
    mp_error err = {0};
    mp_golden_merge merge = {
        .from = calloc(count + 1, sizeof *merge.from), .count = count, .compare = compare};
    mp_status status = merge.from ? MP_OK : mp_fail(&err, MP_EMEMORY, "no memory for %zu files", count);
    if (status == MP_OK) status = mp_cli_output(path, sources, count, &err);
    if (status == MP_OK) status = mp_cli_first_output(path, MP_BEGINS_HDF5, "golden file", &err);
    if (status == MP_OK) status = no_golden(path, &err);
    for (size_t i = 0; i < count && status == MP_OK; i++)
        status = mp_cli_open_golden(sources[i], &merge.from[i], &err);
    for (size_t i = 0; i < count && status == MP_OK; i++)
        status = mp_golden_complete_roots(merge.from[i], &err);
    if (status == MP_OK) status = mp_golden_merge_files(&merge, path, &err);
    for (size_t i = 0; i < count && merge.from; i++) mp_golden_close(merge.from[i]);
    free(merge.from);
    if (status != MP_OK) return mp_cli_fail(&err);
    if (merge.conflicts > 0) {
        mp_cli_say(stderr, "moeparity: %s was not written: %zu case%s not the same in all files", path,
                   merge.conflicts, merge.conflicts == 1 ? " is" : "s are");
        return MP_EXIT_FAILURE;
    }
    mp_cli_say(stdout, "merged %zu case%s of %zu file%s into %s%s", merge.cases, merge.cases == 1 ? "" : "s",
               count, count == 1 ? "" : "s", path,
               merge.shared > 0 ? "; those in several files are equal" : "");
    return MP_EXIT_OK;
}
