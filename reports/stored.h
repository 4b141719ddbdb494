/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON report, read again: of this version, or of an older one. */
#ifndef MP_REPORTS_STORED_H
#define MP_REPORTS_STORED_H

#include "moeparity/verdict.h"

#include <jansson.h>

/* The text of a check that a report is too old to know. */
#define MP_NO_SUCH_CHECK "the report is older than this check"

typedef struct mp_stored_report {
    int schema_version; /* that of the file */
    int exit_code;      /* that the run ended with */
    mp_run_info info;
    mp_verdict *verdicts; /* in the order of the file */
    size_t count;
} mp_stored_report;

/* Reads a report of schema version 1 or later, at most MP_FILE_MOST_BYTES of it. What an older one does not
 * tell is as in a verdict about nothing: a check that it does not have is not judged, and its text says why.
 * A key that is not known is passed over. Free with mp_stored_report_free, after an error too. kept, which
 * may be NULL, becomes a new reference to what was read, as it is in the file, or NULL.
 *
 * MP_EIO: it cannot be read. MP_EINPUT with the place in the file: it is no JSON, no report, of a later
 * schema version, a value is of another type than its key has, or the totals are not those of the verdicts
 * (somebody has cut it). */
mp_status mp_stored_report_load(const char *path, mp_stored_report *report, json_t **kept, mp_error *err);
/* The same of a text. */
mp_status mp_stored_report_parse(const char *text, size_t size, mp_stored_report *report, json_t **kept,
                                 mp_error *err);
void mp_stored_report_free(mp_stored_report *report);

#endif
