/* SPDX-License-Identifier: Apache-2.0 */
/* Findings that are known: a file of their fingerprints, so that only new ones fail. */
#ifndef MP_HARNESS_TUNE_BASELINE_H
#define MP_HARNESS_TUNE_BASELINE_H

#include "harness/tune/audit/audit.h"

/* Marks what the file knows, and counts anew what is fresh; *gone: how many of its findings are there no
 * more. MP_EINPUT names what is wrong with the file; MP_EIO. */
mp_status mp_baseline_apply(const char *path, mp_audit *audit, size_t *gone, mp_error *err);
/* Writes all findings, ordered by fingerprint: the same ones are the same bytes. */
mp_status mp_baseline_write(const char *path, const mp_audit *audit, mp_error *err);

#endif
