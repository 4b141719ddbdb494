/* SPDX-License-Identifier: Apache-2.0 */
/* The files of an audit: read, with what their places say. */
#ifndef MP_HARNESS_TUNE_COLLECT_H
#define MP_HARNESS_TUNE_COLLECT_H

#include "harness/tune/audit/audit.h"

/* Fills audit->file, in the order of `paths` and of names within folders. A file of a folder that cannot be
 * read is a finding; one that was named is MP_EIO. */
mp_status mp_audit_collect(mp_audit *audit, char *const *paths, size_t count, mp_error *err);

#endif
