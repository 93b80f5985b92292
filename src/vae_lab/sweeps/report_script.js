"use strict";
// A click on the head of a column sorts the rows of its table: numbers by size, text by the alphabet, dashes last.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, place) => head.querySelector("button").addEventListener("click", () => {
    const down = head.getAttribute("aria-sort") === "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const key = (row) => row.cells[place].dataset.order ?? "";
    const text = (row) => row.cells[place].textContent;
    const compared = (a, b) => {
      if (key(a) !== "" && key(b) !== "") return (key(a) - key(b)) * (down ? -1 : 1);
      if (key(a) !== key(b)) return key(a) === "" ? 1 : -1;
      return text(a).localeCompare(text(b)) * (down ? -1 : 1);
    };
    body.append(...[...body.rows].sort(compared));
  }));
}
