"use strict";
(() => {
  // The file is replaced while the runs go on. A page that nobody sees waits until somebody does.
  const { seconds } = document.currentScript.dataset;
  const anew = () => (document.hidden ? addEventListener("visibilitychange", anew, { once: true }) : location.reload());
  setTimeout(anew, 1000 * seconds);
})();
