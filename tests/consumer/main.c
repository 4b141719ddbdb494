/* SPDX-License-Identifier: Apache-2.0 */
/* A program of somebody else, built against the installed package: an activation kernel of its own, judged
 * in workers that are this program again. With the argument `wrong` the kernel takes gate for up and up for
 * gate, and must fail. */
#include <moeparity/suite.h>
#include <moeparity/worker.h>

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What it promises: IEEE float32 steps, an exp of at most 1 ulp, one rounding at the end, and nothing of its
 * bits. The act stage shows its one output; the kernel wants no memory beside it. */
static mp_status describe(mp_subject *s, const mp_case *c, mp_offer *offer, mp_error *err) {
    (void)s;
    if (c->scope != MP_SCOPE_ACT || c->act != MP_SILU || !c->gated || c->interleaved)
        return mp_fail(err, MP_EUNSUPPORTED, "scope=act act=silu only");
    offer->contract = mp_contract_weakest();
    mp_status status = mp_contract_set(&offer->contract, "act.ulps", "1", err);
    if (status == MP_OK) status = mp_contract_set(&offer->contract, "act.filtered", "untouched", err);
    return status == MP_OK ? mp_config_resolve(c, NULL, &offer->config, err) : status;
}

/* cache1 [M*topk, 2N] -> cache2 [M*topk, N]. A GPU kernel would be launched here. */
static mp_status run(mp_subject *s, const mp_execution *execution, mp_error *err) {
    (void)err;
    const bool *wrong = s->self;
    const mp_case *c = execution->c;
    const mp_tensor *cache1 = &execution->t[MP_CACHE1], *cache2 = &execution->t[MP_CACHE2];
    const int32_t *ids = execution->t[MP_TOPK_IDS].data;
    for (int64_t t = 0; t < mp_case_slots(c); t++)
        for (int64_t n = 0; n < c->N && ids[t] >= 0; n++) { /* rows of filtered slots stay as they are */
            const int64_t gate_at = *wrong ? t * 2 * c->N + c->N + n : t * 2 * c->N + n,
                          up_at = *wrong ? gate_at - c->N : gate_at + c->N;
            const float gate = (float)mp_decode(cache1->dtype, cache1->data, gate_at),
                        up = (float)mp_decode(cache1->dtype, cache1->data, up_at);
            mp_encode(cache2->dtype, cache2->data, t * c->N + n, (double)(gate / (1 + expf(-gate)) * up));
        }
    return MP_OK;
}

static mp_status open_mine(const char *name, mp_subject *s, mp_error *err) {
    static bool wrong;
    wrong = strcmp(name, "wrong") == 0;
    if (!wrong && strcmp(name, "mine") != 0) return mp_subject_open(name, s, err);
    *s = (mp_subject){.name = wrong ? "wrong" : "mine", .self = &wrong, .describe = describe, .run = run};
    return MP_OK;
}

int main(int argc, char **argv) {
    if (mp_worker_requested()) return mp_worker_serve(open_mine);
    enum { CASES = 2 };
    static mp_verdict verdicts[CASES];
    const mp_suite_options options = {.settings = {.subject = argc > 1 ? argv[1] : "mine", .timeout = 60},
                                      .program = (const char *[]){"/proc/self/exe", NULL}};
    mp_matrix matrix = {0};
    mp_run_info info;
    mp_error err = {0};
    mp_tally tally = {0};
    mp_run_info_init(&info);
    mp_status status = mp_matrix_add(&matrix, "M=33 N=100 filter=0.3 scope=act", NULL, 0, &err);
    if (status == MP_OK)
        status = mp_matrix_add(&matrix, "M=64 topk=1 N=1024 scope=act data=exhaustive", NULL, 0, &err);
    if (status == MP_OK) status = mp_suite_run(&matrix, &options, verdicts, &info, &err);
    if (status != MP_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    for (size_t i = 0; i < CASES; i++) {
        mp_verdict *v = &verdicts[i];
        mp_tally_add(&tally, v);
        printf("%s %s: at most %.3g of the bound %s\n", mp_outcome_name(v->outcome), v->name,
               v->stage[MP_ACT].max_ratio, v->reason);
        mp_verdict_free(v);
    }
    mp_run_info_free(&info);
    mp_matrix_free(&matrix);
    return mp_exit_code(&tally, &info);
}
