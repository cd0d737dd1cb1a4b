"use strict";
// The map of a probe's units: choose one, and its spikes are loaded from unitN.js and drawn.
(() => {
  const units = JSON.parse(document.getElementById("units").textContent);
  const map = document.getElementById("map");
  const loaded = (window.maplakeUnits = {}); // unitN.js adds to it
  const placed = units.filter((unit) => unit.depth !== null && unit.amplitude !== null);
  const dots = new Map();
  let chosen = null;

  // ------------------------------------------------------------------ the map
  const box = { width: 440, height: 480, left: 58, right: 14, top: 14, bottom: 44 };

  function element(name, attributes, text) {
    const made = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  function ticks(low, high, count) {
    const rough = (high - low) / count || 1;
    const size = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * size).find((one) => one >= rough);
    const found = [];
    for (let tick = Math.ceil(low / step) * step; tick <= high + step / 1e6; tick += step)
      found.push(+tick.toPrecision(10));
    return found;
  }

  function scale(values, start, stop) {
    let low = Math.min(...values), high = Math.max(...values);
    const margin = (high - low || Math.abs(high) || 1) * 0.06;
    low -= margin; high += margin;
    const place = (value) => start + ((value - low) / (high - low)) * (stop - start);
    return { place, ticks: ticks(low, high, 5) };
  }

  function words(unit) {
    const known = [unit.quality, unit.cell_type, unit.region].filter((word) => word);
    return `unit ${unit.unit}${known.length ? `, ${known.join(", ")}` : ""}: ` +
      `${unit.amplitude.toFixed(0)} µV, ${unit.depth.toFixed(0)} µm from the tip`;
  }

  function drawMap() {
    const right = box.width - box.right, bottom = box.height - box.bottom;
    const x = scale(placed.map((unit) => unit.amplitude), box.left, right);
    const y = scale(placed.map((unit) => unit.depth), bottom, box.top);
    map.append(element("path", { class: "axis", fill: "none",
      d: `M${box.left} ${box.top}V${bottom}H${right}` }));
    for (const tick of x.ticks)
      map.append(element("text", { x: x.place(tick), y: bottom + 18, "text-anchor": "middle" }, tick));
    for (const tick of y.ticks)
      map.append(element("text", { x: box.left - 6, y: y.place(tick) + 4, "text-anchor": "end" }, tick));
    const middle = (box.top + bottom) / 2;
    map.append(
      element("text", { x: (box.left + right) / 2, y: box.height - 6, "text-anchor": "middle" }, "amplitude (µV)"),
      element("text", { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` },
        "distance from the tip (µm)"));
    const fastest = Math.max(1, ...placed.map((unit) => unit.rate ?? 0));
    placed.sort((a, b) => b.depth - a.depth);
    placed.forEach((unit, place) => {
      const dot = element("circle", {
        cx: x.place(unit.amplitude), cy: y.place(unit.depth), r: 4 + 5 * Math.sqrt((unit.rate ?? 0) / fastest),
        class: unit.quality === "good" ? "good" : "", tabindex: place ? -1 : 0, role: "button",
        "aria-label": words(unit), "data-unit": unit.unit });
      dot.append(element("title", {}, words(unit)));
      dots.set(unit.unit, dot);
      map.append(dot);
    });
  }

  function step(event) { // arrows walk along the probe, Enter chooses
    const place = placed.findIndex((unit) => unit.unit === +event.target.dataset.unit);
    if (place < 0) return;
    const move = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
    if (move) {
      const next = placed[(place + move + placed.length) % placed.length];
      focusable(next.unit);
      dots.get(next.unit).focus();
    } else if (event.key === "Enter" || event.key === " ") choose(placed[place].unit);
    else return;
    event.preventDefault();
  }

  function focusable(unit) {
    for (const [number, dot] of dots) dot.setAttribute("tabindex", number === unit ? 0 : -1);
  }

  // ------------------------------------------------------------------ a unit's spikes
  function choose(unit) {
    chosen = unit;
    for (const [number, dot] of dots) dot.classList.toggle("chosen", number === unit);
    for (const row of document.querySelectorAll("tr[data-unit]"))
      row.classList.toggle("chosen", +row.dataset.unit === unit);
    if (dots.has(unit)) focusable(unit);
    if (loaded[unit]) return show(unit);
    const script = document.createElement("script"); // from disk, fetch() is not allowed
    script.src = `unit${unit}.js`;
    script.onload = () => show(unit);
    script.onerror = () => say(`unit${unit}.js is missing: maplake report writes it again`);
    document.head.append(script);
  }

  function say(text) {
    document.getElementById("about").textContent = text;
    document.getElementById("panels").replaceChildren();
    document.getElementById("key").replaceChildren();
  }

  function unpack(text, Kind) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    return new Kind(bytes.buffer);
  }

  function open(panel) {
    if (panel.ready) return panel;
    const [start, stop] = panel.window;
    for (const group of panel.groups) {
      group.time = Float64Array.from(unpack(group.time, Uint16Array), (at) => start + (at / 65535) * (stop - start));
      group.row = unpack(group.row, Uint16Array);
      group.rate = unpack(group.rate, Float32Array);
    }
    panel.ready = true;
    return panel;
  }

  function show(unit) {
    if (unit !== chosen) return; // another one was chosen meanwhile
    const data = loaded[unit];
    say(data.title);
    const link = document.getElementById("link");
    link.hidden = !link.dataset.pages;
    link.href = `unit${unit}.html`;
    link.textContent = `page of unit ${unit}`;
    const panels = document.getElementById("panels");
    const top = Math.max(1, ...data.panels.flatMap((panel) => open(panel).groups)
      .flatMap((group) => (group.trials ? [...group.rate] : []))) * 1.05;
    for (const panel of data.panels) {
      const canvas = document.createElement("canvas");
      canvas.setAttribute("role", "img");
      canvas.setAttribute("aria-label", `raster and PSTH of unit ${unit}, ${panel.title} from ${panel.event}`);
      panels.append(canvas);
    }
    // All of them are there before their widths are asked for.
    [...panels.children].forEach((canvas, place) => drawPanel(canvas, data.panels[place], top));
    legend(data.panels);
  }

  function legend(panels) {
    const counts = new Map();
    for (const panel of panels)
      for (const group of panel.groups) {
        const entry = counts.get(group.name) ?? { group, trials: new Set() };
        counts.set(group.name, entry);
        entry.trials.add(`${panel.title ? `${panel.title} ` : ""}n = ${group.trials}`);
      }
    document.getElementById("key").replaceChildren(...[...counts.values()].map(({ group, trials }) => {
      const line = document.createElement("i");
      line.style.borderTopColor = group.color;
      line.style.borderTopStyle = group.dashed ? "dashed" : "solid";
      const entry = document.createElement("span");
      entry.append(line, `${group.name}, ${[...trials].join(", ")}`);
      return entry;
    }));
  }

  function drawPanel(canvas, panel, top) {
    const width = canvas.clientWidth, height = canvas.clientHeight, sharp = window.devicePixelRatio || 1;
    canvas.width = width * sharp;
    canvas.height = height * sharp;
    const pen = canvas.getContext("2d");
    pen.scale(sharp, sharp);
    pen.font = "12px system-ui, sans-serif";
    const left = 42, right = width - 10, gap = Math.round(height * 0.58), floor = height - 40;
    const total = panel.groups.reduce((sum, group) => sum + group.trials, 0);
    pen.textAlign = "center";
    pen.fillStyle = "#222";
    pen.fillText(panel.title, (left + right) / 2, 12);
    if (!total) return pen.fillText("there are no such trials", (left + right) / 2, height / 2);
    const [start, stop] = panel.window;
    const x = (time) => left + ((time - start) / (stop - start)) * (right - left);
    const rowY = (row) => 32 + (row / total) * (gap - 40);
    const y = (rate) => floor - (rate / top) * (floor - gap - 8);
    marks(pen, panel, x, floor);
    raster(pen, panel, x, rowY, total);
    for (const group of panel.groups) if (group.trials) curve(pen, panel, group, x, y);
    axes(pen, panel, { left, right, gap, floor, x, y, top, total, width, height });
  }

  function marks(pen, panel, x, floor) { // epochs as dashed lines
    const epochs = Object.keys(panel.epochs).length ? panel.epochs : { "": 0 };
    pen.strokeStyle = pen.fillStyle = "#555";
    pen.setLineDash([4, 3]);
    for (const [name, time] of Object.entries(epochs)) {
      pen.beginPath();
      pen.moveTo(x(time), 30);
      pen.lineTo(x(time), floor);
      pen.stroke();
      pen.fillText(name, x(time), 27);
    }
    pen.setLineDash([]);
  }

  function raster(pen, panel, x, rowY, total) {
    const tall = Math.max(1, (rowY(total) - rowY(0)) / total);
    let first = 0;
    for (const group of panel.groups) {
      pen.fillStyle = group.color;
      for (let spike = 0; spike < group.time.length; spike += 1)
        pen.fillRect(x(group.time[spike]) - 0.5, rowY(first + group.row[spike]), 1, tall);
      first += group.trials;
    }
  }

  function curve(pen, panel, group, x, y) {
    pen.strokeStyle = group.color;
    pen.lineWidth = 1.6;
    pen.setLineDash(group.dashed ? [4, 2] : []);
    pen.beginPath();
    const { first, step } = panel.bins;
    group.rate.forEach((rate, place) => pen.lineTo(x(first + place * step), y(rate)));
    pen.stroke();
    pen.setLineDash([]);
    pen.lineWidth = 1;
  }

  function axes(pen, panel, at) {
    pen.strokeStyle = "#888";
    pen.fillStyle = "#222";
    pen.beginPath();
    pen.moveTo(at.left, 32); pen.lineTo(at.left, at.gap - 8);
    pen.moveTo(at.left, at.gap + 8); pen.lineTo(at.left, at.floor); pen.lineTo(at.right, at.floor);
    pen.stroke();
    const [start, stop] = panel.window;
    for (const tick of ticks(start, stop, 6)) pen.fillText(String(tick).replace("-", "−"), at.x(tick), at.floor + 15);
    pen.fillText(`time from ${panel.event} (s)`, (at.left + at.right) / 2, at.floor + 32);
    pen.textAlign = "right";
    for (const tick of ticks(0, at.top, 3)) pen.fillText(tick, at.left - 5, at.y(tick) + 4);
    pen.fillText("1", at.left - 5, 40);
    pen.fillText(at.total, at.left - 5, at.gap - 10);
    pen.textAlign = "center";
    for (const [text, middle] of [["trial", (32 + at.gap) / 2], ["rate (Hz)", (at.gap + at.floor) / 2]]) {
      pen.save();
      pen.translate(12, middle);
      pen.rotate(-Math.PI / 2);
      pen.fillText(text, 0, 0);
      pen.restore();
    }
  }

  // ------------------------------------------------------------------
  if (placed.length) drawMap();
  map.addEventListener("click", (event) => event.target.dataset.unit && choose(+event.target.dataset.unit));
  map.addEventListener("keydown", step);
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-show]");
    if (button) {
      choose(+button.dataset.show);
      document.getElementById("unit").scrollIntoView({ block: "nearest" });
    }
  });
  let late = 0;
  window.addEventListener("resize", () => {
    clearTimeout(late);
    late = setTimeout(() => chosen !== null && loaded[chosen] && show(chosen), 150);
  });
})();
