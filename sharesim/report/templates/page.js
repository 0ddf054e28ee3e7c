"use strict";
// Nothing here is needed to read the page: it adds sorting, filters, copying and enlarging.
(() => {
  const make = (tag, properties, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };

  const copy = async (text, button) => {
    const words = button.textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {  // no permission, or not from a safe origin: the old way works in files too
      const area = make("textarea", { value: text });
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = words; }, 1500);
  };

  // Tables

  const sortBy = (table, column, header) => {
    const body = table.tBodies[0];
    const up = header.getAttribute("aria-sort") !== "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", up ? "ascending" : "descending");
    const key = (row) => {
      const cell = row.cells[column];
      return "sort" in cell.dataset ? Number(cell.dataset.sort) : cell.textContent;
    };
    const compare = (a, b) => {
      const [one, two] = [key(a), key(b)];
      if (typeof one === "string") return one.localeCompare(two, "en", { numeric: true });
      if (!Number.isFinite(one) || !Number.isFinite(two)) {  // figures that are missing stay last
        return (Number.isFinite(two) - Number.isFinite(one)) * (up ? 1 : -1);
      }
      return one - two;
    };
    const rows = [...body.rows].sort((a, b) => (up ? compare(a, b) : compare(b, a)));
    body.append(...rows);
  };

  const csv = (table) => [...table.rows]
    .filter((row) => !row.hidden)
    .map((row) => [...row.cells].map((cell) => `"${cell.textContent.replaceAll('"', '""')}"`).join(","))
    .join("\n");

  for (const holder of document.querySelectorAll(".table.live")) {
    const table = holder.querySelector("table");
    const rows = [...table.tBodies[0].rows];
    [...table.tHead.rows[0].cells].forEach((header, column) => {
      const button = make("button", { type: "button", textContent: header.textContent });
      button.addEventListener("click", () => sortBy(table, column, header));
      header.replaceChildren(button);
    });
    const field = make("input", { type: "search", placeholder: "Filter the rows" });
    field.setAttribute("aria-label", "Filter the rows");
    const count = make("span", { className: "aside", textContent: `${rows.length} rows` });
    count.setAttribute("role", "status");
    field.addEventListener("input", () => {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
      const shown = rows.filter((row) => !row.hidden).length;
      count.textContent = shown === rows.length ? `${shown} rows` : `${shown} of ${rows.length} rows`;
    });
    const button = make("button", { type: "button", textContent: "Copy as CSV" });
    button.addEventListener("click", () => copy(csv(table), button));
    holder.prepend(make("div", { className: "tools" }, field, button, count));
  }

  // Commands and files

  for (const holder of document.querySelectorAll(".code")) {
    const button = make("button", { type: "button", textContent: "Copy" });
    button.addEventListener("click", () => copy(holder.querySelector("code").textContent, button));
    holder.querySelector(".label").append(button);
  }

  // Pictures

  const shrink = () => {
    for (const figure of document.querySelectorAll("figure.large")) {
      figure.classList.remove("large");
      const button = figure.querySelector("button");
      button.textContent = "Enlarge";
      button.setAttribute("aria-expanded", "false");
    }
  };
  for (const figure of document.querySelectorAll("figure")) {
    const button = make("button", { type: "button", textContent: "Enlarge" });
    button.setAttribute("aria-expanded", "false");
    const toggle = () => {
      const enlarge = !figure.classList.contains("large");
      shrink();
      if (!enlarge) return;
      figure.classList.add("large");
      button.textContent = "Close";
      button.setAttribute("aria-expanded", "true");
      button.focus();
    };
    button.addEventListener("click", toggle);
    figure.querySelector(".canvas").addEventListener("dblclick", toggle);
    figure.prepend(make("div", { className: "above" }, button));
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") shrink(); });

  // Where in the page one is

  const links = new Map([...document.querySelectorAll("nav a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.classList.remove("here");
      links.get(entry.target.id)?.classList.add("here");
    }
  }, { rootMargin: "-10% 0px -75% 0px" });
  for (const section of document.querySelectorAll("main > section")) seen.observe(section);

  // On paper there is nothing to click: details are open

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const details of opened) details.open = true;
  });
  addEventListener("afterprint", () => { for (const details of opened) details.open = false; });
})();
