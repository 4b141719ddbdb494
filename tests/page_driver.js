/* SPDX-License-Identifier: Apache-2.0 */
/* What tests/test_cli_page.c appends to a page of 1,000 cases: it does what a user does, and leaves in
 * <pre id="driver"> a line for each thing that was looked at. The first case has hostile texts, and pictures.
 */
(() => {
    const results = [];
    const at = (id) => document.getElementById(id);
    const check = (what, fine) => results.push(`${fine ? "ok" : "FAILED"} ${what}`);
    const press = (key, target = document.body) =>
        target.dispatchEvent(new KeyboardEvent("keydown", {key, bubbles : true, cancelable : true}));
    const drawn = () => at("body").querySelectorAll("[data-row]").length;
    const selected = () => Number(at("body").querySelector('[aria-selected="true"]')?.dataset.row ?? -1);
    const hash = () => new URLSearchParams(location.hash.slice(1));
    const go = (to) => {
        history.replaceState(null, "", to);
        window.dispatchEvent(new HashChangeEvent("hashchange"));
    };

    try {
        check("few of many rows are elements", drawn() > 5 && drawn() < 120);
        check("the count is that of the report", at("count").textContent === "1\u202f000 cases");
        check("what failed comes first, and is selected",
              at("body").querySelector("[data-row]").textContent.startsWith("FAIL") && selected() === 0);

        const empty = [...at("table").querySelectorAll("col") ].filter(
            (col) => [...at("body").querySelectorAll(`td.${col.className}`)].every(
                (td) => /^[–-]?$/.test(td.textContent)));
        check("no column is empty", empty.length === 0);

        check("hostile texts are texts",
              window.owned === undefined && !document.querySelector("img, iframe, object") &&
                  document.querySelectorAll("script").length === 3 &&
                  at("case").querySelector("h2").textContent.includes("<\/script><img"));
        check("the repro is told", at("repro").textContent.startsWith("moeparity run --case"));

        const canvas = at("case").querySelector("canvas"), maps = canvas.parentElement;
        press("ArrowDown", canvas);
        press("ArrowDown", canvas);
        press("ArrowRight", canvas);
        check("a map is read by keys", /^expert \d+, row.* of its \d+, column.*: error over bound /.test(
                                           maps.querySelector("output").textContent));
        const shows = (i) => {
            maps.querySelectorAll("figcaption button")[i].click();
            return canvas.toDataURL();
        };
        check("what a map shows can be chosen", shows(0) !== shows(1));
        const bars = at("case").querySelector("svg");
        press("ArrowRight", bars);
        check("a histogram is read by keys",
              /: \d+ elements?, /.test(bars.parentElement.querySelector("output").textContent));

        press("j");
        check("j goes on", selected() === 1 && hash().get("case") !== null);
        press("k");
        check("k goes back", selected() === 0);
        press("/");
        check("/ is for words", document.activeElement === at("find"));
        at("find").value = "m=777 silu";
        at("find").dispatchEvent(new Event("input"));
        check("words find a case",
              at("count").textContent.startsWith("1 of ") && hash().get("find") === "m=777 silu");
        go("#");
        check("the address has the state",
              at("find").value === "" && at("count").textContent.startsWith("1\u202f000"));

        const failed = [...at("outcomes").children ].find((button) => button.value === "FAIL");
        failed.click();
        check("an outcome is chosen", at("count").textContent.startsWith("3 of ") &&
                                          failed.getAttribute("aria-pressed") === "true" &&
                                          hash().get("outcomes") === "FAIL");
        failed.click();
        at("check").value = "bound";
        at("check").dispatchEvent(new Event("change"));
        check("a check is chosen", at("count").textContent.startsWith("3 of "));
        go("#group=rest&sort=drift&down=0&case=M%3D500+topk%3D2+act%3Dsilu");
        check("an address leads to its case",
              at("case").querySelector("h2 code").textContent === "M=500 topk=2 act=silu" &&
                  at("head").querySelector('[aria-sort="ascending"]').textContent === "Drift");
        go("#case=nothing");
        check("an address that leads nowhere says so", !at("notice").hidden);
        go("#");

        at("scroller").scrollTop = 20000;
        at("scroller").dispatchEvent(new Event("scroll"));
        check("rows come when they are scrolled to",
              at("body").querySelector('[aria-rowindex="690"]') && drawn() < 120);
        window.dispatchEvent(new Event("beforeprint"));
        check("all rows are printed, dark on white",
              drawn() === 1000 && document.documentElement.dataset.theme === "light");
        window.dispatchEvent(new Event("afterprint"));
        check("and few are left afterwards", drawn() < 120);

        const nameOf = (e) =>
            (e.getAttribute("aria-label") || e.textContent || e.closest("label")?.firstChild.textContent ||
             "").trim();
        const unnamed =
            [...document.querySelectorAll("button, select, input, canvas, svg, table, a") ].filter(
                (e) => !nameOf(e) && !e.closest("label"));
        check("whatever takes the focus has a name",
              unnamed.filter((e) => !e.classList.contains("rows")).length === 0);

        /* WCAG 2: 4.5 is what AA asks of text. */
        const light = (text) => [1, 3, 5]
                                    .map((i) => parseInt(text.slice(i, i + 2), 16) / 255)
                                    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
                                    .reduce((sum, v, i) => sum + v * [ 0.2126, 0.7152, 0.0722 ][i], 0);
        const contrast = (a, b) =>
            (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
        for (const theme of ["light", "dark"]) {
            document.documentElement.dataset.theme = theme;
            const of = (name) =>
                getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
            const words = [ "text", "soft", "accent", "pass", "fail", "skip", "crash", "timeout" ];
            const dim = words.flatMap((w) => ["back", "panel", "sunk", "select"]
                                                 .filter((b) => contrast(of(w), of(b)) < 4.5)
                                                 .map((b) => `${w} on ${b}`));
            check(`text can be read in ${theme} (${dim.join(", ")})`, dim.length === 0);
        }
        const before = document.documentElement.dataset.theme;
        at("theme").click();
        at("theme").click();
        check("colours are chosen", document.documentElement.dataset.theme === "dark" && before === "dark");
    } catch (error) {
        results.push(`FAILED ${error.stack}`);
    }
    localStorage.removeItem("moeparity-theme"); /* the next page is to have the usual one */
    const told = document.createElement("pre");
    told.id = "driver";
    told.textContent = `\n${results.join("\n")}\n`;
    document.body.append(told);
})();
