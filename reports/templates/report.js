"use strict";
// A press on a heading sorts its table by that column: first the larger numbers, then the smaller. No figure comes last.
function key(cell) {
  const text = cell.textContent.trim();
  const number = text.match(/^[<+-]?\s*\d[\d.]*/);
  if (number) return parseFloat(number[0].replace(/[<\s]/g, ""));
  return text === "-" || text === "" ? null : text.toLowerCase();
}
function compare(one, other) {
  if (typeof one === typeof other) return one < other ? -1 : one > other ? 1 : 0;
  return typeof one === "number" ? -1 : 1;
}
for (const table of document.querySelectorAll("table")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") !== "descending";
    for (const each of heads) each.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...table.tBodies[0].rows].map((row, place) => ({ row, place, key: key(row.cells[column]) }));
    rows.sort((a, b) => {
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.place - b.place;
      return compare(a.key, b.key) * (down ? -1 : 1) || a.place - b.place;
    });
    table.tBodies[0].append(...rows.map((each) => each.row));
  }));
}
// What is folded away on the screen is wanted on paper.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((each) => { each.open = true; }));
