/* SPDX-License-Identifier: Apache-2.0 */
/* cases/routing.c: each routing family, filtering and expert parallelism. */
#include "moeparity/inputs.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

typedef struct fixture {
    mp_case c;
    mp_inputs in;
} fixture;

static fixture made(const char *text) {
    mp_error err;
    fixture f = {.c = mp_case_default()};
    if (mp_case_parse(&f.c, text, &err) || mp_inputs_create(&f.c, &f.in, &err))
        fail_msg("'%s': %s", text, err.text);
    return f;
}

static double value(const fixture *f, mp_tensor_id which, int64_t index) {
    return mp_decode(f->in.t[which].dtype, f->in.t[which].data, index);
}

static const int32_t *ids_of(const fixture *f) {
    return f->in.t[MP_TOPK_IDS].data;
}

/* Counts tokens per expert (count[E] = -1 ids), and tokens in which some expert appears twice. */
static int64_t histogram(const fixture *f, int64_t *count) {
    int64_t repeated = 0;
    memset(count, 0, (size_t)(f->c.E + 1) * sizeof *count);
    for (int64_t m = 0; m < f->c.M; m++) {
        bool twice = false;
        for (int64_t j = 0; j < f->c.topk; j++) {
            const int32_t id = ids_of(f)[m * f->c.topk + j];
            assert_true(id >= -1 && id < f->c.E);
            count[id < 0 ? f->c.E : id]++;
            for (int64_t k = 0; k < j; k++) twice = twice || (id >= 0 && ids_of(f)[m * f->c.topk + k] == id);
        }
        repeated += twice;
    }
    return repeated;
}

/* What a subject reads through its map are the ids that the harness has. */
static void numbered_ids_lead_back(void **unused) {
    (void)unused;
    static const char *const texts[] = {
        "M=50 E=4 topk=3 scope=align ep_size=4 ep_rank=2 expert_map=linear",
        "M=50 E=4 topk=3 scope=align ep_size=4 ep_rank=2 expert_map=round_robin routing=padded",
        "M=50 E=4 topk=3 scope=align ep_size=4 ep_rank=3 expert_map=round_robin routing=padded sentinel=any",
        "M=50 E=4 topk=3 scope=align ep_size=4 ep_rank=1 sentinel=E",
        "M=50 E=4 topk=3 scope=align filter=0.5 sentinel=any",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        fixture f = made(texts[i]);
        const int32_t *given = mp_inputs_as_given(&f.in, MP_TOPK_IDS)->data,
                      *map = f.in.t[MP_EXPERT_MAP].data;
        const int64_t experts = map ? f.c.E * f.c.ep_size : f.c.E;
        int64_t here = 0, nowhere = 0, far = 0;
        assert_true(given != ids_of(&f) && (map != NULL) == (f.c.expert_map != MP_MAP_NONE));
        for (int64_t e = 0; map && e < experts; e++) {
            const bool mine =
                f.c.expert_map == MP_MAP_LINEAR ? e / f.c.E == f.c.ep_rank : e % f.c.ep_size == f.c.ep_rank;
            assert_int_equal(map[e] >= 0, mine);
            if (mine) assert_int_equal(map[e], here++);
        }
        if (map) assert_int_equal(here, f.c.E);
        for (int64_t t = 0; t < mp_case_slots(&f.c); t++) {
            const bool known = given[t] >= 0 && given[t] < experts;
            assert_int_equal(ids_of(&f)[t], !known ? -1 : map ? map[given[t]] : given[t]);
            nowhere += !known;
            far += given[t] > experts;
            if (!known && f.c.sentinel == MP_SENTINEL_E) assert_int_equal(given[t], experts);
            if (!known && f.c.sentinel == MP_SENTINEL_MINUS_ONE) assert_int_equal(given[t], -1);
        }
        assert_int_equal(nowhere > 0, i > 0);
        assert_int_equal(far > 0, f.c.sentinel == MP_SENTINEL_ANY);
        mp_inputs_destroy(&f.in);
    }
}

static void uniform_is_uniform(void **unused) {
    (void)unused;
    int64_t count[17];
    fixture f = made("M=20000 E=16 topk=4 scope=align");
    assert_int_equal(histogram(&f, count), 0);
    for (int e = 0; e < 16; e++)
        assert_true(llabs(count[e] - 5000) < 300); /* 5 standard deviations of sqrt(20000*3/16) */
    assert_int_equal(count[16], 0);
    for (int64_t j = 0; j < 4; j++) { /* each slot by itself as well */
        int64_t low = 0;
        for (int64_t m = 0; m < 20000; m++) low += ids_of(&f)[m * 4 + j] < 8;
        assert_true(llabs(low - 10000) < 400);
    }
    mp_inputs_destroy(&f.in);
    f = made("M=50 E=8 topk=8 scope=align"); /* all experts, each once */
    assert_int_equal(histogram(&f, count), 0);
    for (int e = 0; e < 8; e++) assert_int_equal(count[e], 50);
    mp_inputs_destroy(&f.in);
}

static void zipf_is_skewed(void **unused) {
    (void)unused;
    int64_t count[65], sorted[64];
    fixture f = made("M=20000 E=64 topk=1 routing=zipf scope=align");
    histogram(&f, count);
    for (int i = 0; i < 64; i++) { /* descending */
        int j = i;
        for (; j > 0 && sorted[j - 1] < count[i]; j--) sorted[j] = sorted[j - 1];
        sorted[j] = count[i];
    }
    const double harmonic = 4.743891; /* H(64) */
    for (int r = 0; r < 4; r++) assert_true(fabs((double)sorted[r] * (r + 1) * harmonic / 20000 - 1) < 0.1);
    assert_true(sorted[63] > 0);
    mp_inputs_destroy(&f.in);
    f = made("M=2000 E=64 topk=8 routing=zipf scope=align");
    assert_int_equal(histogram(&f, count), 0);
    mp_inputs_destroy(&f.in);
}

static void hot_empty_first_last(void **unused) {
    (void)unused;
    int64_t count[17];
    fixture f = made("M=1000 E=16 topk=4 routing=hot scope=align");
    int hot = 0;
    assert_int_equal(histogram(&f, count), 0);
    for (int e = 0; e < 16; e++) hot += count[e] == 1000;
    assert_int_equal(hot, 1);
    mp_inputs_destroy(&f.in);

    f = made("M=1000 E=15 topk=4 routing=empty scope=align");
    assert_int_equal(histogram(&f, count), 0);
    for (int e = 0; e < 15; e++) assert_int_equal(count[e] > 0, e % 2 == 0);
    mp_inputs_destroy(&f.in);

    f = made("M=10 E=16 topk=4 routing=first scope=align");
    histogram(&f, count);
    for (int e = 0; e < 16; e++) assert_int_equal(count[e], e < 4 ? 10 : 0);
    mp_inputs_destroy(&f.in);

    f = made("M=10 E=16 topk=4 routing=last scope=align");
    histogram(&f, count);
    for (int e = 0; e < 16; e++) assert_int_equal(count[e], e >= 12 ? 10 : 0);
    mp_inputs_destroy(&f.in);

    f = made("M=10 E=2 topk=5 routing=first scope=align");
    histogram(&f, count);
    assert_int_equal(count[0], 30);
    assert_int_equal(count[1], 20);
    mp_inputs_destroy(&f.in);
}

static void duplicates_in_every_token(void **unused) {
    (void)unused;
    int64_t count[65];
    static const char *const texts[] = {"M=500 E=64 topk=2 routing=duplicates scope=align",
                                        "M=500 E=64 topk=6 routing=duplicates scope=align",
                                        "M=500 E=2 topk=6 routing=duplicates scope=align"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        fixture f = made(texts[i]);
        assert_int_equal(histogram(&f, count), 500);
        assert_int_equal(count[f.c.E], 0);
        mp_inputs_destroy(&f.in);
    }
}

static void padded_tokens(void **unused) {
    (void)unused;
    static const struct {
        const char *text;
        int64_t padded;
    } p[] = {{"M=40 K=10 N=5 routing=padded", 10},
             {"M=43 K=10 N=5 routing=padded", 10},
             {"M=3 K=10 N=5 routing=padded", 1},
             {"M=1 K=10 N=5 routing=padded", 1},
             {"M=40 K=10 N=5 routing=padded data=special", 10}};
    for (size_t i = 0; i < COUNT(p); i++) {
        fixture f = made(p[i].text);
        for (int64_t m = 0; m < f.c.M; m++) {
            const bool padding = m >= f.c.M - p[i].padded;
            for (int64_t j = 0; j < 2; j++) assert_int_equal(ids_of(&f)[m * 2 + j] == -1, padding);
            for (int64_t k = 0; k < 10 && (padding || f.c.data == MP_NORMAL); k++)
                assert_int_equal(isnan(value(&f, MP_X, m * 10 + k)) != 0, padding);
        }
        mp_inputs_destroy(&f.in);
    }
}

static void filter_and_ranks(void **unused) {
    (void)unused;
    int64_t count[129];
    fixture f = made("M=5000 E=8 topk=4 filter=0.25 scope=align");
    histogram(&f, count);
    assert_true(llabs(count[8] - 5000) < 300);
    mp_inputs_destroy(&f.in);
    f = made("M=50 E=8 topk=4 filter=1 scope=align");
    histogram(&f, count);
    assert_int_equal(count[8], 200);
    mp_inputs_destroy(&f.in);

    /* Each slot is local to exactly one rank, and the ranks together are the routing over all experts. */
    fixture whole = made("M=300 E=32 topk=6 scope=align");
    int64_t found = 0;
    for (int rank = 0; rank < 4; rank++) {
        char text[128];
        snprintf(text, sizeof text, "M=300 E=8 topk=6 ep_size=4 ep_rank=%d scope=align", rank);
        f = made(text);
        for (int64_t slot = 0; slot < 300 * 6; slot++) {
            const int32_t global = ids_of(&whole)[slot];
            assert_int_equal(ids_of(&f)[slot], global / 8 == rank ? global % 8 : -1);
            found += ids_of(&f)[slot] >= 0;
        }
        mp_inputs_destroy(&f.in);
    }
    assert_int_equal(found, 300 * 6);
    mp_inputs_destroy(&whole.in);
}

/* The last slot of every token but those of padding is the last expert's, with a weight that undoes rsf; the
 * family has all others. */
static void the_shared_expert_has_the_last_slot(void **unused) {
    (void)unused;
    static const char *const texts[] = {
        "M=500 E=9 topk=4 shared=slot K=8 N=8",
        "M=500 E=9 topk=4 shared=slot rsf=2.5 filter=0.5 K=8 N=8",
        "M=500 E=257 topk=9 shared=slot rsf=-0.5 routing=zipf K=8 N=8",
        "M=500 E=9 topk=4 shared=slot routing=hot K=8 N=8",
        "M=500 E=9 topk=4 shared=slot routing=empty K=8 N=8",
        "M=500 E=9 topk=9 shared=slot routing=last K=8 N=8",
        "M=500 E=9 topk=3 shared=slot routing=duplicates K=8 N=8",
        "M=500 E=9 topk=3 shared=slot routing=padded data=integer rsf=2.5 K=8 N=8"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        fixture f = made(texts[i]);
        const int64_t topk = f.c.topk, padded = f.c.routing == MP_PADDED ? 375 : 500;
        const float *weights = f.in.t[MP_TOPK_WEIGHTS].data;
        int64_t filtered = 0, repeated = 0, count[258];
        for (int64_t m = 0; m < 500; m++) {
            assert_int_equal(ids_of(&f)[m * topk + topk - 1], m < padded ? f.c.E - 1 : -1);
            assert_true(weights[m * topk + topk - 1] == (float)(1 / f.c.rsf));
            for (int64_t j = 0; j < topk - 1; j++) {
                assert_true(ids_of(&f)[m * topk + j] < f.c.E - 1);
                filtered += m < padded && ids_of(&f)[m * topk + j] < 0;
            }
        }
        repeated = histogram(&f, count);
        assert_int_equal(repeated, f.c.routing == MP_DUPLICATES ? 500 : 0);
        assert_int_equal(filtered > 0, f.c.filter > 0);
        mp_inputs_destroy(&f.in);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(uniform_is_uniform),
        cmocka_unit_test(numbered_ids_lead_back),
        cmocka_unit_test(zipf_is_skewed),
        cmocka_unit_test(hot_empty_first_last),
        cmocka_unit_test(duplicates_in_every_token),
        cmocka_unit_test(padded_tokens),
        cmocka_unit_test(filter_and_ranks),
        cmocka_unit_test(the_shared_expert_has_the_last_slot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
