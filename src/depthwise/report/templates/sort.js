
// Tables of the class "sortable" are sorted by a click on a column's name. Without JavaScript they are as they were written.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => row.cells[column].dataset.value ?? row.cells[column].textContent;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const isFalling = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", isFalling ? "descending" : "ascending");
      const order = (a, b) => value(a, column).localeCompare(value(b, column), undefined, { numeric: true });
      const rows = [...table.tBodies[0].rows].sort(head.classList.contains("number")
        ? (a, b) => value(a, column) - value(b, column) : order);
      table.tBodies[0].append(...(isFalling ? rows.reverse() : rows));
    });
  });
}
