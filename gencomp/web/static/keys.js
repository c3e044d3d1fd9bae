// Keys of the page; they act where no control has the focus that uses them itself.

export function listenToKeys(view, act) {
  let heldFrom = null; // where the wipe stood before Space was held
  const move = (by) => (view.split += by);
  const keys = {
    ArrowLeft: (event) => move(event.shiftKey ? -0.1 : -0.01),
    ArrowRight: (event) => move(event.shiftKey ? 0.1 : 0.01),
    Home: () => (view.split = 0),
    End: () => (view.split = 1),
    "+": () => view.zoom(Math.SQRT2),
    "=": () => view.zoom(Math.SQRT2),
    "-": () => view.zoom(Math.SQRT1_2),
    1: () => view.oneToOne(),
    0: () => view.fit(),
    "[": () => act.nudge("realism", -0.05),
    "]": () => act.nudge("realism", 0.05),
    ",": () => act.nudge("quality", -1),
    ".": () => act.nudge("quality", 1),
    b: act.nextSide,
    n: act.nextFile,
    o: act.open,
    s: act.saveGnc,
    p: act.savePng,
    "?": act.help,
    Escape: act.cancel,
    " ": () => {
      heldFrom ??= view.split;
      view.split = 1;
    },
  };

  const busy = ({ target, key, ctrlKey, metaKey, altKey }) => {
    if (ctrlKey || metaKey || altKey || document.querySelector("dialog[open]")) return true;
    if (key === "Escape") return false;
    if (target.matches("input, select, textarea")) return !/^[\][,.bnosp?]$/.test(key) || target.type === "number";
    return key === " " && target.matches("button, summary");
  };

  addEventListener("keydown", (event) => {
    const handler = keys[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!handler || busy(event) || document.body.classList.contains("empty")) {
      if (handler === act.open && !busy(event)) act.open();
      return;
    }
    event.preventDefault();
    handler(event);
  });
  addEventListener("keyup", ({ key }) => {
    if (key !== " " || heldFrom === null) return;
    view.split = heldFrom;
    heldFrom = null;
  });
}
