/* SPDX-License-Identifier: Apache-2.0 */
/* Verdicts: what the harness says of a case.
 *
 * The texts of a verdict have any length and belong to it: they are freed with mp_verdict_free. A verdict
 * begins with mp_verdict_init, after which no text of it is NULL. */
#ifndef MOEPARITY_VERDICT_H
#define MOEPARITY_VERDICT_H

#include "moeparity/picture.h"
#include "moeparity/texts.h"
#include "moeparity/trace.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum mp_outcome { MP_PASS, MP_FAIL, MP_SKIP, MP_CRASH, MP_TIMEOUT, MP_OUTCOME_COUNT } mp_outcome;
const char *mp_outcome_name(mp_outcome outcome); /* "PASS" ... */

/* The questions about a trace, each with an answer that can fail: check, its name, and the condition, one of
 * those in harness/run/strict.c, under which a strict run fails where it was not judged. The first that fails
 * gives a verdict its reason. */
/* clang-format off */
#define MP_CHECKS(CHECK)                                                                                     \
    CHECK(MP_CHECK_BOUND, bound, numbers)           /* every element within its derived bound of float64 */  \
    CHECK(MP_CHECK_RMS, rms, numbers)               /* every row's relative rms within what these allow */   \
    CHECK(MP_CHECK_INTEGER, integer, integers)      /* align's integers */                                   \
    CHECK(MP_CHECK_POISON, poison, always)          /* every element written, none that must not be */       \
    CHECK(MP_CHECK_GUARD, guard, always)            /* zones around every buffer intact */                   \
    CHECK(MP_CHECK_NAN, nan, numbers)               /* NaN and Inf exactly where float64 has them */         \
    CHECK(MP_CHECK_REPEAT, repeat, repeated)        /* the same bits twice (two poisons) */                  \
    CHECK(MP_CHECK_SEQUENCE, sequence, followed)    /* the same bits on buffers of another case */           \
    CHECK(MP_CHECK_INPUT, input, always)            /* inputs unchanged */                                   \
    CHECK(MP_CHECK_PERMUTATION, permutation, moved) /* bits do not depend on the order of tokens */          \
    CHECK(MP_CHECK_BATCH, batch, moved)             /* bits do not depend on the other tokens */             \
    CHECK(MP_CHECK_PAIR, pair, paired)              /* a variant or another subject gives the same bits */   \
    CHECK(MP_CHECK_GOLDEN, golden, compared)        /* equal to the stored trace */                          \
    CHECK(MP_CHECK_BITS, bits, predicted)           /* every stage has exactly the predicted bits */         \
    CHECK(MP_CHECK_RANKS, ranks, parted)            /* ranks and shards sum to the case's own output */      \
    CHECK(MP_CHECK_GRAPH, graph, recorded)          /* the same bits replayed from a graph */                \
    CHECK(MP_CHECK_STREAMS, streams, overlapping)   /* the same bits beside another run */
/* clang-format on */
#define MP_CHECK_OF(check, name, asked) check,
typedef enum mp_check { MP_CHECKS(MP_CHECK_OF) MP_CHECK_COUNT } mp_check;
#undef MP_CHECK_OF
const char *mp_check_name(mp_check check);
#define MP_NO_GOLDEN "no golden file given" /* why golden was not judged where nobody asked */
#define MP_NOTHING_REPEATS \
    "the contract promises no bits that repeat" /* why repeat was not: nor will golden */

typedef enum mp_answer {
    MP_NOT_JUDGED,
    MP_PASSED,
    MP_FAILED
} mp_answer; /* not judged is never shown as passed */

typedef struct mp_check_result {
    mp_answer answer;
    int failures;     /* how often it failed (stages, pairs, tensors) */
    const char *text; /* the first failure: stage, place, value, expectation; why it was not judged; or what a
                         pass does not cover */
} mp_check_result;

/* Figures of one stage against float64, from the subject's own input of that stage. */
typedef struct mp_stage_figures {
    bool judged;
    int64_t compared;  /* elements */
    int64_t failed;    /* elements beyond their bound */
    int64_t bit_equal; /* elements that equal the rounded float64 result as numbers: 0 is -0 */
    /* Where a device measures the stage: elements that the CPU has measured itself, which are samples, and
     * what is special or fails. All of them where the device is no good. 0 where no device measures. */
    int64_t by_cpu;
    double max_abs;   /* max |subject - float64|; NaN-sticky */
    double max_ratio; /* max error/bound; NaN-sticky; > 1 fails */
    /* max over the elements of the least error that the value before the last rounding can have had, over the
     * bound of that error; NaN-sticky. error/bound is near 1 wherever one rounding to a short format is most
     * of the bound: this is not, and shows a drift long before it fails. */
    double max_drift;
    double max_error_ulps; /* max error in ulps of dtype at the float64 value, over the finite elements */
    double max_row_rms;    /* max over rows of rms(error)/rms(value) */
    int rank;              /* of the stage's output in route order; 0: not told */
    int64_t shape[MP_MAX_RANK]; /* [tokens, topk, columns] or [tokens, columns] */
    int64_t worst_index;        /* flat index in it of max_ratio; negative: none */
    double worst_value, worst_expected, worst_bound;
    double time_ns; /* the subject's own stage time; 0 when not measured */
    /* Of quant_x and quant_act: codes that are the largest of their sign. A made scale has one such code at
     * least in what shares it, and far more of them say that a given one clips. */
    int64_t saturated;
    double quant_bound; /* end_to_end alone: the largest error that quantising activations explains; 0: none
                           are, or no bound is known */
    int64_t
        predicted; /* elements whose bits were predicted from the subject's own input of the stage; 0: none */
    int64_t mispredicted; /* of them, elements with other bits */
    int64_t first_index;  /* flat index of the first of them */
    double first_value, first_predicted;
    int64_t max_ulps; /* their largest distance, in steps of the dtype; INT64_MAX when NaN is on one side */
} mp_stage_figures;

/* One bitwise comparison with a variant of the case or another subject. */
typedef struct mp_pair_figures {
    const char *text; /* "path=runner" or "subject host" */
    const char *note; /* why it was not compared, or "" */
    bool required;    /* bit equality is promised (else reported only) */
    bool bits_equal;
    int64_t compared, differing;
    double max_abs;  /* NaN-sticky */
    char first[768]; /* where the first difference is, and what all have in common; "" when equal */
} mp_pair_figures;

#define MP_MAX_PAIRS 16

/* What the time of a case goes to: its inputs are made; what must not change gets its digest; tensors go to
 * where the subject runs, with guards around them; the subject runs; guards and digests are looked at; its
 * tensors come back; they are judged against float64; the output against float64 from the inputs; bits are
 * predicted; bits are compared. And all else. Of several runs the sum. */
#define MP_PHASES(X)      \
    X(INPUTS, inputs)     \
    X(DIGEST, digest)     \
    X(UPLOAD, upload)     \
    X(RUN, run)           \
    X(LOOK, look)         \
    X(DOWNLOAD, download) \
    X(JUDGE, judge)       \
    X(MODEL, end_to_end)  \
    X(PREDICT, predict)   \
    X(COMPARE, compare)   \
    X(OTHER, other)
#define MP_PHASE_OF(phase, name) MP_PHASE_##phase,
typedef enum mp_phase { MP_PHASES(MP_PHASE_OF) MP_PHASE_COUNT } mp_phase;
#undef MP_PHASE_OF
const char *mp_phase_name(mp_phase phase);

typedef struct mp_verdict {
    char name[MP_CASE_TEXT_MAX]; /* canonical text */
    int64_t row;                 /* of the whole matrix, from 0 on, though a shard of it was run */
    const char *group, *subject;
    const char *device; /* which of several it ran on, as --devices names it; "" where there is no choice */
    const char *contract, *config, *blas; /* contract text; tile source and tiles; "plain loops" or "OpenBLAS
                                             SkylakeX" */
    const char *config_note; /* what the lookup of the tiles had to say: a fallback, an overridden
                                BLOCK_SIZE_M; "" */
    const char *weaker;      /* which checks say less about this subject than about others, and why; "" */
    const char *covers; /* of a file: which stages were judged, which were not and why; "" of what was run */
    mp_outcome outcome;
    const char *reason;    /* of a SKIP, CRASH, TIMEOUT; first failure of a FAIL */
    const char *begins;    /* "begins in gate_up: expert 3 only, 7 of its 7 rows, columns 64..127; ..."; "" */
    mp_stage begins_stage; /* of begins, while it is judged: no part of a report */
    bool boundless;        /* the contract leaves some stage without any bound: no part of a report either */
    bool
        lacked_memory; /* why it is a SKIP or a CRASH: of one among several workers, which runs again alone */
    mp_stage_figures stage[MP_STAGE_COUNT];
    mp_stage_figures end_to_end; /* final output against the float64 pipeline, and against the predicted bits:
                                    reported, not judged. compared tells of how many elements: of a large case
                                    a CPU measures a sample; 0 where float64 was not computed; in a
                                    verification of a golden max_abs and max_row_rms are NaN then. Where
                                    activations are quantised max_ratio and worst_... are of the bound that
                                    quantiser, accumulations and roundings compose to */
    bool pictured;               /* asks the judge for pictures: no part of a report */
    mp_picture *picture[MP_STAGE_COUNT]; /* its own; NULL: none of this stage */
    mp_check_result check[MP_CHECK_COUNT];
    mp_pair_figures pair[MP_MAX_PAIRS];
    int pair_count;
    /* What the rows that ran before in the same process have to do with a failure: "passes alone; failed
     * after 7 rows of the same process, ..."; "" where nothing is known, or it fails alone. */
    const char *history;
    double seconds;                       /* wall time of the whole case */
    double phase_seconds[MP_PHASE_COUNT]; /* the same by phase; zeros where a case was not run here */
    int64_t peak_bytes;                   /* host memory planned */
    const char *repro;                    /* one command line */
    mp_texts texts;                       /* what the texts above point into */
} mp_verdict;

/* The verdict about nothing: no figures, no answers, every text "". What *v held is not freed. */
void mp_verdict_init(mp_verdict *v);
/* Frees texts and pictures, and leaves the verdict about nothing. */
void mp_verdict_free(mp_verdict *v);

/* The parts of a flat index in f->shape; returns how many, 0 where there is no shape or no such element. */
int mp_stage_index(const mp_stage_figures *f, int64_t flat, int64_t index[MP_MAX_RANK]);

/* Largest |subject - float64| of any judged stage but align; NaN where one is. */
double mp_verdict_max_abs(const mp_verdict *v);
/* Stage with the largest error/bound, or -1. */
int mp_verdict_worst_stage(const mp_verdict *v);
/* Stage but align with the largest drift, or -1. */
int mp_verdict_drift_stage(const mp_verdict *v);

enum { MP_EXIT_OK = 0, MP_EXIT_FAILURE = 1, MP_EXIT_USAGE = 2, MP_EXIT_BROKEN = 3, MP_EXIT_SKIPPED = 77 };

/* Whether MOEPARITY_REQUIRE_GPU says so: not finding a GPU is then an error instead of a skip, and "auto"
 * means cuda. "" and 0 say no. */
bool mp_gpu_required(void);

/* Counts over a run. */
typedef struct mp_tally {
    int64_t total, count[MP_OUTCOME_COUNT];
} mp_tally;
void mp_tally_add(mp_tally *tally, const mp_verdict *v);
/* What a report says about the run as a whole. Texts as in a verdict: "" where nothing is known. */
typedef struct mp_run_info {
    const char *version, *commit, *command, *subject, *device, *versions;
    const char *date;        /* UTC, ISO 8601 */
    const char *blas, *host; /* host: CPU model */
    const char *settings;    /* what else the line says of how cases are judged, "--repeat 3 --strict" */
    const char *matrix;      /* a digest of the names of all cases, in order, and of what belongs to them */
    const char *names;       /* a digest of the names alone, by row: what verdicts can be held to */
    const char *files;       /* what decides beside the line, by digests of contents: golden, subject, ... */
    int64_t cases;           /* how many that are, of which this run has had shard `shard` of `shards` */
    int shard, shards;       /* 0 of 1: all; 0 of 0: it is not told */
    double seconds;
    bool interrupted;
    bool recording; /* nothing is written unless every case passes */
    mp_texts texts;
} mp_run_info;
void mp_run_info_init(mp_run_info *info);
void mp_run_info_free(mp_run_info *info);

/* The exit code of a run, as it ends with it and as its reports hold it. A failure outranks all: who runs
 * again after a crash must not run a proven failure away. Then broken is a crash or a hang, an interruption
 * (the rest was not judged), and skips alone where MOEPARITY_REQUIRE_GPU is set: absence of a GPU must not
 * look like success there. Of a recording the cases that passed do not count, unless all did. No case at all
 * is bad usage, but of one of several shards: there may be more of them than cases. */
int mp_exit_code(const mp_tally *tally, const mp_run_info *info);

#ifdef __cplusplus
}
#endif

#endif
