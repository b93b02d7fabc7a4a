"use strict";
// Filters the findings and shows them in portions. Those that are not in the page are taken out of it when they are wanted.
// An address may name a filter: page.html#class=stale_value&text=loan:12
(() => {
  const PORTION = 100;
  const form = document.getElementById("filter");
  if (!form) return;
  const number = (count) => count.toLocaleString("en-US");
  const wanted = () => Object.fromEntries(["text", "class", "table", "outcome"].map((name) => [name, form.elements[name].value.trim()]));
  const item = (html, table, outcome) => ({ html, table, outcome, text: null });

  const groups = [...document.querySelectorAll(".group")].map((section) => {
    const list = section.querySelector(".findings");
    const items = [...list.children].map((node) => item(node.outerHTML, node.dataset.table, node.dataset.outcome));
    const group = { name: section.dataset.class, count: +section.dataset.count, section, list, items, found: items, shown: items.length };
    group.more = section.querySelector(".more");
    group.more?.addEventListener("click", () => whenAllAreHere(() => extend(group)));
    return group;
  });
  const all = groups.reduce((sum, group) => sum + group.count, 0);

  let unpacked = null;
  async function unpack() {
    const packed = document.getElementById("rest");
    if (!packed) return;
    const bytes = Uint8Array.from(atob(packed.textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const byName = new Map(groups.map((group) => [group.name, group]));
    for (const line of (await new Response(stream).text()).split("\n")) {
      if (!line) continue;
      const [name, html] = JSON.parse(line);
      const [, table, outcome] = /^\s*<li data-table="([^"]*)" data-outcome="([^"]*)"/.exec(html) ?? [];
      byName.get(name).items.push(item(html, plain(table), outcome));
    }
    packed.remove();
  }
  async function whenAllAreHere(then) {
    try {
      await (unpacked ??= unpack());
      then();
    } catch (error) {
      form.elements.tally.value = `This browser cannot take out the findings that are packed into the page (${error.name}).`;
    }
  }

  function plain(html) {
    return new DOMParser().parseFromString(html ?? "", "text/html").documentElement.textContent;
  }
  function textOf(one) {
    return (one.text ??= one.html
      .replace(/<[^>]*>/g, " ")
      .replace(/&(amp|lt|gt|#34|#39);/g, (_, name) => ({ amp: "&", lt: "<", gt: ">", "#34": '"', "#39": "'" })[name])
      .toLowerCase());
  }
  function matches(one, want, words) {
    if (want.table && one.table !== want.table) return false;
    if (want.outcome && one.outcome !== want.outcome) return false;
    return words.every((word) => textOf(one).includes(word));
  }

  function extend(group) {
    const next = group.found.slice(group.shown, group.shown + PORTION);
    const first = group.list.children.length;
    group.list.insertAdjacentHTML("beforeend", next.map((one) => one.html).join(""));
    group.shown += next.length;
    offer(group, group.found.length);
    if (first) group.list.children[first]?.querySelector("summary").focus({ preventScroll: true });
  }
  function offer(group, found) {
    if (!group.more) return;
    const left = found - group.shown;
    group.more.hidden = left <= 0;
    group.more.textContent = `Show ${number(Math.min(PORTION, left))} more of ${number(left)}`;
  }
  function filter() {
    const want = wanted();
    const words = want.text.toLowerCase().split(/\s+/).filter(Boolean);
    let total = 0;
    for (const group of groups) {
      const out = want.class && group.name !== want.class;
      group.found = out ? [] : group.items.filter((one) => matches(one, want, words));
      group.section.hidden = group.found.length === 0;
      group.list.replaceChildren();
      group.shown = 0;
      extend(group);
      total += group.found.length;
    }
    form.elements.tally.value = total === all ? "" : `${number(total)} of ${number(all)} findings`;
  }

  let timer = 0;
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(() => whenAllAreHere(filter), 120);
  };
  form.hidden = false;
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("input", soon);
  form.addEventListener("reset", soon);
  for (const group of groups) offer(group, group.count);
  const asked = [...new URLSearchParams(location.hash.slice(1))].filter(([name]) => name in wanted());
  for (const [name, value] of asked) form.elements[name].value = value;
  if (asked.length) whenAllAreHere(filter);

  let opened = [];
  addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll(".findings > li > details:not([open])")];
    for (const one of opened) one.open = true;
  });
  addEventListener("afterprint", () => {
    for (const one of opened) one.open = false;
  });
})();
