/* SPDX-License-Identifier: Apache-2.0 */
/* mp_infer_cases: the cases that tell hypotheses apart. */
#include "harness/infer/infer.h"

#include "base/text.h"
#include "base/words.h"
#include "cases/case_tools.h"
#include "cases/graph_tables.h"

#include <stdio.h>
#include <string.h>

/* Those that separate most come first: what is refuted by one is not asked of the next. */
static const char *const usual_cases[] = {
    "M=24 topk=8 E=8 K=512 N=256 data=wide rsf=2.5",
    "M=24 topk=8 E=8 K=500 N=232 bias=1 rsf=2.5 filter=0.1",
    "M=24 topk=4 E=8 K=1024 N=192 filter=0.1 apply_router_weight_on_input=1",
    "M=24 topk=4 E=8 K=256 N=256 layout=sorted filter=0.1",
    "M=32 topk=5 E=8 K=640 N=320 data=wide",
    "M=32 topk=8 E=8 K=1024 N=128 bias=1 apply_router_weight_on_input=1 data=wide scope=gate_up",
    "M=64 topk=2 N=512 data=exhaustive scope=act",
    "M=32 topk=8 E=8 K=256 N=1024 bias=1 data=wide scope=down",
    "M=128 topk=8 K=512 data=wide rsf=2.5 scope=combine",
    "M=500 topk=8 E=16 scope=align",
};

/* Sets the field where it means something to the case: a stage alone has fewer of them. */
static mp_status set_word(void *ctx, char *word, mp_error *err) {
    mp_case *c = ctx;
    char name[64];
    snprintf(name, sizeof name, " %.*s ", (int)strcspn(word, "="), word);
    mp_text fields = {0};
    if (c->scope != MP_SCOPE_ALL) mp_text_add(&fields, " %s ", mp_stages[c->scope - 1].fields);
    const bool known = c->scope == MP_SCOPE_ALL || strstr(mp_text_get(&fields), name);
    mp_text_free(&fields);
    return known ? mp_case_apply(c, word, err) : MP_OK;
}

mp_status mp_infer_cases(const char *with, mp_matrix *cases, mp_error *err) {
    mp_error why = {0};
    if (with) { /* its words, before what they do to a case */
        mp_case c = mp_case_default();
        const mp_status status = mp_case_apply(&c, with, err);
        if (status != MP_OK) return status;
    }
    for (size_t i = 0; i < sizeof usual_cases / sizeof *usual_cases; i++) {
        mp_case c = mp_case_default();
        char text[MP_CASE_TEXT_MAX];
        mp_status status = mp_case_apply(&c, usual_cases[i], err);
        if (status == MP_OK && with) status = mp_each_word(with, &c, set_word, err);
        if (status != MP_OK) return status;
        if (c.data == MP_EXHAUSTIVE && (c.dtype == MP_FP32 || c.dtype == MP_FP64)) c.data = MP_NORMAL;
        if (mp_case_validate(&c, &why) != MP_OK) continue;
        mp_case_text(&c, text, sizeof text);
        status = mp_matrix_add(cases, text, NULL, 0, err);
        if (status != MP_OK) return status;
    }
    return cases->count > 0 ? MP_OK
                            : mp_fail(err, MP_EINPUT, "--with '%s': no case can be: %s", with, why.text);
}
