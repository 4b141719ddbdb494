/* SPDX-License-Identifier: Apache-2.0 */
/* A case cut into parts whose outputs sum to its own: ranks of expert parallelism, each with its share of the
 * experts, and shards of tensor parallelism, each with its share of N. A pair of a case that names other
 * experts or another N is one of its parts, and stands for all of them. */
#ifndef MP_CASES_PARTS_H
#define MP_CASES_PARTS_H

#include "moeparity/inputs.h"

/* Whether `part` has another share of the experts or of N than `whole`, right or wrong. */
bool mp_case_is_part(const mp_case *whole, const mp_case *part);
/* Whether all parts of the kind are the whole: MP_EINPUT says what to change. */
mp_status mp_case_validate_part(const mp_case *whole, const mp_case *part, mp_error *err);

/* How many there are; the case of number i, shards of a rank one after the other; its name, "rank 2 of 4",
 * "shard 0 of 2", "rank 2 of 4, shard 0 of 2". */
int64_t mp_case_parts(const mp_case *whole, const mp_case *part);
mp_case mp_case_part(const mp_case *whole, const mp_case *part, int64_t i);
enum { MP_PART_NAME_MAX = 64 };
void mp_case_part_name(const mp_case *whole, const mp_case *part, int64_t i, char name[MP_PART_NAME_MAX]);

/* The inputs of number i, a share of the whole's own. Rank r has the experts from r*E on, with numbers from 0
 * on, and -1 for all others; with expert_map=round_robin every ep_size-th one from r on. Shard s has the
 * gates, ups and columns of w2 from s*N on; b2 is the first shard's, and zeros in the others. What has tokens
 * alone is borrowed. *out is to be destroyed, after an error too. */
mp_status mp_inputs_part(const mp_case *whole, const mp_inputs *in, const mp_case *part, int64_t i,
                         mp_inputs *out, mp_error *err);

#endif
