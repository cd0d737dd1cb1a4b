"use strict";
// Tables that are sorted by clicking a header, and filtered by the inputs that name them.
(() => {
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();

  function compare(a, b, numeric) {
    if (a === "" || b === "") return (a === "") - (b === ""); // what is unknown comes last
    return numeric ? a - b : a.localeCompare(b, undefined, { numeric: true });
  }

  function sort(table, header) {
    const column = header.cellIndex;
    const down = header.getAttribute("aria-sort") === "ascending";
    const numeric = header.classList.contains("number");
    for (const other of header.parentNode.cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => [value(row, column), row]);
    rows.sort(([a], [b]) => (down && a !== "" && b !== "" ? -1 : 1) * compare(a, b, numeric));
    body.append(...rows.map(([, row]) => row));
  }

  const tests = {
    text: (have, want) => have.toLowerCase().includes(want.toLowerCase()),
    from: (have, want) => have !== "" && have.slice(0, 10) >= want,
    to: (have, want) => have !== "" && have.slice(0, 10) <= want,
    number(have, want) { // 3, 2-5, >2, <2
      const parts = want.trim().match(/^([<>]?)\s*(\d+(?:\.\d+)?)(?:\s*-\s*(\d+(?:\.\d+)?))?$/);
      if (!parts) return have.includes(want.trim());
      const [, sign, low, high] = parts;
      if (have === "") return false;
      if (sign) return sign === ">" ? +have > +low : +have < +low;
      return high === undefined ? +have === +low : +have >= +low && +have <= +high;
    },
  };

  function filter(form, table) {
    const used = [...form.querySelectorAll("input")].filter((input) => input.value.trim() !== "");
    let shown = 0;
    for (const row of table.tBodies[0].rows) {
      row.hidden = !used.every((input) =>
        tests[input.dataset.test](value(row, +input.dataset.column), input.value));
      shown += !row.hidden;
    }
    form.querySelector("output").textContent = `${shown} of ${table.tBodies[0].rows.length}`;
  }

  for (const table of document.querySelectorAll("table.sortable"))
    for (const button of table.querySelectorAll("th button"))
      button.addEventListener("click", () => sort(table, button.parentNode));

  for (const form of document.querySelectorAll("form.filters")) {
    const table = document.getElementById(form.dataset.table);
    const apply = () => filter(form, table);
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("reset", () => setTimeout(apply));
    window.addEventListener("pageshow", apply); // browsers keep what was typed
  }
})();
