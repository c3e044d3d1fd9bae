// The report's own order of drawing.

drawProtocol();
if (SERIES.length) {
  drawAnswers();
  startChart(drawEach);
  drawMeans();
  drawDeltas();
  if (IMAGES.length) startViewer();
  else for (const id of ["viewer", "each"]) document.getElementById(id).hidden = true;
} else {
  for (const id of ["viewer", "curves", "means", "deltas", "each"]) document.getElementById(id).hidden = true;
}
