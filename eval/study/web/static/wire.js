// Talking to the server so that an answer is neither lost nor counted twice.
//
// An answer is kept in the browser until the server has said that it is stored. It is sent again after a failure, after
// a reload, and after the server was restarted; the server counts it once.

const base = location.pathname.replace(/\/$/, "");
const KEPT = "unsent " + base;
let memory = null;  // where the browser gives no storage

function kept() {
  try { return JSON.parse(localStorage.getItem(KEPT)); } catch { return memory; }
}
function keep(answer) {
  memory = answer;
  try { answer ? localStorage.setItem(KEPT, JSON.stringify(answer)) : localStorage.removeItem(KEPT); } catch { /* memory */ }
}

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// A request that is repeated until the server answers. `waiting` hears true while the connection is lost.
async function ask(path, options, waiting) {
  for (let pause = 300; ; pause = Math.min(5000, pause * 1.6)) {
    try {
      const reply = await fetch(base + path, { cache: "no-store", ...options });
      if (reply.status < 500) { waiting(false); return reply; }
    } catch { /* no connection */ }
    waiting(true);
    await wait(pause);
  }
}

export class Lost extends Error {}
const lost = (status) => new Lost(status === 404 ? "This link is not known. Please check that it is complete." : `The study does not take this (${status}). Please load the page again; if that does not help, tell those who sent you the link.`);

// What is to be shown now. An answer left over from before a reload is delivered first.
export async function current(waiting) {
  const answer = kept();
  if (answer) {
    const receipt = await send(answer, waiting);
    if (receipt) return receipt.screen;
  }
  const reply = await ask("/state", {}, waiting);
  if (!reply.ok) throw lost(reply.status);
  return reply.json();
}

// Delivers an answer: the server's receipt, or null if it does not take it (another window was faster). Where the way
// to the server is barred the answer is kept, to be sent when the page is loaded again.
export async function send(answer, waiting) {
  keep(answer);
  const reply = await ask("/vote", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(answer),
  }, waiting);
  if (![200, 400, 409].includes(reply.status)) throw lost(reply.status);
  keep(null);
  return reply.ok ? reply.json() : null;
}

// Facts of the screen; not worth a word to the rater if they do not get through.
export function display(facts) {
  fetch(base + "/display", {
    method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(facts),
  }).catch(() => {});
}
