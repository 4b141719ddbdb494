/* SPDX-License-Identifier: Apache-2.0 */
/* What `bisect stage`, `bisect k` and `bisect config` have in common: one case, the subjects that try it, and
 * a report as JSON. */
#ifndef MP_CLI_BISECT_ROW_H
#define MP_CLI_BISECT_ROW_H

#include "cli/bisect.h"
#include "cli/progress.h"
#include "moeparity/suite.h"

#include <jansson.h>

typedef struct mp_bisect_row {
    const mp_args *args;
    const char *word;     /* "k" */
    mp_cli_bisected what; /* one row: that of --case, or a failure of --report */
    mp_suite_options how;
    mp_run_info info;
    mp_status_line line;
} mp_bisect_row;

/* MP_EINPUT: no case, several, or one that cannot be; MP_EIO: --json could not be written. Close it, after an
 * error too; it must stay where it is until then. */
mp_status mp_bisect_row_open(const mp_args *args, const char *word, mp_bisect_row *b, mp_error *err);
void mp_bisect_row_close(mp_bisect_row *b);

/* What becomes of a search: prints the lines that all have in common, calls `print` for the others, writes
 * the report, and returns the exit code. `report` is borrowed. */
int mp_bisect_row_end(mp_bisect_row *b, mp_status status, json_t *report,
                      void (*print)(const json_t *report, bool verbose), mp_error *err);

/* Of an object of a report: "", 0, false where there is none. */
const char *mp_report_text(const json_t *object, const char *name);
int64_t mp_report_number(const json_t *object, const char *name);
bool mp_report_flag(const json_t *object, const char *name);

#endif
