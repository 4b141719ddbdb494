/* SPDX-License-Identifier: Apache-2.0 */
/* Tokens of the case in another order and in other batches: what a token comes to depends on neither. */
#include "harness/checks/session.h"

#include "harness/answers.h"
#include "harness/phases.h"

#include <stdio.h>
#include <stdlib.h>

/* Runs the tokens `token[0..count)` as a batch of their own, and compares them with the same tokens of the
 * first run. */
static mp_status check_selection(mp_session *s, const int64_t *token, int64_t count, mp_check check,
                                 mp_error *err) {
    mp_case c = s->row->c;
    c.M = count;
    char what[64];
    const mp_offer *offer;
    mp_inputs in = {0};
    mp_left left = {0};
    mp_comparison found = {0};
    const char *hidden = NULL;
    if (count == 1)
        snprintf(what, sizeof what, "token %lld alone", (long long)token[0]);
    else if (check == MP_CHECK_BATCH)
        snprintf(what, sizeof what, "a batch of %lld tokens (%lld and others)", (long long)count,
                 (long long)token[0]);
    else
        snprintf(what, sizeof what, "tokens in another order");
    const mp_phase before = mp_phase_enter(MP_PHASE_INPUTS);
    mp_status status = mp_inputs_select(&s->row->c, s->in, token, count, &in, err);
    mp_phase_enter(before);
    if (status == MP_OK) status = mp_session_offer(s, s->options->subject, &c, &offer, err);
    if (status == MP_OK)
        status = mp_session_run(s, what, s->options->subject, &c, &in, MP_POISON_B, &left, err);
    if (status == MP_OK) {
        const mp_side a = {&s->row->c, &s->offer.contract, &s->first, token},
                      b = {&c, &offer->contract, &left.trace, NULL};
        status = mp_session_compare(s, &a, &b, &left, count, in.t[MP_TOPK_IDS].data, false, &found, err);
        hidden = mp_session_hidden_result(s, &left.trace);
    }
    if (status == MP_EUNSUPPORTED) {
        mp_check_not_judged(s->v, check, "%s: %s", what, err ? err->text : "");
        status = MP_OK;
    } else if (status == MP_OK && found.compared + found.differing == 0) {
        mp_check_not_judged(s->v, check, "%s: nothing to compare", what);
    } else if (status == MP_OK && !found.bits_equal) {
        mp_session_expect_equal(s, check, what, &found);
    } else if (status == MP_OK && hidden) {
        mp_check_not_judged(s->v, check, "%s: does not show %s", what, hidden);
    } else if (status == MP_OK) {
        mp_check_pass(s->v, check);
    }
    mp_left_destroy(&left);
    mp_inputs_destroy(&in);
    return status;
}

static int64_t greatest_common_divisor(int64_t a, int64_t b) {
    return b == 0 ? a : greatest_common_divisor(b, a % b);
}

/* A kernel that has code of its own for some batch sizes is met by one of them whatever the case's size is.
 * The cost is that of M + 19 tokens, whatever M is. */
static const int64_t small_batches[] = {2, 3, 4, 8};

int mp_batch_sizes(const mp_case *c, int64_t sizes[MP_BATCH_SIZES]) {
    int count = 0;
    if (c->scope != MP_SCOPE_ALL || c->M <= 1) return 0;
    sizes[count++] = 1;
    for (int i = 0; i < 4 && small_batches[i] < c->M - 1; i++) sizes[count++] = small_batches[i];
    if (c->M > 2) sizes[count++] = c->M - 1;
    return count;
}

/* Other batches than the case's own: three tokens alone; some, far apart; all but the last. */
static mp_status check_batches(mp_session *s, const int64_t *order, mp_error *err) {
    int64_t sizes[MP_BATCH_SIZES];
    const int64_t M = s->row->c.M, alone[] = {0, M / 2, M - 1};
    const int count = mp_batch_sizes(&s->row->c, sizes);
    mp_status status = MP_OK;
    for (int i = 0; i < 3 && status == MP_OK; i++)
        status = check_selection(s, &alone[i], 1, MP_CHECK_BATCH, err);
    for (int i = 1; i < count && sizes[i] < M - 1 && status == MP_OK; i++)
        status = check_selection(s, order, sizes[i], MP_CHECK_BATCH, err);
    if (M <= 2 || status != MP_OK) return status;
    int64_t *others = malloc((size_t)(M - 1) * sizeof *others);
    if (!others) return mp_fail(err, MP_EMEMORY, "no memory to select %lld tokens", (long long)(M - 1));
    for (int64_t i = 0; i < M - 1; i++) others[i] = i;
    status = check_selection(s, others, M - 1, MP_CHECK_BATCH, err);
    free(others);
    return status;
}

mp_status mp_check_invariance(mp_session *s, mp_error *err) {
    const int64_t M = s->row->c.M;
    if (s->row->c.scope != MP_SCOPE_ALL || !s->batch_invariant || M <= 1) {
        const char *why = s->row->c.scope != MP_SCOPE_ALL ? "one stage alone"
                          : M == 0                        ? "no tokens"
                          : M == 1                        ? "one token"
                                                          : "the contract does not promise it";
        mp_check_not_judged(s->v, MP_CHECK_PERMUTATION, "%s", why);
        mp_check_not_judged(s->v, MP_CHECK_BATCH, "%s", why);
        return MP_OK;
    }
    int64_t *order = malloc((size_t)M * sizeof *order);
    if (!order) return mp_fail(err, MP_EMEMORY, "no memory to permute %lld tokens", (long long)M);
    int64_t stride =
        (int64_t)(0.618 * (double)M) + 1; /* near the golden section, so that neighbours end up far apart */
    while (greatest_common_divisor(stride, M) != 1) stride++;
    for (int64_t i = 0; i < M; i++) order[i] = (i + 1) * stride % M;
    mp_status status = check_selection(s, order, M, MP_CHECK_PERMUTATION, err);
    if (status == MP_OK) status = check_batches(s, order, err);
    free(order);
    return status;
}
