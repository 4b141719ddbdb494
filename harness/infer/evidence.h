/* SPDX-License-Identifier: Apache-2.0 */
/* What was asked of a kernel, and what its bits said: questions, each with the hypotheses that answer it, and
 * for each hypothesis how many elements it predicts otherwise than the kernel made them.
 *
 * A question has up to three axes ("sum", "epilogue", "store"), and an axis has values; a hypothesis is one
 * value of each. It fits when it has been compared with something and no element differs. Counts are kept by
 * case, for a hypothesis that one case alone refutes is nearer than one that misses a little of each. */
#ifndef MP_HARNESS_EVIDENCE_H
#define MP_HARNESS_EVIDENCE_H

#include "moeparity/graph.h"
#include "moeparity/texts.h"

enum { MP_EVIDENCE_AXES = 3 };

typedef struct mp_evidence_value {
    const char *name;
    const char *keys; /* what a contract says of it, "down.split_k=2"; "": it has nothing to say; NULL: it has
                         no word for it */
    bool weak;        /* promises nothing: it always fits, and counts only where nothing else does */
} mp_evidence_value;

typedef struct mp_evidence_axis {
    const char *name;
    mp_evidence_value *value;
    int count;
} mp_evidence_axis;

/* How a hypothesis did in one case. */
typedef struct mp_evidence_case {
    const char *name; /* of the evidence's; NULL: none yet */
    int64_t compared, differing;
} mp_evidence_case;

typedef struct mp_hypothesis {
    int value[MP_EVIDENCE_AXES];
    int64_t compared, differing;
    const char *first;      /* the first element that differs, with both values; "" */
    int cases, refuting;    /* in which it was asked, and those of them in which an element differs */
    int64_t compared_clean; /* in the cases in which none differs */
    mp_evidence_case latest, first_refuting;
} mp_hypothesis;

typedef struct mp_question {
    mp_stage stage;
    const char *name;
    int axes;
    mp_evidence_axis axis[MP_EVIDENCE_AXES];
    mp_hypothesis *hypothesis;
    int count;
} mp_question;

/* Starts zeroed. */
typedef struct mp_evidence {
    mp_question *question;
    int count;
    mp_texts texts;
    const char *case_name; /* of the case that is being run */
    bool lost;             /* memory ran out: what is here is not complete */
} mp_evidence;
void mp_evidence_free(mp_evidence *e);

/* The question of that name about the stage, asked now if it was not before; axes: its axes' names, ended by
 * NULL. Returns its index, -1 without memory. */
int mp_ask(mp_evidence *e, mp_stage stage, const char *name, const char *const *axes);
/* The value of that name on an axis, added if it is not there; the texts are copied. -1 without memory. */
int mp_evidence_value_of(mp_evidence *e, int question, int axis, mp_evidence_value value);
/* The hypothesis of these values (as many as there are axes), added if it is not there; NULL without memory.
 * Valid until the next one is added. */
mp_hypothesis *mp_hypothesis_of(mp_evidence *e, int question, const int value[MP_EVIDENCE_AXES]);
/* What is counted from here on is of this case; the name is copied. */
void mp_evidence_begin_case(mp_evidence *e, const char *name);
/* Adds to its counts; `first` (copied) is kept where it is the first. */
void mp_hypothesis_count(mp_evidence *e, mp_hypothesis *h, int64_t compared, int64_t differing,
                         const char *first);
/* In how many cases the hypothesis was asked and no element differs; and the most of any. */
int mp_hypothesis_clean(const mp_hypothesis *h);
int mp_question_most_clean(const mp_question *q);
/* Whether it need not be asked of further cases: 32 elements have differed, and another hypothesis has more
 * cases without a difference; most_clean: the most of any. */
bool mp_hypothesis_is_out(const mp_hypothesis *h, int most_clean);

/* The hypothesis that fits; else the nearest, the one with the most cases without a difference, then with the
 * smallest share of differing elements. Of equals the one with fewer weak values, then the one that was added
 * first. NULL: nothing was compared. */
const mp_hypothesis *mp_question_best(const mp_question *q);
bool mp_hypothesis_fits(const mp_hypothesis *h);
/* Of the hypotheses with this value of the axis; NULL: none was compared. */
const mp_hypothesis *mp_question_best_with(const mp_question *q, int axis, int value);

#endif
