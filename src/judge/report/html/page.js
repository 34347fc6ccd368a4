"use strict";
(() => {
  const number = (text) => {
    const found = text.replace(/,/g, "").replace(/\u2212/g, "-").match(/[-+]?\d+(\.\d+)?(e[-+]?\d+)?/i);
    if (!found) return null;
    const units = [["GiB", 1024], ["MiB", 1], ["KiB", 1 / 1024], [" ms", 0.001], ["\u00a0ms", 0.001]];
    const unit = units.find(([name]) => text.includes(name));
    return Number(found[0]) * (unit ? unit[1] : 1);
  };

  const sortable = (table) => {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      if (!head.textContent.trim()) return;
      const button = document.createElement("button");
      button.type = "button";
      while (head.firstChild) button.append(head.firstChild);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...table.tBodies[0].rows];
        const of = (row) => row.cells[column] ? row.cells[column].textContent.trim() : "";
        const known = rows.map(of).filter((text) => text !== "" && text !== "\u2013");
        const numeric = known.length > 0 && known.every((text) => /^[-+\u2212<]?\s?[\d.,]/.test(text));
        const compare = (a, b) => {
          const [left, right] = [of(a), of(b)];
          const [none, other] = [left === "\u2013" || left === "", right === "\u2013" || right === ""];
          if (none || other) return none - other;
          const order = numeric ? number(left) - number(right) : left.localeCompare(right);
          return down ? -order : order;
        };
        rows.sort(compare).forEach((row) => table.tBodies[0].append(row));
      });
    });
  };
  document.querySelectorAll("table").forEach((table) => { if (table.tHead && table.tBodies[0] && !table.classList.contains("depths")) sortable(table); });

  const opened = () => {
    const part = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (part && part.tagName === "DETAILS") { part.open = true; part.scrollIntoView(); }
  };
  window.addEventListener("hashchange", opened);
  opened();

  const source = document.getElementById("data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  if (!data.axes.length || !data.cells.length) return;
  const by = (id) => document.getElementById(id);
  const svg = (name, attributes, text) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    Object.entries(attributes).forEach(([key, value]) => element.setAttribute(key, value));
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const shown = (value) => {
    const size = Math.abs(value);
    return value.toFixed(size >= 100 || size === 0 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : Math.min(9, 2 - Math.floor(Math.log10(size))));
  };
  const options = (select, entries) => entries.forEach(([value, text]) => {
    const option = document.createElement("option");
    option.value = value;
    option.textContent = text;
    select.append(option);
  });
  const at = (key) => data.axes.findIndex((axis) => axis.key === key);
  const named = (axis) => axis.unit ? `${axis.name} (${axis.unit})` : axis.name;
  const figures = (cell, axis) => cell.figures[axis];
  const words = (cell, axis) => {
    const of = figures(cell, axis);
    const unit = data.axes[axis].unit ? ` ${data.axes[axis].unit}` : "";
    if (!of) return "not measured";
    return shown(of[0]) + (of[1] === null ? "" : ` [${shown(of[1])}, ${shown(of[2])}]`) + unit;
  };

  options(by("context"), data.contexts.map((context) => [context, `${context.toLocaleString("en")} tokens`]));
  const costs = ["decode", "memory", "ttft", "prefill", "energy"].filter((key) => at(key) >= 0);
  const goals = { decode: "fastest decode", memory: "least memory", ttft: "shortest wait", prefill: "fastest prefill", energy: "least energy" };
  options(by("goal"), costs.map((key) => [key, goals[key]]));
  const axes = data.axes.map((axis, index) => [index, named(axis)]);
  options(by("x"), axes);
  options(by("y"), axes);
  if (costs.length) by("x").value = at(costs[0]);
  by("y").value = Math.max(0, at("quality"));
  by("choose").hidden = false;

  const here = () => data.cells.filter((cell) => cell.context === Number(by("context").value));
  const pick = () => {
    const axis = at(by("goal").value);
    const output = by("picked");
    output.textContent = "";
    if (axis < 0) return;
    const better = here().filter((cell) => cell.good && cell.gains[axis] !== null);
    better.sort((a, b) => b.gains[axis] - a.gains[axis]);
    const best = better[0] || here().find((cell) => cell.verdict === "reference" && figures(cell, axis));
    if (!best) { output.textContent = "nothing to choose from here"; return; }
    const link = document.createElement("a");
    link.href = `#cell-${best.id}`;
    link.textContent = best.setting;
    const gain = better.length ? `, ${shown(best.gains[axis])} times as good as the reference` : "; nothing that is no worse is clearly better";
    output.append(link, `: ${words(best, axis)}, ${best.verdict}${gain}`);
  };

  const scale = (cells, axis, from, to) => {
    const all = cells.flatMap((cell) => figures(cell, axis).filter((value) => value !== null));
    let [low, high] = [Math.min(...all), Math.max(...all)];
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    [low, high] = [low - room, high + room];
    const better = data.axes[axis].more;
    const place = (value) => {
      const share = (value - low) / (high - low);
      return from + (to - from) * (better ? share : 1 - share);
    };
    const raw = (high - low) / 5;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= raw * 0.999);
    const digits = Math.max(0, Math.min(9, -Math.floor(Math.log10(step) + 1e-9)));
    const ticks = [];
    for (let at = Math.ceil(low / step); at <= Math.floor(high / step); at += 1) ticks.push([at * step, (at * step).toFixed(digits).replace(/^-(0\.?0*)$/, "$1")]);
    return { ticks, place };
  };
  const say = (cell, x, y) => {
    by("tip").textContent = `${cell.setting}: ${named(data.axes[x])} ${words(cell, x)}; ${named(data.axes[y])} ${words(cell, y)}; ${cell.verdict}`;
  };
  const draw = () => {
    const [x, y] = [Number(by("x").value), Number(by("y").value)];
    const cells = here().filter((cell) => figures(cell, x) && figures(cell, y) && !(by("hide").checked && cell.dominated));
    const plot = by("plot");
    plot.textContent = "";
    by("tip").textContent = "";
    if (!cells.length) { plot.textContent = "Nothing has both figures here."; return; }
    const wide = Math.max(320, Math.min(900, plot.clientWidth || 720));
    const right = wide - 24;
    const picture = svg("svg", { viewBox: `0 0 ${wide} 420`, width: wide, role: "group", "aria-label": `${named(data.axes[y])} against ${named(data.axes[x])}; better is up and to the right` });
    const across = scale(cells, x, 70, right);
    const up = scale(cells, y, 370, 20);
    picture.append(svg("path", { class: "axis", d: `M70 20V370H${right}`, fill: "none" }));
    across.ticks.forEach(([value, text]) => picture.append(svg("text", { class: "tick", x: across.place(value), y: 388, "text-anchor": "middle" }, text)));
    up.ticks.forEach(([value, text]) => picture.append(svg("text", { class: "tick", x: 64, y: up.place(value) + 4, "text-anchor": "end" }, text)));
    picture.append(svg("text", { class: "tick", x: right, y: 410, "text-anchor": "end" }, `${named(data.axes[x])}${data.axes[x].more ? "" : ", less is better"} \u2192`));
    picture.append(svg("text", { class: "tick", x: 70, y: 12 }, `\u2191 ${named(data.axes[y])}${data.axes[y].more ? "" : ", less is better"}`));
    const points = cells.map((cell) => ({ cell, left: across.place(figures(cell, x)[0]), top: up.place(figures(cell, y)[0]) }));
    const front = points.filter((point) => !points.some((other) => other !== point && other.left >= point.left && other.top <= point.top && (other.left > point.left || other.top < point.top)));
    front.sort((a, b) => a.left - b.left);
    if (front.length > 1) picture.append(svg("path", { class: "line", d: `M${front.map((point) => `${point.left} ${point.top}`).join("L")}` }));
    const labels = points.map((point) => ({ point, line: point.top + 5, from: point.left - 8, to: point.left + 8 }));
    const weight = (point) => point.cell.verdict === "reference" ? 0 : front.includes(point) ? 1 : point.cell.dominated ? 3 : 2;
    const labelled = new Set([...points].sort((a, b) => weight(a) - weight(b)).slice(0, 24));
    if (labelled.size < points.length) by("tip").textContent = `${points.length - labelled.size} of ${points.length} points have no name here: point at one, or see the tables.`;
    points.forEach((point) => {
      const { cell, left, top } = point;
      const kind = cell.verdict === "reference" ? "reference" : cell.verdict === "worse" ? "worse" : front.includes(point) ? "front" : cell.dominated ? "dominated" : "plain";
      const group = svg("g", { class: `point ${kind}`, tabindex: 0, role: "img", "aria-label": `${cell.setting}: ${words(cell, x)}, ${words(cell, y)}, ${cell.verdict}` });
      const [fx, fy] = [figures(cell, x), figures(cell, y)];
      if (fx[1] !== null) group.append(svg("path", { class: "bar", d: `M${across.place(fx[1])} ${top}H${across.place(fx[2])}` }));
      if (fy[1] !== null) group.append(svg("path", { class: "bar", d: `M${left} ${up.place(fy[1])}V${up.place(fy[2])}` }));
      if (kind === "reference") group.append(svg("path", { d: `M${left} ${top - 7}l7 7l-7 7l-7 -7z` }));
      else if (kind === "worse") group.append(svg("path", { d: `M${left - 6} ${top - 5}H${left + 6}L${left} ${top + 6}Z` }));
      else if (kind === "dominated") group.append(svg("path", { class: "cross", d: `M${left - 5} ${top - 5}l10 10m0 -10l-10 10` }));
      else group.append(svg("circle", { class: kind === "plain" ? "ring" : "disc", cx: left, cy: top, r: 5.5 }));
      if (labelled.has(point)) {
        const name = cell.setting.length > 42 ? `${cell.setting.slice(0, 40)}\u2026` : cell.setting;
        const length = name.length * 6.6;
        const end = left + 9 + length > wide;
        const from = end ? left - 9 - length : left + 9;
        let line = top - 7;
        const covers = (other) => other.point !== point && Math.abs(other.line - line) < 13 && from < other.to && other.from < from + length;
        for (let tries = 1; tries < 24 && labels.some(covers); tries += 1) line = top - 7 + 13 * (tries % 2 ? -1 : 1) * Math.ceil(tries / 2);
        labels.push({ line, from, to: from + length });
        group.append(svg("text", { class: "name", x: left + (end ? -9 : 9), y: line, "text-anchor": end ? "end" : "start" }, name));
      }
      ["mouseenter", "focus"].forEach((event) => group.addEventListener(event, () => say(cell, x, y)));
      const open = () => { location.hash = `cell-${cell.id}`; };
      group.addEventListener("click", open);
      group.addEventListener("keydown", (event) => { if (event.key === "Enter") open(); });
      picture.append(group);
    });
    plot.append(picture);
  };
  ["context", "goal"].forEach((id) => by(id).addEventListener("change", pick));
  ["context", "x", "y", "hide"].forEach((id) => by(id).addEventListener("change", draw));
  window.addEventListener("resize", draw);
  pick();
  draw();

  const cellOf = new Map(data.cells.map((cell) => [`${cell.context} ${cell.setting}`, cell.id]));
  let context = null;
  document.querySelectorAll(".report h3, .report td:first-child code").forEach((element) => {
    if (element.tagName === "H3") {
      const found = element.textContent.replace(/,/g, "").match(/^Context (\d+) tokens$/);
      context = found ? found[1] : null;
      return;
    }
    const id = cellOf.get(`${context} ${element.textContent}`);
    if (id === undefined) return;
    const link = document.createElement("a");
    link.href = `#cell-${id}`;
    element.replaceWith(link);
    link.append(element);
  });
})();
