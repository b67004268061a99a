/* The console's own behaviour. Every page works without it; with it nobody has to wait. */
"use strict";

const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const path = document.querySelector(".brand")?.getAttribute("href").replace(/\/$/, "") || "/console";
document.cookie = `crier_zone=${zone}; path=${path}; SameSite=Lax; max-age=31536000`;

/* What nobody looks at is not asked for. */
document.addEventListener("htmx:beforeRequest", (event) => {
  const polls = event.detail.elt.getAttribute("hx-trigger")?.startsWith("every");
  const open = document.querySelector(".popover:popover-open");
  if (polls && (document.hidden || open || event.detail.elt.contains(selection()))) {
    event.preventDefault();
  }
});

/* Nothing is replaced under somebody's fingers. */
function selection() {
  const marked = document.getSelection();
  return marked && !marked.isCollapsed ? marked.anchorNode : null;
}

document.addEventListener("htmx:afterSwap", (event) => {
  if (event.detail.target.id === "drawer-content") {
    const drawer = document.getElementById("drawer");
    if (!drawer.open) drawer.showModal();
  }
  if (document.querySelector("#live[data-settled]") && event.detail.requestConfig.path.endsWith("/live")) {
    htmx.trigger(document.body, "settled");
  }
  scrollDown();
  draw();
});

/* A conversation shows its end, unless somebody has scrolled away from it. */
let place = Infinity;
document.addEventListener("htmx:beforeSwap", ({ detail: { target } }) => {
  const rest = target.scrollHeight - target.scrollTop - target.clientHeight;
  place = target.id === "screen" && rest > 40 ? target.scrollTop : Infinity;
});
function scrollDown() {
  const screen = document.getElementById("screen");
  if (screen) screen.scrollTop = Math.min(place, screen.scrollHeight);
}
document.addEventListener("DOMContentLoaded", scrollDown);

/* Charts: stacked lines in the colours of their states. */
function draw() {
  const place = document.querySelector("[data-chart]");
  if (!place || place.firstChild || !window.uPlot) return;
  const chart = JSON.parse(place.dataset.chart);
  const probe = document.createElement("span");
  document.body.append(probe);
  const colour = (name) => { probe.style.color = `var(--${name})`; return getComputedStyle(probe).color; };
  const clock = new Intl.DateTimeFormat(navigator.language, { timeStyle: "medium" });
  const write = new Intl.NumberFormat(document.documentElement.lang);
  const sums = chart.at.map(() => 0);
  const stacked = chart.lines.map((line) => line.values.map((value, at) => (sums[at] += value)));
  const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui" };
  const series = chart.lines.map((line, number) => ({
    label: line.label, stroke: colour(line.state), width: 2,
    fill: colour(line.state), points: { show: false },
    value: (_, __, ___, at) => (at === null ? "" : write.format(line.values[at])),
  }));
  const options = {
    width: place.clientWidth, height: 200, cursor: { y: false },
    series: [{ label: place.dataset.time, value: (_, at) => (at === null ? "" : clock.format(at * 1000)) }, ...series.reverse()],
    axes: [{ ...axis, space: 90, values: (_, ticks) => ticks.map((tick) => clock.format(tick * 1000)) }, { ...axis, size: 60, values: (_, ticks) => ticks.map((tick) => write.format(tick)) }],
    scales: { y: { range: (_, __, most) => [0, Math.max(1, most)] } },
  };
  probe.remove();
  new uPlot(options, [chart.at, ...stacked.reverse()], place);
}
document.addEventListener("DOMContentLoaded", draw);

/* What went wrong, in words. */
function tell(sentence) {
  const problem = document.getElementById("problem");
  problem.textContent = sentence;
  problem.hidden = false;
  clearTimeout(tell.timer);
  tell.timer = setTimeout(() => { problem.hidden = true; }, 9000);
}
document.addEventListener("htmx:responseError", (event) => {
  let said = "";
  try { said = JSON.parse(event.detail.xhr.responseText).message; } catch { said = event.detail.xhr.statusText; }
  tell(said);
});

document.addEventListener("htmx:sendError", () => tell(document.getElementById("problem").dataset.away));

document.addEventListener("click", (event) => {
  const drawer = document.getElementById("drawer");
  if (event.target.closest("[data-close]") || event.target === drawer) drawer.close();
  const copy = event.target.closest("[data-copy]");
  if (copy) {
    navigator.clipboard.writeText(document.getElementById(copy.dataset.copy).textContent.trim());
    copy.classList.add("copied");
  }
});

/* Send a form, and return the fragment that is answered; what went wrong is told. */
async function post(url, body) {
  const headers = { ...JSON.parse(document.body.getAttribute("hx-headers")), "HX-Request": "true" };
  try {
    const answer = await fetch(url, { method: "POST", body, headers });
    if (answer.ok) return answer.text();
    const failure = await answer.json();
    tell(Object.values(failure.errors).flat().join(" ") || failure.message);
  } catch { tell(document.getElementById("problem").dataset.away); }
  return "";
}

/* Composing: counting, previewing, and files by drop. */
document.addEventListener("alpine:init", () => {
  Alpine.data("compose", () => ({
    numbers: true, list: false, written: true, groups: false, earlier: false, hasNames: false, later: false, text: "", plain: "", filled: false, asked: 0, timer: 0, length: "0", counted: "", blank: true,
    init() {
      this.choose_audience(this.$el.dataset.audience);
      this.later = this.$el.dataset.later === "yes";
      this.$refs.attached.addEventListener("click", (event) => {
        if (event.target.closest("[data-remove]")) { event.target.closest("li").remove(); this.show(); }
      });
      this.showNames(); this.count(); this.show();
    },
    pick(event) { this.choose_audience(event.target.value); },
    choose_audience(name) {
      this.numbers = name === "numbers"; this.list = name === "list";
      this.written = this.numbers || this.list;
      this.groups = name === "groups"; this.earlier = name === "broadcast";
    },
    dropList(event) { this.away(); this.readList(event.dataTransfer.files[0]); },
    chooseList() { this.readList(this.$refs.sheet.files[0]); },
    async readList(file, column = "") {
      if (!file) return;
      const body = new FormData();
      body.append("file", file);
      body.append("column", column);
      const answer = await post(this.$refs.sheet.dataset.url, body);
      if (!answer) return;
      this.$refs.rows.innerHTML = answer;
      this.$refs.rows.querySelector("[data-column]")?.addEventListener("change", (event) => this.readList(file, event.target.value));
      this.showNames();
      if (this.hasNames) this.$refs.personal.checked = true;
      this.preview();
    },
    showNames() {
      const names = [...this.$refs.rows.querySelectorAll("[data-names] li")].map((item) => item.textContent);
      this.hasNames = names.length > 0;
      this.$refs.names.replaceChildren(...names.map((name) => this.button(name)));
    },
    button(name) {
      const button = document.createElement("button");
      button.type = "button"; button.className = "button small"; button.textContent = name;
      button.addEventListener("click", () => {
        const field = this.$refs.text;
        field.setRangeText(`{{${name}}}`, field.selectionStart, field.selectionEnd, "end");
        this.$refs.personal.checked = true;
        field.focus(); this.preview();
      });
      return button;
    },
    now() { this.later = false; },
    wait() { this.later = true; },
    preview() {
      this.text = this.$refs.text.value.trim();
      this.length = new Intl.NumberFormat(document.documentElement.lang).format([...this.$refs.text.value].length);
      this.blank = !this.text && !this.$refs.pictures.childElementCount;
      clearTimeout(this.timer);
      if (this.text.includes("{{")) this.timer = setTimeout(() => this.fill(), 250);
      else { this.asked += 1; this.filled = false; }
      this.plain = this.filled ? "" : this.text;
    },
    /* Placeholders are filled where messages are made: the service knows the first recipient. */
    async fill() {
      const asked = (this.asked += 1);
      const body = new FormData(this.$root);
      for (const name of ["list", "csrf"]) body.delete(name);
      body.set("to", this.$refs.to.value.split(/[,;\n\t]/).find((entry) => entry.trim()) || "");
      body.set("first", this.$refs.rows.querySelector("[data-first]")?.textContent || "");
      const answer = await post(this.$root.dataset.draft, body);
      if (!answer || asked !== this.asked) return;
      this.$refs.draft.innerHTML = answer;
      this.filled = true; this.plain = "";
    },
    count() {
      const entries = this.$refs.to.value.split(/[,;\n\t]/).filter((entry) => entry.trim()).length;
      this.counted = entries ? new Intl.NumberFormat(document.documentElement.lang).format(entries) : "";
    },
    over() { this.$el.classList.add("over"); },
    away() { this.$el.classList.remove("over"); },
    drop(event) { this.away(); this.upload(event.dataTransfer.files); },
    choose() { this.upload(this.$refs.files.files); },
    async upload(files) {
      for (const file of files) await this.store(file);
      this.$refs.files.value = "";
      this.show();
    },
    async store(file) {
      const waiting = document.createElement("li");
      waiting.className = "line muted";
      waiting.textContent = `${file.name} ${this.$refs.files.dataset.busy}`;
      this.$refs.attached.append(waiting);
      const body = new FormData();
      body.append("file", file);
      const answer = await post(this.$refs.files.dataset.url, body);
      if (answer) this.$refs.attached.insertAdjacentHTML("beforeend", answer);
      waiting.remove();
    },
    show() {
      const pictures = [...this.$refs.attached.querySelectorAll("[data-file]")].map((item) => {
        const bubble = document.createElement("div");
        bubble.className = "bubble media";
        if (item.hasAttribute("data-picture")) {
          const image = document.createElement("img");
          image.src = item.dataset.file; image.alt = item.querySelector("span").textContent;
          bubble.append(image);
        } else { bubble.className = "bubble"; bubble.textContent = item.querySelector("span").textContent; }
        return bubble;
      });
      this.$refs.pictures.replaceChildren(...pictures);
      this.preview();
    },
  }));
});
