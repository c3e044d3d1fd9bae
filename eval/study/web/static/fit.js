// Whether the images of the study fit into this window: asked before consent, and all through the trials.
import { density } from "./views.js";

const $ = (id) => document.getElementById(id);

// Says in the panel "small" what is needed and what is here.
export function fits(study, views) {
  const page = $("trial"), hidden = page.hidden;
  page.hidden = false;
  const around = page.querySelector("header").offsetHeight + page.querySelector("footer").offsetHeight + 37;  // and captions
  page.hidden = hidden;
  const [width, height] = views.needed(+study.width, +study.height, around);
  const pixels = (...sides) => sides.map((side) => Math.round(side * devicePixelRatio)).join(" × ");
  $("need").textContent = `${width} × ${height} points (${pixels(width, height)} pixels)`;
  $("have").textContent = `${innerWidth} × ${innerHeight} points (${pixels(innerWidth, innerHeight)} pixels)`;
  return innerWidth >= width && innerHeight >= height;
}
