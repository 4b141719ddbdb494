/* SPDX-License-Identifier: Apache-2.0 */
/* State, which the hash of the address keeps: filters, order, case. */

const compares = held.length > 1, names = held.map((one) => one.name);
const rows = makeRows(held),
      columns = columnsOf(compares, rows.some((row) => row.now.seconds > 0),
                          rows.some((row) => row.now.bits.predicted || row.before?.bits.predicted));
const USUAL = {
    find: "",
    outcomes: "",
    check: "",
    stage: "",
    group: "",
    changed: "",
    sort: "outcome",
    down: "1",
    case: ""
};
const state = {...USUAL};
let shown = [], selected = null;

/* ---- the address ---- */

function readHash() {
    const told = new URLSearchParams(location.hash.slice(1));
    for (const key of Object.keys(USUAL)) state[key] = told.get(key) ?? USUAL[key];
}

function hashOf(changes) {
    const to = new URLSearchParams();
    for (const [key, value] of Object.entries({...state, ...changes}))
        if (value !== USUAL[key]) to.set(key, value);
    return `#${to}`;
}

const writeHash = () => history.replaceState(null, "", hashOf({}));

/* ---- filters ---- */

function passes(row) {
    const v = row.now.verdict, sign = state.check.startsWith("-") ? "not judged" : "failed";
    if (state.outcomes && !state.outcomes.split(",").includes(row.now.outcome)) return false;
    if (state.group && v.group !== state.group) return false;
    if (state.check && (v.checks || {})[state.check.replace(/^-/, "")]?.answer !== sign) return false;
    if (state.stage && row.now.ratioStage !== state.stage && !isWrong((v.stages || {})[state.stage]))
        return false;
    if (state.changed === "any" && !row.only && row.changes.length === 0) return false;
    if (state.changed === "only" && !row.only) return false;
    if (!["", "any", "only"].includes(state.changed) && !row.changes.includes(state.changed)) return false;
    return state.find.toLowerCase().split(/\s+/).every((word) => textOf(row).includes(word));
}

byId("table").classList.toggle("two", compares);
const table = makeTable(columns, {
    select: (row) => select(row, true),
    sort(name) {
        const same = state.sort === name;
        state.down = same                                  ? (state.down === "1" ? "0" : "1")
                     : name === "case" || name === "stage" ? "0"
                                                           : "1";
        state.sort = name;
        apply();
    },
});

function apply() {
    const column = columns.find((c) => c.name === state.sort) || columns[0];
    shown = sorted(rows.filter(passes), column, state.down === "1");
    table.show(shown, column.name, state.down === "1");
    byId("count").textContent = shown.length === rows.length
                                    ? plural(rows.length, "case")
                                    : `${whole(shown.length)} of ${plural(rows.length, "case")}`;
    for (const button of byId("outcomes").children)
        button.setAttribute("aria-pressed", String(state.outcomes.split(",").includes(button.value)));
    writeHash();
}

function select(row, focus) {
    selected = row;
    state.case = row ? row.key : "";
    table.select(row, focus);
    showCase(byId("case"), row, hashOf({}), names);
    writeHash();
}

/* The case of the address; without one the first that is shown. */
function selectFromState() {
    const named = state.case && rows.find((row) => row.key === state.case);
    byId("notice").hidden = !state.case || Boolean(named);
    if (state.case && !named) byId("notice").textContent = `No case of this report is '${state.case}'.`;
    selected = named || shown[0] || null;
    table.select(selected, false);
    showCase(byId("case"), selected, hashOf({case: selected ? selected.key : ""}), names);
}

function fillFilters() {
    const count = new Map();
    for (const row of rows) count.set(row.now.outcome, (count.get(row.now.outcome) || 0) + 1);
    const shownOutcomes = OUTCOMES.filter((outcome) => count.has(outcome));
    byId("outcomes")
        .append(...shownOutcomes.map((outcome) => h("button", {
                                         type: "button",
                                         value: outcome,
                                         "aria-pressed": "false",
                                         onclick: () => {
                                             const chosen =
                                                 new Set(state.outcomes.split(",").filter(Boolean));
                                             if (!chosen.delete(outcome)) chosen.add(outcome);
                                             state.outcomes = [...chosen].join(",");
                                             apply();
                                         }
                                     },
                                                    h("span", {class: `tag ${outcome}`}, outcome),
                                                    h("b", {}, whole(count.get(outcome))))));

    const options = (id, usual, list) => byId(id).append(h("option", {value: ""}, usual), ...list);
    const option = (value, text) => h("option", {value}, text);
    const checks = [...new Set(rows.flatMap((row) => Object.keys(row.now.verdict.checks || {})))];
    const withAnswer = (answer, sign) =>
        checks
            .map(
                (name) => [name,
                           rows.reduce(
                               (n, row) => n + ((row.now.verdict.checks || {})[name]?.answer === answer), 0)])
            .filter(([, n]) => n > 0)
            .map(([name, n]) => option(sign + name, `${name} (${whole(n)})`));
    const group = (label, list) => (list.length ? [h("optgroup", {label}, list)] : []);
    options("check", "Any", [
        ...group("Failed", withAnswer("failed", "")), ...group("Not judged", withAnswer("not judged", "-"))
    ]);
    options("stage", "Any", STAGES.map((stage) => option(stage, `worst or wrong in ${stage}`)));
    options("group", "Any",
            [...new Set(rows.map((row) => row.now.verdict.group).filter(Boolean))].map(
                (name) => option(name, name)));
    if (compares) {
        const tally = (test) => rows.reduce((n, row) => n + Boolean(test(row)), 0);
        options("changed", "All cases", [
            option("any", `changed (${whole(tally((r) => r.only || r.changes.length))})`),
            ...["outcome", "checks", "bits", "ratio", "drift"].map(
                (kind) => option(kind, `other ${kind} (${whole(tally((r) => r.changes.includes(kind)))})`)),
            option("only", `in one alone (${whole(tally((r) => r.only))})`)
        ]);
        byId("changed-label").hidden = false;
    }
}

function showFilters() {
    byId("find").value = state.find;
    for (const id of ["check", "stage", "group", "changed"]) byId(id).value = state[id];
}

/* ---- the head ---- */

function runText({name, report}) {
    const run = report.run, where = run.device || run.host;
    const what = [
        run.subject && `${run.subject} on ${where}`, run.versions,
        run.date && run.date.slice(0, 16).replace("T", " "), run.commit && `commit ${run.commit}`,
        run.interrupted && "interrupted"
    ].filter(Boolean).join(", ");
    return (compares ? `${name}: ` : "") + what;
}

/* ---- colours: those of the system, unless somebody chose ---- */

const dark = matchMedia("(prefers-color-scheme: dark)");
const THEMES = ["auto", "light", "dark"];
let theme = "auto";
try {
    theme = THEMES.includes(localStorage.getItem("moeparity-theme")) ? localStorage.getItem("moeparity-theme")
                                                                     : "auto";
} catch { /* a page of a file may have no storage */
}

function setTheme(printed) {
    document.documentElement.dataset.theme = printed            ? "light"
                                             : theme === "auto" ? (dark.matches ? "dark" : "light")
                                                                : theme;
    byId("theme").textContent = `Colours: ${theme}`;
    byId("theme").setAttribute(
        "aria-label", `Colours: ${theme === "auto" ? "as the system has them" : theme}. Change them.`);
    for (const redraw of redraws) redraw();
}

byId("theme").addEventListener("click", () => {
    theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
    try {
        localStorage.setItem("moeparity-theme", theme);
    } catch { /* it lasts as long as the page */
    }
    setTheme(false);
});
dark.addEventListener("change", () => setTheme(false));
window.addEventListener("beforeprint", () => setTheme(true));
window.addEventListener("afterprint", () => setTheme(false));

/* ---- keys ---- */

const KEYS = [
    ["↓ ↑ or j k", "next and previous case"], ["n p", "next and previous case that did not pass"],
    ["Enter", "to the case; Esc back to the table"], ["/", "find"], ["c", "copy the repro"], ["t", "colours"],
    ["arrows on a map or histogram", "read its cells or bars"], ["?", "these keys"]
];

function step(by, wanted) {
    for (let i = shown.indexOf(selected) + by; i >= 0 && i < shown.length; i += by)
        if (wanted(shown[i])) return select(shown[i], true);
    return undefined;
}

function toggleKeys() {
    byId("keys").hidden = !byId("keys").hidden;
    byId("keys-button").setAttribute("aria-expanded", String(!byId("keys").hidden));
}

const any = () => true, unwell = (row) => row.now.outcome !== "PASS";
const ACTIONS = {
    j: () => step(1, any),
    k: () => step(-1, any),
    n: () => step(1, unwell),
    p: () => step(-1, unwell),
    "?": toggleKeys,
    "/": () => byId("find").focus(),
    c: () => byId("case").querySelector(".repro button")?.click(),
    t: () => byId("theme").click()
};
document.addEventListener("keydown", (event) => {
    const inList = byId("body").contains(event.target),
          typing = event.target.closest("input, select, textarea");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    let action = typing ? null : ACTIONS[event.key];
    if (inList)
        action = {ArrowDown: ACTIONS.j, ArrowUp: ACTIONS.k, Enter: () => byId("case").focus()}[event.key] ||
                 action;
    if (event.key === "Escape")
        action = () => (selected ? table.select(selected, true) : byId("find").blur());
    if (!action) return;
    event.preventDefault();
    action();
});

/* ---- begin ---- */

byId("run").replaceChildren(...held.flatMap((one, i) => (i ? [h("br"), runText(one)] : [runText(one)])));
byId("run").title = held.map((one) => one.report.run.command).join("\n");
byId("keys").append(...KEYS.flatMap(([key, meaning]) => [h("dt", {}, key), h("dd", {}, meaning)]));
byId("keys-button").addEventListener("click", toggleKeys);
byId("skip").addEventListener("click", (event) => {
    event.preventDefault();
    byId("case").focus();
});
byId("find").addEventListener("input", () => {
    state.find = byId("find").value;
    apply();
});
for (const id of ["check", "stage", "group", "changed"])
    byId(id).addEventListener("change", () => {
        state[id] = byId(id).value;
        apply();
    });
window.addEventListener("hashchange", () => {
    readHash();
    showFilters();
    apply();
    selectFromState();
});
document.title =
    `${held.map((one) => one.report.run.subject || one.name).join(" against ")}: moeparity report`;

readHash();
setTheme(false);
fillFilters();
showFilters();
apply();
selectFromState();
