/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cases/: tensors filled by the CPU. */
#ifndef MP_CASES_FILL_ROWS_H
#define MP_CASES_FILL_ROWS_H

#include "cases/numbers.h"
#include "moeparity/tensor.h"

/* Rows first .. first+count. source: the rows that those of t have the numbers of; NULL: their own. */
void mp_fill_rows(const mp_numbers *n, const int64_t *source, mp_tensor *t, int64_t first, int64_t count);

#endif
