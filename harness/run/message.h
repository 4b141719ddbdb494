/* SPDX-License-Identifier: Apache-2.0 */
/* What a run and its workers tell each other: docs/protocol.md. Everything that is not known is ignored, and
 * what is absent has its default, so that either side may be the newer one. */
#ifndef MP_HARNESS_MESSAGE_H
#define MP_HARNESS_MESSAGE_H

#include "harness/wire.h"
#include "moeparity/suite.h"

#include <jansson.h>
#include <limits.h>

#define MP_PROTOCOL 1

/* {"case": "M=4 ...", "pairs": ["path=runner"], "group": "..."}, and "file" of one that is judged from a file
 * */
json_t *mp_json_row(const mp_matrix_row *row);
/* Appends it to *m. */
mp_status mp_json_to_row(const json_t *json, mp_matrix *m, mp_error *err);

/* {"open": ...}: all that a worker needs for the rows from `first` on. */
json_t *mp_json_open(const mp_suite_options *options, const mp_matrix *matrix, size_t first,
                     bool check_golden);
/* What came with it: free it with mp_order_free, after an error too. */
typedef struct mp_order {
    mp_suite_options options; /* with texts of its own */
    mp_record_options record;
    char record_path[PATH_MAX];
    mp_texts record_cases;
    mp_matrix matrix;
    bool check_golden;
} mp_order;
mp_status mp_json_to_order(const json_t *open, mp_order *order, mp_error *err);
void mp_order_free(mp_order *order);

/* {"hello": ...}: what a worker has opened. host_bytes, whose reference is taken: an array of what each row
 * takes beside what its case says, or NULL. */
json_t *mp_json_hello(const mp_subject *subject, const char *blas, const char *files, json_t *host_bytes);
/* Fills subject, device, versions and blas. MP_EINPUT where the worker speaks another protocol. */
mp_status mp_json_to_hello(const json_t *hello, mp_run_info *info, mp_error *err);

#endif
