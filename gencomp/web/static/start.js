// Said before anything else, in a script of the oldest kind: what keeps the page from working here, in one sentence.
(function () {
  var SIMD = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11];

  function obstacle() {
    if (location.protocol === "file:") {
      return "Browsers run no page of this kind from a file: serve its folder, by “gencomp web” or “python -m http.server”.";
    }
    if (typeof WebAssembly !== "object") {
      return "This browser has no WebAssembly, or it is switched off (as in Lockdown Mode): use another, or the command gencomp.";
    }
    if (!WebAssembly.validate(new Uint8Array(SIMD))) {
      return "This browser’s WebAssembly has no SIMD: use one of 2023 or later, or the command gencomp.";
    }
    try {
      new WebAssembly.Module(new Uint8Array(SIMD));
    } catch (error) {
      return "The content policy of this site forbids WebAssembly: its script-src needs 'wasm-unsafe-eval'.";
    }
    return null;
  }

  function say(text) {
    var place = document.getElementById("obstacle");
    place.textContent = text;
    place.hidden = false;
    document.body.dataset.state = "unable";
    for (var id of ["choose", "choose-folder", "example", "open", "open-folder"]) document.getElementById(id).disabled = true;
  }

  addEventListener("DOMContentLoaded", function () {
    var text = obstacle();
    if (text) say(text);
  });
  addEventListener("error", function (event) {
    if (event.target.tagName === "SCRIPT" && location.protocol !== "file:") {
      say("A part of the page could not be loaded: reload it, and see that all its files are there.");
    }
  }, true);
})();
