/* SPDX-License-Identifier: Apache-2.0 */
#ifndef MP_CLI_BENCH_AGAINST_H
#define MP_CLI_BENCH_AGAINST_H

#include "cli/args.h"
#include "cli/progress.h"
#include "moeparity/matrix.h"

/* moeparity bench kernels --against: a line for each case, and geometric means; what cannot run says why in
 * its line. `line` tells what is being timed. */
mp_status mp_bench_against(const mp_args *args, const mp_matrix *cases, mp_status_line *line, mp_error *err);

#endif
