/* SPDX-License-Identifier: Apache-2.0 */
#include "harness/bisect/repro_files.h"

#include "cases/graph_tables.h"

#include <inttypes.h>
#include <string.h>

/* The formulas of docs/numerics.md in numpy, on gate g and up u. */
static const char *gate_formula(const mp_case *c) {
    switch (c->act) {
    case MP_SILU:
    case MP_SILU_CLAMP: return "g / (1 + np.exp(-g))";
    case MP_GELU: return "g * 0.5 * (1 + np.vectorize(math.erf)(g / math.sqrt(2)))";
    case MP_GELU_TANH: return "g / (1 + np.exp(-2 * math.sqrt(2 / math.pi) * (g + 0.044715 * g**3)))";
    case MP_RELU2: return "np.maximum(g, 0)**2";
    case MP_SWIGLU_OAI: return "np.minimum(g, LIMIT) / (1 + np.exp(-ALPHA * np.minimum(g, LIMIT)))";
    case MP_CLAMP_SILU: return "np.minimum(g, LIMIT) / (1 + np.exp(-np.minimum(g, LIMIT)))";
    case MP_ACTIVATION_COUNT: break;
    }
    return "g";
}

static const char *up_formula(const mp_case *c) {
    if (c->act == MP_SWIGLU_OAI) return "(np.clip(u, -LIMIT, LIMIT) + 1)";
    return c->act == MP_SILU_CLAMP || c->act == MP_CLAMP_SILU ? "np.clip(u, -LIMIT, LIMIT)" : "u";
}

/* Whether a few lines compute it: rows in the order of slots, ids of the experts that are there, and no other
 * stages than the usual ones. */
static bool is_plain(const mp_case *c, int stage) {
    return stage != MP_ALIGN && c->layout == MP_ROUTE && !c->fused_sum && c->weight_row_gap == 0 &&
           c->weight_expert_gap == 0 && c->dtype != MP_FP64 && !mp_case_has_lora(c) && c->quant == 0;
}

static void add_act(const mp_case *c, mp_text *text) {
    const bool clamps = c->act == MP_SILU_CLAMP;
    if (!c->gated)
        mp_text_add(text, "g = cache1\n");
    else if (c->interleaved)
        mp_text_add(text, "g, u = cache1[:, 0::2], cache1[:, 1::2]\n");
    else
        mp_text_add(text, "g, u = np.split(cache1, 2, axis=1)\n");
    if (strstr(gate_formula(c), "LIMIT") || strstr(up_formula(c), "LIMIT") || clamps)
        mp_text_add(text, "LIMIT, ALPHA = %.17g, %.17g\n", (double)(float)c->limit, (double)(float)c->alpha);
    mp_text_add(text, "cache2 = %s%s%s", clamps ? "np.minimum(" : "", gate_formula(c),
                clamps ? ", LIMIT)" : "");
    if (c->gated) mp_text_add(text, " * %s", up_formula(c));
    mp_text_add(text, "\ncache2[ids < 0] = 0  # rows of slots that go to no expert here may hold anything\n");
}

/* A GEMM for each slot: row of `from`, matrix of its expert, bias, router weight. */
static void add_gemm(const mp_case *c, mp_stage stage, mp_text *text) {
    const bool up = stage == MP_GATE_UP;
    const char *w = up ? "w1" : "w2", *b = up ? "b1" : "b2", *made = up ? "cache1" : "cache3";
    const bool weighted = mp_stage_weighs(c, stage);
    mp_text_add(text, "%s = np.zeros((len(ids), number(\"%s\").shape[1]))\n", made, w);
    mp_text_add(text, "for slot, e in enumerate(ids):\n");
    mp_text_add(text, "    if e >= 0: %s[slot] = number(\"%s\")[e] @ %s", made, w,
                up ? "number(\"x\")[slot // TOPK]" : "cache2[slot]");
    if (c->bias) mp_text_add(text, " + number(\"%s\")[e]", b);
    mp_text_add(text, "\n");
    if (weighted) mp_text_add(text, "%s *= number(\"topk_weights\").reshape(-1, 1)\n", made);
    if (weighted) mp_text_add(text, "%s[ids < 0] = 0\n", made);
}

static void add_combine(const mp_case *c, mp_text *text) {
    if (mp_stage_weighs(c, MP_COMBINE)) {
        mp_text_add(text, "cache3 = cache3 * number(\"topk_weights\").reshape(-1, 1)\n");
        mp_text_add(text, "if ids is not None: cache3[ids < 0] = 0\n");
    }
    mp_text_add(text, "out = %.17g * cache3.reshape(-1, TOPK, cache3.shape[-1]).sum(axis=1)",
                (double)(float)c->rsf);
    if (c->shared == MP_SHARED_ADD) mp_text_add(text, " + number(\"shared_output\")");
    mp_text_add(text, "\n");
}

/* What the stage makes, and what it reads, as the program calls them. */
static const char *made_by(int stage) {
    static const char *const names[MP_STAGE_COUNT] = {
        [MP_GATE_UP] = "cache1", [MP_ACT] = "cache2", [MP_DOWN] = "cache3", [MP_COMBINE] = "out"};
    return names[stage];
}

/* Stages first to last from the subject's own input of the first, as the harness judges them. */
static void add_stages(const mp_case *c, int first, int last, mp_text *text) {
    mp_text_add(text,
                "TOPK = %" PRId64 "\nids = data[\"topk_ids\"].ravel() if \"topk_ids\" in data else None\n",
                c->topk);
    if (first > MP_GATE_UP) {
        const char *input = made_by(first == MP_ACT ? MP_GATE_UP : first == MP_DOWN ? MP_ACT : MP_DOWN);
        mp_text_add(text, "%s = number(\"%s\")\n%s = %s.reshape(-1, %s.shape[-1])\n", input, input, input,
                    input, input);
    }
    for (int s = first; s <= last; s++) {
        if (!mp_case_has_stage(c, (mp_stage)s)) continue;
        if (s == MP_ACT)
            add_act(c, text);
        else if (s == MP_COMBINE)
            add_combine(c, text);
        else
            add_gemm(c, (mp_stage)s, text);
    }
    mp_text_add(text, "expected = %s\n", made_by(last));
}

/* A text in a comment of several lines: no line of it ends one. */
static void add_comment(mp_text *text, const char *what, const char *said) {
    if (!said[0]) return;
    mp_text_add(text, "# %s", what);
    for (const char *p = said; *p; p++) mp_text_add(text, "%c", *p == '\n' || *p == '\r' ? ' ' : *p);
    mp_text_add(text, "\n");
}

static void add_head(const mp_case *c, const mp_verdict *v, const char *line, mp_text *text) {
    char name[MP_CASE_TEXT_MAX];
    mp_case_text(c, name, sizeof name);
    mp_text_add(text, "#!/usr/bin/env python3\n");
    add_comment(text, "What moeparity found in ", v->subject);
    add_comment(text, "case: ", name);
    add_comment(text, "", v->begins);
    for (int i = 0; i < MP_CHECK_COUNT; i++)
        if (v->check[i].answer == MP_FAILED) {
            mp_text what = {0};
            mp_text_add(&what, "%s: ", mp_check_name((mp_check)i));
            add_comment(text, mp_text_get(&what), v->check[i].text);
            mp_text_free(&what);
        }
    if (v->outcome != MP_FAIL) add_comment(text, "", v->reason);
    add_comment(text, "repeated by: ", line);
}

/* The element that the verdict names, and by how much it may be off; else the one that is off most. */
static void add_element(const mp_stage_figures *f, mp_text *text) {
    if (f->failed > 0 && f->worst_index >= 0)
        mp_text_add(text, "at, bound = %" PRId64 ", %.17g\n", f->worst_index, f->worst_bound);
    else if (f->mispredicted > 0)
        mp_text_add(text, "at, bound = %" PRId64 ", 0.0\n", f->first_index);
    else
        mp_text_add(text, "at, bound = int(np.argmax(error)), 0.0\n");
}

/* Which element is wrong, and what it should be. */
static void add_floats(const mp_case *c, const mp_verdict *v, int first, int last, bool computes,
                       mp_text *text) {
    const char *output = mp_tensor_name(mp_stage_output(c, (mp_stage)last));
    if (computes)
        add_stages(c, first, last, text);
    else
        mp_text_add(text, "expected = number(\"expected_%s\")  # in float64, from the subject's own input\n",
                    output);
    mp_text_add(text,
                "if \"%s\" not in data or expected.size == 0:\n"
                "    raise SystemExit(f\"nothing to compare with what was expected: {expected}\")\n"
                "left, expected = number(\"%s\").ravel(), expected.ravel()\n"
                "error = np.where(left == expected, 0, np.abs(left - expected))\n"
                "error[np.isnan(error)] = np.where(np.isnan(left) & np.isnan(expected), 0, "
                "np.inf)[np.isnan(error)]\n",
                output, output);
    add_element(&v->stage[last], text);
    mp_text_add(
        text,
        "place = [int(i) for i in np.unravel_index(at, data[\"%s\"].shape)]\n"
        "print(f\"%s{place} is {left[at]:.9g}, float64 gives {expected[at]:.9g}: off by {error[at]:.3g}, "
        "{bound:.3g} allowed\")\n"
        "if \"predicted_%s\" in data:\n"
        "    print(f\"bits predicted: {number('predicted_%s').ravel()[at]:.9g}\")\n"
        "raise SystemExit(1 if error[at] > bound else 0)  # 0: one run alone does not show it\n",
        output, output, output, output);
}

/* The integers of align: where they differ. */
static void add_integers(mp_text *text) {
    mp_text_add(text, "wrong = 0\n"
                      "for name in [n for n in data if \"expected_\" + n in data]:\n"
                      "    left, expected = data[name].ravel(), data[\"expected_\" + name].ravel()\n"
                      "    at = np.flatnonzero(left != expected)\n"
                      "    wrong += at.size\n"
                      "    if at.size: print(f\"{name}[{at[0]}] is {left[at[0]]} instead of "
                      "{expected[at[0]]}; {at.size} of "
                      "{left.size} differ\")\n"
                      "raise SystemExit(1 if wrong else 0)  # 0: one run alone does not show it\n");
}

void mp_repro_program(const mp_case *c, const mp_verdict *v, const char *line, const char *data_name,
                      mp_text *text) {
    mp_signature signature;
    mp_signature_of(v, &signature);
    int last = signature.stage;
    for (int s = 0; signature.stage < 0 && s < MP_STAGE_COUNT; s++)
        if (mp_case_has_stage(c, (mp_stage)s)) last = s;
    const bool h5 = strstr(data_name, ".npz") == NULL;
    add_head(c, v, line, text);
    mp_text_add(text,
                "import math, os, sys\ntry:\n    import numpy as np\n%sexcept ImportError as e:\n"
                "    print(f'{e}: this program needs numpy%s, as of pip install', file=sys.stderr)\n"
                "    sys.exit(2)\n\n",
                h5 ? "    import h5py\n" : "", h5 ? " and h5py" : "");
    mp_text_add(text, "path = os.path.join(os.path.dirname(os.path.abspath(__file__)), \"%s\")\n", data_name);
    mp_text_add(text, h5 ? "data = {name: array[...] for name, array in h5py.File(path).items()}\n"
                         : "data = dict(np.load(path))\n");
    if (last == MP_ALIGN) {
        mp_text_add(text, "\n");
        add_integers(text);
        return;
    }
    mp_text_add(text, "\ndef number(name):  # bf16 is stored as its codes\n    a = data[name]\n"
                      "    if a.dtype == np.uint16: a = (a.astype(np.uint32) << 16).view(np.float32)\n"
                      "    return a.astype(np.float64)\n\n");
    add_floats(c, v, signature.first, last, signature.stage >= 0 && is_plain(c, last), text);
}
