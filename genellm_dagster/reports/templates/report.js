"use strict";
// Makes every table head a button that sorts its column; without scripts the tables stay readable.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  if (!body || body.rows.length < 2) continue;
  const heads = Array.from(table.tHead.rows[0].cells);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const numeric = head.classList.contains("number");
      const value = (row) => {
        const cell = row.cells[column];
        if (!numeric) return cell.textContent.trim();
        return cell.dataset.order === undefined ? null : Number(cell.dataset.order);
      };
      const rows = Array.from(body.rows);
      rows.sort((a, b) => {
        const x = value(a), y = value(b);
        if (x === null || y === null) return (x === null) - (y === null); // what is missing stays last
        const order = numeric ? x - y : x.localeCompare(y, document.documentElement.lang, { numeric: true });
        return up ? order : -order;
      });
      body.append(...rows);
    });
  });
}
const contents = document.querySelector("nav.contents details");
if (contents && !window.matchMedia("(min-width: 68rem)").matches) contents.open = false;
for (const event of ["beforeprint", "afterprint"]) {
  // What is folded away on screen is wanted on paper.
  window.addEventListener(event, () => {
    for (const part of document.querySelectorAll("main details")) {
      if (event === "beforeprint") { part.dataset.was = part.open; part.open = true; } else part.open = part.dataset.was === "true";
    }
  });
}
