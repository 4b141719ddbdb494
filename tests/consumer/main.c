/* A program of somebody else, built against the installed package: an activation kernel of its own, judged.
 * With the argument `wrong` the kernel takes gate for up and up for gate, and must fail. */
#include "harness/run/run_case.h"
#include "ref/predict/predict.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What it promises: float32 steps, an exp of at most 1 ulp, one rounding at the end. Bits are not predicted:
 * expf is not the one of ref/predict/float32_math.h. */
static mp_status resolve(mp_subject *s, const mp_case *c, mp_contract *contract, mp_config *config,
                         mp_error *err) {
    (void)s;
    if (c->scope != MP_SCOPE_ACT || c->act != MP_SILU || !c->gated || c->interleaved)
        return mp_fail(err, MP_EUNSUPPORTED, "scope=act act=silu only");
    *contract = mp_host_contract(c);
    contract->act_ulps = 1;
    contract->bits = MP_BITS_NONE;
    return mp_config_resolve(c, NULL, config, err);
}

static mp_status plan(mp_subject *s, const mp_case *c, mp_memory *memory, mp_error *err) {
    (void)s, (void)c, (void)err;
    *memory = (mp_memory){0};
    return MP_OK;
}

/* cache1 [M*topk, 2N] -> cache2 [M*topk, N]. A GPU kernel would be launched here, and its result copied
 * back. */
static mp_status run(mp_subject *s, const mp_case *c, const mp_inputs *in, uint32_t poison, mp_trace *trace,
                     mp_error *err) {
    const bool *wrong = s->self;
    const mp_tensor *cache1 = &in->t[MP_CACHE1];
    const int32_t *ids = in->t[MP_TOPK_IDS].data;
    const mp_status status = mp_trace_create(c, 16, poison, trace, err);
    for (int64_t t = 0; status == MP_OK && t < mp_case_slots(c); t++)
        for (int64_t n = 0; n < c->N && ids[t] >= 0; n++) { /* rows of filtered slots stay as they are */
            const int64_t gate_at = *wrong ? t * 2 * c->N + c->N + n : t * 2 * c->N + n,
                          up_at = *wrong ? gate_at - c->N : gate_at + c->N;
            const float gate = (float)mp_decode(c->dtype, cache1->data, gate_at),
                        up = (float)mp_decode(c->dtype, cache1->data, up_at);
            mp_encode(c->dtype, trace->t[MP_CACHE2].data, t * c->N + n,
                      (double)(gate / (1 + expf(-gate)) * up));
        }
    return status;
}

int main(int argc, char **argv) {
    bool wrong = argc > 1 && strcmp(argv[1], "wrong") == 0;
    mp_subject mine = {.name = "mine", .self = &wrong, .resolve = resolve, .plan = plan, .run = run};
    mp_matrix matrix = {0};
    mp_error err = {0};
    mp_tally tally = {0};
    mp_status status = mp_matrix_add(&matrix, "M=33 N=100 filter=0.3 scope=act", NULL, 0, &err);
    if (status == MP_OK)
        status = mp_matrix_add(&matrix, "M=64 topk=1 N=1024 scope=act data=exhaustive", NULL, 0, &err);
    if (status != MP_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    for (size_t i = 0; i < matrix.count; i++) {
        mp_verdict v;
        mp_run_case(&matrix.rows[i], &(mp_run_options){.subject = &mine, .repeat = 2}, &v);
        mp_tally_add(&tally, &v);
        printf("%s %s: at most %.3g of the bound %s\n", mp_outcome_name(v.outcome), v.name,
               v.stage[MP_ACT].max_ratio, v.reason);
        mp_verdict_free(&v);
    }
    mp_matrix_free(&matrix);
    return mp_exit_code(&tally, false);
}
