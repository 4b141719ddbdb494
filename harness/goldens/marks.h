/* SPDX-License-Identifier: Apache-2.0 */
/* Which rows a golden leaves out of what it keeps, beside those that its cases let it leave out. */
#ifndef MP_HARNESS_GOLDENS_MARKS_H
#define MP_HARNESS_GOLDENS_MARKS_H

#include "moeparity/golden.h"

/* Every mark of every case stands at a row that holds no result: padding, or a filtered slot. Which rows
 * these are follows from the case and the fill version, and no file is believed in it: whoever marks another
 * row takes it out of every comparison. MP_EINPUT with case, tensor and row. Nothing can be checked of a
 * golden of another fill version and of cases whose ids came from a file: they pass. MP_EMEMORY. */
mp_status mp_golden_check_marks(mp_golden *golden, mp_error *err);

#endif
