"use strict";
(() => {
  const { runs, charts } = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)");
  const hidden = new Set();
  const strokes = { solid: "solid", dash: "6px,4px", dot: "1.5px,3px" };
  const last = (over) => Math.max(...charts.filter((c) => c.over === over).flatMap((c) => c.traces.map((t) => t.x[t.x.length - 1])));
  const escape = (text) => text.replace(/[&<>]/g, (c) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;" })[c]);

  function colours() {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    return { text: of("--text"), quiet: of("--quiet"), line: of("--line"), paper: of("--paper"), inks: runs.map((_, i) => of(`--ink${i}`)) };
  }

  function traces(chart, look) {
    return chart.traces.filter((t) => !hidden.has(t.run)).map((t) => ({
      type: "scatter",
      mode: t.marked ? "lines+markers" : "lines",
      x: t.x,
      y: t.y,
      customdata: t.step,
      // Plotly reads a little HTML in names; those of runs are text.
      name: escape(t.name),
      opacity: t.faint ? 0.25 : 1,
      line: { color: look.inks[t.run], width: t.faint ? 1 : 2, dash: strokes[t.stroke] },
      marker: { size: 5 },
      hoverinfo: t.faint ? "skip" : undefined,
      hovertemplate: t.faint ? undefined : "%{y:.4~g}<br>step %{customdata:,}<extra>%{fullData.name}</extra>",
      connectgaps: false,
      cliponaxis: !t.marked,
    }));
  }

  function layout(chart, look) {
    const axis = { gridcolor: look.line, zeroline: false, tickcolor: look.line, linecolor: look.line, automargin: true, fixedrange: touch.matches };
    return {
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: look.quiet },
      margin: { l: 8, r: 8, t: 8, b: 8 },
      showlegend: false,
      hovermode: "closest",
      hoverlabel: { bgcolor: look.paper, bordercolor: look.line, font: { color: look.text }, namelength: -1 },
      dragmode: touch.matches ? false : "zoom",
      xaxis: { ...axis, range: [0, last(chart.over)], showgrid: false, nticks: 6, ticks: "outside", ticklen: 4 },
      yaxis: { ...axis, nticks: 6, rangemode: chart.zero ? "tozero" : "normal", type: chart.log ? "log" : "linear", ...(chart.log ? { dtick: 1, exponentformat: "power" } : { exponentformat: "power" }) },
    };
  }

  async function draw() {
    const look = colours();
    for (const chart of charts) {
      await Plotly.react(chart.id, traces(chart, look), layout(chart, look), { responsive: true, displayModeBar: false });
    }
    document.body.dataset.charts = charts.length;
    document.body.dataset.ink = look.inks[0];
  }

  for (const button of document.querySelectorAll(".legend button")) {
    button.addEventListener("click", () => {
      const run = Number(button.dataset.run);
      const shown = button.getAttribute("aria-pressed") === "true";
      button.setAttribute("aria-pressed", String(!shown));
      shown ? hidden.add(run) : hidden.delete(run);
      draw();
    });
  }
  dark.addEventListener("change", draw);
  // On paper the page is light, whatever the screen is.
  matchMedia("print").addEventListener("change", draw);
  draw();

  const links = new Map([...document.querySelectorAll("nav a")].map((a) => [a.hash.slice(1), a]));
  const inView = new Set();
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) entry.isIntersecting ? inView.add(entry.target.id) : inView.delete(entry.target.id);
    const first = [...links.keys()].find((id) => inView.has(id));
    for (const [id, link] of links) id === first ? link.setAttribute("aria-current", "true") : link.removeAttribute("aria-current");
  }, { rootMargin: "-10% 0px -60% 0px" });
  for (const id of links.keys()) watcher.observe(document.getElementById(id));
})();
