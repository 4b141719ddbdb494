/* SPDX-License-Identifier: Apache-2.0 */
/* One case: what was said of it, its stages, its checks. */

const redraws = []; /* what is drawn in colours that a theme has */

const fact = (name, value) =>
    (value === "" || value === undefined || value === null ? [] : [h("dt", {}, name), h("dd", {}, value)]);

/* A figure, and what it was before where that was another one. */
function figure(name, now, before, bad) {
    const changed = before !== undefined && before !== now;
    return h("div", {}, h("dt", {}, name),
             h("dd", {}, changed ? h("span", {class: "soft"}, `${before} → `) : null,
               h("span", {class: bad ? "bad" : ""}, now)));
}

function figuresOf(f, old) {
    const both = (name, show, bad) => figure(name, show(f), old && old.judged ? show(old) : undefined, bad);
    const list = [];
    if (f.judged) {
        list.push(both("error / bound", (g) => short(real(g.max_ratio)), !(real(f.max_ratio) <= 1)),
                  both("beyond it", (g) => `${whole(g.failed)} of ${whole(g.compared)}`, f.failed > 0),
                  both("drift", (g) => short(real(g.max_drift)), false),
                  both("largest error", (g) => short(real(g.max_abs)), Number.isNaN(real(f.max_abs))),
                  both("in ulps", (g) => short(real(g.max_error_ulps)), false),
                  both("row rms", (g) => short(real(g.max_row_rms)), false),
                  both("as rounded float64", (g) => `${whole(g.bit_equal)} of ${whole(g.compared)}`, false));
    }
    if (f.predicted > 0)
        list.push(both("bits",
                       (g) => (g.mispredicted > 0 ? `${whole(g.mispredicted)} of ${whole(g.predicted)} differ`
                               : g.predicted > 0 ? "all as predicted"
                                                 : "–"),
                       f.mispredicted > 0));
    if (f.mispredicted > 0)
        list.push(both("by at most",
                       (g) => (g.max_ulps > 2 ** 62 ? "NaN on one side" : `${whole(g.max_ulps)} ulp`), true));
    if (real(f.time_ns) > 0) list.push(both("time", (g) => `${short(real(g.time_ns) / 1e6)} ms`, false));
    return h("dl", {class: "figures"}, list);
}

const indexText = (index) => (index ? ` [${index.join(", ")}]` : "");

function placesOf(f) {
    const lines = [];
    if (f.judged && f.worst_index >= 0)
        lines.push(`${real(f.max_ratio) <= 1 ? "Nearest to its" : "Farthest beyond its"} bound${
            indexText(f.worst)}: ${exact(real(f.worst_value))} instead of ${
            exact(real(f.worst_expected))} ± ${short(real(f.worst_bound))}`);
    if (f.mispredicted > 0)
        lines.push(`First other bits${indexText(f.first)}: ${exact(real(f.first_value))} instead of ${
            exact(real(f.first_predicted))}`);
    return lines.map((line) => h("p", {class: "place"}, line));
}

function drawingsOf(name, picture) {
    const label = `stage ${name}`, drawn = h("div", {class: "drawn"});
    if (picture.shape[0] > 0 && picture.shape[1] > 0 && Object.values(picture.maps).some((map) => map))
        drawn.append(heatMap(picture, label, redraws));
    const bars = h("div", {class: "bars"});
    for (const kind of Object.keys(HISTOGRAMS)) {
        const counts = picture.histograms[kind] || {};
        const dull = kind === "steps" && Object.keys(counts).every((letter) => letter === ".");
        if (Object.keys(counts).length > 0 && !dull) bars.append(histogram(kind, counts, label));
    }
    drawn.append(bars);
    return drawn;
}

function stageOf(name, f, old) {
    if (!f || !(f.judged || f.predicted > 0)) return null;
    const shape = f.shape && f.shape.length ? f.shape.join(" × ") : "";
    const head = h("h4", {id: `stage-${name}`}, name, h("small", {}, shape),
                   isWrong(f) ? h("span", {class: "tag FAIL"}, "WRONG") : null);
    if (name === "align")
        return h("section", {class: "stage"}, head,
                 h("p", {class: "place"}, `${whole(f.bit_equal)} of ${whole(f.compared)} integers equal`));
    return h("section", {class: "stage"}, head, figuresOf(f, old), placesOf(f),
             f.picture ? drawingsOf(name, f.picture) : null);
}

/* A table with these heads. */
const rowsTable = (heads, rows) =>
    h("table", {class: "rows"},
      h("thead", {}, h("tr", {}, heads.map((head) => h("th", {scope: "col"}, head)))), h("tbody", {}, rows));

function checksOf(v, before) {
    const order = {failed: 0, "not judged": 2, passed: 1};
    const rows =
        Object.entries(v.checks || {})
            .sort(([, a], [, b]) => order[a.answer] - order[b.answer])
            .map(([name, check]) => {
                const was = before && (before.checks || {})[name];
                const answer = h(
                    "span",
                    {class: check.answer === "failed"   ? "bad"
                            : check.answer === "passed" ? "PASS"
                                                        : "soft"},
                    check.answer === "failed" && check.failures > 1 ? `failed (${check.failures} times)`
                                                                    : check.answer);
                return h("tr", {}, h("td", {}, name),
                         h("td", {},
                           was && was.answer !== check.answer ? h("span", {class: "soft"}, `${was.answer} → `)
                                                              : null,
                           answer),
                         h("td", {}, check.text));
            });
    return rows.length ? [h("h3", {}, "Checks"), rowsTable(["Check", "Answer", "What it says"], rows)] : [];
}

function pairsOf(v) {
    const rows =
        (v.pairs || [])
            .map((p) =>
                     h("tr", {}, h("td", {}, p.text),
                       h("td", {class: p.bits_equal || p.note ? ""
                                       : p.required           ? "bad"
                                                              : "soft"},
                         p.note || (p.bits_equal ? "equal bits"
                                                 : `${whole(p.differing)} of ${whole(p.compared)} differ${
                                                       p.required ? "" : ", which is allowed"}`)),
                       h("td", {},
                         p.bits_equal || p.note ? "" : `by at most ${short(real(p.max_abs))}; ${p.first}`)));
    return rows.length ? [h("h3", {}, "Compared with"), rowsTable(["Variant", "", ""], rows)] : [];
}

/* In the order of the pipeline, but what is wrong first. */
function inOrder(v) {
    const wrong = STAGES.filter((name) => isWrong((v.stages || {})[name]));
    return [...wrong, ...STAGES.filter((name) => !wrong.includes(name))];
}

/* The stages in a line, as links to what is told of each. */
function stagesLine(v) {
    const shown = STAGES.filter((name) => {
        const f = (v.stages || {})[name];
        return f && (f.judged || f.predicted > 0);
    });
    const jump = (name) => () => byId(`stage-${name}`).closest("section").scrollIntoView({block: "start"});
    return shown.length < 2 ? [] : [h("nav", {class: "line", "aria-label": "Stages"}, shown.map((name) => {
        const f = v.stages[name];
        return h("button", {type: "button", onclick: jump(name)}, name, " ",
                 h("b", {class: isWrong(f) ? "bad" : "soft"},
                   name === "align" ? (isWrong(f) ? "wrong" : "equal")
                   : f.judged       ? short(real(f.max_ratio))
                                    : "bits"));
    }))];
}

/* A command in words that break at blanks, not behind the hyphens of an option. */
const words = (line) => line.split(/(\s+)/).map((part) => (part.trim() ? h("span", {}, part) : part));

/* Fills the panel with a row of the model; link: what leads to it. */
function showCase(panel, row, link, names) {
    redraws.length = 0;
    if (!row) {
        panel.replaceChildren(h("p", {class: "empty"}, "No case is selected."));
        return;
    }
    const v = row.now.verdict, before = row.before && row.before.verdict;
    const told = [v.reason, v.begins, v.history].filter((text) => text);
    const copy = h("button", {type: "button", onclick: (event) => copyText(v.repro, event.target)}, "Copy");
    const compared = row.only ? `only in ${names[row.only === "first" ? 0 : 1]}`
                     : before && before.outcome !== v.outcome ? `was ${before.outcome}`
                     : row.changes.length ? `changed: ${row.changes.join(", ")}`
                     : before ? "the same in both"
                              : "";
    panel.replaceChildren(
        h("h2", {}, h("span", {class: `tag ${v.outcome}`}, v.outcome), " ", h("code", {}, v.name),
          h("a", {href: link, "aria-label": "Link to this case"}, "#")),
        h("p", {class: "sub"},
          [...new Set([v.group, v.subject, compared])].filter((text) => text).join("  ·  ")),
        ...(told.length ? [h("div", {class: `told ${v.outcome}`},
                             told.map((text) => h("p", {}, h("span", {}, text))))]
                        : []),
        ...(v.repro ? [h("div", {class: "repro"}, h("code", {id: "repro"}, words(v.repro)), copy)] : []),
        h("h3", {}, "Stages"), ...stagesLine(v),
        ...inOrder(v)
            .map((name) => stageOf(name, (v.stages || {})[name], before && (before.stages || {})[name]))
            .filter((stage) => stage),
        ...checksOf(v, before), ...pairsOf(v), h("h3", {}, "Facts"),
        h("dl", {class: "facts"}, fact("Contract", v.contract), fact("Tiles", v.config),
          fact("", v.config_note), fact("Says less", v.weaker), fact("Covers", v.covers),
          fact("Reference", v.blas),
          fact("End to end",
               v.end_to_end && v.end_to_end.compared > 0
                   ? `largest error ${short(real(v.end_to_end.max_abs))}, row rms ${
                         short(real(v.end_to_end.max_row_rms))} of ${whole(v.end_to_end.compared)} elements`
                   : ""),
          fact("Time", real(v.seconds) > 0 ? `${short(real(v.seconds))} s` : ""),
          fact("Host memory", v.peak_bytes > 0 ? `${short(v.peak_bytes / 2 ** 20)} MiB planned` : "")));
    if (!panel.querySelector(".stage"))
        panel.querySelector("h3").after(h("p", {class: "soft"}, "None was judged."));
    panel.scrollTop = 0;
}
