/* SPDX-License-Identifier: Apache-2.0 */
/* What the reports say, as rows of the table: one a case, or, where two reports are compared, one for both
 * cases of a name. Reports of older versions lack keys: what is not there is nothing. */

const held = JSON.parse(byId("reports").textContent);
const STAGES =
    Object.keys(held.flatMap((one) => one.report.verdicts)[0]?.stages || {}); /* in pipeline order */
const OUTCOMES = ["PASS", "FAIL", "SKIP", "CRASH", "TIMEOUT"];
const SEVERITY = {
    FAIL: 4,
    CRASH: 3,
    TIMEOUT: 2,
    SKIP: 1,
    PASS: 0
};

/* The larger of two, NaN being the largest of all. */
const larger = (a, b) => Number.isNaN(a) || a >= b;

/* The stage with the largest figure of this name, as [stage, value]. */
function most(verdict, key, stages) {
    let found = [null, undefined];
    for (const stage of stages) {
        const f = (verdict.stages || {})[stage];
        if (!f || !f.judged) continue;
        const value = real(f[key]);
        if (value !== undefined && (found[0] === null || !larger(found[1], value))) found = [stage, value];
    }
    return found;
}

function bitsOf(verdict) {
    let predicted = 0, differ = 0;
    for (const f of Object.values(verdict.stages || {})) {
        predicted += f.predicted || 0;
        differ += f.mispredicted || 0;
    }
    return {predicted, differ};
}

const checksWith = (verdict, answer) =>
    Object.entries(verdict.checks || {}).filter(([, c]) => c.answer === answer).map(([name]) => name);
const isWrong = (f) => Boolean(f && (f.failed > 0 || f.mispredicted > 0));

/* What of a case a table needs; the texts that are searched are put together when somebody searches. */
function summary(verdict) {
    const [ratioStage, ratio] = most(verdict, "max_ratio", STAGES);
    const [driftStage, drift] = most(verdict, "max_drift", STAGES.slice(1));
    return {
        verdict,
        outcome: verdict.outcome,
        ratio,
        ratioStage,
        drift,
        driftStage,
        bits: bitsOf(verdict),
        seconds: real(verdict.seconds)
    };
}

/* What a searched word may be in. */
function textOf(row) {
    if (row.text === undefined) {
        const v = row.now.verdict;
        row.text = [
            v.name, v.group, v.subject, v.reason, v.begins, v.config, v.repro,
            ...Object.values(v.checks || {}).map((c) => c.text)
        ].join("\n").toLowerCase();
    }
    return row.text;
}

/* The names of the cases, and for the second and later ones of a name which of them it is. */
function keyed(verdicts) {
    const seen = new Map();
    return verdicts.map((verdict) => {
        const n = (seen.get(verdict.name) || 0) + 1;
        seen.set(verdict.name, n);
        return [n === 1 ? verdict.name : `${verdict.name} ~${n}`, summary(verdict)];
    });
}

/* As `report diff` has it: by more than a hundredth of the bound. */
const differ = (a, b) => a !== undefined && b !== undefined && !Object.is(a, b) && !(Math.abs(a - b) <= 0.01);

/* In what two cases of a name differ, the gravest first: outcome, checks, bits, ratio, drift. */
function changesOf(before, now) {
    const found = [];
    if (before.outcome !== now.outcome) found.push("outcome");
    const a = before.verdict.checks || {}, b = now.verdict.checks || {};
    if (Object.keys(b).some((name) => a[name] && a[name].answer !== b[name].answer)) found.push("checks");
    if (before.bits.differ !== now.bits.differ) found.push("bits");
    if (differ(before.ratio, now.ratio)) found.push("ratio");
    if (differ(before.drift, now.drift)) found.push("drift");
    return found;
}

function makeRows(reports) {
    const last = keyed(reports[reports.length - 1].report.verdicts);
    const rows = last.map(([key, now], index) => ({key, now, before: null, only: null, changes: [], index}));
    if (reports.length === 1) return rows;
    const of = new Map(rows.map((row) => [row.key, row]));
    for (const row of rows) row.only = "second";
    for (const [key, before] of keyed(reports[0].report.verdicts)) {
        const row = of.get(key);
        if (row) {
            row.before = before;
            row.only = null;
            row.changes = changesOf(before, row.now);
        } else {
            rows.push({key, now: before, before: null, only: "first", changes: [], index: rows.length});
        }
    }
    return rows;
}
