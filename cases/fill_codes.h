/* SPDX-License-Identifier: Apache-2.0 */
/* Private to cases/: data=codes, numbers at the limits of codes, and codes and scales at theirs. */
#ifndef MP_CASES_FILL_CODES_H
#define MP_CASES_FILL_CODES_H

#include "moeparity/graph.h"

/* A row of x or cache2 that is quantised, or a row of codes; false: the tensor is neither, and its row is
 * left alone. */
bool mp_fill_codes_row(const mp_case *c, mp_tensor_id which, uint64_t key, int64_t row, mp_tensor *t);

/* What the scale of number i is instead of `usual`: of every row of scales one at most is another. */
double mp_limit_scale(const mp_tensor *scales, int64_t i, double usual);

#endif
