// The course of a rater on the page: introduction, training with feedback, trials, pause, rest, thanks.
import { fits } from "./fit.js";
import { Views, density } from "./views.js";
import { current, display, send, Lost } from "./wire.js";

const $ = (id) => document.getElementById(id);
const study = $("study").dataset;
const views = new Views($("views"), study);
const PANELS = ["small", "intro", "trial", "ready", "rest", "pause", "lost"];
const SETTLE = 300;  // ms for which a new trial takes no answer: the second click of a double click must not be one

let panel = null;     // what the rater is doing; "small" covers it while the window is too small
let screen = null;    // the server's word on what is due
let open = false;     // an answer to the present trial can be given
let next = null;      // what follows when the rater continues
let clock = null;     // response time of the present trial
let flips = 0;

// Counts only while the trial is on the screen and the page in view.
class Clock {
  constructor() { this.total = 0; this.since = null; }
  run(on) {
    const now = performance.now();
    if (this.since !== null) this.total += now - this.since;
    this.since = on ? now : null;
  }
  read() { this.run(this.since !== null); return Math.round(this.total); }
}

function go(name) {
  panel = name;
  refresh();
  const button = $(name).querySelector(".actions .main");
  if (button && !$(name).hidden) button.focus({ preventScroll: true });
  scrollTo(0, 0);
}

// Shows the panel, or that the screen is unfit for the images; keeps the clock right in both cases.
function refresh() {
  const small = ["intro", "trial", "ready", "rest"].includes(panel) && !fits(study, views);
  for (const name of PANELS) $(name).hidden = name !== (small ? "small" : panel);
  const running = panel === "trial" && !small && open && !document.hidden;
  clock?.run(running);
  if (running) setTimeout(update, SETTLE + 20);
  if (panel === "trial" && !small) views.fit();
}

// What kind of screen this is, told once and again when it changes.
let told = "";
function tellDisplay() {
  const is = (query) => matchMedia(query).matches;
  const facts = {
    screen_width: window.screen.width, screen_height: window.screen.height, window_width: innerWidth, window_height: innerHeight,
    dpr: Math.round(devicePixelRatio * 1000) / 1000, colour_depth: window.screen.colorDepth,
    gamut: is("(color-gamut: rec2020)") ? "rec2020" : is("(color-gamut: p3)") ? "p3" : "srgb",
    dynamic_range: is("(dynamic-range: high)") ? "high" : "standard",
    pointer: is("(pointer: coarse)") ? "coarse" : is("(pointer: fine)") ? "fine" : "none",
  };
  const text = JSON.stringify(facts);
  if (text !== told) { told = text; display(facts); }
}

function waiting(on) {
  $("banner").textContent = "No connection to the study. Your answer is kept and will be sent.";
  $("banner").hidden = !on;
}

async function trial() {
  if (!screen.trial) return location.reload();  // the server goes on: questions, thanks
  tellDisplay();
  const training = screen.n < screen.training;
  const [k, of] = training ? [screen.n, screen.training] : [screen.n - screen.training, screen.total - screen.training];
  let loaded;
  for (;;) {
    try { loaded = await views.load(screen.trial); break; } catch { waiting(true); await new Promise((r) => setTimeout(r, 1000)); }
  }
  waiting(false);
  $("count").textContent = `${training ? "Practice " : ""}${k + 1} of ${of}`;
  $("bar").style.width = `${100 * k / of}%`;
  $("bar").parentElement.setAttribute("aria-valuemax", of);
  $("bar").parentElement.setAttribute("aria-valuenow", k);
  $("choices").hidden = $("hint").hidden = false;
  $("feedback").hidden = true;
  $("hint").textContent = views.flips ? study.task === "pairs" ? "Look at both A and B, then choose." : "Look at both, then choose." : "";
  flips = 0;
  open = false;
  clock = null;
  views.show(loaded);
  update();
  if ($("choices").contains(document.activeElement)) document.activeElement.blur();  // no answer looks chosen already
  if (panel !== "pause") go("trial");
  // The clock starts when the browser has drawn the images.
  requestAnimationFrame(() => requestAnimationFrame(() => { clock = new Clock(); open = true; update(); refresh(); }));
  if (screen.ahead) views.load(screen.ahead).catch(() => {});
}

function update() {
  const ready = open && views.all && clock.read() >= SETTLE;
  for (const button of $("choices").querySelectorAll("[data-choice]")) button.disabled = !ready;
  $("hint").style.visibility = views.all ? "hidden" : "visible";
  return ready;
}

// Whether a trial is in view, and not behind a pause or "too small".
const inView = () => panel === "trial" && !$("trial").hidden;

function turn(name) {
  if (!inView() || !views.flips) return;
  if (views.judged.includes(name) && name !== views.shown) flips++;
  views.turn(name);
  update();
}
const flip = () => turn(views.judged[1 - views.judged.indexOf(views.shown)]);

async function choose(choice) {
  if (!inView() || !open || !update()) return;
  const answer = { n: screen.n, choice, ms: clock.read(), flips: Math.min(flips, 100000), dpr: Math.round(density(study) * 1000) / 1000 };
  open = false;
  clock.run(false);
  update();
  const training = screen.n < screen.training;
  const receipt = await send(answer, waiting);
  if (!receipt) { screen = await current(waiting); return trial(); }
  screen = receipt.screen;
  if (training) return tell(choice, receipt.right);
  const done = screen.n - screen.training;
  if (screen.trial && +study.rest && done % +study.rest === 0) {
    $("rested").textContent = `${done} of ${screen.total - screen.training}`;
    next = trial;
    return panel === "pause" ? trial() : go("rest");
  }
  return trial();
}

// After a training trial: what was right, with the images still there to flip.
function tell(choice, right) {
  const what = study.task !== "pairs" ? (right.includes("5") ? "this was the original itself." : "this was coarsely spoilt.")
    : right.length ? `${right[0].toUpperCase()} was the original itself.` : "";
  $("told").textContent = !right.length ? "Here nobody can say what is right: such trials ask for your judgement."
    : `${right.includes(choice) ? "Right" : "Look again"}: ${what}`;
  $("choices").hidden = $("hint").hidden = true;
  $("feedback").hidden = false;
  $("feedback").querySelector("button").focus({ preventScroll: true });
  next = screen.n === screen.training && screen.trial ? () => { next = trial; go("ready"); } : trial;
}

function pause() {
  if (!inView()) return;
  $("link").value = location.href;
  go("pause");
}

const ACTS = {
  begin: trial,
  next: () => { const f = next; next = null; f?.(); },
  flip, pause,
  resume: () => go("trial"),
  copy: () => { $("link").select(); navigator.clipboard?.writeText($("link").value).catch(() => {}); },
  reload: () => location.reload(),
};
const KEYS = { " ": "flip", p: "pause", P: "pause" };
const CHOICES = { ArrowLeft: "a", ArrowRight: "b", ArrowDown: "tie", 1: "1", 2: "2", 3: "3", 4: "4", 5: "5" };

function act(name) {
  Promise.resolve(ACTS[name]?.()).catch(fail);
}

function fail(error) {
  $("why").textContent = error instanceof Lost ? error.message : "Something went wrong on this page. Your answers are stored.";
  go("lost");
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-act]"), tab = event.target.closest("[data-tab]");
  const chosen = event.target.closest("button[data-choice]");
  if (button) act(button.dataset.act);
  else if (chosen) choose(chosen.dataset.choice).catch(fail);
  else if (tab) turn(tab.dataset.tab);
  else if (event.target.closest(".frame")) flip();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "INPUT") return;
  if (event.key === "Enter") {
    const shown = PANELS.map($).find((element) => !element.hidden);
    const button = shown.querySelector(".actions .main") ?? (panel === "trial" && !$("feedback").hidden && $("feedback").querySelector("button"));
    event.preventDefault();
    if (button && !event.repeat) button.click();
  } else if (event.key === "o" || event.key === "O") {
    if (!event.repeat && study.task === "pairs") turn("original");
  } else if (KEYS[event.key] && panel === "trial") {
    event.preventDefault();
    if (!event.repeat) act(KEYS[event.key]);
  } else if (CHOICES[event.key] && panel === "trial" && document.querySelector(`[data-choice="${CHOICES[event.key]}"]`)) {
    event.preventDefault();
    if (!event.repeat) choose(CHOICES[event.key]).catch(fail);
  }
});
document.addEventListener("keyup", (event) => {
  if ((event.key === "o" || event.key === "O") && study.task === "pairs") turn(views.shown);
  if (event.key === " " && panel === "trial") event.preventDefault();  // or a focused button would be pressed as well
});
document.addEventListener("visibilitychange", refresh);
addEventListener("resize", refresh);

current(waiting).then((now) => {
  screen = now;
  if (!screen.trial) location.reload();
  else if (screen.n === 0) go("intro");
  else { next = trial; return trial(); }
}).catch(fail);
