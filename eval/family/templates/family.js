// The family's page: the report's chart, and a curve that stands out while its name is pointed at.

function emphasise(colour) {
  for (const mark of document.querySelectorAll("#chart polyline, #chart circle")) {
    mark.classList.toggle("dim", colour !== null && mark.getAttribute("stroke") !== colour);
  }
}

const legend = document.getElementById("legend");
const colourUnder = event => {
  const mark = event.target.closest("label")?.querySelector("i");
  if (!mark) return null;
  const index = [...legend.querySelectorAll("label")].indexOf(mark.parentElement);
  return linesOf(document.getElementById("metric").value)[index]?.colour ?? null;
};
legend.addEventListener("pointerover", event => emphasise(colourUnder(event)));
legend.addEventListener("focusin", event => emphasise(colourUnder(event)));
for (const left of ["pointerleave", "focusout"]) legend.addEventListener(left, () => emphasise(null));

if (SERIES.length) startChart();
