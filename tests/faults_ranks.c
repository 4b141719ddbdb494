/* SPDX-License-Identifier: Apache-2.0 */
/* Faults of a rank or a shard: the case alone is right, and so is rank 0. */
#include "tests/faults.h"

#include <stdlib.h>
#include <string.h>

/* Global ids are handed to a rank that holds local ones: rank 0 is right, all others find nothing. */
void global_ids_on_every_rank(const faulty_run *run) {
    faulty_gemm gemm = down_gemm(run);
    for (int64_t t = 0; t < gemm.problem.slots && run->c->ep_rank > 0; t++) gemm.ids[t] = -1;
    store_gemm(run, &gemm);
}

/* `id > first` for `id >= first`: every rank but the first drops the first expert that it holds. */
void first_expert_of_a_rank_dropped(const faulty_run *run) {
    faulty_gemm gemm = down_gemm(run);
    for (int64_t t = 0; t < gemm.problem.slots && run->c->ep_rank > 0; t++)
        if (gemm.ids[t] == 0) gemm.ids[t] = -1;
    store_gemm(run, &gemm);
}

/* The slots of other ranks get down's bias, as if expert 0 had been asked. */
void down_bias_on_every_rank(const faulty_run *run) {
    const mp_tensor *cache3 = &run->trace->t[MP_CACHE3], *b2 = &run->in->t[MP_B2];
    const float *weights = run->in->t[MP_TOPK_WEIGHTS].data;
    for (int64_t t = 0; t < mp_case_slots(run->c) && run->c->ep_size > 1; t++)
        for (int64_t k = 0; k < run->c->K && ids_of(run)[t] < 0; k++)
            mp_encode(cache3->dtype, cache3->data, t * run->c->K + k,
                      (double)weights[t] * mp_decode(b2->dtype, b2->data, k));
    redo_from(run, MP_COMBINE);
}

/* Down's bias is prepared once, and kept for all runs to come: in a shard that has none it is added again. */
void down_bias_of_the_first_run(const faulty_run *run) {
    static mp_tensor kept;
    if (run->number == 0) {
        mp_tensor_free(&kept);
        kept = copy_tensor(&run->in->t[MP_B2]);
    }
    faulty_gemm gemm = down_gemm(run);
    gemm.epilogue.bias = &kept;
    store_gemm(run, &gemm);
}
