/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MP_HARNESS_TUNE_TABLE_READ_H
#define MP_HARNESS_TUNE_TABLE_READ_H

#include "harness/tune/table.h"

/* Fills rows, words and doubles of a table whose root is parsed, from the text it was parsed from.
 * MP_EMEMORY. */
mp_status mp_table_read_places(mp_table *t, const char *text, mp_error *err);

#endif
