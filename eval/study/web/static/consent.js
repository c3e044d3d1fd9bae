// Asks for consent only where the images fit; without JavaScript the page asks all the same.
import { fits } from "./fit.js";
import { Views } from "./views.js";

const $ = (id) => document.getElementById(id);
const study = $("study").dataset, views = new Views($("views"), study);

function refresh() {
  $("small").hidden = fits(study, views);
  $("consent").hidden = !$("small").hidden;
}
addEventListener("resize", refresh);
refresh();
